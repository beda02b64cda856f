"""Record: what one run leaves in the tables. A value: the same on every machine, and the same after a way through JSON.

Times are milliseconds of virtual time with six decimals, which is exact to the nanosecond; shares have six decimals.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, TypeAlias

from rudp_smtp.experiment.build import LinkFacts, RunFacts
from rudp_smtp.experiment.metrics import METRICS, milliseconds, ratio
from rudp_smtp.experiment.statistics import DIGITS, UNKNOWN, Number, proportion_interval
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.units import SECOND
from rudp_smtp.workload import Delivery

Value: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class MessageRow:
    """The fate of one message; None: never happened before the run ended."""

    message: int
    name: str
    size_bytes: int  # as sent, after what `changed_before_sending` says
    changed_before_sending: str
    session: int
    status: str
    is_intact: bool
    copies_count: int
    attempts_count: int
    submitted_ms: float | None
    completed_ms: float | None
    delivered_ms: float | None
    latency_ms: float | None  # from hand-over to the final reply
    mailbox_latency_ms: float | None  # from hand-over until the first copy was complete in the mailbox
    reply: str


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One direction of a run: what was asked of the link and what it did. The harness certifies itself here."""

    direction: str
    entered_count: int
    entered_bytes: int
    too_big_count: int
    judged_count: int  # packets whose loss the model decided
    lost_count: int
    asked_loss_ratio: float
    achieved_loss_ratio: float | None
    achieved_loss_low_ratio: float | None  # exact binomial interval, where losses are independent
    achieved_loss_high_ratio: float | None
    queue_dropped_count: int
    marked_count: int  # left the queue with a congestion mark (ECN)
    duplicated_count: int
    corrupted_count: int
    reordered_count: int
    delivered_count: int
    delivered_bytes: int
    asked_delay_ms: float
    achieved_delay_ms: float | None  # the mean, from the end of serialisation
    asked_rate_bps: int | None
    achieved_rate_bps: int | None  # while the transmitter was busy
    queue_wait_ms: float | None  # the mean, before serialisation
    queue_peak_count: int
    queue_peak_bytes: int


@dataclass(frozen=True, slots=True)
class Record:
    """One finished run. Nothing here depends on the plan the run was part of, so another plan may reuse it."""

    key: str
    seed: int
    parameters: dict[str, str | int | float]
    stop: str  # done, or the limit that was reached
    invalid: str  # of a live run: what the machine did that nobody asked for, so that it must not be believed
    notes: str  # what else a reader must know of the run; mostly nothing
    metrics: dict[str, Number | None]
    messages: tuple[MessageRow, ...]
    links: tuple[LinkRow, ...]

    @property
    def is_censored(self) -> bool:
        return self.stop != "done"

    def document(self) -> dict[str, object]:
        """The record as JSON can hold it."""
        return {
            "key": self.key,
            "seed": self.seed,
            "parameters": self.parameters,
            "stop": self.stop,
            "invalid": self.invalid,
            "notes": self.notes,
            "metrics": self.metrics,
            "messages": [asdict(row) for row in self.messages],
            "links": [asdict(row) for row in self.links],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Record":
        """The inverse of `document`."""
        rows = {
            "messages": tuple(MessageRow(**row) for row in document["messages"]),
            "links": tuple(LinkRow(**row) for row in document["links"]),
        }
        return cls(**{**document, **rows})


def columns() -> list[str]:
    """Every column a record can fill: a stored run that was made with others is stale."""
    rows = [f"{row.__name__}.{field.name}" for row in (Record, MessageRow, LinkRow) for field in fields(row)]
    return [*rows, *METRICS.names()]


def record(facts: RunFacts) -> Record:
    """Keep of a run what the tables show."""
    run, configuration = facts.run, facts.run.configuration
    return Record(
        key=run.key,
        seed=run.seed,
        parameters=run.parameters(),
        stop=facts.stop,
        invalid=facts.invalid,
        notes="; ".join(facts.report.notes),
        metrics={name: METRICS.load(name)(facts) for name in METRICS.names()},
        messages=tuple(_message_row(delivery) for delivery in facts.report.deliveries),
        links=(
            _link_row("forward", facts.forward, configuration.forward),
            _link_row("reverse", facts.reverse, configuration.reverse),
        ),
    )


def _message_row(delivery: Delivery) -> MessageRow:
    submitted = delivery.submitted_at
    return MessageRow(
        message=delivery.index,
        name=delivery.name,
        size_bytes=delivery.size,
        changed_before_sending=delivery.changed_before_sending,
        session=delivery.session,
        status=delivery.status,
        is_intact=delivery.is_intact,
        copies_count=delivery.copies,
        attempts_count=delivery.attempts,
        submitted_ms=milliseconds(submitted),
        completed_ms=milliseconds(delivery.completed_at),
        delivered_ms=milliseconds(delivery.delivered_at),
        latency_ms=_span(submitted, delivery.completed_at),
        mailbox_latency_ms=_span(submitted, delivery.delivered_at),
        reply=delivery.reply,
    )


def _span(start: int | None, stop: int | None) -> float | None:
    return None if start is None or stop is None else milliseconds(stop - start)


def _link_row(direction: str, facts: LinkFacts, config: LinkConfig) -> LinkRow:
    stats = facts.stats
    judged = facts.packets_judged
    is_independent = config.loss is None or config.loss.name == "random"
    interval = proportion_interval(stats.packets_lost, judged) if is_independent else UNKNOWN
    busy = stats.serialisation_time
    return LinkRow(
        direction=direction,
        entered_count=stats.packets_entered,
        entered_bytes=stats.octets_entered,
        too_big_count=stats.packets_too_big,
        judged_count=judged,
        lost_count=stats.packets_lost,
        asked_loss_ratio=round(float(facts.expected_loss), DIGITS),
        achieved_loss_ratio=ratio(stats.packets_lost, judged),
        achieved_loss_low_ratio=interval.low,
        achieved_loss_high_ratio=interval.high,
        queue_dropped_count=stats.packets_queue_dropped,
        marked_count=stats.packets_marked,
        duplicated_count=stats.packets_duplicated,
        corrupted_count=stats.packets_corrupted,
        reordered_count=stats.packets_reordered,
        delivered_count=stats.packets_delivered,
        delivered_bytes=stats.octets_delivered,
        asked_delay_ms=milliseconds(config.delay.time),
        achieved_delay_ms=_mean_milliseconds(stats.delay_time, stats.packets_delayed),
        asked_rate_bps=config.rate.bits_per_second if config.rate else None,
        achieved_rate_bps=round(Fraction(stats.octets_serialised * 8 * SECOND, busy)) if busy else None,
        queue_wait_ms=_mean_milliseconds(stats.queue_time, stats.packets_serialised),
        queue_peak_count=stats.queue_packets_max,
        queue_peak_bytes=stats.queue_octets_max,
    )


def _mean_milliseconds(total: int, count: int) -> float | None:
    return milliseconds(round(Fraction(total, count))) if count else None
