"""Where a server listens or is called: SCHEME://HOST:PORT."""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from rudp_smtp.datagram import DEFAULT_PORT
from rudp_smtp.errors import ConfigError
from rudp_smtp.registry import nearest

SCHEMES = ("rudp", "rudps", "tcp", "tcps", "lmtp")
EXAMPLE = f"rudp://127.0.0.1:{DEFAULT_PORT}"


@dataclass(frozen=True, slots=True)
class Address:
    """`rudp` is our transport, `tcp` the kernel's, each with an s for TLS from the first octet (RFC 8314); `lmtp` is
    RFC 2033 over TCP."""

    scheme: str
    host: str
    port: int

    @property
    def is_rudp(self) -> bool:
        return self.scheme.startswith("rudp")

    @property
    def is_encrypted(self) -> bool:
        return self.scheme in ("rudps", "tcps")

    @property
    def is_lmtp(self) -> bool:
        return self.scheme == "lmtp"

    @property
    def domain(self) -> str:
        """The host as SMTP names it: a domain, or an address literal (RFC 5321 section 4.1.3)."""
        host = self.host.partition("%")[0]  # a zone means something on this machine alone (RFC 4007 section 11)
        try:
            return f"[{'IPv6:' if ip_address(host).version == 6 else ''}{host}]"
        except ValueError:
            pass
        try:
            return host if host.isascii() else host.encode("idna").decode("ascii")
        except UnicodeError:  # nor can it be called
            return ascii(host)

    def at(self, port: int) -> "Address":
        """The same with another port."""
        return Address(self.scheme, self.host, port)

    def __str__(self) -> str:
        return f"{self.scheme}://{host_and_port((self.host, self.port))}"


def host_and_port(endpoint: tuple[str, int]) -> str:
    """As a person reads it."""
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_target(option: str, text: str) -> Address:
    """Read one that is called, not listened at."""
    address = parse_address(text)
    if address.port == 0:
        raise ConfigError(f"{option} {text}: nobody can be called at port 0")
    return address


def parse_address(text: str) -> Address:
    """Read one; without a port it is 2525, and without a scheme rudp. Port 0 is any free one."""
    given = text if "://" in text else f"rudp://{text}"
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{text!r}: {error}; expected an address such as {EXAMPLE}") from None
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"{text!r}: unknown scheme {parts.scheme!r}; {nearest(parts.scheme, SCHEMES)}")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ConfigError(f"{text!r}: expected an address such as {EXAMPLE}")
    return Address(parts.scheme, parts.hostname, DEFAULT_PORT if port is None else port)
