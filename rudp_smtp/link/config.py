"""What a link is asked to do, in inside units: frozen values a scenario can be read into.

A field's annotation says its unit or the folder of plug-ins it names (`units`, `registry`). The stages are passed in
this order, always: match, mtu, loss (ingress), duplicate, corrupt, queue, rate, loss (egress), slot, delay, reorder.
That is not netem's, on purpose: there a duplicate may be lost instead of its original, and a reordered packet skips
the rate. A queue's marks (ECN) are set where the packet joins it.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Literal

from rudp_smtp.errors import ConfigError
from rudp_smtp.link.bursts import check_cap
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS
from rudp_smtp.link.fates import check_groups, check_indexes
from rudp_smtp.link.loss import LOSS_MODELS
from rudp_smtp.link.queue import QUEUE_DISCIPLINES
from rudp_smtp.registry import UNSAID, Spec
from rudp_smtp.units import Duration, Probability, Rate, Size

IPV4_UDP_HEADER_BYTES = 20 + 8  # RFC 791 section 3.1 without options, RFC 768
UNIFORM = Spec("uniform")
DROPTAIL = Spec("droptail")
CONTAINS_OCTETS_MAX = 1000  # a stream's followers keep this much at every edge of what they have seen
OPPORTUNITY_OCTETS = 1504  # Mahimahi's packets: an Ethernet frame's 1500 and its own header


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayConfig:
    """`time` for every packet, spread by `jitter` (the half-width of `uniform`, the deviation of `normal`)."""

    time: Duration = 0
    jitter: Duration = 0
    distribution: Annotated[Spec, DELAY_DISTRIBUTIONS] = UNIFORM
    keep_order: bool = False  # a packet that would overtake arrives with the one before it instead


@dataclass(frozen=True, slots=True, kw_only=True)
class RateConfig:
    """Serialisation at `value`, or at the opportunities of a `trace` (`opportunities` has the format).

    `packet_overhead` octets are added to each packet, or taken off, as in tc. With `cell_size` what results fills whole
    cells of so many octets, each with `cell_overhead` more: 48 and 5 are ATM.
    """

    value: Rate | None = None
    packet_overhead: int = 0
    cell_size: int = field(default=0, metadata=UNSAID)
    cell_overhead: int = field(default=0, metadata=UNSAID)
    trace: tuple[int, ...] | None = field(default=None, metadata=UNSAID)

    def __post_init__(self) -> None:
        if self.value is None and self.trace is None:
            raise ConfigError("needs the key 'value', a rate such as 20mbit, or 'trace'")
        if self.value is not None and self.trace is not None:
            raise ConfigError("'trace' beside 'value'; expected one of them", key="trace")
        if self.value is not None and self.value < 1:
            raise ConfigError("a rate of zero moves nothing; expected a rate such as 20mbit", key="value")
        if self.cell_size < 0:
            raise ConfigError(f"{self.cell_size} octets are no cell; expected such as 48, or 0", key="cell_size")
        if self.cell_overhead and not self.cell_size:
            raise ConfigError("no cells to add it to; expected 'cell_size' too", key="cell_overhead")
        if self.cell_overhead <= -max(self.cell_size, 1):
            raise ConfigError("takes off more than there is of a cell; expected less", key="cell_overhead")
        self._check_trace(self.trace)

    @staticmethod
    def _check_trace(trace: tuple[int, ...] | None) -> None:
        if trace is None:
            return
        if not trace or trace[-1] < 1:
            raise ConfigError("no time passes in it; expected times in ms, the last at least 1", key="trace")
        for position, (earlier, later) in enumerate(pairwise((0, *trace))):
            if later < earlier:
                text = f"{later} ms comes before {earlier} ms; expected times that do not go back"
                raise ConfigError(text, key=f"trace[{position}]")

    @property
    def bits_per_second(self) -> int:
        """What it moves in the long run, whole packets of full size."""
        if self.value is not None:
            return self.value
        assert self.trace is not None
        return len(self.trace) * OPPORTUNITY_OCTETS * 8 * 1000 // self.trace[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotConfig:
    """Packets wait for a slot `min_delay` to `max_delay` (the same if not said) after the last, or after themselves."""

    min_delay: Duration
    max_delay: Duration | None = None
    waits: tuple[int, ...] | None = field(default=None, metadata=UNSAID)  # what each adds to `min_delay`, ns, exactly
    packets: int | None = None  # that leave in one slot
    bytes: Size | None = None

    def __post_init__(self) -> None:
        if self.max_delay is not None and self.max_delay < self.min_delay:
            raise ConfigError("shorter than 'min_delay'; expected at least as long", key="max_delay")
        if self.waits is not None and (not self.waits or min(self.waits) < 0):
            raise ConfigError("expected nanoseconds, at least one and none negative", key="waits")
        for key, value in (("packets", self.packets), ("bytes", self.bytes)):
            if value is not None and value < 1:
                raise ConfigError("a slot in which nothing leaves; expected at least 1, or null for no limit", key=key)

    @property
    def delay_max(self) -> int:
        return self.min_delay if self.max_delay is None else self.max_delay


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptConfig:
    """Flip `bits` distinct bits anywhere in the datagram; of at most `max_burst` packets in a row (`bursts`).

    `flips`: exactly these instead: packet, copy (0, or 1 for its duplicate) and bit for each, counted from 0.
    """

    probability: Probability
    bits: int = 1
    max_burst: int | None = field(default=None, metadata=UNSAID)
    flips: tuple[int, ...] | None = field(default=None, metadata=UNSAID)

    def __post_init__(self) -> None:
        if self.flips is not None:
            _check_exact(self.probability, "flips")
            check_groups(self.flips, 3, "a packet, its copy and a bit each", "flips")
        if self.bits < 1:
            raise ConfigError(f"{self.bits} flipped bits corrupt nothing; expected at least 1", key="bits")
        check_cap(self.max_burst)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReorderConfig:
    """Displace a share of the packets: without `hold` they skip the delay, with it they come that much later.

    `gap` is netem's: after a displaced packet, gap - 1 packets in a row are left alone. With `packets`, which count
    from 0, and `copies` of packets, exactly these are displaced.
    """

    probability: Probability
    gap: int = 1
    hold: Duration | None = None
    packets: tuple[int, ...] | None = field(default=None, metadata=UNSAID)
    copies: tuple[int, ...] = field(default=(), metadata=UNSAID)

    def __post_init__(self) -> None:
        if self.packets is not None:
            _check_exact(self.probability, "packets")
            check_indexes(self.packets, "packets")
        if self.copies and self.packets is None:
            raise ConfigError("go with 'packets'; expected both or neither", key="copies")
        check_indexes(self.copies, "copies")
        if self.gap < 1:
            raise ConfigError(f"a gap of {self.gap} packets does not exist; expected at least 1", key="gap")


@dataclass(frozen=True, slots=True)
class FieldTest:
    """What a match rule asks of a packet's field. A value: those who look into packets keep what they made of it."""

    name: str
    equals: int | str | None = None
    differs: int | str | None = None
    at_least: int | None = None
    at_most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """One of a rule's `fields`: the field's name, and one or several comparisons that all hold."""

    field_: str
    equals: int | str | None = field(default=None, metadata=UNSAID)
    not_: int | str | None = field(default=None, metadata=UNSAID)
    at_least: int | None = field(default=None, metadata=UNSAID)
    at_most: int | None = field(default=None, metadata=UNSAID)

    def __post_init__(self) -> None:
        _check_comparisons(self.test)

    @property
    def test(self) -> FieldTest:
        return FieldTest(self.field_, self.equals, self.not_, self.at_least, self.at_most)


