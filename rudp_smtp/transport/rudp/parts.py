"""Parts: what a connection is made of, handed to those that read and those that write packets."""

from dataclasses import dataclass

from rudp_smtp.ack.policy import ACK_POLICIES
from rudp_smtp.ack.tracker import AckTracker
from rudp_smtp.draws import DrawKey
from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS
from rudp_smtp.recovery.recovery import Recovery
from rudp_smtp.recovery.redundancy import REDUNDANCIES
from rudp_smtp.trace import VantagePoint
from rudp_smtp.transport import Address, TransportStats
from rudp_smtp.transport.rudp.ack_frequency import AckFrequency
from rudp_smtp.transport.rudp.config import TransportConfig
from rudp_smtp.transport.rudp.copies import Copies
from rudp_smtp.transport.rudp.events import Events
from rudp_smtp.transport.rudp.flow import WindowBudget
from rudp_smtp.transport.rudp.handshake import Handshake
from rudp_smtp.transport.rudp.lifecycle import Lifecycle
from rudp_smtp.transport.rudp.mtu import start_size
from rudp_smtp.transport.rudp.outbox import Outbox
from rudp_smtp.transport.rudp.path_parts import PathParts, fresh_estimates, make_path_parts
from rudp_smtp.transport.rudp.streams import Streams


@dataclass(slots=True)
class Parts:
    """Made once per connection. Each part owns its numbers; nobody else keeps them."""

    handshake: Handshake
    lifecycle: Lifecycle
    streams: Streams
    outbox: Outbox
    recovery: Recovery
    acks: AckTracker
    ack_frequency: AckFrequency
    path: PathParts
    copies: Copies | None  # None: nothing is sent twice before it is lost
    stats: TransportStats
    vantage: VantagePoint


def make_parts(
    config: TransportConfig,
    handshake: Handshake,
    events: Events,
    vantage: VantagePoint,
    *,
    remote: Address,
    draws: DrawKey,
    budget: WindowBudget,
) -> Parts:
    """Put a connection's parts together, the plug-ins among them."""
    stats = TransportStats()
    estimates = fresh_estimates(config)
    outbox = Outbox()
    recovery = Recovery(
        loss_detector=LOSS_DETECTORS.build(config.loss_detection),
        timer=estimates.timer,
        congestion=estimates.congestion,
        pacing=config.pacing,
        initial_rtt=handshake.initial_rtt,
        max_ack_delay=0,  # RFC 9002 section 6.2.1: until the handshake is done nothing is delayed on purpose
        max_datagram_size=start_size(config.mtu_discovery, config.max_datagram_size),
        is_client=handshake.is_client,
        vantage=vantage,
    )
    lifecycle = Lifecycle(
        rtt=recovery.rtt,
        max_idle_timeout=config.max_idle_timeout,
        max_ack_delay=config.max_ack_delay,
        keep_alive=config.keep_alive,
        outbox=outbox,
        events=events,
        vantage=vantage,
    )
    streams = Streams(config, handshake.is_client, outbox, events, stats, budget=budget)
    acks = AckTracker(ACK_POLICIES.build(config.ack), config.max_ack_delay)
    redundancy = REDUNDANCIES.build(config.redundancy)
    return Parts(
        handshake=handshake,
        lifecycle=lifecycle,
        streams=streams,
        outbox=outbox,
        recovery=recovery,
        acks=acks,
        ack_frequency=AckFrequency(outbox, recovery, acks, config),
        path=make_path_parts(config, recovery, stats, vantage, remote=remote, draws=draws),
        copies=Copies(redundancy, recovery, streams.schedule) if redundancy.is_active else None,
        stats=stats,
        vantage=vantage,
    )
