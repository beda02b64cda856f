"""A link under traffic: numbered datagrams in at chosen times, (arrival, number) out, and the facts it told."""

from collections.abc import Iterable, Iterator

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.link.link import Link
from rudp_smtp.trace import LinkFate, ListSink
from rudp_smtp.units import SECOND

LATE = 10_000 * SECOND


class Traffic:
    """Owns a link and moves it as a driver would: it is asked when it said it should be, and not otherwise."""

    def __init__(self, config: LinkConfig, *, seed: int = 1, name: str = "forward") -> None:
        self._sink = ListSink()
        self.link = Link(config, name=name, draws=DrawKey(seed), sink=self._sink)
        self.arrivals: list[tuple[int, bytes]] = []

    def send(self, data: bytes, now: int) -> None:
        self.run(now)
        self.link.push(data, now)

    def run(self, until: int = LATE) -> None:
        """Let everything arrive that does so by `until`."""
        while (deadline := self.link.next_timeout()) is not None and deadline <= until:
            self.arrivals.extend((deadline, data) for data in drain(self.link, deadline))

    def fates(self, fate: str) -> list[int]:
        """Indexes of the packets that met this fate, in the order it happened."""
        return [index for _, index in self.timed_fates(fate)]

    def timed_fates(self, fate: str) -> list[tuple[int, int]]:
        return [
            (fact.time, fact.index) for fact in self._sink.facts if isinstance(fact, LinkFate) and fact.fate == fate
        ]

    def numbers(self) -> list[int]:
        """Which packets arrived, in order: `datagram` numbered them."""
        return [int.from_bytes(data[:4], "big") for _, data in self.arrivals]

    def times(self) -> list[int]:
        return [time for time, _ in self.arrivals]


def drain(link: Link, now: int) -> Iterator[bytes]:
    while (arrived := link.next_datagram(now)) is not None:
        yield arrived[0]


def datagram(number: int, length: int = 72) -> bytes:
    """A datagram of this many octets: with IPv4 and UDP headers 100 on the wire, unless told otherwise."""
    return number.to_bytes(4, "big") + bytes(length - 4)


def carried(config: LinkConfig, times: Iterable[int], *, length: int = 72, seed: int = 1) -> Traffic:
    """The traffic after one datagram was sent at each of the times and everything has arrived."""
    traffic = Traffic(config, seed=seed)
    for number, now in enumerate(times):
        traffic.send(datagram(number, length), now)
    traffic.run()
    return traffic
