"""One request and its reply, limited in time and in bytes.

The time limit covers everything: finding the server, connecting, sending, and every byte of the reply, however slowly
it arrives. Bytes are counted as they are unpacked, so that no small reply grows into a large one. Redirects must stay
on the same server: images and keys are meant for one server.
"""

import http.client
import io
import ipaddress
import queue
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from .address import IN_PATHS, Origin, parse_origin
from .proxies import Proxy, find_proxy, open_tunnel

POLL = 0.2  # seconds between checks whether anybody is still waiting
MIB = 2**20
LONGEST_REPLY = 4 * MIB
LONGEST_ERROR = MIB // 16  # of an error page, of which only a sentence is kept
REDIRECTS = 3  # in a row, at most
_MOVED = (301, 302, 307, 308)


class ExchangeError(Exception):
    """There was no reply, and why. retryable: whether a retry makes sense."""

    retryable = True


class TimeIsUp(ExchangeError):
    """The exchange timed out, or nobody is waiting for it any longer."""


class Unusable(ExchangeError):
    """The reply cannot be used."""

    retryable = False


@dataclass(frozen=True)
class Limit:
    """When an exchange must end.

    over: set when nobody is waiting for it any longer. longest: maximum bytes of an answer.
    """

    seconds: float
    over: threading.Event = field(default_factory=threading.Event)
    longest: int = LONGEST_REPLY
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """The seconds left. Raises TimeIsUp if there are none."""
        left = self.started + self.seconds - time.monotonic()
        if left <= 0 or self.over.is_set():
            raise TimeIsUp
        return left


@dataclass(frozen=True)
class Reply:
    """headers: by lowercase name. data: cut off at LONGEST_ERROR if the status is an error."""

    status: int
    headers: dict[str, str]
    data: bytes


def exchange(
    method: str, origin: Origin, path: str, headers: dict[str, str], data: bytes | None, limit: Limit
) -> Reply:
    """Send a request to a server and read its reply. Raises ExchangeError."""
    for _ in range(REDIRECTS + 1):
        reply = _exchange(method, origin, path, headers, data, limit)
        if not 300 <= reply.status < 400:
            return reply
        path = _moved(origin, path, reply)
    raise Unusable("redirects in a circle; check the address")


def _moved(origin: Origin, path: str, reply: Reply) -> str:
    """The new path on the same server. Raises Unusable for a redirect to any other."""
    place = urljoin(f"{origin}{path}", reply.headers.get("location", ""))
    try:
        parts = urlsplit(place)
        stays = parse_origin(f"{parts.scheme}://{parts.netloc}") == origin
    except ValueError:
        stays = False
    if not stays or reply.status not in _MOVED:
        raise Unusable(f"redirects ({reply.status}) to {place[:200]}, which is not followed; check the address")
    return quote(parts.path, safe=IN_PATHS) + (f"?{quote(parts.query, safe=IN_PATHS + '?')}" if parts.query else "")


def _exchange(
    method: str, origin: Origin, path: str, headers: dict[str, str], data: bytes | None, limit: Limit
) -> Reply:
    proxy = find_proxy(origin)
    connection = _Connection(origin, proxy, limit)
    forwarder = proxy if proxy is not None and proxy.forwards(origin) else None
    try:
        more = forwarder.credentials() if forwarder else {}
        target = f"{origin}{path}" if forwarder else path
        # It may have said why before it stopped listening, for example that an image is too large.
        with suppress(BrokenPipeError, ConnectionResetError, ConnectionAbortedError):  # the last one on Windows
            connection.request(method, target, data, {**headers, **more, "Connection": "close"})
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, names, _read(response, names.get("content-encoding", ""), limit.longest))
    except ExchangeError:
        raise
    except TimeoutError:
        raise TimeIsUp from None
    except (OSError, http.client.HTTPException) as error:
        via = f"by the proxy of {proxy.variable}, " if proxy else ""
        raise ExchangeError(
            f"cannot be reached ({via}{_words(error)}); start the server or check the address"
        ) from None
    except (ValueError, AttributeError) as error:  # http.client's, for a reply that is not HTTP
        raise ExchangeError(f"does not answer like a web server ({_words(error)})") from None
    finally:
        connection.end()


