"""A gateway: never 250 before the far end has said it, or its own queue is durable; and the octets as they came."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rudp_smtp.drivers.tcp import start_server
from rudp_smtp.service.addresses import Address
from rudp_smtp.service.relaying import Smarthost
from rudp_smtp.service.sending import Sending, send
from rudp_smtp.smtp import Envelope, Login
from tests.service.test_attacks import Talk, serving, talk
from tests.service.test_relaying import GATEWAY, FarEnd

# What a program that parses and writes mail again would change: order, folding, case, spaces, dots, eight bits.
TEXT = (
    b"sUBJECT :  folded\r\n\t here\r\n \r\nReceived: (of another) ;\r\nX: " + bytes(range(128, 256)) + b"\r\n"
    b"Content-Type: multipart/mixed; boundary=\r\nContent-Type: twice\r\n\r\n"
    b".\r\n..\r\n...dots\r\n--\r\n\t \r\n\r\n\r\n"
)


@asynccontextmanager
async def gateway(folder: Path, far: FarEnd, *, has_queue: bool) -> AsyncIterator[Talk]:
    """A client of a gateway to this far end."""
    async with await start_server(far.answer, "127.0.0.1", 0) as listener:
        smarthost = Smarthost(address=Address("tcp", "127.0.0.1", listener.sockets[0].getsockname()[1]))
        queue = folder / "queue" if has_queue else None
        settings = {"policy": GATEWAY, "maildir": None, "smarthost": smarthost, "queue": queue}
        async with serving(folder, "tcp", **settings) as address, talk(address) as client:
            yield client


async def begin(client: Talk) -> None:
    await client.reply()
    lines = ("EHLO c", "MAIL FROM:<a@b.example> BODY=8BITMIME", "RCPT TO:<u@far.example>", "DATA")
    assert [answer[:3] for answer in await client.say(*lines)] == ["250", "250", "250", "354"]


OnConnection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def passed_to(far: OnConnection, folder: Path, login: Login | None = None) -> str:
    """What a gateway without a queue says to a message whose far end is this one."""
    async with await asyncio.start_server(far, "127.0.0.1", 0) as listener:
        address = Address("tcp", "127.0.0.1", listener.sockets[0].getsockname()[1])
        settings = {"policy": GATEWAY, "maildir": None, "smarthost": Smarthost(address=address, login=login)}
        async with serving(folder, "tcp", **settings) as ours, talk(ours) as client:
            await begin(client)
            client.writer.write(b"Subject: x\r\n.\r\n")
            return await client.reply()


@pytest.mark.parametrize("has_queue", [False, True], ids=["passing", "queue"])
@pytest.mark.parametrize("repeats", [1, 4000], ids=["short", "streamed"])
def test_the_far_end_gets_the_same_octets_behind_one_received_field(
    tmp_path: Path, has_queue: bool, repeats: int
) -> None:
    text = TEXT + b"body .\r\n.dot\r\n" * repeats * 10

    async def scene() -> None:
        far = FarEnd()
        async with gateway(tmp_path, far, has_queue=has_queue) as client:
            await begin(client)
            client.writer.write(text.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            answer = asyncio.create_task(client.reply())
            if has_queue:
                assert (await answer).startswith("250 2.0.0 Queued as 1"), "the far end has not even greeted"
            async with asyncio.timeout(30):
                while not far.sessions:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert answer.done() == has_queue, "250 before the far end has said anything"
            assert far.arrived == []
            far.is_open.set()
            assert (await answer).startswith("250")
            async with asyncio.timeout(30):
                while not far.arrived:
                    await asyncio.sleep(0.01)
        (arrived,) = far.arrived
        assert arrived.endswith(text)
        front = arrived[: -len(text)]
        assert front.startswith(b"Received: from c ([127.0.0.1])\r\n\tby ours.example with ESMTP")
        assert front.count(b"\r\n") == front.count(b"\r\n\t") + 1, "one field, folded"

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("552 5.3.4 too big", "552 5.3.4 too big"),
        ("451 4.3.0 later", "451 4.3.0 later"),
        ("599 what", "599 what"),
        ("421 4.3.2 going down", "451 4.3.2 going down"),  # its session ends, ours does not
        (f"554 5.7.1 {'y' * 1000}", f"554 5.7.1 {'y' * 500}"),  # more can be read than may be said
        (f"250 2.0.0 {'y' * 1000}", f"250 2.0.0 {'y' * 500}"),
    ],
    ids=["552", "451", "599", "421", "554-long", "250-long"],
)
def test_the_far_ends_reply_is_the_answer(tmp_path: Path, said: str, expected: str) -> None:
    async def far(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 far\r\n")
        while line := await reader.readline():
            is_data = line.upper().startswith(b"DATA")
            writer.write(b"354 go\r\n" if is_data else b"250 ok\r\n")
            if is_data:
                while await reader.readline() != b".\r\n":
                    pass
                writer.write(said.encode() + b"\r\n")
        writer.close()

    assert asyncio.run(passed_to(far, tmp_path)) == expected


def test_a_login_that_the_far_end_refuses_is_our_trouble_and_not_the_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rudp_smtp.service.passing.WAITS", (0.0, 0.0))

    async def far(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 far\r\n")
        while line := await reader.readline():
            replies = {b"EHLO": b"250-far\r\n250 AUTH PLAIN\r\n", b"AUTH": b"535 5.7.8 who are you\r\n"}
            writer.write(replies.get(line[:4].upper(), b"221 bye\r\n"))
        writer.close()

    login = Login(name="tim", password="x", entropy=bytes, is_allowed_without_tls=True)
    assert asyncio.run(passed_to(far, tmp_path, login)) == "451 4.7.8 The next server refuses our login"


@pytest.mark.parametrize("refused", ["greeting", "EHLO"])
def test_a_far_end_that_refuses_service_is_no_refusal_of_the_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    monkeypatch.setattr("rudp_smtp.service.passing.WAITS", (0.0, 0.0))
    greetings: list[bytes] = []

    async def far(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greetings.append(b"554 5.3.2 no service\r\n" if refused == "greeting" else b"220 far\r\n")
        writer.write(greetings[-1])
        while line := await reader.readline():
            writer.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"550 5.7.1 not you\r\n")
        writer.close()

    assert asyncio.run(passed_to(far, tmp_path)) == "451 4.3.2 The next server refuses service"
    assert len(greetings) == 2, "it was asked again"


@pytest.mark.parametrize("knows_keys", [False, True])
def test_a_lost_answer_makes_copies_at_no_far_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows_keys: bool
) -> None:
    """One that knows keys tells the repeat; to the other it must not come without the client's own decision."""
    monkeypatch.setattr("rudp_smtp.service.passing.WAITS", (0.0, 0.0, 0.0))
    keys: list[bytes] = []

    async def far(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 far\r\n")
        while line := await reader.readline():
            command = line[:4].upper()
            replies = {b"EHLO": b"250-far\r\n250 XIDEMPOTENT 64\r\n" if knows_keys else b"250 far\r\n"}
            writer.write(b"354 go\r\n" if command == b"DATA" else replies.get(command, b"250 ok\r\n"))
            if command == b"MAIL":
                keys.append(line.rstrip().partition(b"XIDEMPOTENT=")[2])
            elif command == b"DATA":
                while await reader.readline() != b".\r\n":
                    pass
                if len(keys) < 3:
                    break
                writer.write(b"250 kept\r\n")
        writer.close()

    unsure = "451 4.4.2 The next server has not said whether it took the message"
    assert asyncio.run(passed_to(far, tmp_path)) == ("250 2.0.0 kept" if knows_keys else unsure)
    assert len(keys) == (3 if knows_keys else 1)
    assert len(set(keys)) == 1


async def say_under_key(client: Talk, text: bytes) -> None:
    await client.reply()
    lines = ("EHLO c", "MAIL FROM:<a@b.example> XIDEMPOTENT=once", "RCPT TO:<u@far.example>", "DATA")
    assert [answer[:3] for answer in await client.say(*lines)] == ["250", "250", "250", "354"]
    client.writer.write(text + b"\r\n.\r\n")


async def reached(far: FarEnd) -> None:
    while not far.sessions:
        await asyncio.sleep(0.01)


def test_a_repeat_under_its_key_is_answered_and_not_passed_on_again(tmp_path: Path) -> None:
    """The client lost its connection before the answer, while the message was under way; then behind it."""

    async def scene() -> None:
        far = FarEnd()
        async with await start_server(far.answer, "127.0.0.1", 0) as listener:
            smarthost = Smarthost(address=Address("tcp", "127.0.0.1", listener.sockets[0].getsockname()[1]))
            settings = {"policy": GATEWAY, "maildir": None, "smarthost": smarthost}
            async with asyncio.timeout(60), serving(tmp_path, "tcp", **settings) as address:
                async with talk(address) as first:
                    await say_under_key(first, b"Subject: x\r\n\r\none")
                    await reached(far)
                async with talk(address) as second:
                    await say_under_key(second, b"Subject: x\r\n\r\none")
                    await asyncio.sleep(0.1)
                    far.is_open.set()
                    assert (await second.reply()).startswith("250")
                async with talk(address) as third, talk(address) as other:
                    await say_under_key(third, b"Subject: x\r\n\r\none")
                    assert (await third.reply()).startswith("250")
                    await say_under_key(other, b"Subject: x\r\n\r\ntwo")
                    assert (await other.reply()).startswith("5")
        assert len(far.arrived) == 1

    asyncio.run(scene())


def test_each_recipient_of_a_message_under_one_key_gets_it(tmp_path: Path) -> None:
    """RCPTMAX is 1, so a client says the same message under the same key once for each."""

    async def scene() -> None:
        far = FarEnd()
        far.is_open.set()
        message = Envelope("a@b.example", ("u@far.example", "v@far.example"), b"x\r\n", idempotency_key="once")
        async with await start_server(far.answer, "127.0.0.1", 0) as listener:
            smarthost = Smarthost(address=Address("tcp", "127.0.0.1", listener.sockets[0].getsockname()[1]))
            settings = {"policy": GATEWAY, "maildir": None, "smarthost": smarthost}
            async with asyncio.timeout(60), serving(tmp_path, "tcp", **settings) as address:
                for _ in range(2):
                    (report,) = (await send(Sending(address=address, domain="c"), [(message, None)])).reports
                    assert set(report.accepted) == set(message.forward_paths)
        assert sorted(path for mail in far.arrived for path in re.findall(rb"for <(.*)>", mail)) == [
            b"u@far.example",
            b"v@far.example",
        ]

    asyncio.run(scene())
