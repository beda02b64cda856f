"""When a live path has not been what it was asked to be: what the machine did beside it, and what it cannot do."""

from collections.abc import Mapping

from rudp_smtp.drivers.clock import Lateness
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.units import MICROSECOND, MILLISECOND

LATENESS_MAX = 5 * MILLISECOND  # one in a hundred packets and timers may be later than this
PACKETS_PER_SECOND_MAX = 50_000  # in one direction: `python -m benchmarks.live_speed` measures what a machine can do
FULL_PACKET = 1500  # octets, where the link has no limit of its own


def reasons(unasked: Mapping[str, int], lateness: Lateness) -> str:
    """Why what crossed must not be believed; empty where it may be. `unasked`: packets by what nobody asked for."""
    told = [f"{count} {reason}" for reason, count in unasked.items() if count]
    late = lateness.quantile(0.99)
    if late > LATENESS_MAX:
        told.append(f"lateness p99 {late // MICROSECOND} us, more than {LATENESS_MAX // MICROSECOND} us")
    return "; ".join(told)


def beyond_ceiling(config: LinkConfig) -> str:
    """Why no machine is trusted with this link's rate; empty where one is, or no rate is asked for."""
    if config.rate is None:
        return ""
    bits = (config.mtu or FULL_PACKET) * 8
    packets = config.rate.bits_per_second // bits
    if packets <= PACKETS_PER_SECOND_MAX:
        return ""
    most = PACKETS_PER_SECOND_MAX * bits // 1_000_000
    return (
        f"{packets} full packets a second, and real ones are moved in time up to {PACKETS_PER_SECOND_MAX}; "
        f"expected at most {most}mbit, or driver: sim"
    )
