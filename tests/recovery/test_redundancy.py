"""What every redundancy promises, and how sparse_duplicate keeps its budget."""

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.redundancy import REDUNDANCIES, Redundancy
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND

RTT = 40 * MILLISECOND
TINY = 100
BULK = 200_000  # octets in flight


def redundancy(name: str, **parameters: object) -> Redundancy:
    return REDUNDANCIES.build(Spec(name, tuple(sorted(parameters.items()))))


def copies_of(plugin: Redundancy, sizes: list[int]) -> int:
    """Octets of copies, where each packet is alone in flight."""
    copied = 0
    for size in sizes:
        if plugin.on_packet_sent(size, size, RTT, 0) is not None and plugin.allows_copy(size, size):
            plugin.on_copy_sent(size)
            copied += size
    return copied


def copies_of_more(plugin: Redundancy, attempts: int) -> int:
    """Copies that leave while nothing is sent that earns any."""
    count = 0
    for _ in range(attempts):
        if plugin.allows_copy(TINY, TINY):
            plugin.on_copy_sent(TINY)
            count += 1
    return count


def test_every_redundancy_this_version_promises_exists() -> None:
    assert {"none", "sparse_duplicate"} <= set(REDUNDANCIES.names())


@pytest.mark.parametrize("name", REDUNDANCIES.names())
def test_bulk_is_never_repeated(name: str) -> None:
    plugin = redundancy(name)
    assert plugin.on_packet_sent(1472, BULK, RTT, 0) is None
    assert not plugin.allows_copy(1472, BULK)


@pytest.mark.parametrize("name", REDUNDANCIES.names())
def test_a_copy_comes_later_than_its_packet_but_within_the_round_trip(name: str) -> None:
    for rtt in (10 * MILLISECOND, RTT, 600 * MILLISECOND):
        time = redundancy(name).on_packet_sent(TINY, TINY, rtt, SECOND)
        assert time is None or SECOND + MILLISECOND <= time < SECOND + rtt // 2


@pytest.mark.parametrize("name", REDUNDANCIES.names())
def test_copies_without_end_are_never_more_than_what_is_sent(name: str) -> None:
    sizes = [TINY] * 10_000
    assert copies_of(redundancy(name), sizes) <= sum(sizes)


def test_an_inactive_redundancy_copies_nothing() -> None:
    for name in REDUNDANCIES.names():
        plugin = redundancy(name)
        assert plugin.is_active or copies_of(plugin, [TINY]) == 0


def test_the_distance_to_the_copy_is_a_millisecond_at_least() -> None:
    assert redundancy("sparse_duplicate").on_packet_sent(TINY, TINY, MILLISECOND, 5) == 5 + MILLISECOND


def test_copies_end_with_the_budget_and_go_on_with_its_share() -> None:
    plugin = redundancy("sparse_duplicate", budget=1000, share=PROBABILITY_ONE // 4)
    assert copies_of(plugin, [TINY] * 10_000) == pytest.approx(1000 + 10_000 * TINY / 4, abs=TINY)


def test_what_is_saved_is_never_more_than_the_budget() -> None:
    plugin = redundancy("sparse_duplicate", budget=1000, share=PROBABILITY_ONE)
    for _ in range(1000):
        plugin.on_packet_sent(1472, BULK, RTT, 0)
    assert copies_of_more(plugin, 1000) == 1000 // TINY


def test_a_copy_that_was_allowed_and_never_left_costs_nothing() -> None:
    plugin = redundancy("sparse_duplicate", budget=1000)
    assert all(plugin.allows_copy(TINY, TINY) for _ in range(1000))
    assert copies_of_more(plugin, 1000) == 1000 // TINY


def test_how_large_a_tiny_flight_is_can_be_chosen() -> None:
    plugin = redundancy("sparse_duplicate", flight=500)
    assert plugin.on_packet_sent(100, 500, RTT, 0) is not None
    assert plugin.on_packet_sent(100, 501, RTT, 0) is None


@pytest.mark.parametrize("key", ["flight", "budget"])
def test_a_flight_or_budget_of_nothing_is_refused(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        REDUNDANCIES.spec({"model": "sparse_duplicate", key: "0B"}, "transport.redundancy")
    assert caught.value.key == f"transport.redundancy.{key}"
