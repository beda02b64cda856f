"""Metrics, a file and a column each: the file `NAME.py` holds one function `NAME(facts)`, and NAME ends in its unit.

A metric is None where the run gives it no value: nothing was sent, or the end it measures never came. It may look at
nothing but the facts, so a stored run can be trusted.
"""

import pkgutil
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property
from importlib import import_module
from typing import TypeAlias, overload

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.statistics import DIGITS, Number, nearest_rank
from rudp_smtp.registry import nearest
from rudp_smtp.units import MILLISECOND

Metric: TypeAlias = Callable[[RunFacts], Number | None]

UNITS = ("ms", "bps", "bytes", "count", "ratio")  # the last word of a metric's name


class Metrics:
    """The folder, by name. A metric is a function, so nothing is registered: the file says it all."""

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))

    def names(self) -> tuple[str, ...]:
        """Every column there is, in the order of the tables."""
        return self._names

    def load(self, name: str) -> Metric:
        if name not in self.names():
            raise ConfigError(f"unknown metric {name!r}; {nearest(name, self.names())}")
        metric: Metric = getattr(import_module(f"{__name__}.{name}"), name)
        return metric


METRICS = Metrics()


@overload
def milliseconds(time: int) -> float: ...
@overload
def milliseconds(time: None) -> None: ...
@overload
def milliseconds(time: int | None) -> float | None: ...
def milliseconds(time: int | None) -> float | None:
    """Nanoseconds as a number for a row; with six decimals nothing is lost."""
    return None if time is None else round(time / MILLISECOND, DIGITS)


def ratio(part: int, whole: int) -> float | None:
    """A share or a proportion for a row; there is none of nothing."""
    return round(part / whole, DIGITS) if whole else None


def told(facts: RunFacts, counter: str) -> int | None:
    """A counter of TransportStats, both hosts together; None if one of them does not tell."""
    hosts = facts.report.client, facts.report.server
    return None if any(counter in host.untold for host in hosts) else sum(getattr(host, counter) for host in hosts)


def latency_ms(facts: RunFacts, share: Fraction) -> float | None:
    """A quantile of the time from hand-over to the final reply.

    Over all messages but the refused: one that never came to its end counts as later than any other, so a quantile
    among these is None rather than too good. Refusals end another way and are counted by themselves.
    """
    wanted = [delivery for delivery in facts.report.deliveries if delivery.status != "refused"]
    never = 1 << 62
    latencies = [
        d.completed_at - d.submitted_at if d.completed_at is not None and d.submitted_at is not None else never
        for d in wanted
    ]
    latency = nearest_rank(latencies, share)
    return None if latency is None or latency == never else milliseconds(int(latency))
