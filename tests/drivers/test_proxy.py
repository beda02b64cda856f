"""The relay between real sockets on loopback: what arrives, whose it is, and that fates are the simulator's."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.clock import Lateness, Waiter
from rudp_smtp.drivers.proxy import Path, Relay, report
from rudp_smtp.drivers.sockets import Endpoint, ecn_of
from rudp_smtp.experiment.inspection import readers_before
from rudp_smtp.link.config import CorruptConfig, DelayConfig, LinkConfig, MatchRule, RateConfig
from rudp_smtp.link.link import Link
from rudp_smtp.registry import Spec
from rudp_smtp.trace import LinkFate, ListSink
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND

ANY = ("127.0.0.1", 0)
PERFECT = LinkConfig()
LOSSY = LinkConfig(
    loss=Spec("random", (("p", PROBABILITY_ONE // 5),)),
    duplicate=PROBABILITY_ONE // 10,
    corrupt=CorruptConfig(probability=PROBABILITY_ONE // 10),
)


def plain_socket(timeout: float = 5) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(ANY)
    bound.settimeout(timeout)
    return bound


@contextmanager
def relaying(
    upstream: Endpoint,
    forward: LinkConfig = PERFECT,
    reverse: LinkConfig = PERFECT,
    *,
    sink: ListSink | None = None,
    clients_max: int = 10,
    idle: int = 60 * SECOND,
    listen: Endpoint = ANY,
) -> Iterator[Relay]:
    waiter = Waiter()
    path = Path(forward=forward, reverse=reverse, seed=7, readers=readers_before(upstream))
    relay = Relay(listen, upstream, path, waiter=waiter, sink=sink, clients_max=clients_max, idle=idle)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join()
        relay.close()
        waiter.close()


def test_answers_find_the_client_that_asked() -> None:
    with (
        plain_socket() as server,
        plain_socket() as one,
        plain_socket() as two,
        relaying(server.getsockname()) as relay,
    ):
        for client, text in ((one, b"one"), (two, b"two")):
            client.sendto(text, relay.address)
            data, source = server.recvfrom(100)
            server.sendto(data.upper(), source)
        assert two.recvfrom(100) == (b"TWO", relay.address)
        assert one.recvfrom(100) == (b"ONE", relay.address)
        assert relay.stats.clients == 2


def test_rules_choose_packets_of_any_program_by_their_ports() -> None:
    with plain_socket(0.3) as server, plain_socket(0.3) as one, plain_socket(0.3) as two:
        client, port = one.getsockname()[1], server.getsockname()[1]
        there = LinkConfig(match=(MatchRule(action="drop", source_port=client, destination_port=port),))
        back = LinkConfig(match=(MatchRule(action="drop", source_port=port, nth=1),))
        with relaying(server.getsockname(), there, back) as relay:
            one.sendto(b"one", relay.address)
            two.sendto(b"two", relay.address)
            data, source = server.recvfrom(100)
            assert data == b"two"
            server.sendto(b"lost", source)
            server.sendto(b"found", source)
            assert two.recv(100) == b"found"
        for direction in (relay.forward, relay.reverse):
            assert direction.stats.packets_matched == 1


def test_nothing_leaves_before_its_time() -> None:
    late = LinkConfig(delay=DelayConfig(time=30 * MILLISECOND))
    clock = Waiter()
    with plain_socket() as server, plain_socket() as client, relaying(server.getsockname(), late, late) as relay:
        began = clock.now()
        client.sendto(b"there", relay.address)
        _, source = server.recvfrom(100)
        assert clock.now() - began >= 30 * MILLISECOND
        server.sendto(b"and back", source)
        client.recvfrom(100)
        assert clock.now() - began >= 60 * MILLISECOND
    assert relay.lateness.count == 2
    clock.close()


def test_fates_are_those_of_the_simulated_link() -> None:
    sink = ListSink()
    told = ListSink()
    simulated = Link(LOSSY, name="forward", draws=DrawKey(7).derive("link"), sink=told)  # as experiment.build has it
    with (
        plain_socket(0.3) as server,
        plain_socket() as client,
        relaying(server.getsockname(), LOSSY, sink=sink) as relay,
    ):
        for number in range(300):
            client.sendto(b"%d" % number, relay.address)
        arrived = []
        while True:
            try:
                arrived.append(server.recv(100))
            except TimeoutError:
                break
        assert "received 300" in report(relay)
    for number in range(300):
        simulated.push(b"%d" % number, number)
    expected = iter(lambda: simulated.next_datagram(SECOND), None)
    assert arrived == [data for data, _ in expected]
    fates = [(fact.index, fact.fate) for fact in sink.facts if isinstance(fact, LinkFate)]
    assert fates == [(fact.index, fact.fate) for fact in told.facts if isinstance(fact, LinkFate)]
    assert {fate for _, fate in fates} == {"passed", "lost", "duplicated", "corrupted"}


def test_a_client_too_many_is_refused_until_another_has_been_silent_long_enough() -> None:
    with (
        plain_socket() as server,
        plain_socket() as one,
        plain_socket() as two,
        relaying(server.getsockname(), clients_max=1, idle=SECOND // 5) as relay,
    ):
        one.sendto(b"first", relay.address)
        assert server.recv(100) == b"first"
        two.sendto(b"refused", relay.address)
        server.settimeout(0.5)
        try:
            raise AssertionError(server.recv(100))
        except TimeoutError:
            pass
        two.sendto(b"let in", relay.address)
        assert server.recv(100) == b"let in"
        assert (relay.stats.packets_refused, relay.stats.clients_expired) == (1, 1)


def test_a_rebinding_gives_another_port_and_leaves_answers_to_the_old_one_behind() -> None:
    delayed = LinkConfig(delay=DelayConfig(time=100 * MILLISECOND))
    with plain_socket() as server, plain_socket() as client, relaying(server.getsockname(), delayed, delayed) as relay:
        relay.schedule([(50 * MILLISECOND, relay.rebind), (350 * MILLISECOND, relay.rebind)])
        client.sendto(b"before", relay.address)
        first = server.recvfrom(100)[1]  # was under way when the first rebinding came, and keeps its port
        server.sendto(b"for a port that is gone", first)
        client.sendto(b"after", relay.address)
        data, second = server.recvfrom(100)
        assert (data, second != first) == (b"after", True)
        server.sendto(b"found", second)
        assert client.recv(100) == b"found"
        assert relay.stats.packets_stray == 1
        assert relay.reverse.stats.packets_delivered == 2
        server.sendto(b"at home once, too late now", second)
        time.sleep(0.2)
        assert relay.stats.packets_stray == 2
        assert relay.stats.clients == 1


def test_a_change_of_address_shows_every_client_at_another_one_that_rebindings_keep() -> None:
    with plain_socket() as server, plain_socket() as client, relaying(server.getsockname(), PERFECT, PERFECT) as relay:
        moments = [(100 * MILLISECOND, relay.change_address), (200 * MILLISECOND, relay.rebind)]
        relay.schedule(moments)
        hosts = []
        for _ in range(3):
            client.sendto(b"hello", relay.address)
            hosts.append(server.recvfrom(100)[1])
            time.sleep(0.11)
        assert [host for host, _ in hosts] == ["127.0.0.1", "127.0.0.2", "127.0.0.2"]
        assert len({port for _, port in hosts[1:]}) == 2
        server.sendto(b"to where it was", hosts[1])
        server.sendto(b"found", hosts[2])
        assert client.recv(100) == b"found"
        assert relay.invalid == "" or "address" not in relay.invalid


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_codepoints_cross_in_both_directions_and_a_queue_marks_them(host: str) -> None:
    codel = Spec("codel", (("ecn", True), ("interval", MILLISECOND), ("target", MILLISECOND)))
    full = LinkConfig(rate=RateConfig(value=1_000_000), queue=codel)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM) as server,
        socket.socket(family, socket.SOCK_DGRAM) as client,
    ):
        for own in (server, client):
            own.bind((host, 0))
            own.settimeout(5)
            own.setsockopt(*((41, 66, 1) if ":" in host else (0, 13, 1)))  # IPV6_RECVTCLASS, IP_RECVTOS
        with relaying(server.getsockname()[:2], full, PERFECT, listen=(host, 0)) as relay:
            seen = []
            for number in range(40):
                set_codepoint(client, (1, 2)[number % 2])
                client.sendto(bytes(1000), relay.address)
            for _ in range(40):
                _, ancillary, _, source = server.recvmsg(2000, 64)
                seen.append(ecn_of(ancillary))
            assert seen[:2] == [1, 2]
            assert 0 not in seen
            assert seen.count(3) == relay.forward.stats.packets_marked > 0
            for codepoint in (3, 0, 1):
                set_codepoint(server, codepoint)
                server.sendto(b"answer", source)
                assert ecn_of(client.recvmsg(2000, 64)[1]) == codepoint


def set_codepoint(own: socket.socket, codepoint: int) -> None:
    level, option = (41, 67) if own.family == socket.AF_INET6 else (0, 1)  # IPV6_TCLASS, IP_TOS
    own.setsockopt(level, option, codepoint)


def test_an_upstream_that_nobody_listens_on_does_no_harm() -> None:
    with plain_socket() as closed:
        nowhere = closed.getsockname()
    with plain_socket() as client, plain_socket() as server, relaying(nowhere) as relay:
        for _ in range(5):
            client.sendto(b"hello?", relay.address)
        with relaying(server.getsockname()) as other:
            client.sendto(b"hello", other.address)
            assert server.recv(100) == b"hello"


def test_a_quantile_is_no_less_than_exact_and_at_most_a_sixteenth_more() -> None:
    late = Lateness()
    for value in range(1, 100_001):
        late.add(value)
    assert late.quantile(1) == late.maximum == 100_000
    for share in (0.5, 0.99):
        assert share * 100_000 <= late.quantile(share) <= share * 100_000 * 17 / 16
