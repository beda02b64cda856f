"""Sequence numbers that come round: how small they may be, and how late what bears one.

The rule of the textbooks is for paths that keep the order. For others it says how far something may be overtaken: by n
others while the window and n are less than 2**bits together, at the receiver and, an acknowledgement, at the sender.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import ConfigError
from rudp_smtp.registry import Spec
from rudp_smtp.trace import VantagePoint
from rudp_smtp.transport.arq.books import ArqBooks
from rudp_smtp.transport.arq.go_back_n import GoBackN
from rudp_smtp.transport.arq.protocol import WANTED, Sender
from rudp_smtp.transport.arq.segments import Segment
from rudp_smtp.transport.arq.selective_repeat import SelectiveRepeat
from rudp_smtp.transport.arq.stop_and_wait import StopAndWait
from rudp_smtp.units import MILLISECOND
from tests.helpers import LOST, Fate, make_pair

Windowed = StopAndWait | GoBackN | SelectiveRepeat

in_order_fates = st.one_of(
    st.just(Fate()),
    st.just(LOST),
    st.integers(2, 4).map(lambda copies: Fate(delays=(0,) * copies)),
    st.integers(0, 400).map(lambda bit: Fate(flipped_bit=bit)),
)


def largest(name: str, bits: int, interval: int) -> Windowed:
    """The protocol with the largest window that its numbers allow."""
    timer = Spec("fixed", (("interval", interval),))
    if name == "go_back_n":
        return GoBackN(timer=timer, segment_size=3, sequence_bits=bits, window=2**bits - 1)
    if name == "selective_repeat":
        return SelectiveRepeat(timer=timer, segment_size=3, sequence_bits=bits, window=2 ** (bits - 1))
    return StopAndWait(timer=timer, segment_size=3, sequence_bits=bits)


@given(
    name=st.sampled_from(["stop_and_wait", "go_back_n", "selective_repeat"]),
    bits=st.integers(1, 3),
    interval=st.integers(5, 90),
    fates=st.tuples(*[st.lists(in_order_fates, max_size=60)] * 2),
    sizes=st.tuples(st.integers(0, 120), st.integers(0, 120)),
)
@settings(max_examples=150, deadline=None)
def test_the_largest_window_is_right_over_a_path_that_keeps_the_order(
    name: str, bits: int, interval: int, fates: tuple[list[Fate], list[Fate]], sizes: tuple[int, int]
) -> None:
    """Whatever is lost, copied or damaged, both ways at once, and with a timer that often expires too soon."""
    pair = make_pair(client=largest(name, bits, interval * MILLISECOND))
    for way, list_of in zip((pair.forward, pair.reverse), fates, strict=True):
        way.fates |= dict(enumerate(list_of))
    pair.connect()
    question, answer = (bytes(range(size)) for size in sizes)
    pair.client.send(question, fin=True)
    pair.run_for("400ms")
    pair.heal()
    pair.run_until(lambda: bool(pair.server.finished), limit="29s")
    assert pair.server_received == question
    pair.server.send(answer, fin=True)
    pair.run_until(lambda: bool(pair.client.finished), limit="29s")
    assert pair.client_received == answer


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8, 16])
def test_windows_are_allowed_up_to_the_rule_and_no_further(bits: int) -> None:
    for kind, largest_window in ((GoBackN, 2**bits - 1), (SelectiveRepeat, 2 ** (bits - 1))):
        kind(sequence_bits=bits, window=largest_window)
        with pytest.raises(ConfigError) as raised:
            kind(sequence_bits=bits, window=largest_window + 1)
        assert raised.value.key == "window"
        assert f"expected from 1 to {largest_window}" in raised.value.message
        assert (f", or sequence_bits: {bits + 1}" in raised.value.message) == (bits < 16)


def allowed() -> list[Windowed]:
    """Every window that numbers of up to 4 bits allow."""
    found: list[Windowed] = []
    for bits in (1, 2, 3, 4):
        found.append(StopAndWait(sequence_bits=bits))
        found += [GoBackN(sequence_bits=bits, window=window) for window in range(1, 2**bits)]
        found += [SelectiveRepeat(sequence_bits=bits, window=window) for window in range(1, 2 ** (bits - 1) + 1)]
    return found


class Letters:
    """Segments without end."""

    def next_segment(self) -> Segment:
        return Segment(b"", 0, 0, 0)


def full_sender(transport: Windowed) -> tuple[Sender, ArqBooks]:
    timer = transport.make_timer()
    books = ArqBooks(VantagePoint(None, "client", 0), timer.rtt, 0)
    sender = transport.sender(Letters(), timer, books)
    fill(sender, books)
    return sender, books


def fill(sender: Sender, books: ArqBooks) -> None:
    while (frame := sender.next_frame()) is not None:
        books.on_frame_sent(frame, 1, 0)


@pytest.mark.parametrize("transport", allowed(), ids=lambda t: f"{t.name}-{t.sequence_bits}-{t.window_frames}")
def test_a_late_acknowledgement_is_told_from_new_ones_while_the_numbers_last(transport: Windowed) -> None:
    numbers, window = transport.mask + 1, transport.window_frames
    for overtaken_by in range(numbers):
        sender, books = full_sender(transport)
        for number in range(1 + overtaken_by):
            sender.on_ack(number & transport.mask, 0)
            fill(sender, books)
        acked = books.stats.packets_acked
        assert acked == 1 + overtaken_by
        sender.on_ack(0, 0)
        assert (books.stats.packets_acked == acked) == (window + overtaken_by < numbers)


@pytest.mark.parametrize("transport", allowed(), ids=lambda t: f"{t.name}-{t.sequence_bits}-{t.window_frames}")
def test_a_late_copy_is_told_from_new_frames_while_the_numbers_last(transport: Windowed) -> None:
    """A receiver that takes nothing out of order wants one number only, whatever the sender's window."""
    numbers = transport.mask + 1
    wanted = transport.window_frames if isinstance(transport, SelectiveRepeat) else 1
    for overtaken_by in range(numbers):
        receiver = transport.receiver()
        for number in range(1 + overtaken_by):
            assert receiver.judge(number & transport.mask) is WANTED
            receiver.take(number & transport.mask, b"")
        assert (receiver.judge(0) is not WANTED) == (wanted + overtaken_by < numbers)


@pytest.mark.parametrize("name", ["go_back_n", "selective_repeat"])
def test_numbers_come_round_many_times_in_a_long_transfer(name: str) -> None:
    pair = make_pair(client=largest(name, 2, 70 * MILLISECOND))
    pair.forward.drop(range(9, 3000, 13))
    pair.reverse.drop(range(8, 3000, 11))
    pair.connect()
    octets = bytes(index * 7 & 0xFF for index in range(3000))
    pair.client.send(octets, fin=True)
    pair.run_until(lambda: bool(pair.server.finished))
    assert pair.server_received == octets
