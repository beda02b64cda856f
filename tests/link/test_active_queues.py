"""CoDel, FQ-CoDel, RED and PIE against the laws of their RFCs and papers, behind a link's own transmitter."""

from collections import Counter
from itertools import pairwise
from math import isqrt

import pytest

from rudp_smtp.datagram import CE, ECT_0, NOT_ECT, Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import LinkConfig, RateConfig
from rudp_smtp.link.link import Link
from rudp_smtp.link.queue import QUEUE_DISCIPLINES, QueueDiscipline, QueuedPacket
from rudp_smtp.link.queue.pie import Pie
from rudp_smtp.link.queue.red import RandomEarlyDetection
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND
from tests.link.inference import is_binomial
from tests.link.traffic import Traffic, datagram

PACKET = MILLISECOND  # 1000 octets at 8 Mbit/s
OCTETS = 1000


def config(discipline: str, **parameters: object) -> LinkConfig:
    spec = QUEUE_DISCIPLINES.spec({"discipline": discipline, **parameters})
    return LinkConfig(queue=spec, rate=RateConfig(value=8_000_000))


def overload(link_config: LinkConfig, *, packets: int, every: int, seed: int = 1) -> Traffic:
    traffic = Traffic(link_config, seed=seed)
    for number in range(packets):
        traffic.send(datagram(number, OCTETS - 28), number * every)
    return traffic


def standing(queue: QueueDiscipline, packets: int) -> None:
    for index in range(packets):
        queue.enqueue(QueuedPacket(index, 0, b"", OCTETS, 0), 0, [])


# CoDel.


