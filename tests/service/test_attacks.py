"""What strangers do to a mail server, over TCP and over RUDP: it answers as it should, and serves the next one."""

import asyncio
import base64
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from rudp_smtp.drivers import aio
from rudp_smtp.drivers.certificate import self_signed
from rudp_smtp.drivers.sessions import Patience
from rudp_smtp.service.addresses import Address, parse_address
from rudp_smtp.service.clients import ClientLimits
from rudp_smtp.service.mailserver import MailServer, Settings
from rudp_smtp.service.office import Policy
from rudp_smtp.service.relaying import Smarthost
from rudp_smtp.smtp import Authentication, ServerTls
from rudp_smtp.smtp.credentials import StoredPassword
from rudp_smtp.units import SECOND
from tests.mail.test_full_disk import make_small_disk  # noqa: F401 - the fixture small_disk
from tests.service.programs import mails

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
POLICY = Policy(domain="example.org", mailboxes=frozenset({"bob"}))
OTHER = "127.0.0.2"  # another client than 127.0.0.1
both = pytest.mark.parametrize("scheme", ["tcp", "rudp"])


class Talk:
    """A client that says what it likes."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> str:
        """The last line of the next reply, "" if the server has hung up."""
        while True:
            line = (await self.reader.readline()).decode()
            if not line or line[3:4] == " ":
                return line.rstrip()

    async def say(self, *lines: str | bytes) -> list[str]:
        """Each line with its CRLF, all at once; a reply for each."""
        self.writer.write(b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in lines))
        return [await self.reply() for _ in lines]

    async def rest(self) -> str:
        """All that the server still says."""
        try:
            return (await self.reader.read()).decode()
        except ConnectionError:
            return ""


@asynccontextmanager
async def talk(address: Address, host: str = "127.0.0.1") -> AsyncIterator[Talk]:
    opens: Callable[..., Awaitable[tuple[Reader, Writer]]]
    opens = aio.open_connection if address.is_rudp else asyncio.open_connection
    reader, writer = await opens(address.host, address.port, local_addr=(host, 0))
    try:
        yield Talk(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def serving(folder: Path, scheme: str, **settings: object) -> AsyncIterator[Address]:
    numbers = count()
    chosen: dict[str, object] = {"policy": POLICY, "maildir": folder / "mail", "notice": lambda text: None, **settings}
    made = MailServer(
        Settings(**chosen),  # type: ignore[arg-type]
        clock=time.time_ns,
        unique=lambda: f"Q{next(numbers)}",
        identity="attacked",
    )
    async with made as server:
        yield await server.listen(parse_address(f"{scheme}://127.0.0.1:0"))
    await aio.shutdown(0.1)


async def deliver(address: Address, host: str = "127.0.0.1", text: str = "hello") -> str:
    """An honest client: the final reply."""
    async with talk(address, host) as client:
        if not (await client.reply()).startswith("220"):
            return "turned away"
        answers = await client.say("EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<bob@example.org>", "DATA")
        if not answers[-1].startswith("354"):
            return next(answer for answer in answers if not answer.startswith("250"))
        (final,) = await client.say(f"Subject: honest\r\n\r\n{text}\r\n.")
        return final


async def begin(client: Talk, domain: str = "example.org") -> None:
    """To the point where mail data is asked for."""
    assert (await client.reply()).startswith("220")
    answers = await client.say("EHLO c", "MAIL FROM:<a@b.example>", f"RCPT TO:<bob@{domain}>", "DATA")
    assert [answer[:3] for answer in answers] == ["250", "250", "250", "354"]


@both
@pytest.mark.parametrize(
    "mark",
    [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r\n\0.\r\n", b"\n.\r", b"\r.\n", b"\r\r\n.\r\r\n"],
)
def test_nothing_but_the_end_mark_ends_a_message(tmp_path: Path, scheme: str, mark: bytes) -> None:
    async def attack() -> None:
        async with serving(tmp_path, scheme) as address:
            async with talk(address) as client:
                await begin(client)
                hidden = (
                    b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"
                )
                client.writer.write(b"Subject: x\r\n\r\none" + mark + hidden + b"\r\n.\r\nQUIT\r\n")
                refused, bye = (await client.rest()).splitlines()
                assert refused.startswith("5")
                assert bye.startswith("221")
            assert (await deliver(address)).startswith("250")

    asyncio.run(attack())
    assert len(mails(tmp_path)) == 1


@both
def test_what_is_injected_around_starttls_is_not_obeyed(tmp_path: Path, scheme: str) -> None:
    context, certificate = self_signed(["localhost"])
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE

    async def attack() -> None:
        async with serving(tmp_path, scheme, tls=ServerTls(context=context, certificate=certificate)) as address:
            async with talk(address) as client:
                await client.reply()
                assert [answer[:3] for answer in await client.say("EHLO c", "MAIL FROM:<evil@b.example>")] == [
                    "250"
                ] * 2
                assert (await client.say("STARTTLS"))[0].startswith("503")
                await client.say("RSET")
                client.writer.write(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@b.example>\r\n")
                assert (await client.reply()).startswith("220")
                await client.writer.start_tls(trusting, server_hostname="localhost")
                assert (await client.say("RCPT TO:<bob@example.org>"))[0].startswith("503")
                assert (await client.say("MAIL FROM:<a@b.example>"))[0].startswith("503"), "EHLO is forgotten, too"
                assert [answer[:3] for answer in await client.say("EHLO c", "STARTTLS")] == ["250", "503"]
            assert (await deliver(address)).startswith("250")

    asyncio.run(attack())


@both
@pytest.mark.parametrize("where", ["a command", "a header", "one header line"])
def test_what_never_ends_is_not_kept(tmp_path: Path, scheme: str, where: str) -> None:
    async def attack() -> None:
        async with serving(tmp_path, scheme, size_limit=1 << 20) as address:
            async with talk(address) as client:
                if where == "a command":
                    await client.reply()
                else:
                    await begin(client)
                piece = b"X: y\r\n" * 10_000 if where == "a header" else b"x" * 60_000
                for _ in range(100):
                    client.writer.write(piece)
                    await client.writer.drain()
                if where == "a command":
                    assert (await client.say(""))[0].startswith("500")
                else:
                    assert (await client.say("\r\n."))[0].startswith("5")
                kept = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
                assert kept < 1 << 20
            assert (await deliver(address)).startswith("250")

    asyncio.run(attack())


@both
def test_a_flood_of_recipients_is_answered_one_by_one(tmp_path: Path, scheme: str) -> None:
    async def attack() -> None:
        async with serving(tmp_path, scheme) as address, talk(address) as client:
            await client.reply()
            await client.say("EHLO c", "MAIL FROM:<a@b.example>")
            answers = await client.say(*["RCPT TO:<bob@example.org>"] * 900)
            assert [answer[:3] for answer in answers] == ["250"] * 100 + ["452"] * 800

    asyncio.run(attack())


@both
def test_a_slow_sender_is_cut_off(tmp_path: Path, scheme: str) -> None:
    async def attack() -> None:
        async with serving(tmp_path, scheme, patience=Patience(total=2 * SECOND)) as address:
            async with talk(address) as client:
                await begin(client)

                async def drip() -> None:
                    while True:
                        client.writer.write(b"x\r\n")
                        await asyncio.sleep(0.05)

                dripping = asyncio.create_task(drip())
                async with asyncio.timeout(60):
                    await client.rest()
                dripping.cancel()
            assert (await deliver(address)).startswith("250")

    asyncio.run(attack())
    assert len(mails(tmp_path)) == 1


@both
def test_a_thousand_idle_sessions_of_one_client_do_not_keep_others_out(tmp_path: Path, scheme: str) -> None:
    number = 1000 if scheme == "tcp" else 199  # beyond 200, connections themselves are refused

    async def attack() -> None:
        async with serving(tmp_path, scheme) as address, AsyncExitStack() as stack:
            greetings = []
            for _ in range(number):
                client = await stack.enter_async_context(talk(address))
                greetings.append((await client.reply())[:3])
            assert greetings == ["220"] * 100 + ["421"] * (number - 100)
            assert await deliver(address) == "turned away"
            assert (await deliver(address, OTHER)).startswith("250")

    asyncio.run(attack())


class Passwords:
    """Nobody is known, and asking for one of them is our own bug."""

    def find(self, name: str) -> StoredPassword | None:
        if name == "crash":
            raise RuntimeError("a bug of ours")
        return None


def plain(name: str) -> str:
    return "AUTH PLAIN " + base64.b64encode(f"\0{name}\0guess".encode()).decode()


AUTHENTICATION = Authentication(credentials=Passwords(), entropy=bytes, is_allowed_without_tls=True)


async def guess(client: Talk) -> None:
    await client.say("EHLO c")
    client.writer.write(plain("bob").encode() + b"\r\n")


@both
def test_who_guesses_passwords_is_told_so_and_disconnected_in_the_end(tmp_path: Path, scheme: str) -> None:
    limits = ClientLimits(failure_delay_first=1)

    options = {"authentication": AUTHENTICATION, "client_limits": limits}

    async def attack() -> None:
        async with serving(tmp_path, scheme, **options) as address, talk(address) as client:
            await client.reply()
            await guess(client)
            assert (await client.reply()).startswith("535")
            answers = await client.say(plain("bob"), plain("eve"), "NOOP")
            assert [answer[:3] for answer in answers] == ["535", "421", ""]

    asyncio.run(attack())


async def guess_and_leave(address: Address) -> None:
    async with talk(address) as client:
        if (await client.reply()).startswith("421"):  # a session before this one is still being closed
            return await guess_and_leave(address)
        await guess(client)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reply(), 1)
    return None


@both
def test_who_guesses_passwords_waits_and_nobody_else_does(tmp_path: Path, scheme: str) -> None:
    limits = ClientLimits(sessions=2, failure_delay_first=3600 * SECOND, failure_delay_max=3600 * SECOND)

    async def attack() -> None:
        async with serving(tmp_path, scheme, authentication=AUTHENTICATION, client_limits=limits) as address:
            for left in (1, 0):
                await guess_and_leave(address)
                assert (await deliver(address))[:3] == ("250" if left else "tur"), "who hung up still waits"
            assert (await deliver(address, OTHER)).startswith("250")

    asyncio.run(attack())


@both
def test_who_waits_for_a_guess_does_not_hold_up_a_server_that_stops(
    tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rudp_smtp.service.mailserver.SHUTDOWN_SECONDS", 3600)
    limits = ClientLimits(failure_delay_first=3600 * SECOND, failure_delay_max=3600 * SECOND)

    async def attack() -> None:
        async with asyncio.timeout(60):
            async with serving(tmp_path, scheme, authentication=AUTHENTICATION, client_limits=limits) as address:
                await guess_and_leave(address)

    asyncio.run(attack())


@both
def test_messages_beyond_the_allowance_of_a_minute_are_put_off(tmp_path: Path, scheme: str) -> None:
    async def attack() -> None:
        async with serving(tmp_path, scheme, client_limits=ClientLimits(messages_per_minute=3)) as address:
            finals = [(await deliver(address))[:3] for _ in range(5)]
            assert finals == ["250"] * 3 + ["450"] * 2
            assert (await deliver(address, OTHER)).startswith("250")

    asyncio.run(attack())
    assert len(mails(tmp_path)) == 4


@both
def test_a_bug_in_one_session_ends_that_one_alone(tmp_path: Path, scheme: str) -> None:
    async def attack() -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
        async with serving(tmp_path, scheme, authentication=AUTHENTICATION) as address:
            async with talk(address) as client:
                await client.reply()
                await client.say("EHLO c")
                client.writer.write(plain("crash").encode() + b"\r\n")
                assert await client.rest() == ""
            assert (await deliver(address)).startswith("250")

    asyncio.run(attack())


def test_a_full_disk_is_told_with_452_until_there_is_room(small_disk: Path) -> None:
    async def attack() -> None:
        async with serving(small_disk, "tcp") as address:
            finals = [(await deliver(address, text="x" * 900 + "\r\n" + "large\r\n" * 20_000))[:3] for _ in range(30)]
            assert set(finals) == {"250", "452"}
            assert finals == sorted(finals)
            assert len(mails(small_disk)) == finals.count("250")
            for path in (small_disk / "mail" / "new").iterdir():
                path.unlink()
            assert (await deliver(address)).startswith("250")

    asyncio.run(attack())


def test_a_gateway_without_room_for_the_message_says_452(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    onward = Policy(domain="gateway.example", has_mailboxes=False, relays=True, relays_for_all=True)

    async def attack() -> None:
        async with serving(small_disk, "tcp") as last:
            smarthost = Smarthost(address=last)
            async with serving(small_disk, "tcp", maildir=None, policy=onward, smarthost=smarthost) as address:
                assert (await deliver(address, text="large\r\n" * 500_000)).startswith("452")
                assert (await deliver(address)).startswith("250")

    asyncio.run(attack())
