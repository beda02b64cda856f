"""Which packets an acknowledgement names, against a naive model; RFC 9002 appendix A."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.recovery.sent import LOSSES_KEPT, UNCOUNTED_KEPT, SentPacket, SentPackets
from tests.recovery.builders import MDS, numbers, ranges_of, sent_packet, silent_packet


def flight_of(count: int) -> SentPackets:
    sent = SentPackets()
    for number in range(count):
        sent.on_packet_sent(sent_packet(number, number))
    return sent


def test_bytes_in_flight_rise_with_what_is_sent_and_fall_with_what_is_acked_or_lost() -> None:
    sent = flight_of(5)
    assert sent.bytes_in_flight == 5 * MDS
    sent.on_ack_received([(2, 4)])
    assert sent.bytes_in_flight == 3 * MDS
    sent.on_packets_lost(sent.missing[:1], now=10)
    assert sent.bytes_in_flight == 2 * MDS


def test_a_packet_is_handed_back_with_its_contents_once() -> None:
    sent = flight_of(3)
    acked, _ = sent.on_ack_received([(0, 2)])
    assert [packet.contents for packet in acked] == ["content of 0", "content of 1"]
    acked, _ = sent.on_ack_received([(0, 3)])
    assert numbers(acked) == [2]


def test_packets_in_the_gaps_of_an_acknowledgement_are_missing() -> None:
    sent = flight_of(8)
    acked, _ = sent.on_ack_received([(6, 7), (2, 4)])
    assert numbers(acked) == [2, 3, 6]
    assert numbers(sent.missing) == [0, 1, 4, 5]


def test_a_missing_packet_is_acknowledged_when_its_gap_closes() -> None:
    sent = flight_of(8)
    sent.on_ack_received([(6, 7), (2, 4)])
    acked, spurious = sent.on_ack_received([(6, 8), (2, 5)])
    assert numbers(acked) == [4, 7]
    assert numbers(sent.missing) == [0, 1, 5]
    assert not spurious


def test_an_acknowledgement_that_arrives_late_changes_nothing() -> None:
    sent = flight_of(8)
    sent.on_ack_received([(0, 6)])
    assert sent.on_ack_received([(0, 3)]) == ([], ())
    assert sent.largest_acked == 5


class CountingDict(dict[int, SentPacket]):
    """Counts how often something is looked for."""

    looks = 0

    def pop(self, *arguments: object) -> object:  # type: ignore[override]
        self.looks += 1
        return super().pop(*arguments)  # type: ignore[call-overload]


def test_a_range_that_reaches_far_back_is_walked_only_where_it_is_new() -> None:
    sent = SentPackets()
    sent.outstanding = looked_for = CountingDict()
    for number in range(0, 3000, 3):
        for late in range(3):
            sent.on_packet_sent(sent_packet(number + late))
        acked, _ = sent.on_ack_received([(number + 2, number + 3), (0, number + 1)])
        assert [packet.packet_number for packet in acked][-2:] == [number, number + 2]
    assert looked_for.looks <= 3000


def test_a_packet_declared_lost_and_acknowledged_later_is_told_apart() -> None:
    sent = flight_of(6)
    sent.on_ack_received([(2, 6)])
    sent.on_packets_lost(list(sent.missing), now=100)
    acked, spurious = sent.on_ack_received([(1, 6)])
    assert not acked
    assert numbers(spurious) == [1]
    acked, spurious = sent.on_ack_received([(1, 6)])
    assert not acked
    assert not spurious


def test_everything_in_flight_may_be_lost_and_still_be_acknowledged() -> None:
    sent = flight_of(4)
    sent.on_packets_lost(sent.in_flight(), now=100)
    assert sent.bytes_in_flight == 0
    acked, spurious = sent.on_ack_received([(3, 4), (0, 1)])
    assert not acked
    assert numbers(spurious) == [0, 3]
    assert sent.largest_acked == 3


def test_a_loss_is_forgotten_after_its_time() -> None:
    sent = flight_of(6)
    sent.on_ack_received([(5, 6)])
    sent.on_packets_lost(sent.missing[:2], now=100)
    sent.on_packets_lost(list(sent.missing), now=200)
    sent.forget_losses(before=200)
    _, spurious = sent.on_ack_received([(0, 6)])
    assert numbers(spurious) == [2, 3, 4]


def test_the_memory_of_losses_is_bounded() -> None:
    sent = flight_of(LOSSES_KEPT + 10)
    sent.on_packets_lost(sent.in_flight(), now=0)
    _, spurious = sent.on_ack_received([(0, LOSSES_KEPT + 10)])
    assert len(spurious) == LOSSES_KEPT
    assert spurious[0].packet_number == 10


@pytest.mark.parametrize("ranges", [[(3, 4)], [(0, 4)], [(10**18, 10**18 + 1), (0, 2)]])
def test_an_acknowledgement_of_a_packet_never_sent_breaks_the_protocol(ranges: list[tuple[int, int]]) -> None:
    """RFC 9000 section 13.1: a connection error of type PROTOCOL_VIOLATION."""
    sent = flight_of(3)
    with pytest.raises(RemoteProtocolError) as caught:
        sent.on_ack_received(ranges)
    assert caught.value.error_code == ErrorCode.PROTOCOL_VIOLATION
    assert sent.bytes_in_flight == 3 * MDS


def test_a_packet_that_is_not_in_flight_is_handed_back_but_never_missed() -> None:
    """RFC 9000 section 13.3: an acknowledgement is not repeated, so it need not be found lost."""
    sent = SentPackets()
    sent.on_packet_sent(silent_packet(0))
    sent.on_packet_sent(silent_packet(1))
    sent.on_packet_sent(sent_packet(2))
    assert sent.bytes_in_flight == MDS
    acked, _ = sent.on_ack_received([(1, 3)])
    assert numbers(acked) == [1, 2]
    assert not sent.missing
    assert not sent.outstanding


def test_acknowledgements_that_are_never_acknowledged_do_not_pile_up() -> None:
    sent = SentPackets()
    for number in range(10_000):
        sent.on_packet_sent(silent_packet(number))
    assert len(sent.outstanding) == UNCOUNTED_KEPT
    acked, _ = sent.on_ack_received([(0, 10_000)])
    assert len(acked) == UNCOUNTED_KEPT


def test_only_ack_eliciting_packets_in_flight_count_for_the_timer() -> None:
    sent = SentPackets()
    sent.on_packet_sent(sent_packet(0, 5))
    sent.on_packet_sent(silent_packet(1, 9))
    assert sent.ack_eliciting_in_flight == 1
    assert sent.last_ack_eliciting_time == 5
    sent.on_ack_received([(0, 1)])
    assert sent.ack_eliciting_in_flight == 0


class NaiveSentPackets:
    """The same book-keeping by brute force: a fate for each number, and every question asked of all of them."""

    def __init__(self) -> None:
        self.fates: dict[int, str] = {}  # outstanding, silent, acked, lost or forgotten
        self.largest_acked = -1
        self.silent: list[int] = []  # whatever became of them

    def numbers_with(self, *fates: str) -> list[int]:
        return [number for number, fate in self.fates.items() if fate in fates]

    def send(self, is_silent: bool) -> int:
        number = len(self.fates)
        self.fates[number] = "silent" if is_silent else "outstanding"
        self.silent += [number] if is_silent else []
        for old in self.silent[:-UNCOUNTED_KEPT]:
            if self.fates[old] == "silent":
                self.fates[old] = "forgotten"
        return number

    def acknowledge(self, named: set[int]) -> tuple[list[int], list[int]]:
        acked = [number for number in self.numbers_with("outstanding", "silent") if number in named]
        spurious = [number for number in self.numbers_with("lost") if number in named]
        self.fates.update(dict.fromkeys(acked + spurious, "acked"))
        self.largest_acked = max(self.largest_acked, *named)
        forgotten = [number for number in self.numbers_with("silent") if number < self.largest_acked]
        self.fates.update(dict.fromkeys(forgotten, "forgotten"))
        return acked, spurious

    def missing(self) -> list[int]:
        return [number for number in self.numbers_with("outstanding") if number < self.largest_acked]

    def lose(self, lost: list[int]) -> None:
        self.fates.update(dict.fromkeys(lost, "lost"))


def send_both(sent: SentPackets, model: NaiveSentPackets, is_silent: bool) -> None:
    number = model.send(is_silent)
    sent.on_packet_sent(silent_packet(number) if is_silent else sent_packet(number))


@st.composite
def named_packets(draw: st.DrawFn, sent_count: int, received: set[int]) -> set[int]:
    """What an acknowledgement names: mostly a receiver's growing set, sometimes anything at all."""
    fresh = draw(st.sets(st.integers(max(0, sent_count - 12), sent_count - 1), max_size=8))
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sets(st.integers(0, sent_count - 1), min_size=1))
    received |= fresh
    floor = draw(st.integers(0, max(received, default=0)))
    return {number for number in received if number >= floor} or {draw(st.integers(0, sent_count - 1))}


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_any_sequence_of_sends_losses_and_acknowledgements_agrees_with_the_naive_model(data: st.DataObject) -> None:
    sent, model = SentPackets(), NaiveSentPackets()
    received: set[int] = set()
    for now in range(data.draw(st.integers(1, 25), label="rounds")):
        for is_silent in data.draw(st.lists(st.sampled_from([False, False, False, True]), min_size=1, max_size=6)):
            send_both(sent, model, is_silent)
        match data.draw(st.sampled_from(["ack", "ack", "ack", "lose some", "lose all"])):
            case "ack":
                named = data.draw(named_packets(len(model.fates), received))
                acked, spurious = sent.on_ack_received(ranges_of(named))
                assert (numbers(acked), numbers(spurious)) == model.acknowledge(named)
            case "lose some" if sent.missing:
                lost = sent.missing[: data.draw(st.integers(1, len(sent.missing)))]
                sent.on_packets_lost(lost, now)
                model.lose(numbers(lost))
            case "lose all" if sent.bytes_in_flight:
                lost = sent.in_flight()
                sent.on_packets_lost(lost, now)
                model.lose(numbers(lost))
        outstanding = model.numbers_with("outstanding")
        assert numbers(sent.missing) == model.missing()
        assert numbers(sent.in_flight()) == outstanding
        assert sent.bytes_in_flight == MDS * len(outstanding)
        assert sent.ack_eliciting_in_flight == len(outstanding)
