"""Packets and recoveries for tests, with the values a test does not care about filled in."""

from collections.abc import Iterable

from rudp_smtp.recovery.congestion import CONTROLLERS, CongestionController
from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS
from rudp_smtp.recovery.recovery import Recovery
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.recovery.timer import TIMERS
from rudp_smtp.registry import Spec
from rudp_smtp.trace import Sink, VantagePoint
from rudp_smtp.units import MILLISECOND

MDS = 1200  # max_datagram_size
INITIAL_RTT = 100 * MILLISECOND
MAX_ACK_DELAY = 25 * MILLISECOND


def ms(count: float) -> int:
    return round(count * MILLISECOND)


def sent_packet(
    packet_number: int, sent_time: int = 0, *, size: int = MDS, is_ack_eliciting: bool = True, is_in_flight: bool = True
) -> SentPacket:
    return SentPacket(packet_number, sent_time, size, is_ack_eliciting, is_in_flight, f"content of {packet_number}")


def silent_packet(packet_number: int, sent_time: int = 0) -> SentPacket:
    """An acknowledgement alone."""
    return sent_packet(packet_number, sent_time, size=40, is_ack_eliciting=False, is_in_flight=False)


def rtt_of(*samples: int) -> RttEstimator:
    rtt = RttEstimator(INITIAL_RTT)
    for sample in samples:
        rtt.on_sample(sample, 0)
    return rtt


def controller(name: str = "new_reno", **parameters: object) -> CongestionController:
    return CONTROLLERS.build(Spec(name, tuple(sorted(parameters.items()))), max_datagram_size=MDS)


def new_recovery(
    *,
    loss_detection: str = "rfc9002",
    timer: str = "pto",
    congestion: str = "new_reno",
    pacing: bool = False,
    is_client: bool = False,
    sink: Sink | None = None,
) -> Recovery:
    """A recovery before its handshake is complete."""
    return Recovery(
        loss_detector=LOSS_DETECTORS.build(Spec(loss_detection)),
        timer=TIMERS.build(Spec(timer)),
        congestion=controller(congestion),
        pacing=pacing,
        initial_rtt=INITIAL_RTT,
        max_ack_delay=0,
        max_datagram_size=MDS,
        is_client=is_client,
        vantage=VantagePoint(sink, "client", 0),
    )


def established(**choices: object) -> Recovery:
    """A recovery after its handshake, which gave no RTT sample."""
    recovery = new_recovery(**choices)  # type: ignore[arg-type]
    recovery.set_handshake_complete(MAX_ACK_DELAY)
    return recovery


def send(recovery: Recovery, count: int, now: int) -> list[int]:
    """Send full packets, whatever the window says; their numbers."""
    first = recovery.sent.next_packet_number
    for number in range(first, first + count):
        recovery.on_packet_sent(sent_packet(number, now))
    return list(range(first, first + count))


def numbers(packets: Iterable[SentPacket]) -> list[int]:
    return [packet.packet_number for packet in packets]


def ranges_of(packet_numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Half-open ranges, highest first, as an ACK frame lists them."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(packet_numbers, reverse=True):
        if ranges and ranges[-1][0] == number + 1:
            ranges[-1] = (number, ranges[-1][1])
        else:
            ranges.append((number, number + 1))
    return ranges
