"""What every transport must do, whichever it is: the registry says which there are."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.registry import Spec
from rudp_smtp.transport import TRANSPORTS, Closed, Established
from tests.helpers import LOST, Fate, make_pair

SIMULATED = [name for name in TRANSPORTS.names() if not TRANSPORTS.load(name).needs_kernel]
transports = pytest.mark.parametrize("name", SIMULATED)
fates = st.sampled_from(
    [Fate(), Fate(), LOST, Fate(delays=(0, 10**6)), Fate(delays=(30 * 10**6,)), Fate(flipped_bit=99)]
)


@transports
def test_nothing_happens_before_somebody_connects(name: str) -> None:
    pair = make_pair(client=TRANSPORTS.build(Spec(name)))
    pair.run_until_idle()
    assert (pair.forward.count, pair.reverse.count) == (0, 0)
    assert pair.client.endpoint.next_timeout() is None


@transports
def test_both_sides_are_told_of_beginning_and_end(name: str) -> None:
    pair = make_pair(client=TRANSPORTS.build(Spec(name)))
    pair.connect()
    pair.client.send(b"hello", fin=True)
    pair.run_until(lambda: pair.server_received == b"hello")
    pair.client.transport.close(pair.now)
    pair.run_until_idle()
    for side in (pair.client, pair.server):
        assert len(side.told(Established)) == 1
        assert len(side.told(Closed)) == 1
        assert isinstance(side.events[-1][1], Closed)


@transports
def test_a_stream_that_both_have_ended_cannot_be_given_up_any_more(name: str) -> None:
    """It may be refused at the call, or not: the peer's application, which has it all, is told nothing."""
    pair = make_pair(client=TRANSPORTS.build(Spec(name)))
    pair.connect()
    pair.client.send(b"question", fin=True)
    pair.run_until(lambda: bool(pair.server.finished))
    (stream_id,) = pair.server.streams
    pair.server.send(b"answer", fin=True)
    pair.run_for("2s")
    told = len(pair.client.events), len(pair.server.events)
    for side in (pair.client, pair.server):
        for give_up in (side.transport.reset_stream, side.transport.stop_sending):
            with suppress(LocalProtocolError):
                give_up(stream_id, 3)
    pair.run_for("2s")
    assert (len(pair.client.events), len(pair.server.events)) == told


@transports
@given(
    forward=st.lists(fates, max_size=25),
    reverse=st.lists(fates, max_size=25),
    data=st.binary(max_size=8000),
)
@settings(max_examples=20, deadline=None)
def test_octets_arrive_whole_and_once_under_any_drop_duplicate_and_reorder(
    name: str, forward: list[Fate], reverse: list[Fate], data: bytes
) -> None:
    pair = make_pair(client=TRANSPORTS.build(Spec(name)))
    pair.forward.fates |= dict(enumerate(forward))
    pair.reverse.fates |= dict(enumerate(reverse))
    pair.connect()
    pair.client.send(data, fin=True)
    pair.run_for("2s")
    assert data.startswith(pair.server_received)
    pair.heal()
    pair.run_for("20s")
    if pair.client.closed is None:  # a path so bad that nobody answered for long may have ended it
        assert pair.server_received == data
    stats = pair.client.endpoint.total_stats(), pair.server.endpoint.total_stats()
    assert stats[0].packets_sent == pair.forward.count
    assert stats[1].packets_sent == pair.reverse.count
    assert stats[1].stream_bytes_delivered == len(pair.server_received)
