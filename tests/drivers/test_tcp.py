"""Our server against smtplib and our client against aiosmtpd, over TCP on loopback."""

import asyncio
import smtplib
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import TypeVar

import pytest
from aiosmtpd import smtp as peer_smtp

from rudp_smtp.drivers.sessions import Patience, React, Session
from rudp_smtp.drivers.tcp import deliver, start_server
from rudp_smtp.errors import DriverError
from rudp_smtp.mail.mailbox import MemoryMailbox, deliver_received
from rudp_smtp.smtp import Client, DeliveryReport, Envelope, Limits, Outcome, Server, SessionEnded
from rudp_smtp.units import MILLISECOND

HOST = "127.0.0.1"
MESSAGE = b"Subject: over TCP\r\n\r\n.a dot opens this line\r\n..\r\n\r\nlast line\r\n"
LONG = b"".join(b"%d bottles of beer\r\n.\r\n" % i for i in range(40_000))
T = TypeVar("T")


def nothing() -> None:
    """The application of a client that reads its events when the session is over."""


def answering(mailbox: MemoryMailbox, limits: Limits | None = None) -> Callable[[], tuple[Session, React]]:
    def answer() -> tuple[Session, React]:
        server = Server(domain="mx.example", limits=limits)

        def react() -> None:
            deliver_received(server, mailbox, now=0)

        return server, react

    return answer


async def serving(
    answer: Callable[[], tuple[Session, React]],
    dialogue: Callable[[int], Coroutine[None, None, T]],
    patience: Patience | None = None,
) -> T:
    """Hold a dialogue with a server on a port of its own."""
    listener = await start_server(answer, HOST, 0, patience=patience)
    async with listener:
        return await dialogue(listener.sockets[0].getsockname()[1])


def with_smtplib(mailbox: MemoryMailbox, dialogue: Callable[[smtplib.SMTP], T], limits: Limits | None = None) -> T:
    def talk(port: int) -> T:
        with smtplib.SMTP(HOST, port, local_hostname="client.example", timeout=10) as peer:
            return dialogue(peer)

    async def in_thread(port: int) -> T:
        return await asyncio.to_thread(talk, port)

    return asyncio.run(serving(answering(mailbox, limits), in_thread))


class PeerMailbox:
    """What aiosmtpd calls when a message came."""

    def __init__(self) -> None:
        self.received: list[tuple[str | None, list[str], bytes | str | None]] = []

    async def handle_RCPT(  # noqa: N802
        self,
        server: peer_smtp.SMTP,
        session: peer_smtp.Session,
        envelope: peer_smtp.Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: peer_smtp.SMTP, session: peer_smtp.Session, envelope: peer_smtp.Envelope
    ) -> str:
        self.received.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
        return "250 2.0.0 kept"


async def deliver_to_peer(client: Client, peer: PeerMailbox, size_limit: int = 1 << 25) -> None:
    loop = asyncio.get_running_loop()

    def answer() -> peer_smtp.SMTP:
        return peer_smtp.SMTP(peer, hostname="peer.example", data_size_limit=size_limit, loop=loop)

    listener = await loop.create_server(answer, HOST, 0)
    async with listener:
        await deliver(client, nothing, HOST, listener.sockets[0].getsockname()[1])


def outcomes(client: Client) -> list[Outcome]:
    found = []
    while (event := client.next_event()) is not None:
        if isinstance(event, DeliveryReport):
            found.append(event.outcome)
    return found


@pytest.mark.parametrize("message", [MESSAGE, LONG, b"gr\xfc\xdfe\r\n"], ids=["short", "long", "eight bit"])
def test_our_server_receives_what_smtplib_sends(message: bytes) -> None:
    mailbox = MemoryMailbox()
    refused = with_smtplib(
        mailbox, lambda peer: peer.sendmail("a@b.example", ["u@mx.example", "v@elsewhere.example"], message)
    )
    assert [code for code, _ in refused.values()] == [550]
    assert [mail.envelope for mail in mailbox.messages] == [Envelope("a@b.example", ("u@mx.example",), message)]


def test_our_server_answers_all_that_smtplib_asks() -> None:
    def ask(peer: smtplib.SMTP) -> list[int]:
        codes = [peer.helo()[0], peer.ehlo()[0], peer.noop()[0], peer.verify("somebody")[0], peer.rset()[0]]
        assert {"pipelining", "8bitmime", "enhancedstatuscodes"} <= peer.esmtp_features.keys()
        assert b"MAIL" in peer.docmd("HELP")[1]
        return [*codes, peer.docmd("FOO")[0], peer.quit()[0]]

    assert with_smtplib(MemoryMailbox(), ask) == [250, 250, 250, 252, 250, 500, 221]


def test_our_server_refuses_what_smtplib_declares_too_big() -> None:
    def send(peer: smtplib.SMTP) -> int:
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            peer.sendmail("a@b.example", ["u@mx.example"], MESSAGE)
        return caught.value.smtp_code

    mailbox = MemoryMailbox()
    assert with_smtplib(mailbox, send, Limits(message_octets=10)) == 552
    assert mailbox.messages == []


def test_our_server_takes_several_messages_over_one_session() -> None:
    def send(peer: smtplib.SMTP) -> None:
        for i in range(5):
            peer.sendmail("a@b.example", ["u@mx.example"], b"message %d\r\n" % i)

    mailbox = MemoryMailbox()
    with_smtplib(mailbox, send)
    assert [mail.envelope.mail_data for mail in mailbox.messages] == [b"message %d\r\n" % i for i in range(5)]