def test_codel_drops_at_intervals_that_shrink_with_the_root_of_their_count() -> None:
    queue = QUEUE_DISCIPLINES.build(QUEUE_DISCIPLINES.spec("codel"))
    standing(queue, 900)
    drops: list[int] = []
    dropped: list[QueuedPacket] = []
    for now in range(0, 600 * MILLISECOND, PACKET):
        queue.dequeue(now, dropped)
        drops += [now] * len(dropped)
        dropped.clear()
    first = 105 * MILLISECOND  # over the target from 5 ms on, and for an interval
    due = [first]
    for count in range(1, len(drops)):
        due.append(due[-1] + isqrt((100 * MILLISECOND) ** 2 // count))
    assert len(drops) >= 10
    assert all(0 <= drop - time < PACKET for drop, time in zip(drops, due, strict=True))


def test_codel_lets_a_burst_pass_that_is_gone_within_an_interval() -> None:
    traffic = overload(config("codel"), packets=90, every=0)
    traffic.run()
    assert traffic.fates("queue_full") == []
    assert len(traffic.arrivals) == 90


def test_codel_drops_nothing_while_waits_stay_under_the_target() -> None:
    traffic = Traffic(config("codel"))
    for number in range(2000):
        traffic.send(datagram(number, OCTETS - 28), number // 4 * 4 * PACKET)
    assert traffic.fates("queue_full") == []


def test_codel_brings_a_sender_that_obeys_down_to_the_target() -> None:
    waits = sojourns("codel")
    assert max(waits[:200]) > 40 * MILLISECOND
    assert sorted(waits[-1000:])[500] < 8 * MILLISECOND


def sojourns(discipline: str) -> list[int]:
    """Waits under one sender, who halves the window for a drop and adds a packet per round trip of 50 ms."""
    queue = QUEUE_DISCIPLINES.build(QUEUE_DISCIPLINES.spec(discipline))
    window, flight, index, reduced_at = 120.0, 0, 0, -SECOND
    acks: list[int] = []
    waits: list[int] = []
    dropped: list[QueuedPacket] = []
    for now in range(0, 20 * SECOND, PACKET):
        while acks and acks[0] <= now:
            acks.pop(0)
            flight -= 1
            window += 1 / window
        while flight < int(window):
            queue.enqueue(QueuedPacket(index, 0, b"", OCTETS, now), now, dropped)
            index += 1
            flight += 1
        leaving = queue.dequeue(now, dropped)
        if leaving is not None:
            waits.append(now - leaving.enqueued)
            acks.append(now + 50 * MILLISECOND)
        if dropped and now - reduced_at > 60 * MILLISECOND:
            window, reduced_at = max(2.0, window / 2), now
        flight -= len(dropped)
        dropped.clear()
    return waits


def test_codel_marks_in_a_drops_place_what_can_be_marked() -> None:
    queue = QUEUE_DISCIPLINES.build(QUEUE_DISCIPLINES.spec({"discipline": "codel", "ecn": True}))
    for index in range(900):
        codepoint = ECT_0 if index % 2 else NOT_ECT
        queue.enqueue(QueuedPacket(index, 0, b"", OCTETS, 0, label=Label("a", "b", codepoint)), 0, [])
    dropped: list[QueuedPacket] = []
    marked = 0
    for now in range(0, 600 * MILLISECOND, PACKET):
        leaving = queue.dequeue(now, dropped)
        marked += leaving is not None and leaving.label.ecn == CE
    assert marked > 3
    assert dropped
    assert all(packet.label.ecn == NOT_ECT for packet in dropped)


# FQ-CoDel.


def labelled(index: int, source: str, size: int = OCTETS, now: int = 0) -> QueuedPacket:
    return QueuedPacket(index, 0, b"", size, now, label=Label(source, "server"))


def test_fq_codel_serves_a_new_flow_before_one_that_fills_the_queue() -> None:
    queue = QUEUE_DISCIPLINES.build(QUEUE_DISCIPLINES.spec("fq_codel"))
    for index in range(200):
        queue.enqueue(labelled(index, "bulk"), 0, [])
    served = [queue.dequeue(0, []) for _ in range(4)]  # the bulk flow is no longer new
    queue.enqueue(labelled(200, "call", 100), 0, [])
    first = queue.dequeue(0, [])
    assert all(leaving is not None and leaving.label.source == "bulk" for leaving in served)
    assert first is not None
    assert first.label.source == "call"


@pytest.mark.parametrize("sizes", [{"one": 1000, "two": 1000}, {"one": 1400, "two": 350}])
def test_fq_codel_shares_octets_and_not_packets(sizes: dict[str, int]) -> None:
    queue = QUEUE_DISCIPLINES.build(QUEUE_DISCIPLINES.spec("fq_codel"))
    for index in range(4000):
        for source, size in sizes.items():
            queue.enqueue(labelled(index, source, size), 0, [])
    octets: Counter[str] = Counter()
    while octets.total() < 600_000:
        leaving = queue.dequeue(0, [])
        assert leaving is not None
        octets[str(leaving.label.source)] += leaving.size
    assert abs(octets["one"] - octets["two"]) <= 2 * 1514


def test_fq_codel_keeps_one_flows_delay_from_anothers() -> None:
    link = Link(config("fq_codel"), name="forward", draws=DrawKey(1))
    bulk, call = Label("bulk", "server"), Label("call", "server")
    arrivals: list[int] = []
    for now in range(0, 2 * SECOND, PACKET // 2):  # twice the rate
        link.push(datagram(0, OCTETS - 28), now, bulk)
        if now % (20 * MILLISECOND) == 0:
            link.push(now.to_bytes(8, "big") + bytes(164), now, call)
        while (arrived := link.next_datagram(now)) is not None:
            if arrived[1].source == "call":
                arrivals.append(now - int.from_bytes(arrived[0][:8], "big"))
    assert len(arrivals) > 95
    assert max(arrivals) < 5 * MILLISECOND


def test_fq_codel_takes_from_the_fattest_flow_when_all_is_full() -> None:
    queue = QUEUE_DISCIPLINES.build(QUEUE_DISCIPLINES.spec({"discipline": "fq_codel", "packets": 100}))
    dropped: list[QueuedPacket] = []
    for index in range(5):
        queue.enqueue(labelled(index, "call", 100), 0, dropped)
    for index in range(5, 200):
        queue.enqueue(labelled(index, "bulk"), 0, dropped)
    assert dropped
    assert {packet.label.source for packet in dropped} == {"bulk"}
    assert [packet.index for packet in dropped] == sorted(packet.index for packet in dropped)
    assert len(queue) <= 100


# RED.


def red(**parameters: object) -> RandomEarlyDetection:
    queue = QUEUE_DISCIPLINES.build(QUEUE_DISCIPLINES.spec({"discipline": "red", **parameters}))
    assert isinstance(queue, RandomEarlyDetection)
    return queue


def test_red_follows_the_queue_by_its_weight() -> None:
    queue = red(weight_shift=4, min="50kB", max="90kB")
    average = 0.0
    for index in range(40):
        average += (queue.octets - average) / 16
        queue.enqueue(QueuedPacket(index, 0, b"", OCTETS, 0), 0, [])
        assert queue.average == pytest.approx(average, abs=16)


def test_red_forgets_while_it_is_idle() -> None:
    queue = red(weight_shift=4, min="50kB", max="90kB", packet_time="1ms")
    standing(queue, 40)
    for _ in range(40):
        queue.dequeue(10 * MILLISECOND, [])
    before = queue.average
    queue.enqueue(QueuedPacket(40, 0, b"", OCTETS, 0), 26 * MILLISECOND, [])
    assert queue.average == pytest.approx(before * (15 / 16) ** 16, abs=2)


def held_at(queue: RandomEarlyDetection, octets: int, packets: int, ecn: int = NOT_ECT) -> list[int]:
    """Indexes of what is dropped or marked while the queue is held at this length."""
    chosen: list[int] = []
    for index in range(packets):
        dropped: list[QueuedPacket] = []
        packet = QueuedPacket(index, 0, b"", OCTETS, 0, label=Label("a", "b", ecn))
        queue.enqueue(packet, 0, dropped)
        if dropped or packet.label.ecn == CE:
            chosen.append(index)
        if queue.octets > octets:
            queue.dequeue(0, [])
    return chosen


def test_red_drops_by_the_average_and_at_even_distances() -> None:
    queue = red(min="20kB", max="60kB", probability="10%", weight_shift=6)
    chosen = [index for index in held_at(queue, 40 * OCTETS, 20_000) if index > 2000]
    # Half way up: pb is 5 % and a little more, and the first packet after a drop counts as one: gaps are 1 to 19.
    gaps = [later - earlier for earlier, later in pairwise(chosen)]
    assert (min(gaps), max(gaps)) == (1, 19)
    assert sum(gaps) / len(gaps) == pytest.approx(9.9, abs=0.4)
    assert is_binomial(sum(gap <= 10 for gap in gaps), len(gaps), 10 / 18.75)


def test_red_leaves_all_alone_below_and_drops_all_above() -> None:
    assert held_at(red(min="20kB", max="60kB"), 19 * OCTETS, 5000) == []
    above = held_at(red(min="2kB", max="10kB", weight_shift=2), 60 * OCTETS, 200)
    assert above[-100:] == list(range(100, 200))


def test_red_marks_early_and_drops_above_the_maximum() -> None:
    queue = red(min="20kB", max="60kB", probability="10%", weight_shift=6, ecn=True)
    dropped: list[QueuedPacket] = []
    assert held_at(queue, 40 * OCTETS, 3000, ECT_0)
    full = red(min="2kB", max="10kB", weight_shift=0, ecn=True)
    for index in range(30):
        full.enqueue(QueuedPacket(index, 0, b"", OCTETS, 0, label=Label("a", "b", ECT_0)), 0, dropped)
    assert len(dropped) > 10


# PIE.


def pie(**parameters: object) -> Pie:
    queue = QUEUE_DISCIPLINES.build(QUEUE_DISCIPLINES.spec({"discipline": "pie", **parameters}))
    assert isinstance(queue, Pie)
    return queue


def test_pie_moves_its_chance_by_section_4_2() -> None:
    queue = pie(max_burst="0ns")
    standing(queue, 500)
    expected = 0.0
    old = 0.0
    for update in range(1, 12):
        for now in range((update - 1) * 15 * MILLISECOND, update * 15 * MILLISECOND, PACKET):
            queue.dequeue(now, [])
        delay = (update * 15 - 1) / 1000
        queue.enqueue(QueuedPacket(1000 + update, 0, b"", OCTETS, 0), update * 15 * MILLISECOND, [])
        step = 0.125 * (delay - 0.015) + 1.25 * (delay - old)
        scales = [(1e-6, 2048), (1e-5, 512), (1e-4, 128), (1e-3, 32), (1e-2, 8), (1e-1, 2)]
        expected += step / next((factor for limit, factor in scales if expected < limit), 1)
        old = delay
        assert queue.drop_probability / PROBABILITY_ONE == pytest.approx(expected, rel=1e-9)


def test_pie_lets_the_first_burst_pass() -> None:
    queue = pie()
    dropped: list[QueuedPacket] = []
    for index in range(140):
        now = index * PACKET
        queue.enqueue(QueuedPacket(3 * index, 0, b"", OCTETS, now), now, dropped)
        queue.enqueue(QueuedPacket(3 * index + 1, 0, b"", OCTETS, now), now, dropped)
        queue.dequeue(now, dropped)
    assert dropped == []


def test_pie_brings_a_sender_that_obeys_down_to_its_target() -> None:
    waits = sojourns("pie")
    assert max(waits[:200]) > 40 * MILLISECOND
    assert sorted(waits[-2000:])[1000] < 25 * MILLISECOND


def test_pie_marks_only_while_its_chance_is_small() -> None:
    link = Link(config("pie", ecn=True), name="forward", draws=DrawKey(1))
    for number in range(8000):
        link.push(datagram(number, OCTETS - 28), number * PACKET * 9 // 10, Label("a", "b", ECT_0))
    assert link.stats.packets_marked > 5
    assert link.stats.packets_queue_dropped > 20


# All of them.


@pytest.mark.parametrize("discipline", ["codel", "fq_codel", "red", "pie"])
def test_the_same_seed_drops_the_same_packets(discipline: str) -> None:
    drops = [overload(config(discipline), packets=3000, every=PACKET * 8 // 10).fates("queue_full") for _ in range(2)]
    assert drops[0] == drops[1] != []


@pytest.mark.parametrize("discipline", ["red", "pie"])
def test_another_seed_drops_others(discipline: str) -> None:
    drops = [overload(config(discipline), packets=3000, every=PACKET * 8 // 10, seed=seed) for seed in (1, 2)]
    assert drops[0].fates("queue_full") != drops[1].fates("queue_full")


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"discipline": "codel", "target": "0ms"}, "queue.target"),
        ({"discipline": "codel", "interval": "5ms"}, "queue.interval"),
        ({"discipline": "codel", "packets": 0}, "queue.packets"),
        ({"discipline": "fq_codel", "flows": 0}, "queue.flows"),
        ({"discipline": "fq_codel", "quantum": "0B"}, "queue.quantum"),
        ({"discipline": "red", "max": "5kB"}, "queue.max"),
        ({"discipline": "red", "limit": "20kB"}, "queue.limit"),
        ({"discipline": "red", "weight_shift": 40}, "queue.weight_shift"),
        ({"discipline": "red", "packet_time": "0ns"}, "queue.packet_time"),
        ({"discipline": "pie", "update": "0ms"}, "queue.update"),
        ({"discipline": "pie", "packets": 0}, "queue.packets"),
    ],
)
def test_impossible_parameters_are_refused_at_their_key(parameters: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        QUEUE_DISCIPLINES.spec(parameters, "queue")
    assert caught.value.key == key
