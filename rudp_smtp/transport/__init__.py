"""Ordered byte streams over datagrams: what every transport looks like from outside, and their registry.

Sans-IO, with three kinds of method. Inputs from network and clock: `receive_datagram`, `handle_timeout`. Commands
from the application: verbs. Outputs, pulled until they return None: `next_datagram`, `next_event`, then
`next_timeout`. After each input or command drain every output before the next one (`drivers/pump.py`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar, Protocol, runtime_checkable

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.datagram import Address as Address
from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.registry import Registry
from rudp_smtp.trace import Sink, VantagePoint


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is complete."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream; it may carry data both ways at once."""

    stream_id: int


@dataclass(slots=True)
class StreamData:
    """The next octets of a stream, in order. `is_fin`: there will be no more (half-close). Data may be empty then.

    Left alone after it is built: there is one for nearly every packet.
    """

    stream_id: int
    data: bytes
    is_fin: bool


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """A stream whose buffer was full (see `Transport.send`) has room again."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave up its sending side (RFC 9000 s3.5)."""

    stream_id: int
    error_code: int


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The peer no longer reads what we send on the stream (STOP_SENDING)."""

    stream_id: int
    error_code: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over; no event follows. `cause`: local, peer, idle_timeout, protocol_error or
    version_negotiation."""

    cause: str
    error_code: int
    reason: str


Event = Established | StreamOpened | StreamData | StreamWritable | StreamReset | StreamStopped | Closed


@dataclass(slots=True)
class TransportStats:
    """Counted from the first packet to the last, per connection; sums are meaningful."""

    packets_sent: int = 0
    packets_received: int = 0
    packets_acked: int = 0
    packets_lost: int = 0  # declared lost by us
    packets_spurious: int = 0  # of these, acknowledged later
    packets_missing: int = 0  # the peer's, by gaps in their numbers: lost, still on their way, or skipped on purpose
    packets_duplicate: int = 0  # received more than once
    packets_dropped: int = 0  # received and refused (integrity, version, syntax)
    acks_sent: int = 0  # packets that carried nothing but an acknowledgement
    probes_sent: int = 0
    copies_sent: int = 0  # packets that repeat what a packet not yet lost carried
    bytes_sent: int = 0  # UDP payload octets
    bytes_received: int = 0
    stream_bytes_sent: int = 0  # first transmissions of stream octets
    stream_bytes_retransmitted: int = 0
    stream_bytes_delivered: int = 0  # handed to the application in order
    ecn_marked: int = 0  # packets of ours that arrived with CE, by the peer's count
    mtu_probes_sent: int = 0
    black_holes: int = 0  # times that only small datagrams arrived any more
    migrations: int = 0  # times the peer's packets came from another address
    smoothed_rtt: int = 0  # last known, ns
    min_rtt: int = 0
    congestion_window: int = 0  # last known, bytes
    datagram_size: int = 0  # last known, of the largest datagrams sent
    untold: frozenset[str] = frozenset()  # counters that mean nothing here: the transport does not tell


_LAST_KNOWN = ("smoothed_rtt", "min_rtt", "congestion_window", "datagram_size")
_COUNTERS = tuple(field.name for field in fields(TransportStats) if field.name not in (*_LAST_KNOWN, "untold"))


def add_stats(total: TransportStats, stats: TransportStats) -> None:
    """Add counters; of what is only last known, keep the latest."""
    for name in _COUNTERS:
        setattr(total, name, getattr(total, name) + getattr(stats, name))
    for name in _LAST_KNOWN:
        setattr(total, name, getattr(stats, name) or getattr(total, name))
    total.untold |= stats.untold


ERROR_CODE_MAX = (1 << 62) - 1  # RFC 9000 section 16: what QUIC can say


def require_error_code(error_code: int) -> None:
    """RFC 9000 s20.2: an application's codes are its own, but they have to fit."""
    if not 0 <= error_code <= ERROR_CODE_MAX:
        raise LocalProtocolError(f"error code {error_code} is not from 0 to 2**62 - 1")


