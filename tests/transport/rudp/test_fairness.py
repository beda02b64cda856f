"""RFC 9000 section 2.3: streams of one connection share it, and none waits for another's losses."""

from rudp_smtp.registry import Spec
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import MILLISECOND
from rudp_smtp.wire.frames import StreamFrame
from rudp_smtp.wire.packet import decode_packet
from tests.helpers import Pair, connected_pair

STEADY = Rudp(congestion=Spec("fixed", (("window", 60_000),)))

ROOMY = Rudp(initial_stream_window=1 << 20, initial_connection_window=1 << 22)


def shares(pair: Pair, since: int = 0, until: int | None = None) -> dict[int, int]:
    """Octets that each stream has sent, repetitions counted, in a part of the datagrams."""
    counts: dict[int, int] = {}
    for _, data in pair.forward.sent[since:until]:
        for frame in decode_packet(data).frames:
            if isinstance(frame, StreamFrame):
                counts[frame.stream_id] = counts.get(frame.stream_id, 0) + len(frame.data)
    return counts


def bulk(pair: Pair, count: int, size: int = 1_000_000) -> list[int]:
    streams = [pair.client.open_stream() for _ in range(count)]
    for stream_id in streams:
        pair.client.send(bytes(size), stream_id=stream_id)
    return streams


def test_bulk_streams_get_equal_shares() -> None:
    pair = connected_pair(client=STEADY, rate="10mbit")
    bulk(pair, 5)
    pair.run_for("500ms")
    counts = shares(pair).values()
    assert max(counts) - min(counts) <= 2 * 1472


def test_a_stream_written_in_crumbs_gets_as_much_as_one_written_at_once() -> None:
    pair = connected_pair(client=STEADY, rate="10mbit")
    streams = bulk(pair, 1)
    crumbs = pair.client.open_stream()
    for _ in range(500):
        pair.client.send(bytes(1250), stream_id=crumbs)  # 10 Mbit/s, were it alone
        pair.run_for("1ms")
    counts = shares(pair)
    assert abs(counts[streams[0]] - counts[crumbs]) <= counts[crumbs] // 10


def test_a_word_beside_bulk_gets_into_the_next_packet() -> None:
    pair = connected_pair(client=STEADY, rate="10mbit")
    bulk(pair, 20)
    word = pair.client.open_stream()
    pair.run_for("300ms")
    for turn in range(10):
        before = pair.forward.count
        pair.client.send(b"word", stream_id=word)
        pair.run_for("70ms")
        assert shares(pair, before, before + 1).get(word) == 4, turn


def test_silence_is_not_saved_up() -> None:
    pair = connected_pair(client=STEADY, rate="10mbit")
    (early,) = bulk(pair, 1)
    pair.run_for("400ms")
    before = pair.forward.count
    late = bulk(pair, 1)[0]
    pair.run_for("400ms")
    counts = shares(pair, before)
    assert abs(counts[early] - counts[late]) <= 2 * 1472


def test_a_loss_on_one_stream_does_not_delay_another() -> None:
    pair = connected_pair()
    hit, spared = pair.client.open_stream(), pair.client.open_stream()
    pair.run_until_idle()
    started = pair.now
    pair.client.send(b"lost", stream_id=hit)
    pair.drop_next(1)
    pair.run_for("1ms")
    pair.client.send(b"through", stream_id=spared)
    pair.run_until(lambda: pair.server.received(spared) == b"through")
    assert pair.now - started == 21 * MILLISECOND
    assert pair.server.received(hit) == b""
    pair.run_until_idle()
    assert pair.server.received(hit) == b"lost"


def test_the_repair_of_a_burst_does_not_hold_up_what_another_stream_says() -> None:
    pair = connected_pair(client=STEADY, rate="10mbit")
    bulk(pair, 1)
    word = pair.client.open_stream()
    pair.run_for("300ms")
    first = pair.forward.count
    pair.forward.drop(range(first, first + 30))
    lost = pair.client.transport.stats.packets_lost
    pair.run_until(lambda: pair.client.transport.stats.packets_lost > lost)
    before = pair.forward.count
    pair.client.send(b"word", stream_id=word)
    pair.run_until(lambda: pair.forward.count > before + 1)
    assert shares(pair, before)[word] == 4


def test_losses_count_against_the_stream_that_has_them() -> None:
    """One whose packets are lost gets no more of the path for it, though its octets go twice."""
    pair = connected_pair(client=STEADY, server=ROOMY, rate="10mbit")
    bulk(pair, 2)
    pair.forward.drop(range(10, 2000, 10))
    pair.run_for("1s")
    counts = shares(pair).values()
    assert max(counts) - min(counts) <= 4 * 1472
