"""Tiny flights are sent twice where `redundancy` says so: the copy spares the time-out, and costs nothing else."""

import pytest

from rudp_smtp.registry import Spec
from rudp_smtp.transport import Event, StreamData, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import MILLISECOND
from tests.helpers import Pair, connected_pair, make_pair

TWICE = Rudp(redundancy=Spec("sparse_duplicate"))
DELAY = 20 * MILLISECOND  # connected_pair's, one way
SPACING_MAX = 10 * MILLISECOND  # more than any copy waits


def echo(transport: Transport, event: Event) -> None:
    if isinstance(event, StreamData):
        transport.send(event.stream_id, event.data, event.is_fin)


def copies(pair: Pair) -> tuple[int, int]:
    """How many copies client and server sent."""
    return pair.client.endpoint.total_stats().copies_sent, pair.server.endpoint.total_stats().copies_sent


def test_nothing_is_sent_twice_by_default() -> None:
    pair = connected_pair()
    pair.client.send(b"question")
    pair.run_until_idle()
    assert copies(pair) == (0, 0)


def test_a_lost_request_is_there_without_a_time_out() -> None:
    pair = connected_pair(client=TWICE)
    started, probes = pair.now, pair.probes_sent
    pair.client.send(b"question")
    pair.drop_next(1)
    pair.run_until(lambda: pair.server_received == b"question")
    assert pair.now - started <= DELAY + SPACING_MAX
    pair.run_until_idle()
    assert pair.probes_sent == probes


def test_a_lost_reply_is_there_without_a_time_out() -> None:
    pair = connected_pair(client=TWICE)
    pair.server.application = echo
    started = pair.now
    pair.reverse.drop([pair.reverse.count])
    pair.client.send(b"question")
    pair.run_until(lambda: pair.client_received == b"question")
    assert pair.now - started <= 2 * DELAY + SPACING_MAX


@pytest.mark.parametrize("way", ["forward", "reverse"])
def test_a_lost_first_flight_does_not_hold_up_the_handshake(way: str) -> None:
    pair = make_pair(client=TWICE)
    getattr(pair, way).drop([0])
    pair.connect()
    pair.run_until(lambda: pair.client.is_established)
    assert pair.now <= 2 * DELAY + SPACING_MAX


def test_the_loss_of_one_of_the_two_is_repaired_by_the_other_alone() -> None:
    for lost in (0, 1):
        pair = connected_pair(client=TWICE)
        before = pair.client.transport.stats.stream_bytes_retransmitted
        pair.forward.drop([pair.forward.count + lost])
        pair.client.send(b"question")
        pair.run_until_idle()
        assert pair.server_received == b"question"
        assert pair.client.transport.stats.stream_bytes_retransmitted - before == len(b"question")


def test_both_lost_are_repaired_once() -> None:
    pair = connected_pair(client=Rudp(redundancy=Spec("sparse_duplicate", (("budget", 1300),))))
    before = pair.client.transport.stats.stream_bytes_retransmitted
    pair.forward.drop([pair.forward.count, pair.forward.count + 1])
    pair.client.send(b"question")
    pair.run_until_idle()
    assert pair.server_received == b"question"
    assert pair.client.transport.stats.stream_bytes_retransmitted - before <= 3 * len(b"question")


def test_a_copy_has_a_number_of_its_own_and_is_not_copied() -> None:
    pair = connected_pair(client=TWICE)
    sent, repeated = pair.client.transport.stats.packets_sent, copies(pair)[0]
    pair.client.send(b"question")
    pair.run_for("15ms")
    assert pair.client.transport.stats.packets_sent - sent == 2
    assert copies(pair)[0] - repeated == 1


def test_bulk_is_not_repeated() -> None:
    pair = connected_pair(client=TWICE, rate="20mbit")
    repeated = copies(pair)[0]
    pair.client.send(bytes(500_000), fin=True)
    pair.run_until_idle()
    assert len(pair.server_received) == 500_000
    assert copies(pair)[0] - repeated <= 1  # its last packet, where it is alone
    assert pair.client.transport.stats.stream_bytes_retransmitted <= 1500


def test_a_copy_that_loses_its_race_against_the_acknowledgement_does_not_leave() -> None:
    pair = connected_pair(delay="200us", client=TWICE)  # the copy would follow after a millisecond
    pair.server.application = echo
    repeated = copies(pair)[0]
    for _ in range(5):
        pair.client.send(b"question")
        pair.run_for("600us")
    assert copies(pair)[0] == repeated


def test_copies_are_charged_to_the_window() -> None:
    """A window of two packets is full with one in flight: a copy waits for room like anything else."""
    tight = Rudp(
        redundancy=Spec("sparse_duplicate", (("flight", 100_000),)),
        congestion=Spec("fixed", (("window", 2944),)),
        mtu_discovery=False,
    )
    pair = connected_pair(client=tight)
    repeated = copies(pair)[0]
    pair.client.send(bytes(1500))
    pair.run_for("15ms")
    assert copies(pair)[0] == repeated
    pair.run_until_idle()
    assert len(pair.server_received) == 1500


ONE_COPY = Rudp(redundancy=Spec("sparse_duplicate", (("budget", 60), ("share", 0))))


def test_an_acknowledgement_with_a_ping_leaves_the_budget_for_what_can_be_said_again() -> None:
    pair = connected_pair(client=ONE_COPY)  # whose client asked for an acknowledgement of its own
    started = pair.now
    pair.client.send(b"question")
    pair.drop_next(1)
    pair.run_until(lambda: pair.server_received == b"question")
    assert pair.now - started <= DELAY + SPACING_MAX
    assert copies(pair)[0] == 1
