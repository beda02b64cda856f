"""Whatever the path does, the stream is a prefix of what was sent, and all of it once the path heals."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.registry import Spec
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import SECOND
from tests.helpers import LOST, Direction, Fate, Pair, make_pair

NEVER_IDLE = 3600 * SECOND  # the path may be bad for so long that the default idle timeout would end the connection

COMBINATIONS = {
    "defaults": Rudp(max_idle_timeout=NEVER_IDLE),
    "packet_threshold, rfc6298, immediate, new_reno": Rudp(
        loss_detection=Spec("packet_threshold"),
        timer=Spec("rfc6298"),
        ack=Spec("immediate"),
        congestion=Spec("new_reno"),
        max_idle_timeout=NEVER_IDLE,
    ),
    "time_threshold, fixed, delayed, fixed, unpaced": Rudp(
        loss_detection=Spec("time_threshold"),
        timer=Spec("fixed"),
        ack=Spec("delayed"),
        congestion=Spec("fixed", (("window", 16 * 1472),)),
        pacing=False,
        max_idle_timeout=NEVER_IDLE,
    ),
    "all that watches the path": Rudp(
        mtu_discovery=True, max_datagram_size=8972, ecn=True, keep_alive=SECOND, max_idle_timeout=NEVER_IDLE
    ),
    "unlimited, small windows": Rudp(
        congestion=Spec("unlimited"),
        pacing=False,
        connection_window=1 << 16,
        stream_window=1 << 16,
        max_idle_timeout=NEVER_IDLE,
    ),
}

fates = st.one_of(
    st.just(Fate()),
    st.just(LOST),
    st.builds(Fate, st.just((0,)), st.integers(0, 8 * 1472)),
    st.builds(Fate, st.lists(st.integers(0, 200), min_size=1, max_size=3).map(lambda ms: tuple(m * 10**6 for m in ms))),
)
schedules = st.lists(fates, max_size=40)
messages = st.lists(st.integers(0, 20_000), min_size=1, max_size=3)


def pattern(size: int, salt: int) -> bytes:
    return bytes((i * 7 + (i >> 8) * 13 + salt) & 0xFF for i in range(size))


def program(way: Direction, schedule: list[Fate]) -> None:
    way.fates |= dict(enumerate(schedule))


def assert_prefixes(pair: Pair, sent: dict[int, bytes], answered: dict[int, bytes]) -> None:
    for stream_id, octets in sent.items():
        assert octets.startswith(pair.server.received(stream_id))
    for stream_id, octets in answered.items():
        assert octets.startswith(pair.client.received(stream_id))


@pytest.mark.parametrize("transport", COMBINATIONS.values(), ids=COMBINATIONS.keys())
@given(forward=schedules, reverse=schedules, sizes=messages, seed=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_every_stream_arrives_whole_once_the_path_heals(
    transport: Rudp, forward: list[Fate], reverse: list[Fate], sizes: list[int], seed: int
) -> None:
    pair = make_pair(client=transport, seed=seed)
    program(pair.forward, forward)
    program(pair.reverse, reverse)
    pair.connect()
    sent = {pair.client.open_stream(): pattern(size, salt) for salt, size in enumerate(sizes)}
    answers = {stream_id: octets[::-1] for stream_id, octets in sent.items()}
    for stream_id, octets in sent.items():
        pair.client.send(octets, fin=True, stream_id=stream_id)
    answered: set[int] = set()

    def answer() -> None:
        for stream_id in pair.server.finished - answered:
            answered.add(stream_id)
            pair.server.send(answers[stream_id], fin=True, stream_id=stream_id)

    pair.server.application = lambda transport, event: answer()
    pair.run_for("1s")
    assert_prefixes(pair, sent, answers)
    pair.heal()
    pair.run_until(lambda: pair.client.finished == set(sent), limit="3000s")
    assert {stream_id: pair.server.received(stream_id) for stream_id in sent} == sent
    assert {stream_id: pair.client.received(stream_id) for stream_id in sent} == answers
    pair.client.transport.close(pair.now)
    pair.run_until(lambda: pair.client.closed is not None and pair.server.closed is not None, limit="3000s")
    assert pair.client.closed is not None
    assert pair.client.closed.cause == "local"
