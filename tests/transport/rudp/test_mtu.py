"""Path MTU discovery: it finds what the path carries, costs a dialogue nothing, and is not fooled by loss."""

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.registry import Spec
from rudp_smtp.trace import ListSink, MtuUpdated
from rudp_smtp.transport import TRANSPORTS
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import parse_duration, parse_probability
from tests.helpers import Pair, connected_pair

DISCOVERING = Rudp(mtu_discovery=True)
STEADY = Rudp(mtu_discovery=True, congestion=Spec("fixed", (("window", 100_000),)))  # no queue, so that RTTs are short


def narrow(pair: Pair, mtu: int) -> None:
    """From now on the path loses what is larger, and nobody is told."""
    pair.forward.loses = lambda index, size, ecn: size > mtu


def send_bulk(pair: Pair, size: int = 1_000_000) -> None:
    pair.client.send(bytes(size), fin=True)
    pair.run_until(lambda: len(pair.server_received) == size)


def size_now(pair: Pair) -> int:
    return pair.client.transport.stats.datagram_size


def test_without_discovery_every_datagram_is_as_large_as_the_scenario_says() -> None:
    pair = connected_pair(client=Rudp(mtu_discovery=False), rate="20mbit")
    send_bulk(pair, 100_000)
    assert max(len(data) for _, data in pair.forward.sent) == 1472
    assert pair.client.transport.stats.mtu_probes_sent == 0


def test_a_path_that_carries_the_limit_costs_one_probe() -> None:
    sink = ListSink()
    pair = connected_pair(client=DISCOVERING, rate="20mbit", sink=sink)
    assert size_now(pair) == 1200
    send_bulk(pair, 200_000)
    stats = pair.client.transport.stats
    assert (stats.datagram_size, stats.mtu_probes_sent, stats.packets_lost) == (1472, 1, 0)
    facts = [fact for fact in sink.facts if isinstance(fact, MtuUpdated)]
    assert [(fact.host, fact.size) for fact in facts] == [("client", 1472)]


def test_a_dialogue_is_never_probed() -> None:
    pair = connected_pair(client=DISCOVERING)
    for _ in range(50):
        pair.client.send(b"x" * 1500)
        pair.run_for("100ms")
    assert pair.client.transport.stats.mtu_probes_sent == 0


@pytest.mark.parametrize("mtu", [1200, 1232, 1280, 1392, 1400, 1444, 1452, 1464, 1471])
def test_the_search_ends_close_below_what_the_path_carries(mtu: int) -> None:
    pair = connected_pair(client=STEADY, rate="20mbit")
    narrow(pair, mtu)
    send_bulk(pair, 3_000_000)
    assert mtu - 19 <= size_now(pair) <= mtu


@pytest.mark.parametrize(
    ("mtu", "limit", "found"), [(9000, 8972, 8972), (65_000, 65_000, 65_000), (1472, 65_000, 1472)]
)
def test_larger_datagrams_are_found_where_the_limit_allows_them(mtu: int, limit: int, found: int) -> None:
    pair = connected_pair(client=Rudp(mtu_discovery=True, max_datagram_size=limit), delay="5ms", rate="1gbit")
    narrow(pair, mtu)
    send_bulk(pair, 8_000_000)
    assert size_now(pair) == found


def test_nothing_larger_than_the_peer_takes_is_sent() -> None:
    pair = connected_pair(client=DISCOVERING, server=Rudp(max_datagram_size=1300), rate="20mbit")
    send_bulk(pair)
    assert max(len(data) for _, data in pair.forward.sent) == size_now(pair) == 1300


def test_a_lost_probe_is_neither_congestion_nor_sent_again() -> None:
    pair = connected_pair(client=DISCOVERING, rate="20mbit")
    narrow(pair, 1200)
    pair.client.send(bytes(60_000), fin=True)
    before = pair.client.transport.stats.congestion_window
    pair.run_until_idle()
    stats = pair.client.transport.stats
    assert stats.packets_lost > 0
    assert stats.packets_lost == stats.mtu_probes_sent
    assert stats.congestion_window >= before
    assert stats.stream_bytes_retransmitted == 0


