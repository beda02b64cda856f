"""TransportConfig: all that a scenario may set of `rudp`, each default beside the section it comes from."""

from dataclasses import dataclass
from typing import Annotated, Literal

from rudp_smtp.ack.policy import ACK_POLICIES
from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.congestion import CONTROLLERS
from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS
from rudp_smtp.recovery.redundancy import REDUNDANCIES
from rudp_smtp.recovery.timer import TIMERS
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, SECOND, Duration, Size
from rudp_smtp.wire.hello import MIN_DATAGRAM_SIZE
from rudp_smtp.wire.packet import MAX_DATAGRAM_SIZE

ACK_DELAY_MAX = (1 << 14) * MILLISECOND  # RFC 9000 section 18.2: 2**14 ms or more is invalid
MIN_ACK_DELAY = MILLISECOND  # draft-ietf-quic-ack-frequency section 3: what our timers resolve
STREAMS_MAX = 1 << 16
CONNECTIONS_MAX = 1 << 20
MIB = 1 << 20

# The profile for everything: what does best on the reference path (experiments/path) without harm to others
# (experiments/fairness) and holds everywhere else (experiments/robustness). RFC 9002 section 6 allows other detectors
# and section 7 other controllers.
_DETECTOR = Spec("rack")
_TIMER = Spec("pto_eager")
_ACK_POLICY = Spec("adaptive")
_CONTROLLER = Spec("bbr")
_REDUNDANCY = Spec("none")


@dataclass(frozen=True, kw_only=True)
class TransportConfig:
    loss_detection: Annotated[Spec, LOSS_DETECTORS] = _DETECTOR
    timer: Annotated[Spec, TIMERS] = _TIMER
    ack: Annotated[Spec, ACK_POLICIES] = _ACK_POLICY
    congestion: Annotated[Spec, CONTROLLERS] = _CONTROLLER
    redundancy: Annotated[Spec, REDUNDANCIES] = _REDUNDANCY
    # Ask the peer for one that fits the window, and obey its own request if the ACK policy lets it ask.
    ack_frequency: bool = True
    pacing: bool = True  # RFC 9002 section 7.7
    max_datagram_size: Size = 1472  # Ethernet's 1500 octets less the IPv4 and UDP headers
    # RFC 9000 section 14.3, RFC 8899: start at 1200 and probe for more, up to max_datagram_size. Without, the path is
    # known to carry that.
    mtu_discovery: bool = True
    ecn: bool = True  # RFC 9000 section 13.4: mark what we send ECT(0); marks that arrive are reported in any case
    keep_alive: Duration = 0  # RFC 9000 section 10.1.2: of silence, before a PING; 0 is never
    # RFC 9002 section 6.2.2 says 333 ms, which makes the first time-out a second. Here a lost first flight is repeated
    # after a third of one: an INITIAL is idempotent, and on a path slower than that the copies cost a packet or two.
    initial_rtt: Duration = 100 * MILLISECOND
    max_ack_delay: Duration = 25 * MILLISECOND  # RFC 9000 section 18.2
    max_idle_timeout: Duration = 30 * SECOND  # RFC 9000 section 10.1 leaves it to us; 0 is never
    # RFC 9000 section 4.1 leaves windows to us. These are the most they grow to: 600 ms x 1 Gbit/s (75 MB) and its
    # repairs. Only a path that carries as much makes them grow so far; who serves strangers sets less.
    connection_window: Size = 192 * MIB
    stream_window: Size = 160 * MIB
    # What they are at first: more than slow start sends before they have grown.
    initial_connection_window: Size = MIB // 2
    initial_stream_window: Size = MIB // 4
    max_streams: int = 100  # RFC 9000 section 4.6: at a time, opened by the peer
    max_connections: int = 10_000  # of an endpoint that accepts
    max_half_open: int = 256  # of these, whose client's address nothing proves yet (RFC 9000 section 21.2)
    # RFC 9000 section 8.1.2: whether clients prove their address first, which costs a round trip and keeps no state;
    # auto: while half-open connections are many.
    retry: Literal["auto", "always", "never"] = "auto"
    # RFC 9000 section 8.1.3, RFC 9001 section 4.6: whether servers hand out tickets, and clients come back with them.
    resumption: bool = True

    @property
    def is_ack_frequency_offered(self) -> bool:
        """Whether the peer may ask for one."""
        return self.ack_frequency and ACK_POLICIES.load(self.ack.name).is_negotiable

    @property
    def first_connection_window(self) -> int:
        return min(self.initial_connection_window, self.connection_window)

    @property
    def first_stream_window(self) -> int:
        return min(self.initial_stream_window, self.stream_window)

    @staticmethod
    def check(
        *,
        max_datagram_size: int = 1472,
        initial_rtt: int = MILLISECOND,
        max_ack_delay: int = 0,
        connection_window: int = MIB,
        stream_window: int = MIB,
        initial_connection_window: int = MIB,
        initial_stream_window: int = MIB,
        max_streams: int = 1,
        max_connections: int = 1,
        max_half_open: int = 1,
        **_: object,
    ) -> None:
        """Refuse what cannot work."""
        _within("max_datagram_size", max_datagram_size, MIN_DATAGRAM_SIZE, MAX_DATAGRAM_SIZE, "B")
        _within("initial_rtt", initial_rtt, MILLISECOND, 60 * SECOND, "ns")
        _within("max_ack_delay", max_ack_delay, 0, ACK_DELAY_MAX - 1, "ns")
        _within("connection_window", connection_window, MAX_DATAGRAM_SIZE, 1 << 32, "B")
        _within("stream_window", stream_window, MAX_DATAGRAM_SIZE, 1 << 32, "B")
        _within("initial_connection_window", initial_connection_window, MAX_DATAGRAM_SIZE, 1 << 32, "B")
        _within("initial_stream_window", initial_stream_window, MAX_DATAGRAM_SIZE, 1 << 32, "B")
        _within("max_streams", max_streams, 1, STREAMS_MAX, "")
        _within("max_connections", max_connections, 1, CONNECTIONS_MAX, "")
        _within("max_half_open", max_half_open, 1, CONNECTIONS_MAX, "")


def _within(key: str, value: int, minimum: int, maximum: int, unit: str) -> None:
    if not minimum <= value <= maximum:
        raise ConfigError(f"{value}{unit} is out of range; expected {minimum}{unit} to {maximum}{unit}", key=key)
