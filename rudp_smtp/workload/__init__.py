"""A connection plus an application: something with work to do, an end, and a report of what was delivered."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.draws import DrawKey
from rudp_smtp.registry import Registry
from rudp_smtp.transport import Address, Endpoint, TransportStats


class Application(ABC):
    """One host of a workload: a node the driver moves (see drivers.pump.Node, which it satisfies).

    `next_timeout` gives 0 before the first `handle_timeout`: that is when it starts.
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
    name: str  # the corpus file's name, "generated-0007", "transfer", "turn-3"
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


@dataclass(slots=True)
class WorkloadReport:
    """What a finished (or censored) run leaves behind."""

    deliveries: list[Delivery]
    client: TransportStats
    server: TransportStats
    started_at: int = 0
    finished_at: int | None = None  # the last wanted thing happened; None: the run was censored
    notes: list[str] = field(default_factory=list)  # what is of the run and of no delivery


@dataclass(slots=True)
class Stage:
    """A workload set up and ready to run: the hosts, and the way to its report."""

    client: Application
    server: Application


class Workload(ABC):
    """A workload's parameters, as a scenario gives them."""

    @abstractmethod
    def stage(self, client: Endpoint, server: Endpoint, draws: DrawKey) -> Stage:
        """Make both applications; the client's host name is "client", the server's address is "server"."""

    @abstractmethod
    def report(self, stage: Stage) -> WorkloadReport: ...


WORKLOADS: Registry[Workload] = Registry("workload", __name__, selector="name", support=("node",))
