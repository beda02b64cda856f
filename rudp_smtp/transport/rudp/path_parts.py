"""PathParts: those of a connection's parts that know the way to the peer."""

from dataclasses import dataclass

from rudp_smtp.draws import DrawKey
from rudp_smtp.recovery.congestion import CONTROLLERS
from rudp_smtp.recovery.recovery import PathEstimates, Recovery
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.timer import TIMERS
from rudp_smtp.trace import VantagePoint
from rudp_smtp.transport import Address, TransportStats
from rudp_smtp.transport.rudp.config import TransportConfig
from rudp_smtp.transport.rudp.ecn import Marking, ReceivedMarks
from rudp_smtp.transport.rudp.mtu import PathMtu, start_size
from rudp_smtp.transport.rudp.path import Paths
from rudp_smtp.transport.rudp.skips import Skips


@dataclass(slots=True)
class PathParts:
    paths: Paths
    mtu: PathMtu
    marks: ReceivedMarks
    marking: Marking
    skips: Skips


def fresh_estimates(config: TransportConfig) -> PathEstimates:
    """What is assumed of a path that nothing is known of."""
    size = start_size(config.mtu_discovery, config.max_datagram_size)
    return PathEstimates(
        congestion=CONTROLLERS.build(config.congestion, max_datagram_size=size),
        timer=TIMERS.build(config.timer),
        rtt=RttEstimator(config.initial_rtt),
    )


def make_path_parts(
    config: TransportConfig,
    recovery: Recovery,
    stats: TransportStats,
    vantage: VantagePoint,
    *,
    remote: Address,
    draws: DrawKey,
) -> PathParts:
    """`draws` are the connection's own."""
    mtu = PathMtu(
        is_enabled=config.mtu_discovery,
        limit=config.max_datagram_size,
        recovery=recovery,
        stats=stats,
        vantage=vantage,
    )
    marking = Marking(config.ecn, recovery, stats, vantage)
    paths = Paths(
        remote=remote,
        max_ack_delay=config.max_ack_delay,
        fresh_estimates=lambda: fresh_estimates(config),
        recovery=recovery,
        mtu=mtu,
        marking=marking,
        stats=stats,
        vantage=vantage,
        draws=draws.derive("path"),
    )
    return PathParts(paths, mtu, ReceivedMarks(), marking, Skips(recovery, draws.derive("skip")))
