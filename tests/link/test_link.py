"""One direction of a path: each stage by itself, exactly, and where the stages meet."""

from itertools import pairwise

import pytest

from rudp_smtp.datagram import CE, ECT_0, UNLABELLED, Label
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import CorruptConfig, DelayConfig, LinkConfig, RateConfig, ReorderConfig
from rudp_smtp.registry import Spec
from rudp_smtp.units import MICROSECOND, MILLISECOND, PROBABILITY_ONE, SECOND, parse_probability
from tests.link.inference import is_binomial
from tests.link.traffic import Traffic, carried, datagram

TENTH = parse_probability("10%")
HALF = parse_probability("50%")
MEGABIT = RateConfig(value=1_000_000)  # 100 octets take 800 microseconds


def lose(*packets: int) -> Spec:
    return Spec("list", (("packets", packets),))


def queue(**limits: int) -> Spec:
    return Spec("droptail", tuple(limits.items()))


def test_a_perfect_link_delivers_at_once_and_in_order() -> None:
    traffic = carried(LinkConfig(), [0, 0, 5])
    assert traffic.times() == [0, 0, 5]
    assert traffic.numbers() == [0, 1, 2]


def test_nothing_arrives_before_its_delay() -> None:
    traffic = Traffic(LinkConfig(delay=DelayConfig(time=20 * MILLISECOND)))
    traffic.send(b"hello", 7)
    assert traffic.link.next_datagram(20 * MILLISECOND + 6) is None
    assert traffic.link.next_timeout() == 20 * MILLISECOND + 7
    assert traffic.link.next_datagram(20 * MILLISECOND + 7) == (b"hello", UNLABELLED)
    assert traffic.link.next_timeout() is None


# MTU


def test_a_packet_above_the_mtu_vanishes_and_is_its_own_kind_of_loss() -> None:
    traffic = Traffic(LinkConfig(mtu=100, loss=lose(1, 2)))
    for number, length in enumerate((72, 73, 72, 71)):  # with IPv4 and UDP headers 28 more
        traffic.send(datagram(number, length), number)
    traffic.run()
    assert traffic.numbers() == [0, 3]
    assert traffic.timed_fates("too_big") == [(1, 1)]
    assert traffic.fates("lost") == [2]
    stats = traffic.link.stats
    assert (stats.packets_too_big, stats.octets_too_big, stats.packets_lost) == (1, 101, 1)
    assert traffic.link.packets_judged == 3


def test_what_is_too_big_changes_nothing_for_the_others() -> None:
    loss = Spec("gemodel", (("p", TENTH), ("r", HALF)))
    lengths = [72, 300, 72, 72] * 500
    narrow, wide = Traffic(LinkConfig(mtu=200, loss=loss)), Traffic(LinkConfig(loss=loss))
    for traffic in (narrow, wide):
        for number, length in enumerate(lengths):
            traffic.send(datagram(number, length), number)
        traffic.run()
    assert narrow.numbers() == [number for number in wide.numbers() if lengths[number] == 72]


@pytest.mark.parametrize("mtu", [0, 28])
def test_an_mtu_that_no_datagram_fits_in_is_refused(mtu: int) -> None:
    with pytest.raises(ConfigError, match="no datagram gets through"):
        LinkConfig(mtu=mtu)


# Rate and queue


def test_a_mark_set_in_the_queue_comes_out_with_the_datagram() -> None:
    traffic = Traffic(LinkConfig(rate=MEGABIT, queue=queue(limit=1000, mark=250)))
    for number in range(5):
        traffic.link.push(datagram(number), 0, Label("client", "server", ECT_0))
    codepoints = []
    while (deadline := traffic.link.next_timeout()) is not None:
        arrived = traffic.link.next_datagram(deadline)
        codepoints += [arrived[1].ecn] if arrived is not None else []
    assert codepoints == [ECT_0, ECT_0, ECT_0, CE, CE]  # the first one left the queue at once
    assert traffic.fates("marked") == [3, 4]
    assert traffic.link.stats.packets_marked == 2


def test_the_longest_wait_and_the_last_departure_are_kept() -> None:
    link = carried(LinkConfig(rate=MEGABIT), [0, 0, 0, SECOND]).link
    assert (link.stats.queue_time, link.stats.queue_time_max) == (2400 * MICROSECOND, 1600 * MICROSECOND)
    assert link.busy_until == SECOND + 800 * MICROSECOND
    assert carried(LinkConfig(), [0]).link.busy_until is None


