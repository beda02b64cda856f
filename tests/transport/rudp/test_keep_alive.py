"""Keep-alive: an idle connection is not forgotten, and says no more than that takes (RFC 9000 s10.1.2)."""

import pytest

from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import SECOND
from tests.helpers import connected_pair, make_pair


def test_without_it_an_idle_connection_ends() -> None:
    pair = connected_pair(client=Rudp(max_idle_timeout=10 * SECOND))
    pair.run_for("60s")
    assert pair.client.closed is not None
    assert pair.client.closed.cause == "idle_timeout"


@pytest.mark.parametrize(("keep_alive", "expected"), [(2 * SECOND, 30), (4 * SECOND, 15), (60 * SECOND, 12)])
def test_pings_keep_an_idle_connection_open_at_most_half_the_idle_timeout_apart(keep_alive: int, expected: int) -> None:
    transport = Rudp(max_idle_timeout=10 * SECOND, keep_alive=keep_alive)
    pair = connected_pair(client=transport, server=Rudp(max_idle_timeout=10 * SECOND))
    before = pair.forward.count
    pair.run_for("60s")
    assert pair.client.closed is pair.server.closed is None
    assert expected * 0.8 <= pair.forward.count - before <= expected * 1.2


def test_pings_that_are_lost_are_repeated() -> None:
    transport = Rudp(max_idle_timeout=10 * SECOND, keep_alive=4 * SECOND)
    pair = connected_pair(client=transport, server=Rudp(max_idle_timeout=10 * SECOND))
    for _ in range(20):
        pair.drop_next(2)
        pair.run_for("4s")
    assert pair.client.closed is pair.server.closed is None


def test_no_peer_is_kept_alive_that_does_not_answer() -> None:
    pair = connected_pair(client=Rudp(max_idle_timeout=10 * SECOND, keep_alive=3 * SECOND))
    pair.cut()
    pair.run_for("60s")
    assert pair.client.closed is not None
    assert pair.client.closed.cause == "idle_timeout"


def test_a_busy_connection_sends_no_pings() -> None:
    counts = []
    for keep_alive in (0, 2 * SECOND):
        pair = make_pair(client=Rudp(keep_alive=keep_alive), server=Rudp())
        pair.connect()
        pair.run_for("1s")
        before = pair.forward.count
        for _ in range(30):
            pair.client.send(b"still here")
            pair.run_for("1s")
        counts.append(pair.forward.count - before)
    assert counts[0] == counts[1]


def test_where_there_is_no_idle_timeout_it_only_keeps_the_nat_awake() -> None:
    pair = connected_pair(client=Rudp(max_idle_timeout=0, keep_alive=15 * SECOND), server=Rudp(max_idle_timeout=0))
    before = pair.forward.count
    pair.run_for("300s")
    assert 18 <= pair.forward.count - before <= 22