def test_our_client_delivers_to_aiosmtpd() -> None:
    client, peer = Client(domain="client.example"), PeerMailbox()
    messages = [MESSAGE, LONG, b"gr\xfc\xdfe\r\n"]
    for token, message in enumerate(messages):
        client.submit(Envelope("a@b.example", ("u@peer.example", "nobody@peer.example"), message), token)
    client.submit(Envelope("", ("nobody@peer.example",), MESSAGE), token=3)
    client.quit()
    asyncio.run(deliver_to_peer(client, peer))
    assert peer.received == [("a@b.example", ["u@peer.example"], message) for message in messages]
    assert outcomes(client) == [Outcome.ACCEPTED] * 3 + [Outcome.REFUSED]


def test_our_client_keeps_what_is_too_big_for_aiosmtpd_to_itself() -> None:
    client, peer = Client(domain="client.example"), PeerMailbox()
    for token, message in enumerate((LONG, MESSAGE)):
        client.submit(Envelope("a@b.example", ("u@peer.example",), message), token)
    client.quit()
    asyncio.run(deliver_to_peer(client, peer, size_limit=100))
    assert [content for _, _, content in peer.received] == [MESSAGE]
    assert outcomes(client) == [Outcome.REFUSED, Outcome.ACCEPTED]


@pytest.mark.parametrize("pipelining", [True, False])
def test_our_client_delivers_to_our_server(pipelining: bool) -> None:
    mailbox, client = MemoryMailbox(), Client(domain="client.example", pipelining=pipelining)
    envelopes = [Envelope("a@b.example", ("u@mx.example",), message) for message in (MESSAGE, LONG, b"")]
    for token, envelope in enumerate(envelopes):
        client.submit(envelope, token)
    client.quit()
    asyncio.run(serving(answering(mailbox), lambda port: deliver(client, nothing, HOST, port)))
    assert [mail.envelope for mail in mailbox.messages] == envelopes
    assert outcomes(client) == [Outcome.ACCEPTED] * 3


def test_a_peer_that_says_nothing_is_left() -> None:
    client = Client(domain="client.example")  # neither a message nor quit: it would wait for ever
    hasty = Patience(idle=20 * MILLISECOND)
    asyncio.run(serving(answering(MemoryMailbox()), lambda port: deliver(client, nothing, HOST, port, patience=hasty)))
    assert client.done


def test_a_slow_peer_runs_out_of_the_time_for_all_of_it() -> None:
    ended: list[SessionEnded] = []

    def answer() -> tuple[Session, React]:
        server = Server(domain="mx.example")

        def react() -> None:
            end = deliver_received(server, MemoryMailbox(), now=0)
            if end is not None:
                ended.append(end)

        return server, react

    async def dawdle(port: int) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, port)
        said = await reader.read()
        writer.close()
        return said

    said = asyncio.run(serving(answer, dawdle, Patience(total=20 * MILLISECOND)))
    assert said.startswith(b"220 ")
    assert [end.is_clean for end in ended] == [False]


def test_a_peer_that_never_reads_does_not_keep_its_place() -> None:
    async def dialogue() -> bool:
        ended = asyncio.Event()

        def answer() -> tuple[Session, React]:
            server = Server(domain="mx.example")

            def react() -> None:
                if deliver_received(server, MemoryMailbox(), now=0) is not None:
                    ended.set()

            return server, react

        listener = await start_server(answer, HOST, 0, patience=Patience(idle=50 * MILLISECOND))
        listener.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # what is accepted inherits it
        loop = asyncio.get_running_loop()
        async with listener:
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.setblocking(False)
                await loop.sock_connect(deaf, (HOST, listener.sockets[0].getsockname()[1]))
                await loop.sock_sendall(deaf, b"HELP\r\n" * 5_000)
                async with asyncio.timeout(5):
                    return await ended.wait()

    assert asyncio.run(dialogue())


def test_a_network_that_fails_under_a_session_ends_it() -> None:
    client = Client(domain="client.example")
    client.submit(Envelope("", ("u@mx.example",), MESSAGE), token=1)

    async def deliver_to_one_who_resets() -> None:
        def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            own = writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        listener = await asyncio.start_server(hang_up, HOST, 0)
        async with listener:
            await deliver(client, nothing, HOST, listener.sockets[0].getsockname()[1])

    asyncio.run(deliver_to_one_who_resets())
    assert client.done
    assert outcomes(client) == [Outcome.UNSENT]


def test_an_error_of_the_application_is_not_taken_for_a_lost_stream() -> None:
    async def stumble() -> None:
        raise FileNotFoundError("the application's own")

    client = Client(domain="client.example")
    with pytest.raises(FileNotFoundError):
        asyncio.run(serving(answering(MemoryMailbox()), lambda port: deliver(client, stumble, HOST, port)))


def test_nobody_listening_is_an_error_that_says_where() -> None:
    async def closed_port() -> int:
        listener = await start_server(answering(MemoryMailbox()), HOST, 0)
        async with listener:
            return int(listener.sockets[0].getsockname()[1])

    port = asyncio.run(closed_port())
    with pytest.raises(DriverError, match=f"cannot connect to {HOST} port {port}"):
        asyncio.run(deliver(Client(domain="client.example"), nothing, HOST, port))


def test_a_port_that_is_taken_is_an_error_that_says_which() -> None:
    async def take_twice(port: int) -> None:
        await start_server(answering(MemoryMailbox()), HOST, port)

    with pytest.raises(DriverError, match=f"cannot listen on {HOST} port"):
        asyncio.run(serving(answering(MemoryMailbox()), take_twice))
