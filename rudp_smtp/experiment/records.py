"""Record: what one run leaves in the tables. A value: the same on every machine, and the same after a way through JSON.

Times are milliseconds of virtual time with six decimals, which is exact to the nanosecond; shares have six decimals.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from typing import Any, TypeAlias

from rudp_smtp.experiment.build import LinkFacts, RunFacts
from rudp_smtp.experiment.certification import (
    LEVEL,
    UNASKED,
    Certificate,
    asked_loss,
    certify_corrupt,
    certify_delay,
    certify_duplicate,
    certify_loss,
    certify_rate,
    certify_reorder,
)
from rudp_smtp.experiment.metrics import METRICS, milliseconds
from rudp_smtp.experiment.statistics import DIGITS, Number
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.registry import UNSAID
from rudp_smtp.units import SECOND, probability_fraction
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
    hop_times_ms: str | None = field(default=None, metadata=UNSAID)  # of the first copy to arrive, hop by hop


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One direction of a run: what was asked of the link and what it did. The harness certifies itself here.

    `asked` is what the scenario says, `theoretical` what its models make of it over the run, events included; a bound
    of `achieved` and a verdict are as `certification` has them, at the level the row states.
    """

    direction: str
    entered_count: int
    entered_bytes: int
    too_big_count: int
    judged_count: int  # packets that might have been lost to the loss model
    lost_count: int
    queue_dropped_count: int
    marked_count: int  # left the queue with a congestion mark (ECN)
    duplicated_count: int
    corrupted_count: int
    reordered_count: int
    delivered_count: int
    delivered_bytes: int
    queue_wait_ms: float | None  # the mean, before serialisation
    queue_peak_count: int
    queue_peak_bytes: int
    detour_ms: float | None  # the mean: what displacement, match rules and `keep_order` added to the delay drawn
    level_ratio: float
    asked_loss: str  # the model
    theoretical_loss_ratio: Number | None
    achieved_loss_ratio: Number | None
    achieved_loss_low_ratio: Number | None
    achieved_loss_high_ratio: Number | None
    loss_verdict: str
    asked_delay_ms: float
    theoretical_delay_ms: Number | None
    achieved_delay_ms: Number | None  # from the end of serialisation, less the detour
    achieved_delay_low_ms: Number | None
    achieved_delay_high_ms: Number | None
    delay_verdict: str
    asked_rate_bps: int | None
    theoretical_rate_bps: Number | None
    achieved_rate_bps: Number | None  # while the transmitter was busy
    achieved_rate_low_bps: Number | None
    achieved_rate_high_bps: Number | None
    rate_verdict: str
    asked_reorder_ratio: float | None
    theoretical_reorder_ratio: Number | None
    achieved_reorder_ratio: Number | None  # of the packets that no gap protects
    achieved_reorder_low_ratio: Number | None
    achieved_reorder_high_ratio: Number | None
    reorder_verdict: str
    asked_duplicate_ratio: float | None
    theoretical_duplicate_ratio: Number | None
    achieved_duplicate_ratio: Number | None
    achieved_duplicate_low_ratio: Number | None
    achieved_duplicate_high_ratio: Number | None
    duplicate_verdict: str
    asked_corrupt_ratio: float | None
    theoretical_corrupt_ratio: Number | None
    achieved_corrupt_ratio: Number | None
    achieved_corrupt_low_ratio: Number | None
    achieved_corrupt_high_ratio: Number | None
    corrupt_verdict: str


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
    tables = (Record, MessageRow, LinkRow)
    rows = [f"{row.__name__}.{item.name}" for row in tables for item in fields(row) if not item.metadata.get("unsaid")]
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
            *(
                _link_row(name, link, configuration.forward if name.endswith("forward") else configuration.reverse)
                for name, link in facts.further
            ),
        ),
    )


def _message_row(delivery: Delivery) -> MessageRow:
    submitted, hop_times = delivery.submitted_at, delivery.hop_times
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
        hop_times_ms=None if hop_times is None else " ".join(str(milliseconds(time)) for time in hop_times),
    )


def _span(start: int | None, stop: int | None) -> float | None:
    return None if start is None or stop is None else milliseconds(stop - start)


def _link_row(direction: str, facts: LinkFacts, config: LinkConfig) -> LinkRow:
    stats, rate = facts.stats, certify_rate(facts)
    if rate is UNASKED and stats.serialisation_time:  # of a recorded rate, what it came to
        rate = Certificate(achieved=round(Fraction(stats.octets_serialised * 8 * SECOND, stats.serialisation_time)))
    return LinkRow(
        direction=direction,
        entered_count=stats.packets_entered,
        entered_bytes=stats.octets_entered,
        too_big_count=stats.packets_too_big,
        judged_count=facts.packets_judged,
        lost_count=stats.packets_lost,
        queue_dropped_count=stats.packets_queue_dropped,
        marked_count=stats.packets_marked,
        duplicated_count=stats.packets_duplicated,
        corrupted_count=stats.packets_corrupted,
        reordered_count=stats.packets_reordered,
        delivered_count=stats.packets_delivered,
        delivered_bytes=stats.octets_delivered,
        queue_wait_ms=_mean_milliseconds(stats.queue_time, stats.packets_serialised),
        queue_peak_count=stats.queue_packets_max,
        queue_peak_bytes=stats.queue_octets_max,
        detour_ms=_mean_milliseconds(stats.detour_time, stats.packets_delayed),
        level_ratio=float(LEVEL),
        asked_loss=asked_loss(config),
        asked_delay_ms=milliseconds(config.delay.time),
        asked_rate_bps=config.rate.bits_per_second if config.rate else None,
        asked_reorder_ratio=_chance(config.reorder.probability) if config.reorder else None,
        asked_duplicate_ratio=_chance(config.duplicate) if config.duplicate else None,
        asked_corrupt_ratio=_chance(config.corrupt.probability) if config.corrupt else None,
        **_certified("loss", "ratio", certify_loss(facts)),
        **_certified("delay", "ms", certify_delay(facts)),
        **_certified("rate", "bps", rate),
        **_certified("reorder", "ratio", certify_reorder(facts)),
        **_certified("duplicate", "ratio", certify_duplicate(facts)),
        **_certified("corrupt", "ratio", certify_corrupt(facts)),
    )


def _certified(name: str, unit: str, certificate: Certificate) -> dict[str, Any]:
    """A certificate's columns."""
    return {
        f"theoretical_{name}_{unit}": certificate.theoretical,
        f"achieved_{name}_{unit}": certificate.achieved,
        f"achieved_{name}_low_{unit}": certificate.interval.low,
        f"achieved_{name}_high_{unit}": certificate.interval.high,
        f"{name}_verdict": certificate.verdict,
    }


def _chance(probability: int) -> float:
    return round(probability_fraction(probability), DIGITS)


def _mean_milliseconds(total: int, count: int) -> float | None:
    return milliseconds(round(Fraction(total, count))) if count else None