class _Connection(http.client.HTTPConnection):
    """A connection to a server, possibly through a proxy; every wait ends with its limit."""

    def __init__(self, origin: Origin, proxy: Proxy | None, limit: Limit):
        super().__init__(origin.host, origin.port)
        self.default_port = 443 if origin.scheme == "https" else 80  # omitted in the Host header
        self._origin, self._proxy, self._limit = origin, proxy, limit
        self._plain: socket.socket | None = None

    def connect(self) -> None:
        origin, proxy, limit = self._origin, self._proxy, self._limit
        host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        self._plain = _connected(host, port, limit, only_here=origin.is_local)
        if proxy is not None and not proxy.forwards(origin):
            open_tunnel(proxy, origin, Wire(self._plain, limit))
        if origin.scheme == "https":
            self._plain.settimeout(limit.left())  # for the whole handshake
            self._plain = _certificates().wrap_socket(self._plain, server_hostname=origin.host)
        self.sock = Wire(self._plain, limit)

    def end(self) -> None:
        if self._plain is not None:
            self._plain.close()


class Wire(io.RawIOBase):
    """A socket for http.client that reads and writes until its limit."""

    def __init__(self, plain: socket.socket, limit: Limit):
        self._plain, self._limit = plain, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            self._plain.settimeout(min(POLL, self._limit.left()))
            try:
                return self._plain.recv_into(buffer)
            except TimeoutError:
                continue

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._plain.settimeout(min(POLL, self._limit.left()))
            with suppress(TimeoutError):
                rest = rest[self._plain.send(rest[:MIB]) :]

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        """Do nothing: http.client closes a connection before it reads the rest of a reply."""


def _connected(host: str, port: int, limit: Limit, only_here: bool) -> socket.socket:
    """A socket connected to the first of the host's addresses that accepts; each gets its share of the time."""
    places = [p for p in _look_up(host, port, limit) if not only_here or _is_here(p[4][0])]
    if only_here:  # where most servers listen; on Windows, an address without a listener takes two seconds to fail
        places.sort(key=lambda place: place[0] != socket.AF_INET)
    failure: OSError = OSError("the name has no address")
    for index, (family, kind, protocol, _, place) in enumerate(places):
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(limit.left() / (len(places) - index))
            plain.connect(place)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return plain
        except OSError as error:
            plain.close()
            failure = error
        except BaseException:
            plain.close()
            raise
    raise failure


def _is_here(address: str) -> bool:
    return Origin("http", address.partition("%")[0], 80).is_local


def _look_up(host: str, port: int, limit: Limit) -> list[tuple]:
    """The addresses of a host, looked up in another thread, since a DNS lookup has no timeout of its own."""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # it is an IP address
    found: queue.SimpleQueue[list | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            found.put(error)

    threading.Thread(target=look_up, daemon=True, name="rethink-look-up").start()
    while True:
        try:
            places = found.get(timeout=min(POLL, limit.left()))
        except queue.Empty:
            continue
        if isinstance(places, Exception):
            raise places
        return places


@cache
def _certificates() -> ssl.SSLContext:
    """Trusted certificates: the system's, plus Mozilla's list if it is installed, since some Pythons have none."""
    context = ssl.create_default_context()
    try:
        import certifi

        context.load_verify_locations(certifi.where())
    except (ImportError, OSError):
        pass
    return context


def _read(response: http.client.HTTPResponse, encoding: str, longest: int) -> bytes:
    """The body; of an error only the part that is looked at. Raises Unusable for an answer without end."""
    failed = response.status >= 300
    most = LONGEST_ERROR if failed else longest
    data, unpack = bytearray(), _unpacker(encoding.strip().lower())
    try:
        while len(data) <= most and (packed := response.read1(MIB // 16)):
            data += unpack(packed, most + 1 - len(data))
    except zlib.error:
        raise Unusable("the answer is compressed in a way that cannot be read") from None
    if len(data) > most and not failed:
        raise Unusable(f"the answer is longer than {most // MIB} MB")
    return bytes(data[:most])


def _unpacker(encoding: str) -> Callable[[bytes, int], bytes]:
    if encoding in ("", "identity"):
        return lambda packed, most: packed[:most]
    if encoding in ("gzip", "x-gzip", "deflate"):  # not requested, but some servers send nothing else
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress
    raise Unusable(f"the answer has an unsupported encoding ({encoding[:20]})")


def _words(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
