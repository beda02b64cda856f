"""TLS-Required: No in a message's header (RFC 8689 section 3), where the operator demands a host that proves itself."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rudp_smtp.drivers.tcp import start_server
from rudp_smtp.mail.queue_index import QueueIndex
from rudp_smtp.service.addresses import Address
from rudp_smtp.service.relaying import Smarthost
from rudp_smtp.smtp import (
    Authentication,
    ClientTls,
    Login,
    MemoryCredentials,
    ServerTls,
    TlsUse,
    store_password,
)
from tests.service.test_attacks import Talk, serving, talk
from tests.service.test_relaying import GATEWAY, FarEnd
from tests.smtp.certificates import server_context

OPEN = b"TLS-Required: No\r\nSubject: your certificate\r\n\r\nhas expired\r\n"
CLOSED = b"Subject: yours\r\n\r\nand mine\r\n"
both = pytest.mark.parametrize("has_queue", [False, True], ids=["passing", "queue"])


def proof(use: TlsUse = TlsUse.REQUIRED) -> ClientTls:
    return ClientTls(context=ssl.create_default_context(), server_name="localhost", use=use)


def far_end(kind: str, authentication: Authentication | None = None) -> FarEnd:
    """One that cannot prove who it is: with a certificate that nobody has signed, or without any."""
    tls = None if kind == "in the clear" else ServerTls(context=server_context(), is_implicit=kind == "implicit")
    far = FarEnd(tls=tls, authentication=authentication)
    far.is_open.set()
    return far


@asynccontextmanager
async def gateway(
    folder: Path, port: int, *, tls: ClientTls, has_queue: bool, login: Login | None = None
) -> AsyncIterator[Address]:
    smarthost = Smarthost(address=Address("tcp", "127.0.0.1", port), tls=tls, login=login)
    queue = folder / "queue" if has_queue else None
    settings = {"policy": GATEWAY, "maildir": None, "smarthost": smarthost, "queue": queue}
    async with asyncio.timeout(60), serving(folder, "tcp", **settings) as address:
        yield address


@asynccontextmanager
async def in_front_of(
    far: FarEnd, folder: Path, *, tls: ClientTls, has_queue: bool, login: Login | None = None
) -> AsyncIterator[Address]:
    async with await start_server(far.answer, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with gateway(folder, port, tls=tls, has_queue=has_queue, login=login) as address:
            yield address


async def submit(address: Address, text: bytes, to: str = "u@far.example") -> str:
    async with talk(address) as client:
        return await say(client, text, to)


async def say(client: Talk, text: bytes, to: str) -> str:
    await client.reply()
    lines = ("EHLO c", "MAIL FROM:<a@far.example>", f"RCPT TO:<{to}>", "DATA")
    assert [answer[:3] for answer in await client.say(*lines)] == ["250", "250", "250", "354"]
    client.writer.write(text + b".\r\n")
    return await client.reply()


async def arrived(far: FarEnd, count: int) -> None:
    while len(far.arrived) < count:
        await asyncio.sleep(0.01)


async def tried(folder: Path, count: int) -> list[str]:
    """What is known of the messages that are queued, once so many of them were tried."""
    index = QueueIndex(folder / "queue")
    try:
        while True:
            replies = [queued.reply for mail in index.listing() for queued in mail.recipients if queued.attempts]
            if len(replies) >= count:
                return replies
            await asyncio.sleep(0.01)
    finally:
        index.close()


@both
@pytest.mark.parametrize("kind", ["starttls", "implicit", "in the clear"])
def test_it_goes_where_mail_that_does_not_say_so_waits(
    tmp_path: Path, kind: str, has_queue: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rudp_smtp.service.passing.WAITS", (0.0,))

    async def scene() -> None:
        far = far_end(kind)
        tls = proof(TlsUse.IMPLICIT if kind == "implicit" else TlsUse.REQUIRED)
        async with in_front_of(far, tmp_path, tls=tls, has_queue=has_queue) as address:
            answer = await submit(address, CLOSED)
            if has_queue:
                (reply,) = await tried(tmp_path, 1)
                assert " 4.7.10 " in reply
            else:
                assert answer[:11] in ("451 4.7.10 ", "454 4.7.10 ")
            assert (await submit(address, OPEN)).startswith("250")
            await arrived(far, 1)
        (envelope,) = far.envelopes
        assert envelope.mail_data.endswith(OPEN)
        assert envelope.is_encrypted == (kind != "in the clear"), "encrypted where that can be had"

    asyncio.run(scene())


@both
@pytest.mark.parametrize("is_demanding", [True, False])
def test_where_the_handshake_breaks_it_goes_in_the_clear(tmp_path: Path, has_queue: bool, is_demanding: bool) -> None:
    tls = proof() if is_demanding else proof().relaxed()  # which is what a gateway does that was told nothing of TLS
    sessions: list[bytes] = []

    async def far(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, is_data = len(sessions), False
        sessions.append(b"")
        writer.write(b"220 far\r\n")
        while line := await reader.readline():
            sessions[number] += line
            if line == b"STARTTLS\r\n":
                writer.write(b"220 go\r\nno handshake\r\n")
                break
            if line == b"DATA\r\n" or (is_data and line != b".\r\n"):
                writer.write(b"" if is_data else b"354 go\r\n")
                is_data = True
            else:
                is_data = False
                writer.write(b"250-far\r\n250 STARTTLS\r\n" if line.startswith(b"EHLO") else b"250 ok\r\n")
        writer.close()

    async def scene() -> None:
        async with await asyncio.start_server(far, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            async with gateway(tmp_path, port, tls=tls, has_queue=has_queue) as address:
                assert (await submit(address, OPEN)).startswith("250")
                while not (sessions and OPEN in sessions[-1]):
                    await asyncio.sleep(0.01)

    asyncio.run(scene())
    # As the operator says; with whoever it is, if that was not the same; and without TLS.
    assert [OPEN in said for said in sessions] == ([False, False, True] if is_demanding else [False, True])


@both
@pytest.mark.parametrize("mechanisms", [("PLAIN", "LOGIN"), ("SCRAM-SHA-256", "PLAIN")])
def test_it_costs_no_password(
    tmp_path: Path, mechanisms: tuple[str, ...], has_queue: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not prove who it is gets no login that shows one."""
    monkeypatch.setattr("rudp_smtp.service.passing.WAITS", (0.0,))
    is_safe = "SCRAM-SHA-256" in mechanisms
    known = MemoryCredentials({"tim": store_password("secret", bytes)})

    async def scene() -> None:
        far = far_end("starttls", Authentication(credentials=known, entropy=bytes, mechanisms=mechanisms))
        login = Login(name="tim", password="secret", entropy=bytes)
        async with in_front_of(far, tmp_path, tls=proof(), has_queue=has_queue, login=login) as address:
            answer = await submit(address, OPEN)
            if is_safe:
                await arrived(far, 1)
            elif has_queue:
                assert await tried(tmp_path, 1) == [
                    "454 4.7.0 The server offers no way to authenticate that is safe to use"
                ]
            else:
                assert answer == "454 4.7.0 The server offers no way to authenticate that is safe to use"
        assert [envelope.authenticated_as for envelope in far.envelopes] == (["tim"] if is_safe else [])

    asyncio.run(scene())


def test_a_notice_about_it_goes_the_same_way_and_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        far = far_end("starttls")
        async with in_front_of(far, tmp_path, tls=proof(), has_queue=True) as address:
            await submit(address, OPEN, to="nobody@elsewhere.example")
            await arrived(far, 1)
        (notice,) = far.envelopes
        assert (notice.reverse_path, notice.forward_paths) == ("", ("a@far.example",))
        assert notice.is_tls_optional
        assert b"We do not relay" in notice.mail_data

    asyncio.run(scene())
