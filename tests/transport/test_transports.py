"""The delivery property of every transport in the registry, and every workload over each.

What was delivered is always a prefix of what was sent, whatever is lost, duplicated or damaged; and all of it arrives
once the path heals. Where a protocol promises that for reordering too, it is reordered: see REORDER_MAX.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.link.config import LinkConfig
from rudp_smtp.registry import Spec
from rudp_smtp.transport import TRANSPORTS, TransportPlugin
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND
from rudp_smtp.workload import WORKLOADS
from tests.helpers import LOST, Fate, make_pair
from tests.workload.scene import DELAY, play

NAMES = [name for name in TRANSPORTS.names() if not TRANSPORTS.load(name).needs_kernel]

# Milliseconds by which a datagram may be overtaken. Numbers of 16 bits are not used up so soon that an old frame
# could pass for a new one; numbers of 1 and 8 bits promise nothing of the kind.
REORDER_MAX = {"rudp": 200, "selective_repeat": 200, "quic": 200, "kcp": 200}
ARQ = ("go_back_n", "selective_repeat", "stop_and_wait")


def build(name: str) -> TransportPlugin:
    """As it comes, with a timer that keeps examples short where there is a choice, premature now and then."""
    timer = {"timer": {"model": "fixed", "interval": "50ms"}} if name in ARQ else {}
    return TRANSPORTS.build(TRANSPORTS.spec({"name": name, **timer}))


def fates(name: str) -> st.SearchStrategy[Fate]:
    """Sound, lost, copied right behind, damaged, and late where the protocol promises to bear that."""
    copies = st.integers(1, 4).map(lambda count: Fate(delays=(0,) * count))
    damaged = st.integers(0, 8 * 1400).map(lambda bit: Fate(flipped_bit=bit))
    late = st.integers(0, REORDER_MAX.get(name, 0)).map(lambda ms: Fate(delays=(ms * MILLISECOND,)))
    return st.one_of(st.just(Fate()), st.just(LOST), copies, damaged, late)


@pytest.mark.parametrize("name", NAMES)
@given(draws=st.data(), sizes=st.lists(st.integers(0, 20_000), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_streams_are_prefixes_of_what_was_sent_and_whole_once_the_path_heals(
    name: str, draws: st.DataObject, sizes: list[int]
) -> None:
    pair = make_pair(client=build(name))
    for way in (pair.forward, pair.reverse):
        way.fates |= dict(enumerate(draws.draw(st.lists(fates(name), max_size=60))))
    pair.connect()
    sent = {}
    for salt, size in enumerate(sizes):
        stream_id = pair.client.open_stream()
        sent[stream_id] = bytes((i * 7 + (i >> 8) * 13 + salt) & 0xFF for i in range(size))
        pair.client.send(sent[stream_id], fin=True, stream_id=stream_id)
    for _ in range(10):
        pair.run_for("100ms")
        for stream_id, octets in sent.items():
            assert octets.startswith(pair.server.received(stream_id))
    pair.heal()
    pair.run_until(lambda: pair.server.finished == set(sent), limit="300s")
    assert {stream_id: pair.server.received(stream_id) for stream_id in sent} == sent
    pair.client.transport.close(pair.now)
    pair.run_until(lambda: pair.client.closed is not None and pair.server.closed is not None, limit="300s")
    assert pair.client.closed is not None
    assert pair.client.closed.cause == "local"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("workload", WORKLOADS.names())
def test_every_workload_runs_over_every_transport(name: str, workload: str) -> None:
    """5 % lost each way and 1 % duplicated; at the end everything is there, intact and once."""
    lossy = LinkConfig(
        delay=DELAY, loss=Spec("random", (("p", PROBABILITY_ONE // 20),)), duplicate=PROBABILITY_ONE // 100
    )
    size = {"size": "200kB"} if workload == "bulk" else {}
    transport = TRANSPORTS.spec({"name": name})
    outcome = play(
        WORKLOADS.build(WORKLOADS.spec({"name": workload, **size})), lossy, until=3000 * SECOND, transport=transport
    )
    assert outcome.report.finished_at is not None
    for row in outcome.rows:
        assert (row.status, row.copies, row.is_intact) == ("delivered", 1, True)
