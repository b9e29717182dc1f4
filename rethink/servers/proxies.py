"""Connects to servers through the proxy that the environment names. Servers on this machine never go through one."""

import base64
import ipaddress
import os
import struct
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from ..errors import RethinkError
from .address import Origin

# GNOME writes socks:// for all of them. The proxy resolves names itself, which is what people use it for.
KINDS = {"http": "http", "socks": "socks5", "socks5": "socks5", "socks5h": "socks5"}
PORTS = {"http": 80, "socks5": 1080}
LONGEST_GREETING = 65536


@dataclass(frozen=True)
class Proxy:
    """variable: the environment variable that names it. kind: "http" or "socks5"."""

    variable: str
    kind: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def forwards(self, origin: Origin) -> bool:
        """Whether requests are sent to the proxy itself; otherwise it opens a tunnel to the server."""
        return self.kind == "http" and origin.scheme == "http"

    def credentials(self) -> dict[str, str]:
        if not self.user:
            return {}
        return {"Proxy-Authorization": "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()}


def find_proxy(origin: Origin) -> Proxy | None:
    """The proxy for a server, if any. Raises RethinkError naming the variable if it cannot be used."""
    if origin.is_local or proxy_bypass(origin.host) or proxy_bypass(f"{origin.host}:{origin.port}"):
        return None
    named = getproxies()
    kind = origin.scheme if named.get(origin.scheme) else "all"
    url = named.get(kind, "").strip()
    if not url:
        return None
    variable = _variable(f"{kind}_proxy")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        scheme, host, port = KINDS.get(parts.scheme), parts.hostname, parts.port
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        (host or "").encode("idna")
    except ValueError:
        scheme = host = None
    if not scheme or not host:  # the address is not repeated, as it may contain a password
        raise RethinkError(
            f"base_url: {origin} cannot be reached through the proxy in {variable}; use one that begins with http:// "
            f"or socks5://, or add {origin.host} to NO_PROXY."
        )
    return Proxy(variable, scheme, host, port or PORTS[scheme], user, password)


def _variable(name: str) -> str:
    return next((spelled for spelled in (name, name.upper()) if os.environ.get(spelled)), "the system's settings")


def open_tunnel(proxy: Proxy, origin: Origin, wire: Any) -> None:
    """Have a proxy open a tunnel to a server; `wire` then reads from and writes to the server.

    wire: has sendall and readinto. Raises OSError if the proxy does not open it.
    """
    if proxy.kind == "http":
        _connect(proxy, origin, wire)
    else:
        _connect_socks5(proxy, origin, wire)


def _connect(proxy: Proxy, origin: Origin, wire: Any) -> None:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"Host: {host}:{origin.port}"]
    lines += [f"{name}: {value}" for name, value in proxy.credentials().items()]
    wire.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    reply = bytearray()
    while not reply.endswith(b"\r\n\r\n"):  # byte by byte: what follows is the server's
        reply += _receive(wire, 1)
        if len(reply) > LONGEST_GREETING:
            raise OSError("it does not answer like a proxy")
    status = bytes(reply).split(b"\r\n", 1)[0].decode("latin-1")
    if status.split()[1:2] != ["200"]:
        raise OSError(f"it says {status[:80]}")


_REPLIES = {
    1: "it failed",
    2: "it does not allow that",
    3: "the network cannot be reached",
    4: "the host cannot be reached",
    5: "the connection was refused",
    6: "it took too long",
}


def _connect_socks5(proxy: Proxy, origin: Origin, wire: Any) -> None:
    """RFC 1928, with the name and password of RFC 1929."""
    wire.sendall(b"\5\2\0\2" if proxy.user else b"\5\1\0")
    version, method = _receive(wire, 2)
    if version != 5 or method not in (0, 2) or (method == 2 and not proxy.user):
        raise OSError("it requires a name and a password" if version == 5 else "it is not a SOCKS5 proxy")
    if method == 2:
        user, password = proxy.user.encode()[:255], proxy.password.encode()[:255]
        wire.sendall(b"\1" + bytes([len(user)]) + user + bytes([len(password)]) + password)
        if _receive(wire, 2)[1] != 0:
            raise OSError("it rejects the name or the password")
    wire.sendall(b"\5\1\0" + _socks5_address(origin.host) + struct.pack(">H", origin.port))
    _, reply, _, kind = _receive(wire, 4)
    if reply != 0:
        raise OSError(_REPLIES.get(reply, "it failed"))
    length = {1: 4, 4: 16}.get(kind) or _receive(wire, 1)[0]
    _receive(wire, length + 2)


def _socks5_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return b"\3" + bytes([len(host)]) + host.encode()
    return (b"\1" if address.version == 4 else b"\4") + address.packed


def _receive(wire: Any, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = bytearray(count - len(data))
        read = wire.readinto(piece)
        if not read:
            raise OSError("it closed the connection")
        data += piece[:read]
    return bytes(data)
