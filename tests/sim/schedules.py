"""One mail over a clean path that does something to chosen packets: what happened, and how long it may take.

`python -m tests.sim.schedules` plays every schedule and prints the slowest ones.
"""

from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from typing import assert_never

from rich.console import Console

from rudp_smtp.datagram import UNLABELLED, Address, Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.sim import Simulator
from rudp_smtp.link.config import DelayConfig, LinkConfig
from rudp_smtp.link.link import Link
from rudp_smtp.registry import Spec
from rudp_smtp.transport import TRANSPORTS
from rudp_smtp.units import MILLISECOND, SECOND
from rudp_smtp.workload import WORKLOADS, Delivery

PACKETS = 12  # the first of the session, both directions together
DELAY = 20 * MILLISECOND
RTT = 2 * DELAY
INITIAL_PTO = 300 * MILLISECOND  # 3 x initial_rtt (RFC 9002 section 6.2.2); with RTT samples it is shorter
LATENESS = 3 * RTT
SLOWEST_SHOWN = 3


class Harm(Enum):
    """What befalls the packets that a schedule chooses."""

    DROPPED = "dropped"
    DUPLICATED = "duplicated"
    DELAYED = "delayed by 3 RTT"


class Schedule:
    """Which of the first packets are harmed, counted over both directions in the order of sending."""

    def __init__(self, chosen: int) -> None:
        self.chosen = chosen
        self.flights = 0  # harmed ones; a flight is what a host sends at one moment
        self._sent = 0
        self._harmed_flight: tuple[str, int] | None = None

    def harms_next(self) -> bool:
        self._sent += 1
        return bool(self.chosen >> (self._sent - 1) & 1)

    def on_harmed(self, direction: str, now: int) -> None:
        """A flight is harmed if any packet of it is."""
        self.flights += self._harmed_flight != (direction, now)
        self._harmed_flight = (direction, now)


class ScheduledLink(Link):
    """A clean link that obeys a schedule."""

    def __init__(self, name: str, harm: Harm, schedule: Schedule) -> None:
        super().__init__(LinkConfig(delay=DelayConfig(time=DELAY)), name=name, draws=DrawKey(1))
        self.is_fifo = False
        self._direction = name
        self._harm = harm
        self._schedule = schedule
        self._late: list[tuple[int, int, bytes, Label]] = []
        self._pushed = 0

    def push(self, data: bytes, now: int, label: Label = UNLABELLED) -> None:
        if not self._schedule.harms_next():
            super().push(data, now, label)
            return
        self._schedule.on_harmed(self._direction, now)
        if self._harm is Harm.DUPLICATED:
            super().push(data, now, label)
            super().push(data, now, label)
        elif self._harm is Harm.DELAYED:
            self._pushed += 1
            heappush(self._late, (now + DELAY + LATENESS, self._pushed, data, label))

    def next_datagram(self, now: int) -> tuple[bytes, Label] | None:
        if self._late and self._late[0][0] <= now:
            return heappop(self._late)[2:]
        return super().next_datagram(now)

    def next_timeout(self) -> int | None:
        times = [
            time for time in (super().next_timeout(), self._late[0][0] if self._late else None) if time is not None
        ]
        return min(times, default=None)


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one mail under one schedule."""

    harm: Harm
    schedule: Schedule
    stop: str
    delivery: Delivery

    @property
    def fate(self) -> tuple[str, str, int, bool, int]:
        delivery = self.delivery
        return self.stop, delivery.status, delivery.copies, delivery.is_intact, delivery.attempts

    @property
    def time(self) -> int:
        """From connect to the final 250."""
        assert self.delivery.completed_at is not None
        return self.delivery.completed_at

    @property
    def limit(self) -> int:
        """6 RTT, and for each lost flight 3 PTO, for each delayed one its delay.

        Of flights lost one after the other each doubles the next time-out (RFC 9002 section 6.2.1), but the first does
        not and none makes it longer than two seconds (`recovery.timer`), so that 12 packets do not exceed this.
        """
        flights = self.schedule.flights
        match self.harm:
            case Harm.DROPPED:
                return 6 * RTT + 3 * INITIAL_PTO * flights
            case Harm.DUPLICATED:
                return 6 * RTT
            case Harm.DELAYED:
                return 6 * RTT + LATENESS * flights
            case _:
                assert_never(self.harm)


def play(harm: Harm, chosen: int, transport: Spec | None = None) -> Played:
    """Deliver one 4 KiB mail while the packets whose bit is set in `chosen` are harmed."""
    plugin = TRANSPORTS.build(transport or Spec("rudp"))
    draws = DrawKey(chosen)
    client, server = (
        plugin.endpoint(host=host, accepts=host == "server", draws=draws.derive(host), sink=None)
        for host in ("client", "server")
    )
    workload = WORKLOADS.build(WORKLOADS.spec({"name": "smtp", "messages": 1, "size": "4KiB"}))
    stage = workload.stage(client, server, draws)
    schedule = Schedule(chosen)
    links: dict[tuple[Address, Address], Link] = {
        ("client", "server"): ScheduledLink("forward", harm, schedule),
        ("server", "client"): ScheduledLink("reverse", harm, schedule),
    }
    result = Simulator({"client": stage.client, "server": stage.server}, links).run(120 * SECOND, 100_000)
    (delivery,) = workload.report(stage).deliveries
    return Played(harm, schedule, result.stop, delivery)


def main() -> None:
    """Print the slowest schedules of each kind, by themselves and against their limit."""
    console = Console(width=110, highlight=False)
    for harm in Harm:
        played = [play(harm, chosen) for chosen in range(1 << PACKETS)]
        console.print(f"{harm.value}: {sum(one.time > one.limit for one in played)} of {len(played)} over the limit")
        slowest = sorted(played, key=lambda one: -one.time)[:SLOWEST_SHOWN]
        nearest = sorted(played, key=lambda one: one.limit - one.time)[:SLOWEST_SHOWN]
        for what, one in [*(("slowest", one) for one in slowest), *(("nearest", one) for one in nearest)]:
            console.print(
                f"  {what} {one.schedule.chosen:012b}: {one.time / MILLISECOND:.0f} ms, "
                f"limit {one.limit / MILLISECOND:.0f} ms, flights {one.schedule.flights}"
            )


if __name__ == "__main__":
    main()
