"""A link in netem's words, and what they leave out."""

import pytest

from rudp_smtp.link.config import CorruptConfig, DelayConfig, LinkConfig, RateConfig, ReorderConfig, SlotConfig
from rudp_smtp.link.tc import to_netem
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, parse_probability

TENTH = parse_probability("10%")
DELAY = DelayConfig(time=10 * MILLISECOND)
NORMAL = DelayConfig(time=10 * MILLISECOND, jitter=MILLISECOND, distribution=Spec("normal"), keep_order=True)


@pytest.mark.parametrize(
    ("config", "arguments", "untold"),
    [
        (LinkConfig(), "", 0),
        (LinkConfig(delay=DELAY, duplicate=TENTH), "delay 10ms duplicate 10%", 0),
        (LinkConfig(delay=NORMAL), "delay 10ms 1ms distribution normal", 1),
        (LinkConfig(corrupt=CorruptConfig(probability=TENTH, bits=3)), "corrupt 10%", 1),
        (LinkConfig(corrupt=CorruptConfig(probability=TENTH, max_burst=3)), "corrupt 10%", 1),
        (LinkConfig(loss=Spec("random", (("max_burst", 3), ("p", TENTH)))), "loss random 10%", 1),
        (LinkConfig(delay=DELAY, reorder=ReorderConfig(probability=TENTH, gap=5)), "delay 10ms reorder 10% gap 5", 0),
        (LinkConfig(reorder=ReorderConfig(probability=TENTH, hold=MILLISECOND)), "", 1),
        (LinkConfig(loss=Spec("list", (("packets", (1, 2)),))), "", 1),
        (LinkConfig(loss=Spec("random", (("p", TENTH),)), where="egress"), "loss random 10%", 1),
        (LinkConfig(rate=RateConfig(value=1_000_000, packet_overhead=14)), "limit 1001 rate 1mbit 14", 0),
        (LinkConfig(slot=SlotConfig(min_delay=MILLISECOND, packets=8)), "slot 1ms 1ms packets 8", 0),
        (LinkConfig(mtu=1400), "", 1),
    ],
)
def test_a_link_is_told_and_what_netem_lacks_is_named(config: LinkConfig, arguments: str, untold: int) -> None:
    netem = to_netem(config)
    assert " ".join(netem.arguments) == arguments
    assert len(netem.untold) == untold
