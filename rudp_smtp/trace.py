"""Every observable fact as a frozen dataclass, with qlog's names, and where facts go.

The core holds a `Sink | None`: when nobody listens a fact costs one comparison and is not even built. Times are
virtual nanoseconds. Facts never hold clocks, process numbers or random names, so a trace is as reproducible as a run.
"""

from dataclasses import dataclass
from typing import Final, Protocol

NO_NUMBER: Final = -1  # of a packet that has none, as RETRY and VERSION_NEGOTIATION, or of no connection at all


@dataclass(frozen=True, slots=True)
class PacketSent:
    """A packet left a connection. `streams` lists (stream_id, start, stop) offsets carried."""

    time: int
    host: str  # which endpoint saw it: "client" or "server"
    connection: int  # ordinal of the connection at that endpoint
    packet_number: int
    size: int
    is_ack_eliciting: bool
    streams: tuple[tuple[int, int, int], ...]
    is_retransmission: bool  # carries stream octets that were sent before
    is_probe: bool
    is_path_probe: bool = False  # looks whether a larger datagram arrives


@dataclass(frozen=True, slots=True)
class PacketReceived:
    time: int
    host: str
    connection: int
    packet_number: int
    size: int


@dataclass(frozen=True, slots=True)
class PacketDropped:
    """Octets that were not accepted; `trigger` is qlog's reason (integrity_check_failed, duplicate, ...)."""

    time: int
    host: str
    size: int
    trigger: str


@dataclass(frozen=True, slots=True)
class PacketAcked:
    time: int
    host: str
    connection: int
    packet_number: int


@dataclass(frozen=True, slots=True)
class PacketLost:
    """Declared lost; `trigger` is reordering_threshold, time_threshold or pto_expired."""

    time: int
    host: str
    connection: int
    packet_number: int
    trigger: str


@dataclass(frozen=True, slots=True)
class SpuriousLoss:
    """A packet declared lost was acknowledged after all."""

    time: int
    host: str
    connection: int
    packet_number: int


@dataclass(frozen=True, slots=True)
class MetricsUpdated:
    time: int
    host: str
    connection: int
    smoothed_rtt: int
    min_rtt: int
    congestion_window: int
    bytes_in_flight: int
    latest_rtt: int
    rttvar: int
    pto_count: int  # expiries in a row that nothing has answered yet
    ssthresh: int | None = None  # None: there is none, or none yet
    phase: str = ""  # the congestion controller's, in its own words


@dataclass(frozen=True, slots=True)
class TimerExpired:
    """The loss detection timer went off (RFC 9002 appendix A.9): ack, to declare losses, or pto, for silence."""

    time: int
    host: str
    connection: int
    timer: str


@dataclass(frozen=True, slots=True)
class ConnectionStateUpdated:
    time: int
    host: str
    connection: int
    state: str


@dataclass(frozen=True, slots=True)
class MtuUpdated:
    """Path MTU discovery found that datagrams of `size` octets arrive, and from now on they are that large."""

    time: int
    host: str
    connection: int
    size: int


@dataclass(frozen=True, slots=True)
class EcnStateUpdated:
    """What is thought of ECN on the way out: testing, unknown, capable or failed."""

    time: int
    host: str
    connection: int
    state: str


@dataclass(frozen=True, slots=True)
class MigrationStateUpdated:
    """The peer sends from another address: migration_started, migration_complete or migration_abandoned."""

    time: int
    host: str
    connection: int
    state: str


@dataclass(frozen=True, slots=True)
class SmtpCommand:
    """A client said this command, or a server heard it."""

    time: int
    host: str
    connection: int
    stream_id: int
    line: str  # without its end


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """A server said this reply, or a client heard it."""

    time: int
    host: str
    connection: int
    stream_id: int
    code: int
    text: str  # of all its lines


@dataclass(frozen=True, slots=True)
class SmtpContent:
    """The last of a message's octets was said or heard; `size` is of the message as it is on the stream."""

    time: int
    host: str
    connection: int
    stream_id: int
    size: int


@dataclass(frozen=True, slots=True)
class LinkFate:
    """What a link decided about its packet `index`.

    passed, lost, queue_full, too_big, blackholed, dropped_by_rule, duplicated, corrupted, reordered or marked.
    """

    time: int
    link: str
    index: int
    size: int
    fate: str


Fact = (
    PacketSent
    | PacketReceived
    | PacketDropped
    | PacketAcked
    | PacketLost
    | SpuriousLoss
    | MetricsUpdated
    | TimerExpired
    | ConnectionStateUpdated
    | MtuUpdated
    | EcnStateUpdated
    | MigrationStateUpdated
    | SmtpCommand
    | SmtpReply
    | SmtpContent
    | LinkFate
)


class Sink(Protocol):
    """Where facts go."""

    def emit(self, fact: Fact) -> None: ...


class VantagePoint:
    """Where facts are seen from, host and connection, and who listens."""

    __slots__ = ("connection", "host", "sink")

    def __init__(self, sink: Sink | None, host: str, connection: int) -> None:
        self.sink = sink
        self.host = host
        self.connection = connection


class ListSink:
    """Keeps every fact, in order."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def emit(self, fact: Fact) -> None:
        self.facts.append(fact)
