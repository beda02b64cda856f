"""What a driver sees of a host, and the one place that says: input, drain outputs, next deadline.

Every driver, virtual or real, moves a node through `deliver` and `expire`; so none can forget to drain, and all of them
run the same code in the same order. Only who serves applications, and has several datagrams waiting at its socket, may
`take` them and drain behind the last.
"""

from typing import Protocol

from rudp_smtp.datagram import NOT_ECT, Address, Label
from rudp_smtp.errors import LivelockError

DATAGRAMS_PER_INPUT_MAX = 1_000_000  # one input that asks for more than this never comes to an end


class Node(Protocol):
    """A host: whatever answers datagrams and timeouts. Workloads' applications are such."""

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None: ...

    def handle_timeout(self, now: int) -> None: ...

    def next_datagram(self, now: int) -> tuple[bytes, Address, int] | None: ...

    def next_timeout(self) -> int | None: ...

    @property
    def done(self) -> bool: ...


class Network(Protocol):
    """Where a node's datagrams go: links in simulation, a socket otherwise."""

    def send(self, data: bytes, remote: Address, now: int, ecn: int) -> None: ...


def deliver(node: Node, data: bytes, label: Label, now: int, network: Network) -> int | None:
    """Hand over a datagram that arrived, send what comes out, and say when the node wants to be woken."""
    node.receive_datagram(data, label.source, now, label.ecn)
    return drain(node, now, network)


def take(node: Node, data: bytes, label: Label, now: int) -> None:
    """Hand over one of several datagrams that arrived; `drain` has to follow."""
    node.receive_datagram(data, label.source, now, label.ecn)


def expire(node: Node, now: int, network: Network) -> int | None:
    """Tell the node its deadline has come, send what comes out, and say when it wants to be woken next."""
    node.handle_timeout(now)
    return drain(node, now, network)


def drain(node: Node, now: int, network: Network) -> int | None:
    """After commands: send what comes out of them, and say when the node wants to be woken."""
    sent = 0
    while (outgoing := node.next_datagram(now)) is not None:
        network.send(outgoing[0], outgoing[1], now, outgoing[2])
        sent += 1
        if sent > DATAGRAMS_PER_INPUT_MAX:
            raise LivelockError(f"a node sent {sent} datagrams in one go at {now} ns and has not finished")
    return node.next_timeout()
