"""TokenMint: the proofs of address a server hands out and recognises without remembering them (RFC 9000 s8.1.4).

Two kinds. A cookie goes out in RETRY and comes back at once, from the same port and for the same connection. A ticket
goes out when a connection stands and comes back with a later one, from the same host (a client behind a NAT has
another port by then); it also lets that connection's first octets ride in its first flight, once.
"""

from enum import Enum
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct

from rudp_smtp.draws import DrawKey
from rudp_smtp.transport import Address
from rudp_smtp.units import SECOND

# Who opens a connection: whence, and both connection IDs. It is what makes two INITIAL packets one client's.
FirstFlight = tuple[Address, int, int]

COOKIE_LIFETIME = 10 * SECOND  # ours: the round trip it comes back in, and repetitions of that
TICKET_LIFETIME = 3600 * SECOND  # ours (RFC 8446 section 4.6.1: 7 days at most): used tickets are remembered as long

MAC_SIZE = 16
_COOKIE, _TICKET = 1, 2
_COOKIE_HEAD = Struct(">BI")  # kind, second of issue
_TICKET_HEAD = Struct(">BIQ")  # and serial number
_IDS = Struct(">QQ")


class TokenMint:
    """Owns the secret, which dies with the endpoint, and the tickets' serial numbers."""

    __slots__ = ("_secret", "_serial", "_terms")

    def __init__(self, draws: DrawKey, terms: bytes) -> None:
        """`terms` is what a ticket's holder may rely on: a ticket issued under other terms is none."""
        self._secret = b"".join(draws.draw(index).to_bytes(8, "big") for index in range(4))
        self._terms = terms
        self._serial = 0

    def cookie(self, client: FirstFlight, now: int) -> bytes:
        head = _COOKIE_HEAD.pack(_COOKIE, now // SECOND)
        return head + self._cookie_mac(head, client)

    def ticket(self, remote: Address, now: int) -> bytes:
        head = _TICKET_HEAD.pack(_TICKET, now // SECOND, self._serial)
        self._serial += 1
        return head + self._ticket_mac(head, remote)

    def proves_cookie(self, token: bytes, client: FirstFlight, now: int) -> bool:
        """Whether the token is a cookie of ours, fresh, and for this client's first flight."""
        if len(token) != _COOKIE_HEAD.size + MAC_SIZE:
            return False
        head, mac = token[:-MAC_SIZE], token[-MAC_SIZE:]
        kind, issued = _COOKIE_HEAD.unpack(head)
        if kind != _COOKIE or not _is_fresh(issued, COOKIE_LIFETIME, now):
            return False
        return compare_digest(mac, self._cookie_mac(head, client))

    def ticket_serial(self, token: bytes, remote: Address, now: int) -> int | None:
        """Which ticket of ours the token is, if it is one that this host may still use."""
        if len(token) != _TICKET_HEAD.size + MAC_SIZE:
            return None
        head, mac = token[:-MAC_SIZE], token[-MAC_SIZE:]
        kind, issued, serial = _TICKET_HEAD.unpack(head)
        if kind != _TICKET or not _is_fresh(issued, TICKET_LIFETIME, now):
            return None
        return serial if compare_digest(mac, self._ticket_mac(head, remote)) else None

    def _cookie_mac(self, head: bytes, client: FirstFlight) -> bytes:
        remote, original_id, client_id = client
        return self._mac(head + _IDS.pack(original_id, client_id) + repr(remote).encode())

    def _ticket_mac(self, head: bytes, remote: Address) -> bytes:
        host = remote[0] if isinstance(remote, tuple) else remote
        return self._mac(head + self._terms + repr(host).encode())

    def _mac(self, octets: bytes) -> bytes:
        return blake2b(octets, digest_size=MAC_SIZE, key=self._secret).digest()


class TokenKind(Enum):
    """What a server takes a client's token for, by its looks alone."""

    NONE = "none"
    COOKIE = "cookie"
    OTHER = "other"


def kind_of(token: bytes) -> TokenKind:
    if not token:
        return TokenKind.NONE
    return TokenKind.COOKIE if token[0] == _COOKIE else TokenKind.OTHER


def _is_fresh(issued: int, lifetime: int, now: int) -> bool:
    return issued * SECOND <= now < issued * SECOND + SECOND + lifetime
