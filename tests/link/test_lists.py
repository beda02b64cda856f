"""Fates given packet by packet, in place of chances."""

from collections.abc import Callable

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import (
    CorruptConfig,
    DelayConfig,
    LinkConfig,
    MatchRule,
    RateConfig,
    ReorderConfig,
    SlotConfig,
)
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS
from rudp_smtp.registry import Spec
from rudp_smtp.units import PROBABILITY_ONE
from tests.link.traffic import carried, datagram


def test_listed_packets_are_duplicated_and_each_copy_has_its_own_loss_bits_and_delay() -> None:
    config = LinkConfig(
        duplicated=(1, 3),
        loss=Spec("list", (("copies", (3,)), ("packets", (2,)))),
        where="egress",
        corrupt=CorruptConfig(probability=0, flips=(0, 0, 32, 1, 1, 33, 1, 1, 36)),
        delay=DelayConfig(time=100, jitter=1, distribution=Spec("list", (("copies", (1, 7)), ("offsets", (0, -5))))),
    )
    traffic = carried(config, range(0, 5000, 1000))
    assert traffic.arrivals == [
        (100, datagram(0)[:4] + b"\x01" + datagram(0)[5:]),
        (1095, datagram(1)),
        (1107, datagram(1)[:4] + b"\x12" + datagram(1)[5:]),
        (3100, datagram(3)),
        (4100, datagram(4)),
    ]
    assert traffic.fates("lost") == [2, 3]


def test_a_list_without_copies_means_the_same_for_them() -> None:
    config = LinkConfig(duplicate=PROBABILITY_ONE, loss=Spec("list", (("packets", (1,)),)), where="egress")
    assert carried(config, range(3)).numbers() == [0, 0, 2, 2]


def test_listed_packets_are_displaced_and_gaps_do_not_matter() -> None:
    config = LinkConfig(
        duplicated=(0, 2), reorder=ReorderConfig(probability=0, gap=9, hold=10, packets=(0, 1), copies=(2,))
    )
    traffic = carried(config, [0, 100, 200])
    assert traffic.times() == [0, 10, 110, 200, 210]
    assert traffic.fates("reordered") == [0, 1, 2]


def test_slots_open_when_the_list_says_and_after_it_at_once() -> None:
    config = LinkConfig(slot=SlotConfig(min_delay=10, packets=1, waits=(5, 0, 2)))
    assert carried(config, [0] * 5).times() == [15, 25, 37, 47, 57]


def test_a_rule_may_flip_the_bits_it_names_where_they_are() -> None:
    config = LinkConfig(match=(MatchRule(action="corrupt", nth=2, flips=(0, 9, 10**6)),))
    damaged = carried(config, range(3)).arrivals[1][1]
    assert damaged == bytes([1, 2]) + datagram(1)[2:]


def test_a_queue_with_a_seed_of_its_own_decides_the_same_in_every_run() -> None:
    red = Spec("red", (("limit", 40_000), ("max", 3000), ("min", 500), ("probability", PROBABILITY_ONE // 2)))

    def dropped(seed: int, queue_seed: int | None) -> list[int]:
        config = LinkConfig(rate=RateConfig(value=100_000), queue=red, queue_seed=queue_seed)
        return carried(config, range(0, 2_000_000_000, 5_000_000), seed=seed).fates("queue_full")

    assert dropped(1, 7) == dropped(2, 7) != []
    assert dropped(1, None) != dropped(2, None)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: CorruptConfig(probability=1, flips=(0, 0, 1)), "flips"),
        (lambda: CorruptConfig(probability=0, flips=(0, 0)), "flips"),
        (lambda: CorruptConfig(probability=0, flips=(0, 0, 1, -1, 0, 1)), "flips[3]"),
        (lambda: ReorderConfig(probability=1, packets=(1,)), "packets"),
        (lambda: ReorderConfig(probability=0, packets=(-1,)), "packets[0]"),
        (lambda: ReorderConfig(probability=0, copies=(1,)), "copies"),
        (lambda: SlotConfig(min_delay=1, waits=()), "waits"),
        (lambda: SlotConfig(min_delay=1, waits=(-1,)), "waits"),
        (lambda: MatchRule(action="drop", flips=(1,)), "flips"),
        (lambda: MatchRule(action="corrupt", flips=()), "flips"),
        (lambda: LinkConfig(duplicated=(0, -4)), "duplicated[1]"),
        (lambda: LinkConfig(queue_seed=1 << 63), "queue_seed"),
        (lambda: LinkConfig(reorder=ReorderConfig(probability=0, packets=(1,))), "reorder"),
        (lambda: DELAY_DISTRIBUTIONS.spec({"model": "list", "offsets": [], "copies": [1]}), ".copies"),
    ],
)
def test_impossible_lists_are_refused_at_their_key(make: Callable[[], object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.key == key