def test_serialisation_is_right_to_the_nanosecond_and_rounding_never_adds_up() -> None:
    traffic = carried(LinkConfig(rate=RateConfig(value=3_000_000)), [0] * 1000)
    assert traffic.times() == [(k + 1) * 800 * SECOND // 3_000_000 for k in range(1000)]
    # The same where each packet comes at the nanosecond the one before it is out.
    just_in_time = carried(LinkConfig(rate=RateConfig(value=3_000_000)), [0, *traffic.times()[:-1]])
    assert just_in_time.times() == traffic.times()


def test_an_idle_transmitter_owes_nothing_from_before() -> None:
    traffic = carried(LinkConfig(rate=RateConfig(value=3_000_000)), [0, MILLISECOND, 2 * MILLISECOND])
    assert traffic.times() == [266_666, 1_266_666, 2_266_666]


def test_an_idle_transmitter_starts_at_once() -> None:
    traffic = carried(LinkConfig(rate=MEGABIT, delay=DelayConfig(time=MILLISECOND)), [0, 5 * MILLISECOND])
    assert traffic.times() == [1800 * MICROSECOND, 6800 * MICROSECOND]


def test_a_packet_that_comes_as_the_transmitter_falls_free_does_not_wait() -> None:
    traffic = carried(LinkConfig(rate=MEGABIT, queue=queue(packets=1)), [0, 800 * MICROSECOND, 1600 * MICROSECOND])
    assert traffic.times() == [800 * MICROSECOND, 1600 * MICROSECOND, 2400 * MICROSECOND]
    assert traffic.link.stats.queue_time == 0


@pytest.mark.parametrize(("overhead", "microseconds"), [(0, 800), (25, 1000), (-28, 576), (-200, 0)])
def test_packet_overhead_is_added_to_each_packet_and_may_be_negative(overhead: int, microseconds: int) -> None:
    traffic = carried(LinkConfig(rate=RateConfig(value=1_000_000, packet_overhead=overhead)), [0, 0])
    assert traffic.times() == [microseconds * MICROSECOND, 2 * microseconds * MICROSECOND]


def test_droptail_holds_its_limit_besides_the_packet_being_sent() -> None:
    for limit in (queue(packets=3), queue(limit=300), queue(limit=399)):
        traffic = carried(LinkConfig(rate=MEGABIT, queue=limit), [0] * 6)
        assert traffic.numbers() == [0, 1, 2, 3]
        assert traffic.fates("queue_full") == [4, 5]
        assert traffic.link.stats.queue_packets_max == 3
        assert traffic.link.stats.queue_octets_max == 300


def test_droptail_has_room_again_the_moment_a_packet_is_taken_out() -> None:
    for delay in (0, SECOND):  # arrivals remind the link of the time, or do not
        config = LinkConfig(rate=MEGABIT, queue=queue(packets=1), delay=DelayConfig(time=delay))
        assert carried(config, [0, 0, 800 * MICROSECOND - 1]).fates("queue_full") == [2]
        assert carried(config, [0, 0, 800 * MICROSECOND]).numbers() == [0, 1, 2]


def test_the_transmitter_is_accounted_for() -> None:
    stats = carried(LinkConfig(rate=MEGABIT), [0, 0, 0]).link.stats
    assert (stats.packets_serialised, stats.octets_serialised) == (3, 300)
    assert stats.serialisation_time == 2400 * MICROSECOND
    assert stats.queue_time == (800 + 1600) * MICROSECOND
    assert (stats.entered_first, stats.delivered_last) == (0, 2400 * MICROSECOND)


# Loss


def test_loss_at_ingress_spends_no_bandwidth() -> None:
    traffic = carried(LinkConfig(loss=lose(0, 1), where="ingress", rate=MEGABIT), [0, 0, 0])
    assert traffic.times() == [800 * MICROSECOND]
    assert traffic.timed_fates("lost") == [(0, 0), (0, 1)]


def test_loss_at_egress_comes_after_the_bandwidth_is_spent() -> None:
    traffic = carried(LinkConfig(loss=lose(0, 1), where="egress", rate=MEGABIT), [0, 0, 0])
    assert traffic.times() == [2400 * MICROSECOND]
    assert traffic.timed_fates("lost") == [(800 * MICROSECOND, 0), (1600 * MICROSECOND, 1)]


def test_a_packet_the_queue_drops_is_not_judged_by_loss_at_egress() -> None:
    traffic = carried(LinkConfig(loss=lose(0, 2), where="egress", rate=MEGABIT, queue=queue(packets=1)), [0, 0, 0])
    assert (traffic.fates("lost"), traffic.fates("queue_full")) == ([0], [2])
    assert traffic.link.packets_judged == 2
    assert traffic.link.stats.packets_entered == 3


def test_expected_loss_is_the_models_for_as_many_packets_as_there_were() -> None:
    assert carried(LinkConfig(loss=lose(0, 5)), [0, 0, 0, 0]).link.expected_loss() == 0.25
    assert carried(LinkConfig(), [0]).link.expected_loss() == 0


# Duplicates


def test_a_duplicate_follows_its_original() -> None:
    traffic = carried(LinkConfig(duplicate=PROBABILITY_ONE, rate=MEGABIT), [0, 0])
    assert traffic.numbers() == [0, 0, 1, 1]
    assert traffic.times() == [800 * k * MICROSECOND for k in (1, 2, 3, 4)]


def test_duplicates_come_as_often_as_asked() -> None:
    traffic = carried(LinkConfig(duplicate=TENTH), range(10_000))
    assert is_binomial(traffic.link.stats.packets_duplicated, 10_000, 0.1)
    assert traffic.link.stats.packets_delivered == 10_000 + traffic.link.stats.packets_duplicated


def test_a_lost_packet_is_not_duplicated() -> None:
    traffic = carried(LinkConfig(duplicate=PROBABILITY_ONE, loss=lose(0)), [0, 0])
    assert traffic.numbers() == [1, 1]


def test_a_copy_has_a_fate_of_its_own() -> None:
    loss = Spec("random", (("p", HALF),))
    config = LinkConfig(duplicate=PROBABILITY_ONE, loss=loss, where="egress", corrupt=CorruptConfig(probability=HALF))
    traffic = carried(config, range(4000))
    numbers = traffic.numbers()
    both = len(numbers) - len(set(numbers))
    assert is_binomial(both, 4000, 0.25)
    assert is_binomial(traffic.link.stats.packets_corrupted, 8000, 0.5)


def test_a_copy_is_corrupted_or_not_by_itself() -> None:
    config = LinkConfig(duplicate=PROBABILITY_ONE, corrupt=CorruptConfig(probability=HALF))
    sent = [datagram(number) for number in range(2000)]
    arrived = [data for _, data in carried(config, range(2000)).arrivals]
    pairs = list(zip(sent, arrived[::2], arrived[1::2], strict=True))
    assert is_binomial(sum(a == b == c for a, b, c in pairs), 2000, 0.25)
    assert is_binomial(sum(b != a != c for a, b, c in pairs), 2000, 0.25)


# Corruption


@pytest.mark.parametrize("bits", [1, 2, 7])
def test_corruption_flips_exactly_that_many_bits(bits: int) -> None:
    original = bytes(range(100))
    traffic = Traffic(LinkConfig(corrupt=CorruptConfig(probability=PROBABILITY_ONE, bits=bits)))
    for now in range(300):
        traffic.send(original, now)
    traffic.run()
    for _, data in traffic.arrivals:
        flipped = int.from_bytes(data, "big") ^ int.from_bytes(original, "big")
        assert len(data) == len(original)
        assert flipped.bit_count() == bits


def test_corruption_can_be_capped_to_so_many_in_a_row() -> None:
    share, count = 0.5, 20_000
    config = LinkConfig(corrupt=CorruptConfig(probability=HALF, max_burst=2))
    traffic = carried(config, [0] * count)
    damaged = set(traffic.fates("corrupted"))
    assert not any({index, index + 1, index + 2} <= damaged for index in range(count))
    expected = share * (1 - share**2) / (1 - share**3)
    assert len(damaged) / count == pytest.approx(expected, abs=0.01)
    with pytest.raises(ConfigError, match="0 in a row; expected 1 to 1000"):
        CorruptConfig(probability=HALF, max_burst=0)


def test_corruption_reaches_every_bit() -> None:
    traffic = carried(LinkConfig(corrupt=CorruptConfig(probability=PROBABILITY_ONE)), [0] * 3000, length=8)
    masks = [number ^ int.from_bytes(data, "big") >> 32 for number, (_, data) in enumerate(traffic.arrivals)]
    tails = [int.from_bytes(data, "big") & 0xFFFFFFFF for _, data in traffic.arrivals]
    hits = [sum(mask >> bit & 1 for mask in part) for part in (masks, tails) for bit in range(32)]
    assert sum(hits) == 3000
    assert all(is_binomial(count, 3000, 1 / 64) for count in hits)


def test_corruption_of_more_bits_than_there_are_flips_them_all_and_of_nothing_is_nothing() -> None:
    config = LinkConfig(corrupt=CorruptConfig(probability=PROBABILITY_ONE, bits=9))
    traffic = Traffic(config)
    traffic.send(b"\x0f", 0)
    traffic.send(b"", 0)
    traffic.run()
    assert [data for _, data in traffic.arrivals] == [b"\xf0", b""]
    assert traffic.fates("corrupted") == [0]


def test_corruption_comes_as_often_as_asked() -> None:
    traffic = carried(LinkConfig(corrupt=CorruptConfig(probability=TENTH)), range(10_000))
    assert is_binomial(traffic.link.stats.packets_corrupted, 10_000, 0.1)


# Delay


def test_jitter_reorders_unless_order_is_kept() -> None:
    loose = DelayConfig(time=20 * MILLISECOND, jitter=5 * MILLISECOND)
    tight = DelayConfig(time=20 * MILLISECOND, jitter=5 * MILLISECOND, keep_order=True)
    times = [k * MILLISECOND for k in range(200)]
    assert carried(LinkConfig(delay=loose), times).numbers() != list(range(200))
    assert carried(LinkConfig(delay=tight), times).numbers() == list(range(200))


def test_a_delay_is_never_negative() -> None:
    config = LinkConfig(delay=DelayConfig(time=MILLISECOND, jitter=50 * MILLISECOND, distribution=Spec("normal")))
    traffic = carried(config, [k * SECOND for k in range(200)])
    assert all(time >= number * SECOND for time, number in zip(traffic.times(), traffic.numbers(), strict=True))


def test_the_sum_of_delays_is_what_the_packets_were_delayed_by() -> None:
    config = LinkConfig(rate=MEGABIT, delay=DelayConfig(time=9 * MILLISECOND, jitter=MILLISECOND))
    traffic = carried(config, [k * SECOND for k in range(500)])
    expected = sum(time - number * SECOND for time, number in zip(traffic.times(), traffic.numbers(), strict=True))
    assert traffic.link.stats.delay_time == expected - 500 * 800 * MICROSECOND
    assert traffic.link.stats.packets_delayed == 500


# Reordering


def test_a_packet_sent_early_skips_the_delay_but_not_the_rate() -> None:
    reorder = ReorderConfig(probability=PROBABILITY_ONE, gap=3)
    config = LinkConfig(rate=MEGABIT, delay=DelayConfig(time=20 * MILLISECOND), reorder=reorder)
    traffic = carried(config, [0] * 4)
    assert traffic.fates("reordered") == [2]
    assert traffic.arrivals[0] == (2400 * MICROSECOND, datagram(2))
    assert traffic.numbers() == [2, 0, 1, 3]


def test_a_packet_held_back_comes_that_much_later() -> None:
    reorder = ReorderConfig(probability=PROBABILITY_ONE, gap=3, hold=5 * MILLISECOND)
    config = LinkConfig(delay=DelayConfig(time=20 * MILLISECOND), reorder=reorder)
    traffic = carried(config, [k * MILLISECOND for k in range(5)])
    assert traffic.numbers() == [0, 1, 3, 4, 2]
    assert traffic.times()[-1] == (2 + 20 + 5) * MILLISECOND


def test_the_gap_leaves_packets_alone_and_then_chance_decides() -> None:
    config = LinkConfig(
        delay=DelayConfig(time=MILLISECOND), reorder=ReorderConfig(probability=HALF, gap=5, hold=MILLISECOND)
    )
    displaced = carried(config, range(5000)).fates("reordered")
    steps = [after - before for before, after in pairwise(displaced)]
    assert displaced[0] >= 4
    assert min(steps) == 5
    assert is_binomial(sum(step == 5 for step in steps), len(steps), 0.5)


def test_copies_do_not_count_as_packets_of_the_gap() -> None:
    reorder = ReorderConfig(probability=HALF, gap=3, hold=MILLISECOND)
    alone = carried(LinkConfig(reorder=reorder), range(300)).fates("reordered")
    doubled = carried(LinkConfig(reorder=reorder, duplicate=PROBABILITY_ONE), range(300)).fates("reordered")
    assert set(alone) < set(doubled)
    assert {index + step for index in alone for step in (1, 2)}.isdisjoint(doubled)


def test_reordering_comes_as_often_as_asked() -> None:
    reorder = ReorderConfig(probability=TENTH, hold=5 * MILLISECOND)
    traffic = carried(LinkConfig(reorder=reorder), range(10_000))
    assert is_binomial(traffic.link.stats.packets_reordered, 10_000, 0.1)
    assert len(traffic.fates("reordered")) == traffic.link.stats.packets_reordered


def test_a_displaced_packet_does_not_hold_up_a_link_that_keeps_order() -> None:
    delay = DelayConfig(time=20 * MILLISECOND, jitter=MILLISECOND, keep_order=True)
    reorder = ReorderConfig(probability=PROBABILITY_ONE, gap=100, hold=SECOND)
    traffic = carried(LinkConfig(delay=delay, reorder=reorder), [k * 100 * MICROSECOND for k in range(150)])
    assert traffic.numbers() == [*range(99), *range(100, 150), 99]
