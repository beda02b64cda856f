"""Cells, recorded rates and slots: when each packet leaves, to the nanosecond."""

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import LinkConfig, RateConfig, SlotConfig
from rudp_smtp.units import MICROSECOND, MILLISECOND, SECOND
from tests.link.traffic import carried

HEADERS = 28


def departures(rate: RateConfig, times: list[int], length: int = 72) -> list[int]:
    return carried(LinkConfig(rate=rate), times, length=length).times()


@pytest.mark.parametrize(
    ("octets", "on_the_wire"), [(40, 53), (48, 53), (49, 106), (50, 106), (96, 106), (97, 159), (1500, 1696)]
)
def test_atm_fills_whole_cells(octets: int, on_the_wire: int) -> None:
    rate = RateConfig(value=8_000_000, cell_size=48, cell_overhead=5)
    assert departures(rate, [0], octets - HEADERS) == [on_the_wire * MICROSECOND]


def test_the_packets_overhead_counts_before_the_cells() -> None:
    rate = RateConfig(value=8_000_000, packet_overhead=8, cell_size=48, cell_overhead=5)
    assert departures(rate, [0, 0], 40 - HEADERS) == [53 * MICROSECOND, 106 * MICROSECOND]
    assert departures(rate, [0], 41 - HEADERS) == [106 * MICROSECOND]


def test_a_full_packet_leaves_at_each_opportunity_of_a_trace_and_the_trace_begins_again() -> None:
    rate = RateConfig(trace=(1, 4, 4, 10))
    left = departures(rate, [0] * 9, 1504 - HEADERS)
    assert left == [time * MILLISECOND for time in (1, 4, 4, 10, 11, 14, 14, 20, 21)]


def test_small_packets_share_an_opportunity_and_one_that_does_not_fit_goes_on_in_the_next() -> None:
    rate = RateConfig(trace=(5, 10))
    assert departures(rate, [0] * 4, 500 - HEADERS) == [5 * MILLISECOND] * 3 + [10 * MILLISECOND]


def test_an_opportunity_that_finds_nothing_to_send_is_gone() -> None:
    rate = RateConfig(trace=(1, 2, 3))
    times = [1_500 * MICROSECOND, 6 * MILLISECOND + 1, 100 * SECOND + 1]
    assert departures(rate, times) == [2 * MILLISECOND, 7 * MILLISECOND, 100 * SECOND + MILLISECOND]


def test_a_trace_may_begin_with_its_first_millisecond() -> None:
    # 0 and 10 are the same moment of two rounds: two opportunities there.
    left = departures(RateConfig(trace=(0, 10)), [0] * 5, 1504 - HEADERS)
    assert left == [time * MILLISECOND for time in (0, 10, 10, 20, 20)]


def test_the_rate_of_a_trace_is_its_opportunities_over_its_time() -> None:
    assert RateConfig(trace=(2, 4, 6, 8)).bits_per_second == 4 * 1504 * 8 * 1000 // 8


def slotted(slot: SlotConfig, times: list[int]) -> list[int]:
    return carried(LinkConfig(slot=slot), times).times()


def test_packets_wait_for_a_slot_and_leave_together() -> None:
    slot = SlotConfig(min_delay=10 * MILLISECOND)
    times = [0, MILLISECOND, 10 * MILLISECOND, 11 * MILLISECOND, 60 * MILLISECOND]
    assert slotted(slot, times) == [time * MILLISECOND for time in (10, 10, 10, 21, 70)]


@pytest.mark.parametrize(("packets", "octets"), [(2, None), (None, 101)])
def test_a_slot_is_used_up(packets: int | None, octets: int | None) -> None:
    slot = SlotConfig(min_delay=10 * MILLISECOND, packets=packets, bytes=octets)
    assert slotted(slot, [0] * 5) == [time * MILLISECOND for time in (10, 10, 20, 20, 30)]


def test_slots_come_at_any_time_between_their_delays() -> None:
    slot = SlotConfig(min_delay=10 * MILLISECOND, max_delay=20 * MILLISECOND, packets=1)
    times = slotted(slot, [0] * 400)
    gaps = [later - earlier for earlier, later in zip([0, *times], times, strict=False)]
    assert 10 * MILLISECOND <= min(gaps) < 11 * MILLISECOND
    assert 19 * MILLISECOND < max(gaps) <= 20 * MILLISECOND
    assert sum(gaps) / len(gaps) == pytest.approx(15 * MILLISECOND, rel=0.05)


def test_slots_keep_the_order() -> None:
    slot = SlotConfig(min_delay=MILLISECOND, max_delay=5 * MILLISECOND, packets=3)
    assert carried(LinkConfig(slot=slot), range(0, 50 * MILLISECOND, MILLISECOND // 3)).numbers() == list(range(151))


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: RateConfig(), ""),
        (lambda: RateConfig(value=1, trace=(1,)), "trace"),
        (lambda: RateConfig(trace=()), "trace"),
        (lambda: RateConfig(trace=(0, 0)), "trace"),
        (lambda: RateConfig(trace=(1, 3, 2)), "trace[2]"),
        (lambda: RateConfig(trace=(-1, 3)), "trace[0]"),
        (lambda: RateConfig(value=1, cell_size=-1), "cell_size"),
        (lambda: RateConfig(value=1, cell_overhead=5), "cell_overhead"),
        (lambda: RateConfig(value=1, cell_size=48, cell_overhead=-48), "cell_overhead"),
        (lambda: SlotConfig(min_delay=2, max_delay=1), "max_delay"),
        (lambda: SlotConfig(min_delay=2, packets=0), "packets"),
        (lambda: SlotConfig(min_delay=2, bytes=0), "bytes"),
    ],
)
def test_what_cannot_be_is_refused(make: type[RateConfig], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.key == key
