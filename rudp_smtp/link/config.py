"""What a link is asked to do, in inside units: frozen values a scenario can be read into.

A field's annotation says its unit or the folder of plug-ins it names (`units`, `registry`). The stages are passed in
this order, always: mtu, loss (ingress), duplicate, corrupt, queue, rate, loss (egress), delay, reorder. Not netem's
order, on purpose: there a duplicate may be lost instead of its original, and a reordered packet skips the rate.
A queue's marks (ECN) are set where the packet joins it.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from rudp_smtp.errors import ConfigError
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS
from rudp_smtp.link.loss import LOSS_MODELS
from rudp_smtp.link.queue import QUEUE_DISCIPLINES
from rudp_smtp.registry import Spec
from rudp_smtp.units import Duration, Probability, Rate, Size

IPV4_UDP_HEADER_BYTES = 20 + 8  # RFC 791 section 3.1 without options, RFC 768
UNIFORM = Spec("uniform")
DROPTAIL = Spec("droptail")


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayConfig:
    """`time` for every packet, spread by `jitter` (the half-width of `uniform`, the deviation of `normal`)."""

    time: Duration = 0
    jitter: Duration = 0
    distribution: Annotated[Spec, DELAY_DISTRIBUTIONS] = UNIFORM
    keep_order: bool = False  # a packet that would overtake arrives with the one before it instead


@dataclass(frozen=True, slots=True, kw_only=True)
class RateConfig:
    """Serialisation at `value`; `packet_overhead` octets are added to each packet, or taken off, as in tc."""

    value: Rate
    packet_overhead: int = 0

    def __post_init__(self) -> None:
        if self.value < 1:
            raise ConfigError("a rate of zero moves nothing; expected a rate such as 20mbit", key="value")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptConfig:
    """Flip `bits` distinct bits anywhere in the datagram."""

    probability: Probability
    bits: int = 1

    def __post_init__(self) -> None:
        if self.bits < 1:
            raise ConfigError(f"{self.bits} flipped bits corrupt nothing; expected at least 1", key="bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReorderConfig:
    """Displace a share of the packets: without `hold` they skip the delay, with it they come that much later.

    `gap` is netem's: after a displaced packet, gap - 1 packets in a row are left alone.
    """

    probability: Probability
    gap: int = 1
    hold: Duration | None = None

    def __post_init__(self) -> None:
        if self.gap < 1:
            raise ConfigError(f"a gap of {self.gap} packets does not exist; expected at least 1", key="gap")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """One direction. The default is a perfect link: nothing is lost, and everything arrives at once."""

    mtu: Size | None = None  # of an IP packet, `header_bytes` included; a larger one vanishes and nobody is told
    loss: Annotated[Spec, LOSS_MODELS] | None = None
    where: Literal["ingress", "egress"] = "ingress"  # lose before the queue (netem), or after the bandwidth is spent
    duplicate: Probability = 0
    corrupt: CorruptConfig | None = None
    queue: Annotated[Spec, QUEUE_DISCIPLINES] = DROPTAIL  # without a rate nothing ever waits
    rate: RateConfig | None = None
    delay: DelayConfig = field(default_factory=DelayConfig)
    reorder: ReorderConfig | None = None
    header_bytes: Size = IPV4_UDP_HEADER_BYTES  # added to each datagram wherever its size counts

    def __post_init__(self) -> None:
        if self.mtu is not None and self.mtu <= self.header_bytes:
            text = f"{self.mtu}B is no more than the headers' {self.header_bytes}B: no datagram gets through"
            raise ConfigError(text, key="mtu")
        reorder = self.reorder
        if reorder is not None and reorder.hold is None and reorder.probability and not self.delay.time:
            raise ConfigError("packets can only skip a delay there is; expected a delay, or `hold`", key="reorder")