def _check_comparisons(test: FieldTest) -> None:
    if (test.equals, test.differs, test.at_least, test.at_most) == (None, None, None, None):
        raise ConfigError("compared with nothing; expected equals, not, at_least, at_most, or several", key="field")
    if test.at_least is not None and test.at_most is not None and test.at_least > test.at_most:
        raise ConfigError(f"no number is at least {test.at_least} and less; expected more", key="at_most")


def _check_exact(probability: int, key: str) -> None:
    if probability:
        raise ConfigError(f"{key!r} leaves nothing to chance; expected probability: 0%", key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchRule:
    """Packets that are all that is said here; of them the `nth` (from 1), each `every`-th, or all; and what then.

    `contains`: the packet that carries the last of these octets of a stream that is followed, however they were cut
    into frames and packets; with `transmission` only when it is carried for that time, from 1. `field`: of any layer,
    by the layer's class and its own name as scapy has them; `fields`: several such tests, which all hold, and those of
    one kind of layer of one and the same layer. Sizes are of the IP packet. Rules come before all other stages, in
    their order; the first whose turn it is has the packet.
    """

    action: Literal["drop", "delay", "duplicate", "corrupt"]
    delay: Duration | None = None  # of `action: delay`, beyond what the packet would have had
    frame: str | None = None
    contains: str | None = None
    transmission: int | None = field(default=None, metadata=UNSAID)
    larger: Size | None = None
    smaller: Size | None = None
    protocol: Literal["udp", "tcp", "icmp"] | None = field(default=None, metadata=UNSAID)
    source_port: int | None = field(default=None, metadata=UNSAID)
    destination_port: int | None = field(default=None, metadata=UNSAID)
    field_: str | None = field(default=None, metadata=UNSAID)
    equals: int | str | None = field(default=None, metadata=UNSAID)
    not_: int | str | None = field(default=None, metadata=UNSAID)
    at_least: int | None = field(default=None, metadata=UNSAID)
    at_most: int | None = field(default=None, metadata=UNSAID)
    fields: tuple[FieldRule, ...] = field(default=(), metadata=UNSAID)
    nth: int | None = None
    every: int | None = None
    flips: tuple[int, ...] | None = field(default=None, metadata=UNSAID)  # of `action: corrupt`: these bits, not any

    def __post_init__(self) -> None:
        if self.flips is not None and (self.action != "corrupt" or not self.flips or min(self.flips) < 0):
            raise ConfigError("are bits, counted from 0, that 'action: corrupt' flips; expected such", key="flips")
        if (self.action == "delay") != (self.delay is not None):
            raise ConfigError("goes with 'action: delay', and that with it; expected both or neither", key="delay")
        self._check_contains()
        self._check_field()
        for key, port in (("source_port", self.source_port), ("destination_port", self.destination_port)):
            if port is not None and not 0 <= port < 1 << 16:
                raise ConfigError(f"{port} is no port; expected 0 to 65535", key=key)
        if self.nth is not None and self.every is not None:
            raise ConfigError("'every' beside 'nth'; expected one of them", key="every")
        for key, value in (("nth", self.nth), ("every", self.every), ("transmission", self.transmission)):
            if value is not None and value < 1:
                raise ConfigError(f"{value} counts no packet; expected at least 1", key=key)

    @property
    def tests(self) -> tuple[FieldTest, ...]:
        """What it asks of fields."""
        further = tuple(item.test for item in self.fields)
        if self.field_ is None:
            return further
        return FieldTest(self.field_, self.equals, self.not_, self.at_least, self.at_most), *further

    def _check_contains(self) -> None:
        if self.contains is None:
            if self.transmission is not None:
                raise ConfigError("of what? expected 'contains' too", key="transmission")
            return
        if not self.contains:
            raise ConfigError("no octets are in everything; expected some text", key="contains")
        octets = len(self.contains.encode())
        if octets > CONTAINS_OCTETS_MAX:
            text = f"{octets} octets are too many to look for; expected at most {CONTAINS_OCTETS_MAX}"
            raise ConfigError(text, key="contains")

    def _check_field(self) -> None:
        compared = {
            "equals": self.equals,
            "not": self.not_,
            "at_least": self.at_least,
            "at_most": self.at_most,
        }
        given = [key for key, value in compared.items() if value is not None]
        if self.field_ is None and given:
            raise ConfigError("compares nothing; expected 'field' too, such as IP.ttl", key=given[0])
        if self.field_ is not None:
            _check_comparisons(self.tests[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """One direction. The default is a perfect link: nothing is lost, and everything arrives at once."""

    mtu: Size | None = None  # of an IP packet, `header_bytes` included; a larger one vanishes and nobody is told
    loss: Annotated[Spec, LOSS_MODELS] | None = None
    where: Literal["ingress", "egress"] = "ingress"  # lose before the queue (netem), or after the bandwidth is spent
    duplicate: Probability = 0
    duplicated: tuple[int, ...] = field(default=(), metadata=UNSAID)  # these packets are too, counted from 0
    corrupt: CorruptConfig | None = None
    queue: Annotated[Spec, QUEUE_DISCIPLINES] = DROPTAIL  # without a rate nothing ever waits
    queue_seed: int | None = field(default=None, metadata=UNSAID)  # of what it draws, instead of the run's own
    rate: RateConfig | None = None
    slot: SlotConfig | None = field(default=None, metadata=UNSAID)
    delay: DelayConfig = field(default_factory=DelayConfig)
    reorder: ReorderConfig | None = None
    match: tuple[MatchRule, ...] = field(default=(), metadata=UNSAID)
    header_bytes: Size = IPV4_UDP_HEADER_BYTES  # added to each datagram wherever its size counts

    def __post_init__(self) -> None:
        if self.mtu is not None and self.mtu <= self.header_bytes:
            text = f"{self.mtu}B is no more than the headers' {self.header_bytes}B: no datagram gets through"
            raise ConfigError(text, key="mtu")
        check_indexes(self.duplicated, "duplicated")
        if self.queue_seed is not None and not -(1 << 63) <= self.queue_seed < 1 << 63:
            raise ConfigError("expected a whole number of 64 bits", key="queue_seed")
        reorder = self.reorder
        is_displacing = reorder is not None and (reorder.probability or reorder.packets or reorder.copies)
        if reorder is not None and is_displacing and reorder.hold is None and not self.delay.time:
            raise ConfigError("packets can only skip a delay there is; expected a delay, or `hold`", key="reorder")
