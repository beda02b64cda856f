"""What became of a link's packets, in whole numbers, for every configuration the link has had."""

from dataclasses import dataclass, fields

from rudp_smtp.link.config import LinkConfig


@dataclass(slots=True)
class LinkStats:
    """Octets count network headers; times are sums of nanoseconds. What was drawn is counted where it was decided."""

    packets_entered: int = 0
    octets_entered: int = 0
    packets_doomed: int = 0  # to be lost, said the loss model, of all that entered; whatever became of them
    packets_too_big: int = 0
    octets_too_big: int = 0
    packets_blackholed: int = 0
    octets_blackholed: int = 0
    packets_matched: int = 0  # dropped by a match rule
    octets_matched: int = 0
    packets_lost: int = 0
    octets_lost: int = 0
    duplicate_draws: int = 0
    duplicates_drawn: int = 0
    packets_duplicated: int = 0  # with those of match rules
    octets_duplicated: int = 0
    corrupt_draws: int = 0
    corruptions_drawn: int = 0
    packets_corrupted: int = 0  # with those of match rules
    octets_corrupted: int = 0
    packets_queue_dropped: int = 0
    octets_queue_dropped: int = 0
    queue_packets_max: int = 0
    queue_octets_max: int = 0
    queue_time: int = 0  # waited before serialisation
    queue_time_max: int = 0  # the longest of these waits
    packets_marked: int = 0  # left the queue with CE
    packets_serialised: int = 0
    octets_serialised: int = 0  # with the rate's packet overhead
    serialisation_time: int = 0  # the transmitter was busy this long
    busy_periods: int = 0  # it began after a rest: each loses less than a nanosecond to rounding
    packets_delayed: int = 0  # came to the delay stage, lost ones not
    delay_time: int = 0  # from the end of serialisation to arrival
    detour_time: int = 0  # of it: what displacement, match rules and `keep_order` added to the delay drawn
    reorder_draws: int = 0  # of originals
    reorders_drawn: int = 0
    packets_reordered: int = 0
    octets_reordered: int = 0
    packets_delivered: int = 0
    octets_delivered: int = 0
    entered_first: int | None = None  # time of the first packet's entrance
    delivered_last: int | None = None


class Periods:
    """Owns how much was counted under each configuration: theory differs from one to the next."""

    def __init__(self) -> None:
        self._counted: dict[LinkConfig, dict[str, int]] = {}
        self._before: dict[str, int] = {}

    def close(self, config: LinkConfig, stats: LinkStats) -> None:
        """What was counted since the last time was counted under this configuration."""
        now = {name: getattr(stats, name) for name in _COUNTERS}
        total = self._counted.setdefault(config, dict.fromkeys(_COUNTERS, 0))
        for name, value in now.items():
            total[name] += value - self._before.get(name, 0)
        self._before = now

    def until_now(self, config: LinkConfig, stats: LinkStats) -> tuple[tuple[LinkConfig, LinkStats], ...]:
        """Every configuration so far, in the order of their first use, with what was counted under it."""
        self.close(config, stats)
        return tuple((earlier, LinkStats(**counted)) for earlier, counted in self._counted.items())


_COUNTERS = tuple(item.name for item in fields(LinkStats) if item.type is int and not item.name.endswith("_max"))