class Transport(Protocol):
    """One connection, as an application commands it."""

    @property
    def vantage(self) -> VantagePoint:
        """Where its facts are seen from and who listens: an application's own facts go there too."""

    @property
    def stats(self) -> TransportStats: ...

    def open_stream(self) -> int:
        """Open a bidirectional stream, also before the handshake is complete; its ID."""

    def send(self, stream_id: int, data: bytes, fin: bool = False, *, is_replay_safe: bool = False) -> None:
        """Queue octets. Never refused for size: a polite sender stops when `unsent_bytes` is above its taste and
        goes on at `StreamWritable`. Raises LocalProtocolError after fin, reset or close.

        `is_replay_safe`: no harm if the peer takes these octets twice. Written before the handshake is complete they
        may ride in the first flight to a server known from before (RFC 9001 section 9.2); octets behind others of the
        stream that are not safe never do. A transport without resumption has no use for it."""

    def unsent_bytes(self, stream_id: int) -> int:
        """Octets queued on the stream that no packet has carried yet."""

    def reset_stream(self, stream_id: int, error_code: int) -> None: ...

    def stop_sending(self, stream_id: int, error_code: int) -> None: ...

    def close(self, now: int) -> None:
        """Close gracefully: what was queued is delivered and acknowledged first."""

    def reset(self, error_code: int, reason: str, now: int) -> None:
        """Close at once, telling the peer why; what is not acknowledged may be lost."""


@runtime_checkable
class PausableTransport(Transport, Protocol):
    """One whose application may read slowly: with flow control between it and the network (RFC 9000 s4)."""

    def pause_reading(self, stream_id: int) -> None:
        """Give the peer no more credit for what the stream still delivers: its window's worth at most."""

    def resume_reading(self, stream_id: int) -> None:
        """What was delivered meanwhile has been read."""

    @property
    def remote(self) -> Address:
        """Where the peer is; it may move (RFC 9000 s9)."""


class Endpoint(Protocol):
    """All the connections of one host and port: finds the connection a datagram belongs to, accepts new ones."""

    def connect(self, remote: Address, now: int) -> Transport: ...

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None: ...

    def handle_timeout(self, now: int) -> None: ...

    def next_datagram(self, now: int) -> tuple[bytes, Address, int] | None:
        """A datagram, where it goes, and the ECN codepoint to send it with."""

    def next_event(self) -> tuple[Transport, Event] | None: ...

    def next_timeout(self) -> int | None: ...

    def total_stats(self) -> TransportStats:
        """The sum over all connections, past ones too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How much an endpoint that serves strangers gives away at a time.

    Windows are what a peer can make us hold without our application: it leaves a hole, and says all that comes behind.
    """

    connections: int = 2000
    connections_per_client: int = 200
    window_octets: int = 192 << 20
    window_octets_per_client: int = 48 << 20


@runtime_checkable
class LimitedEndpoint(Endpoint, Protocol):
    """One that can tell its clients from each other."""

    def limit_clients(self, limits: ConnectionLimits, client_of: Callable[[Address], str]) -> None:
        """`client_of` names whoever is behind an address: all that have the same name are one client."""


class TransportPlugin(ABC):
    """A transport's parameters, as a scenario gives them, and the way to an endpoint that obeys them."""

    needs_kernel: ClassVar[bool] = False  # a host's own, which speaks it: there is no simulating it

    @abstractmethod
    def endpoint(self, *, host: str, accepts: bool, draws: DrawKey, sink: Sink | None) -> Endpoint:
        """`draws` is all the randomness the endpoint gets; `host` names it in facts."""


TRANSPORTS: Registry[TransportPlugin] = Registry(
    "transport",
    __name__,
    selector="name",
    groups=("arq", "peers"),
    support=(
        "alarms",
        "books",
        "connection",
        "endpoint",
        "frame",
        "kcp_adapter",
        "parameters",
        "plugin",
        "protocol",
        "quic_adapter",
        "round_robin",
        "segments",
        "state",
        "tcp_adapter",
        "timer",
    ),
)
