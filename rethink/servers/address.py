"""Server addresses in one canonical form, so that the address that was checked is the one that is connected to."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from ..errors import RethinkError

PORTS = {"http": 80, "https": 443}
IN_PATHS = "/%:@!$&'()*+,;=~-._"
_NO_ADDRESS = "base_url: is not an address; use, for example, http://127.0.0.1:8000/v1"


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port: what is trusted or not. host: lower case, punycode, IP addresses in their shortest form."""

    scheme: str
    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether it is this machine. Of all names, only localhost is: others may point anywhere."""
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return self.host == "localhost"
        return address.is_loopback or address.is_unspecified  # 0.0.0.0, as servers print their own address

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")


def is_address(text: str) -> bool:
    """Whether a text that names a model is a server address, not a path.

    An address turned into a Path has lost one of its slashes, and has backslashes on Windows.
    """
    return re.match(r"\s*https?:[/\\]", text, re.IGNORECASE) is not None


def parse_address(url: str) -> tuple[Origin, str]:
    """(origin, path without a trailing slash) of a base_url. Raises RethinkError."""
    try:
        parts = urlsplit(url.strip())
        origin = _origin(parts)
    except ValueError:  # without its text, which may repeat a password
        raise RethinkError(_NO_ADDRESS) from None
    if parts.username or parts.password or parts.query or parts.fragment:  # nothing secret may get into a record
        raise RethinkError("base_url: a key, name or password does not belong in the address; use key_variable.")
    path = quote(parts.path, safe=IN_PATHS).rstrip("/")
    return origin, path.removesuffix("/chat/completions").removesuffix("/images/edits")  # as manuals show it


def parse_origin(text: str) -> Origin:
    """The origin that a text names: "https://host:port", or "host" alone, which means https. Raises ValueError."""
    parts = urlsplit(text.strip() if "://" in text else f"https://{text.strip()}")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("it has more than scheme, host and port")
    return _origin(parts)


def _origin(parts: SplitResult) -> Origin:
    if parts.scheme not in PORTS or not parts.hostname or parts.port == 0:
        raise ValueError("it is not a web address")
    return Origin(parts.scheme, _host(parts.hostname), parts.port or PORTS[parts.scheme])


def _host(name: str) -> str:
    if ":" in name and "%" not in name:
        address = ipaddress.IPv6Address(name)
        return str(address.ipv4_mapped or address)
    name = name.encode("idna").decode("ascii").lower().removesuffix(".")
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", name):
        raise ValueError("it is not a host name")
    if re.fullmatch(r"\d+|0x[0-9a-f]*", name.rpartition(".")[2]):  # 127.1, 2130706433, 0x7f.1: only the plain form
        return str(ipaddress.IPv4Address(name))
    return name
