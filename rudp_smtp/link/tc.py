"""The same link as arguments for `tc qdisc ... netem` (tc-netem(8)), and in words what netem cannot do of it."""

from dataclasses import dataclass, fields

from rudp_smtp.link.config import LinkConfig, RateConfig, SlotConfig
from rudp_smtp.link.loss import LOSS_MODELS
from rudp_smtp.link.queue.droptail import PACKETS_DEFAULT
from rudp_smtp.units import SECOND, print_duration, print_probability, print_rate

PACKET_BYTES = 1500  # a full packet, to count how many are in flight

_TOLD = {"mtu", "loss", "where", "duplicate", "corrupt", "queue", "rate", "slot", "delay", "reorder", "header_bytes"}


@dataclass(frozen=True, slots=True)
class Netem:
    """One direction in netem's words."""

    arguments: tuple[str, ...]  # after `netem`
    untold: tuple[str, ...]  # what they do not say, a sentence each


def to_netem(config: LinkConfig) -> Netem:
    arguments: list[str] = []
    untold: list[str] = []
    _limit(config, arguments, untold)
    _delay(config, arguments, untold)
    if config.loss is not None:
        loss = LOSS_MODELS.build(config.loss).to_tc()
        arguments += loss or []
        if loss is None:
            untold.append(f"netem has no loss model like {config.loss.name!r}")
        elif config.where == "egress":
            untold.append("netem loses packets before they take up bandwidth, not behind the rate")
        if dict(config.loss.parameters).get("max_burst") is not None:
            untold.append("netem has no `max_burst` of losses")
    if config.corrupt is not None:
        if config.corrupt.max_burst is not None:
            untold.append("netem has no `max_burst` of corrupted packets")
        arguments += ["corrupt", print_probability(config.corrupt.probability)]
        if config.corrupt.flips is not None:
            untold.append("netem corrupts by chance, not listed packets")
        if config.corrupt.bits != 1:
            untold.append(f"netem flips one bit of a corrupted packet, not {config.corrupt.bits}")
    if config.duplicate:
        arguments += ["duplicate", print_probability(config.duplicate)]
    _reorder(config, arguments, untold)
    if config.slot is not None:
        _slot(config.slot, arguments, untold)
    if config.rate is not None:
        _rate(config.rate, arguments, untold)
    if config.mtu is not None:
        untold.append(f"netem has no size limit; `ip link set DEV mtu {config.mtu}` has the sender told of it")
    default = LinkConfig()
    others = [stage.name for stage in fields(LinkConfig) if stage.name not in _TOLD]
    changed = [name for name in others if getattr(config, name) != getattr(default, name)]
    untold += [f"netem has nothing like `{name}`" for name in changed]
    return Netem(tuple(arguments), tuple(untold))


def _slot(slot: SlotConfig, arguments: list[str], untold: list[str]) -> None:
    arguments += ["slot", print_duration(slot.min_delay), print_duration(slot.delay_max)]
    for name, limit in (("packets", slot.packets), ("bytes", slot.bytes)):
        arguments += [] if limit is None else [name, str(limit)]
    if slot.waits is not None:
        untold.append("netem's slots come by chance, not after listed waits")


def _rate(rate: RateConfig, arguments: list[str], untold: list[str]) -> None:
    if rate.value is None:
        untold.append("netem follows no recorded rate")
        return
    accounting = [rate.packet_overhead, rate.cell_size, rate.cell_overhead]
    while accounting and not accounting[-1]:
        accounting.pop()
    arguments += ["rate", print_rate(rate.value), *map(str, accounting)]


def _limit(config: LinkConfig, arguments: list[str], untold: list[str]) -> None:
    """netem's limit counts the packets in flight too, so it is the queue's and as many as the delay can hold."""
    parameters = dict(config.queue.parameters)
    packets = parameters.get("packets")
    if config.rate is None:
        return
    if config.queue.name != "droptail":
        untold.append(f"netem's queue drops at its tail; add {config.queue.name} as a child of its own")
    elif parameters.get("limit") is not None:
        untold.append(f"netem's queue is limited in packets, not to {parameters['limit']} octets")
    if parameters.get("mark") is not None:
        untold.append("netem marks nothing with CE at a queue's length")
    if config.rate.value is None:
        return
    in_flight = config.rate.value * (config.delay.time + config.delay.jitter) // (8 * PACKET_BYTES * SECOND) + 1
    waiting = packets if isinstance(packets, int) else PACKETS_DEFAULT
    arguments += ["limit", str(waiting + in_flight)]


def _delay(config: LinkConfig, arguments: list[str], untold: list[str]) -> None:
    delay = config.delay
    if delay.time or delay.jitter:
        arguments += ["delay", print_duration(delay.time)]
    if not delay.jitter:
        return
    arguments.append(print_duration(delay.jitter))
    if delay.distribution.name != "uniform":  # netem's own, where none is named
        arguments += ["distribution", delay.distribution.name]
    if delay.keep_order:
        untold.append("netem's jitter reorders packets; it has no `keep_order`")


def _reorder(config: LinkConfig, arguments: list[str], untold: list[str]) -> None:
    reorder = config.reorder
    if reorder is not None and reorder.packets is not None:
        untold.append("netem reorders by chance, not listed packets")
    if reorder is None or not reorder.probability:
        return
    if reorder.hold is not None:
        untold.append("netem cannot hold a share of the packets back; its `reorder` lets them skip the delay")
        return
    arguments += ["reorder", print_probability(reorder.probability), "gap", str(reorder.gap)]
    if config.rate is not None:
        untold.append("netem's reordered packets skip the rate as well as the delay")