def test_a_search_that_chance_ended_is_taken_up_again() -> None:
    pair = connected_pair(client=STEADY, rate="20mbit")
    narrow(pair, 1300)
    pair.client.send(bytes(3_000_000))
    pair.run_until_idle()
    assert size_now(pair) <= 1300
    pair.heal()
    narrow(pair, 65_535)
    pair.run_for("12s")
    pair.client.send(bytes(200_000))
    pair.run_until_idle()
    assert size_now(pair) == 1472


@pytest.mark.parametrize("loss", ["10%", "30%"])
@pytest.mark.parametrize("seed", [1, 2])
def test_random_loss_is_no_black_hole_and_does_not_stop_the_search(loss: str, seed: int) -> None:
    probability = parse_probability(loss)
    transport = Rudp(mtu_discovery=True, congestion=Spec("fixed", (("window", 200_000),)))
    pair = connected_pair(client=transport, delay="5ms", rate="100mbit", seed=seed)
    pair.forward.is_kept = pair.reverse.is_kept = False
    forward, reverse = DrawKey(seed, "forward"), DrawKey(seed, "reverse")
    pair.forward.loses = lambda index, size, ecn: forward.happens(index, probability)
    pair.reverse.loses = lambda index, size, ecn: reverse.happens(index, probability)
    pair.client.send(bytes(14_000_000), fin=True)
    pair.run_until(lambda: pair.client.transport.stats.packets_sent >= 10_000)
    stats = pair.client.transport.stats
    assert stats.black_holes == 0
    assert stats.datagram_size >= 1400


@pytest.mark.parametrize("window", [30_000, 200_000])
def test_a_path_that_becomes_narrower_costs_a_few_round_trips(window: int) -> None:
    transport = Rudp(mtu_discovery=True, congestion=Spec("fixed", (("window", window),)))
    pair = connected_pair(client=transport, delay="20ms", rate="50mbit")
    pair.client.send(bytes(6_000_000), fin=True)
    pair.run_for("500ms")
    assert size_now(pair) == 1472
    narrow(pair, 1350)
    started = pair.now
    pair.run_until(lambda: pair.client.transport.stats.black_holes == 1)
    assert pair.now - started < 8 * parse_duration("40ms")
    pair.run_until(lambda: len(pair.server_received) == 6_000_000)
    assert 1300 <= size_now(pair) <= 1350
    assert pair.client.transport.stats.black_holes == 1


def test_a_path_that_becomes_narrower_is_noticed_under_a_real_controller_too() -> None:
    pair = connected_pair(client=DISCOVERING, delay="20ms", rate="20mbit")
    pair.client.send(bytes(4_000_000), fin=True)
    pair.run_for("500ms")
    narrow(pair, 1350)
    started = pair.now
    pair.run_until(lambda: pair.client.transport.stats.black_holes == 1)
    assert pair.now - started < parse_duration("1s")
    pair.run_until(lambda: len(pair.server_received) == 4_000_000)


def test_an_outage_is_no_black_hole() -> None:
    pair = connected_pair(client=DISCOVERING, delay="20ms", rate="20mbit")
    pair.client.send(bytes(3_000_000), fin=True)
    for _ in range(3):
        pair.run_for("300ms")
        pair.cut()
        pair.run_for("700ms")
        pair.heal()
    pair.run_until(lambda: len(pair.server_received) == 3_000_000)
    assert pair.client.transport.stats.black_holes == 0
    assert size_now(pair) == 1472


def test_the_scenario_has_keys_for_it() -> None:
    spec = TRANSPORTS.spec({"name": "rudp", "mtu_discovery": True, "max_datagram_size": "8972B"})
    transport = TRANSPORTS.build(spec)
    assert isinstance(transport, Rudp)
    assert transport.mtu_discovery
    with pytest.raises(ConfigError):
        TRANSPORTS.spec({"name": "rudp", "max_datagram_size": "1199B"})
