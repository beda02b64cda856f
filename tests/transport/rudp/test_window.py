"""Nobody has more than 5 % beyond the window in flight, retransmissions, copies and probes of the path included.

Probes of the retransmission timer are the exception of RFC 9002 section 6.2.4. They are counted in, so that nothing
else leaves while they fill the window, and bounded themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from rudp_smtp.datagram import CE, ECT_0
from rudp_smtp.draws import DrawKey
from rudp_smtp.recovery.congestion import CONTROLLERS, initial_window
from rudp_smtp.recovery.timer import MAXIMUM_PTO
from rudp_smtp.registry import Spec
from rudp_smtp.trace import Fact, PacketAcked, PacketLost, PacketSent
from rudp_smtp.transport import Event, StreamData, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND
from tests.helpers import Direction, Fate, Pair, make_pair

BULK = 400_000
TURNS = 20
PROBES_MAX = 2  # at a time, RFC 9002 section 6.2.4
PROBE_SHARE = 10  # of the packets that ask for an acknowledgement, a tenth at most, and twice the turns
BURST_EVERY, BURST_LENGTH = 60, 8
LARGEST_CARRIED = 1400
FATES = 4000  # datagrams each way whose fate is drawn


@dataclass
class Ledger:
    """What one side has in flight, by the facts, and the window it has at the moment a packet leaves."""

    window: Callable[[], int]
    in_flight: dict[int, int] = field(default_factory=dict)  # packet number -> octets
    packets: int = 0
    probes: int = 0
    probe_time: int = -1
    probes_at_once: int = 0

    def on_sent(self, fact: PacketSent) -> None:
        if not fact.is_ack_eliciting:
            return
        self.packets += 1
        self.in_flight[fact.packet_number] = fact.size
        if fact.is_probe:
            self.probes += 1
            self.probes_at_once = self.probes_at_once + 1 if fact.time == self.probe_time else 1
            self.probe_time = fact.time
            assert self.probes_at_once <= PROBES_MAX, fact
            return
        assert sum(self.in_flight.values()) * 100 <= self.window() * 105, fact


class Auditor:
    """A sink that judges each packet as it leaves."""

    def __init__(self) -> None:
        self.ledgers: dict[str, Ledger] = {}

    def watch(self, pair: Pair, first_window: int) -> None:
        for side in (pair.client, pair.server):

            def window(transports: list[Transport] = side.transports) -> int:
                return transports[0].stats.congestion_window if transports else first_window

            self.ledgers[side.name] = Ledger(window)

    def emit(self, fact: Fact) -> None:
        match fact:
            case PacketSent():
                self.ledgers[fact.host].on_sent(fact)
            case PacketAcked() | PacketLost():
                self.ledgers[fact.host].in_flight.pop(fact.packet_number, None)
            case _:
                pass


def lose_at_random(way: Direction, draws: DrawKey) -> None:
    way.drop(index for index in range(FATES) if draws.happens(index, PROBABILITY_ONE // 10))


def lose_in_bursts(way: Direction, draws: DrawKey) -> None:
    for first in range(0, FATES, BURST_EVERY):
        start = first + draws.below(first, BURST_EVERY)
        way.drop(range(start, start + BURST_LENGTH))


def reorder(way: Direction, draws: DrawKey) -> None:
    way.fates |= {
        index: Fate(delays=(draws.below(index, 60 * MILLISECOND, 1),))
        for index in range(FATES)
        if draws.happens(index, PROBABILITY_ONE // 10)
    }


def mark(way: Direction, draws: DrawKey) -> None:
    """Mark everything, and now and then lose it."""
    way.remarks = {ECT_0: CE}
    way.drop(index for index in range(FATES) if draws.happens(index, PROBABILITY_ONE // 100))


def carry_little(way: Direction, draws: DrawKey) -> None:
    """Narrower than is hoped for, from the middle of the transfer on; and lossy."""
    way.loses = lambda index, size, ecn: index > 150 and size > LARGEST_CARRIED
    way.drop(index for index in range(FATES) if draws.happens(index, PROBABILITY_ONE // 50))


@pytest.mark.parametrize("harm", [lose_at_random, lose_in_bursts, reorder, mark, carry_little])
@pytest.mark.parametrize("controller", CONTROLLERS.names())
def test_no_more_than_5_percent_beyond_the_window_is_ever_in_flight(
    controller: str, harm: Callable[[Direction, DrawKey], None]
) -> None:
    auditor = Auditor()
    transport = Rudp(congestion=Spec(controller), redundancy=Spec("sparse_duplicate"), max_datagram_size=8972)
    pair = make_pair(rate="20mbit", client=transport, sink=auditor)
    auditor.watch(pair, initial_window(1200))
    for way, name in ((pair.forward, "forward"), (pair.reverse, "reverse")):
        harm(way, DrawKey(7, name))
        way.is_kept = False
    pair.connect()
    bulk, talk = pair.client.open_stream(), pair.client.open_stream()

    def echo(transport: Transport, event: Event) -> None:
        if isinstance(event, StreamData) and event.stream_id == talk:
            transport.send(talk, event.data)

    pair.server.application = echo
    pair.client.send(bytes(BULK), True, bulk)
    pair.run_until(lambda: len(pair.server.received(bulk)) == BULK)
    pair.server.transport.send(bulk, bytes(BULK), True)
    pair.run_until(lambda: len(pair.client.received(bulk)) == BULK)
    for turn in range(1, TURNS + 1):
        pair.client.send(b".", stream_id=talk)
        pair.run_until(partial(lambda turn: len(pair.client.received(talk)) == turn, turn))
    for side in (pair.client, pair.server):
        ledger, stats = auditor.ledgers[side.name], side.endpoint.total_stats()
        assert ledger.probes == stats.probes_sent
        assert ledger.probes <= ledger.packets // PROBE_SHARE + TURNS
        assert ledger.packets > BULK // 8972
    assert sum(side.endpoint.total_stats().copies_sent for side in (pair.client, pair.server)) > 0


@pytest.mark.parametrize("controller", CONTROLLERS.names())
def test_a_path_that_is_cut_gets_two_probes_per_time_out_and_no_more(controller: str) -> None:
    auditor = Auditor()
    pair = make_pair(rate="20mbit", client=Rudp(congestion=Spec(controller)), sink=auditor)
    auditor.watch(pair, initial_window(1200))
    pair.connect()
    pair.client.send(bytes(BULK))
    pair.run_until(lambda: len(pair.server_received) > BULK // 2)
    pair.cut()
    pair.run_for("10s")  # the back-off has reached its end
    ledger = auditor.ledgers["client"]
    packets, probes = ledger.packets, ledger.probes
    pair.run_for("16s")
    assert ledger.packets - packets == ledger.probes - probes
    assert 0 < ledger.probes - probes <= PROBES_MAX * (16 * SECOND // MAXIMUM_PTO + 1)
