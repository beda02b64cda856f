"""A connection plus an application: something with work to do, an end, and a report of what was delivered."""

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.draws import DrawKey
from rudp_smtp.registry import Registry
from rudp_smtp.transport import Address, Endpoint, TransportStats
from rudp_smtp.units import MILLISECOND

SERVER: Final = "server"  # the address a workload's client connects to unless told otherwise
GRAIN = 5 * MILLISECOND  # of a flow's progress


class Application(ABC):
    """One host of a workload: a node the driver moves (see drivers.pump.Node, which it satisfies).

    `next_timeout` gives the time it starts at (`Workload.stage`) until the first `handle_timeout`.
    """

    @abstractmethod
    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None: ...

    @abstractmethod
    def handle_timeout(self, now: int) -> None: ...

    @abstractmethod
    def next_datagram(self, now: int) -> tuple[bytes, Address, int] | None: ...

    @abstractmethod
    def next_timeout(self) -> int | None: ...

    @property
    @abstractmethod
    def done(self) -> bool:
        """Nothing more is wanted; a host that only serves is always done."""

    @abstractmethod
    def stats(self) -> TransportStats:
        """The sum over all the host's connections."""


@dataclass(slots=True)
class Delivery:
    """The fate of one message, transfer or turn: a row of messages.csv. Times are virtual ns, None: never."""

    index: int
    name: str  # the corpus file's name, "generated-0007", "transfer-0", "turn-3"
    size: int  # octets the receiver should have got
    changed_before_sending: str = field(default="", kw_only=True)  # what was made canonical, in words
    session: int
    submitted_at: int | None = None  # handed to the client
    completed_at: int | None = None  # the final reply arrived (SMTP: the 250 or the refusal)
    delivered_at: int | None = None  # the first copy was complete in the mailbox (bulk: at the receiver)
    copies: int = 0
    is_intact: bool = False  # every copy equals, octet for octet, what had to be sent
    attempts: int = 0
    status: str = "pending"  # delivered | refused | pending (the run ended first)
    reply: str = ""  # the last SMTP reply, or the reason of a refusal
    hop_times: tuple[int, ...] | None = None  # of the first copy: how long each hop took, where there are several


def _integers() -> "array[int]":
    return array("q")


@dataclass(slots=True)
class Progress:
    """How many octets of a flow had arrived when: a mark at most every GRAIN, so that a long run stays small."""

    due: int = 0  # when the next mark is wanted: before, `add` need not be called
    _times: "array[int]" = field(default_factory=_integers)
    _totals: "array[int]" = field(default_factory=_integers)

    def add(self, total: int, now: int) -> None:
        """Note that `total` octets have arrived by now."""
        if now >= self.due:
            self.due = now + GRAIN
            self._times.append(now)
            self._totals.append(total)

    def between(self, start: int, stop: int) -> int:
        """The octets that arrived in this interval, by the last marks before its ends."""
        return self._at(stop) - self._at(start)

    def _at(self, time: int) -> int:
        place = bisect_right(self._times, time)
        return self._totals[place - 1] if place else 0


@dataclass(slots=True)
class FlowReport:
    """One of several transfers that ran at once, over time: what a comparison of flows is made from."""

    name: str  # of its delivery
    started_at: int | None  # None: not begun before the run ended
    ended_at: int | None  # None: still going on, or broken off
    progress: Progress


@dataclass(slots=True)
class WorkloadReport:
    """What a finished (or censored) run leaves behind."""

    deliveries: list[Delivery]
    client: TransportStats
    server: TransportStats
    started_at: int = 0
    finished_at: int | None = None  # the last wanted thing happened; None: the run was censored
    notes: list[str] = field(default_factory=list)  # what is of the run and of no delivery
    flows: list[FlowReport] = field(default_factory=list)  # of a workload that is made of flows


@dataclass(slots=True)
class Stage:
    """A workload set up and ready to run: the hosts, and the way to its report."""

    client: Application
    server: Application
    further: list[tuple[Application, Application]] = field(default_factory=list, kw_only=True)  # of each later hop


class Workload(ABC):
    """A workload's parameters, as a scenario gives them."""

    hops: int = 1  # pairs of hosts, one behind the other: a server but the last hands on to the next hop's client

    @abstractmethod
    def stage(
        self, client: Endpoint, server: Endpoint, draws: DrawKey, remote: Address = SERVER, start: int = 0
    ) -> Stage:
        """Make both applications; the client connects to `remote`, the server's address, from `start` on."""

    def extend(self, stage: Stage, client: Endpoint, server: Endpoint, remote: Address) -> None:
        """Add the next hop to `stage.further`; only a workload that has `hops` is asked to."""
        raise AssertionError("this workload has one hop")

    @abstractmethod
    def report(self, stage: Stage) -> WorkloadReport: ...


WORKLOADS: Registry[Workload] = Registry("workload", __name__, selector="name", support=("node",))
