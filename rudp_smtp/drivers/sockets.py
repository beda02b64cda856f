"""Datagram sockets that never block, and tell of each datagram the ECN codepoint it came with (RFC 3168 section 5)."""

import socket
import struct
from collections.abc import Sequence

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.errors import DriverError

Endpoint = tuple[str, int]

DATAGRAM_MAX = 65_535
ANCILLARY_MAX = 64  # octets of what comes with a datagram: its traffic class, once
RECEIVE_BUFFER = 4 << 20  # asked for; the kernel gives what net.core.rmem_max allows

_SO_MEMINFO = 55  # asm-generic/socket.h: since Linux 4.12
_MEMINFO_DROPS = 8  # SK_MEMINFO_DROPS, linux/sock_diag.h
_IP_RECVTOS = 13  # linux/in.h

Ancillary = Sequence[tuple[int, int, bytes]]


def resolve(address: Endpoint) -> Endpoint:
    """The numbers behind a name, because answers are known by them. Raises DriverError."""
    try:
        (_, _, _, _, found), *_ = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise DriverError(f"{address[0]!r} is no host: {error}") from error
    return str(found[0]), int(found[1])


def bound_socket(address: Endpoint) -> socket.socket:
    """A socket that others send to. Raises DriverError."""
    try:
        bound = socket.socket(_family(address), socket.SOCK_DGRAM)
    except OSError as error:
        raise DriverError(f"no socket for {address[0]} port {address[1]}: {error.strerror or error}") from error
    try:
        prepare(bound)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        bound.close()
        raise DriverError(f"cannot listen on {address[0]} port {address[1]}: {error}") from error
    return bound


def connected_socket(address: Endpoint, own_host: str = "") -> socket.socket:
    """A socket with a port of its own that talks to this address alone, from `own_host` if given. Raises OSError."""
    connected = socket.socket(_family(address), socket.SOCK_DGRAM)
    try:
        prepare(connected)
        if own_host:
            connected.bind((own_host, 0))
        connected.connect(address)
    except OSError:
        connected.close()
        raise
    return connected


def _family(address: Endpoint) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def prepare(own: socket.socket) -> None:
    """Have it never block, take much, and tell codepoints."""
    own.setblocking(False)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    own.setsockopt(socket.IPPROTO_IP, _IP_RECVTOS, 1)  # of IPv4 that comes to an IPv6 socket too
    if own.family == socket.AF_INET6:
        own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)


def kernel_drops(source: socket.socket) -> int:
    """Datagrams the kernel dropped because the socket's buffer was full, or their checksum was wrong."""
    octets = source.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
    return int(struct.unpack("=9I", octets)[_MEMINFO_DROPS]) if len(octets) >= 36 else 0


def ecn_of(ancillary: Ancillary) -> int:
    """The codepoint in what `recvmsg` tells beside the octets: the class is one octet, or an int of whichever order."""
    if not ancillary:
        return NOT_ECT
    octets = ancillary[0][2]
    return (octets[0] | octets[-1]) & 3


class Marking:
    """Sees that what leaves a socket wears its codepoint: one system call for each change, none else."""

    __slots__ = ("_socket", "ecn")

    def __init__(self, own: socket.socket) -> None:
        self._socket = own
        self.ecn = NOT_ECT  # of what is sent now

    def set(self, ecn: int) -> None:
        """Let everything from now on leave with this codepoint. Raises OSError if the socket is closed."""
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, ecn)
        if self._socket.family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, ecn)
        self.ecn = ecn
