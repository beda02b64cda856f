"""The order of calls: input, every output, then the deadline."""

import pytest

from rudp_smtp.datagram import CE, ECT_0, NOT_ECT, Address, Label
from rudp_smtp.drivers.pump import DATAGRAMS_PER_INPUT_MAX, deliver, expire
from rudp_smtp.errors import LivelockError
from tests.drivers.nodes import Caller, Echo, Recorder


class Wire:
    """A network that remembers."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Address, int, int]] = []

    def send(self, data: bytes, remote: Address, now: int, ecn: int) -> None:
        self.sent.append((data, remote, now, ecn))


class Nothing:
    """A network that forgets."""

    def send(self, data: bytes, remote: Address, now: int, ecn: int) -> None:
        pass


class Fountain(Recorder):
    def next_datagram(self, now: int) -> tuple[bytes, Address, int] | None:
        return b"", "anywhere", NOT_ECT


def test_an_answer_is_sent_before_deliver_returns() -> None:
    wire = Wire()
    assert deliver(Echo(), b"hello", Label("client", "server"), 7, wire) is None
    assert wire.sent == [(b"hello", "client", 7, NOT_ECT)]


def test_expire_sends_and_tells_the_next_deadline() -> None:
    wire = Wire()
    assert expire(Caller(calls=1, patience=10), 5, wire) == 15
    assert wire.sent == [(b"call 1", "server", 5, NOT_ECT)]


def test_everything_a_node_has_is_drained_in_order() -> None:
    node, wire = Recorder(deadline=99), Wire()
    node.outbox.extend([(b"a", "x", NOT_ECT), (b"b", "y", ECT_0), (b"c", "x", CE)])
    assert deliver(node, b"go", Label("z", "here"), 3, wire) == 99
    assert wire.sent == [(b"a", "x", 3, NOT_ECT), (b"b", "y", 3, ECT_0), (b"c", "x", 3, CE)]
    assert node.transcript == ["3 z: go"]


def test_a_node_that_never_stops_sending_is_an_error_with_a_name() -> None:
    with pytest.raises(LivelockError, match=str(DATAGRAMS_PER_INPUT_MAX + 1)):
        expire(Fountain(), 0, Nothing())
