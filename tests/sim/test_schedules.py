"""Every subset of the first packets of a session dropped: the mail arrives exactly once, whatever was lost."""

from collections.abc import Iterator

import pytest

from rudp_smtp.datagram import UNLABELLED, Address, Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.sim import Simulator
from rudp_smtp.link.config import DelayConfig, LinkConfig
from rudp_smtp.link.link import Link
from rudp_smtp.registry import Spec
from rudp_smtp.transport import TRANSPORTS
from rudp_smtp.units import MILLISECOND, SECOND
from rudp_smtp.workload import WORKLOADS, Delivery

PACKETS = 10  # the first of the session, both directions together
BATCHES = 16


class Schedule:
    """Which packets, counted over both directions in the order of sending, are dropped."""

    def __init__(self, dropped: int) -> None:
        self._dropped = dropped
        self._sent = 0

    def drops_next(self) -> bool:
        self._sent += 1
        return bool(self._dropped >> (self._sent - 1) & 1)


class ScheduledLink(Link):
    """A clean 20 ms link that obeys a schedule."""

    def __init__(self, name: str, schedule: Schedule) -> None:
        super().__init__(LinkConfig(delay=DelayConfig(time=20 * MILLISECOND)), name=name, draws=DrawKey(1))
        self._schedule = schedule

    def push(self, data: bytes, now: int, label: Label = UNLABELLED) -> None:
        if not self._schedule.drops_next():
            super().push(data, now, label)


def deliver_one_mail(dropped: int) -> tuple[str, Delivery]:
    transport = TRANSPORTS.build(Spec("rudp"))
    draws = DrawKey(dropped)
    client, server = (
        transport.endpoint(host=host, accepts=host == "server", draws=draws.derive(host), sink=None)
        for host in ("client", "server")
    )
    workload = WORKLOADS.build(WORKLOADS.spec({"name": "smtp", "messages": 1, "size": "4KiB"}))
    stage = workload.stage(client, server, draws)
    schedule = Schedule(dropped)
    links: dict[tuple[Address, Address], Link] = {
        ("client", "server"): ScheduledLink("forward", schedule),
        ("server", "client"): ScheduledLink("reverse", schedule),
    }
    result = Simulator({"client": stage.client, "server": stage.server}, links).run(120 * SECOND, 100_000)
    (delivery,) = workload.report(stage).deliveries
    return result.stop, delivery


def batch(number: int) -> Iterator[int]:
    return iter(range(number, 1 << PACKETS, BATCHES))


@pytest.mark.parametrize("number", range(BATCHES))
def test_every_subset_of_the_first_packets_lost_delivers_the_mail_exactly_once(number: int) -> None:
    for dropped in batch(number):
        stop, delivery = deliver_one_mail(dropped)
        fate = (stop, delivery.status, delivery.copies, delivery.is_intact)
        assert fate == ("done", "delivered", 1, True), f"packets dropped: {dropped:#012b}"
