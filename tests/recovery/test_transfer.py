"""Every combination of plug-ins moves everything across a bad path: one sender, one receiver, keyed fates."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.ack.policy import ACK_POLICIES
from rudp_smtp.ack.tracker import AckTracker
from rudp_smtp.draws import DrawKey
from rudp_smtp.recovery.congestion import CONTROLLERS
from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS
from rudp_smtp.recovery.recovery import Recovery
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.recovery.timer import TIMERS
from rudp_smtp.registry import Spec
from rudp_smtp.units import PROBABILITY_ONE, SECOND
from tests.recovery.builders import MAX_ACK_DELAY, MDS, established, ms

DELAY = ms(20)
ACK_RANGES = 32
EVENTS_MAX = 200_000


@dataclass
class Fates:
    """What the path does: a draw for each packet and each acknowledgement."""

    seed: int
    loss: int = 0  # percent
    late: int = 0  # percent, by up to 30 ms

    def delay(self, direction: str, index: int) -> int | None:
        """How long it takes; None: for ever."""
        draws = DrawKey(self.seed, direction)
        if draws.happens(index, PROBABILITY_ONE * self.loss // 100):
            return None
        extra = draws.below(index, ms(30), attempt=1) if draws.below(index, 100, attempt=2) < self.late else 0
        return DELAY + extra


@dataclass
class Transfer:
    """Moves `chunks` pieces, each in a packet, until the receiver has them all and the sender knows."""

    recovery: Recovery
    acks: AckTracker
    fates: Fates
    chunks: int
    now: int = 0
    fated: dict[int, str] = field(default_factory=dict)  # packet number -> acked, lost or spurious
    received: set[int] = field(default_factory=set)
    wire: list[tuple[int, int, SentPacket | list[tuple[int, int]]]] = field(default_factory=list)  # time, order, what
    order: int = 0
    probes: int = 0

    def run(self) -> None:
        waiting = list(range(self.chunks - 1, -1, -1))
        for _ in range(EVENTS_MAX):
            self._send_all(waiting)
            assert self.recovery.sent.bytes_in_flight >= 0
            deadlines = [self.recovery.next_timeout(), self.acks.ack_deadline, self.wire[0][0] if self.wire else None]
            if waiting:
                deadlines.append(self.recovery.pacing_deadline(self.now))
            upcoming = [deadline for deadline in deadlines if deadline is not None]
            if not upcoming:
                return
            assert min(upcoming) >= self.now
            self.now = min(upcoming)
            self._step(waiting)
        raise AssertionError("no end")

    def _send_all(self, waiting: list[int]) -> None:
        while self.probes:
            self.probes -= 1
            self._send(waiting.pop() if waiting else -1)
        while waiting and self.recovery.send_allowance(self.now):
            self._send(waiting.pop())

    def _send(self, chunk: int) -> None:
        packet = SentPacket(self.recovery.sent.next_packet_number, self.now, MDS, True, True, chunk)
        self.recovery.on_packet_sent(packet)
        self._put(self.fates.delay("data", packet.packet_number), packet)

    def _put(self, delay: int | None, what: SentPacket | list[tuple[int, int]]) -> None:
        self.order += 1
        if delay is not None:
            self.wire.append((self.now + delay, self.order, what))
            self.wire.sort(key=lambda entry: entry[:2])

    def _step(self, waiting: list[int]) -> None:
        while self.wire and self.wire[0][0] <= self.now:
            _, _, what = self.wire.pop(0)
            if isinstance(what, SentPacket):
                rtt = self.recovery.rtt.smoothed_rtt
                assert self.acks.on_packet_received(what.packet_number, True, what.size, rtt, self.now)
                assert isinstance(what.contents, int)
                self.received.add(what.contents)
                self._acknowledge_if_due()
            else:
                outcome = self.recovery.on_ack_received(what, 0, self.now)
                self._note(outcome.acked, "acked")
                self._note(outcome.spurious, "spurious")
                self._repeat(outcome.lost, waiting)
        self._acknowledge_if_due()
        timeout = self.recovery.on_timeout(self.now)
        self._repeat(timeout.lost, waiting)
        self.probes += timeout.probes

    def _acknowledge_if_due(self) -> None:
        if self.acks.ack_deadline is not None and self.acks.ack_deadline <= self.now:
            self.acks.on_ack_sent(self.now, is_ack_eliciting=False)
            self._put(self.fates.delay("ack", self.order), self.acks.ack_ranges(ACK_RANGES))

    def _note(self, packets: object, fate: str) -> None:
        assert isinstance(packets, list | tuple)
        for packet in packets:
            before = "lost" if fate == "spurious" else None
            assert self.fated.get(packet.packet_number) == before
            self.fated[packet.packet_number] = fate

    def _repeat(self, lost: object, waiting: list[int]) -> None:
        self._note(lost, "lost")
        assert isinstance(lost, list | tuple)
        waiting.extend(packet.contents for packet in reversed(lost) if packet.contents >= 0)


def transfer_of(fates: Fates, chunks: int, ack: str = "every_n", **choices: object) -> Transfer:
    acks = AckTracker(ACK_POLICIES.build(Spec(ack)), MAX_ACK_DELAY)
    return Transfer(established(**choices), acks, fates, chunks)


COMBINATIONS = list(
    itertools.product(LOSS_DETECTORS.names(), TIMERS.names(), CONTROLLERS.names(), ACK_POLICIES.names())
)


@pytest.mark.parametrize(("loss_detection", "timer", "congestion", "ack"), COMBINATIONS)
def test_everything_arrives_and_every_packet_has_one_fate(
    loss_detection: str, timer: str, congestion: str, ack: str
) -> None:
    transfer = transfer_of(
        Fates(seed=7, loss=10, late=5),
        120,
        ack=ack,
        loss_detection=loss_detection,
        timer=timer,
        congestion=congestion,
        pacing=True,
    )
    transfer.run()
    assert transfer.received >= set(range(120))
    assert transfer.recovery.sent.bytes_in_flight == 0
    assert not transfer.recovery.sent.outstanding
    assert len(transfer.fated) == transfer.recovery.sent.next_packet_number


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from(COMBINATIONS),
    st.booleans(),
)
def test_any_loss_and_lateness_is_survived(
    seed: int, loss: int, late: int, combination: tuple[str, str, str, str], pacing: bool
) -> None:
    loss_detection, timer, congestion, ack = combination
    transfer = transfer_of(
        Fates(seed, loss, late),
        40,
        ack=ack,
        loss_detection=loss_detection,
        timer=timer,
        congestion=congestion,
        pacing=pacing,
    )
    transfer.run()
    assert transfer.received >= set(range(40))
    assert transfer.recovery.sent.bytes_in_flight == 0


@pytest.mark.parametrize("congestion", CONTROLLERS.names())
def test_nothing_is_repeated_on_a_clean_path(congestion: str) -> None:
    transfer = transfer_of(Fates(seed=1), 400, congestion=congestion, pacing=True)
    transfer.run()
    assert transfer.recovery.sent.next_packet_number == 400
    assert transfer.now < SECOND
