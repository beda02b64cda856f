"""Who is told what became of a message, and where: the sender has its bounces and reports, also if it lives here."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from pathlib import Path

import pytest

from rudp_smtp.mail.queue_index import QueueIndex
from rudp_smtp.mail.relay import RetrySchedule
from rudp_smtp.service.addresses import Address
from rudp_smtp.service.office import Policy
from rudp_smtp.service.relaying import Smarthost
from tests.service.programs import mails
from tests.service.test_attacks import serving, talk

OURS = Policy(domain="example.org", mailboxes=frozenset({"alice", "bob"}), relays=True, relays_for_all=True)
THEIRS = Policy(domain="far.example", mailboxes=frozenset({"eve"}))


@asynccontextmanager
async def two_servers(folder: Path, scheme: str = "tcp") -> AsyncIterator[Address]:
    """Ours, with a Maildir and a queue for what goes to a far one, which has no queue."""
    (folder / "far").mkdir()
    async with serving(folder / "far", "tcp", policy=THEIRS) as far:
        ours = {"policy": OURS, "smarthost": Smarthost(address=far), "queue": folder / "queue"}
        async with serving(folder, scheme, **ours) as address:
            yield address


async def send(address: Address, sender: str, *recipients: str, text: str = "hello") -> list[str]:
    """The final replies to a message whose sender wants to hear of everything."""
    async with talk(address) as client:
        await client.reply()
        hello = "LHLO c" if address.is_lmtp else "EHLO c"
        paths = [f"RCPT TO:<{path}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;{path}" for path in recipients]
        answers = await client.say(hello, f"MAIL FROM:<{sender}> RET=FULL ENVID=e1", *paths, "DATA")
        assert [answer[:3] for answer in answers] == ["250"] * (len(answers) - 1) + ["354"], answers
        client.writer.write(f"Subject: asked\r\n\r\n{text}\r\n.\r\n".encode())
        return [await client.reply() for _ in (recipients if address.is_lmtp else recipients[:1])]


def is_queue_empty(folder: Path) -> bool:
    index = QueueIndex(folder / "queue")
    try:
        return not list(index.listing())
    finally:
        index.close()


async def settled(folder: Path, count: int) -> list[bytes]:
    """The mail in our Maildir, as soon as there are so many and nothing is left to be sent."""
    async with asyncio.timeout(30):
        while len(mails(folder)) < count or not is_queue_empty(folder):
            await asyncio.sleep(0.05)
    return mails(folder)


def reported(notice: bytes) -> dict[str, str]:
    """Final recipient -> action."""
    message = message_from_bytes(notice)
    assert message.get_content_type() == "multipart/report"
    blocks = [part for part in message.walk() if part["Final-Recipient"]]
    return {block["Final-Recipient"].partition("; ")[2]: block["Action"] for block in blocks}


def test_a_bounce_reaches_a_sender_who_lives_here(tmp_path: Path) -> None:
    async def scene() -> None:
        async with two_servers(tmp_path) as address:
            assert (await send(address, "alice@example.org", "eve@far.example", "nobody@far.example"))[0][:3] == "250"
            relayed, bounce = sorted(await settled(tmp_path, 2), key=lambda notice: b"not be delivered" in notice)
            assert reported(bounce) == {"nobody@far.example": "failed"}
            assert reported(relayed) == {"eve@far.example": "relayed"}, "the far server sends no such notice itself"
            assert bounce.startswith(b"Return-Path: <>\r\nReceived: from example.org\r\n")
            assert b"Original-Envelope-Id: e1\r\n" in bounce
            assert b"\r\nRemote-MTA: dns; [127.0.0.1]\r\n" in bounce, "a name, and not where and how it is called"
            assert b"\r\n    [127.0.0.1] said: 550 5.1.1 No such mailbox here\r\n" in bounce
            assert b"\r\nSubject: asked\r\n\r\nhello\r\n" in bounce, "RET=FULL"
            assert len(mails(tmp_path / "far")) == 1

    asyncio.run(scene())


async def bounced(folder: Path, far: Address) -> str:
    """The bounce of a message to a host that is tried once."""
    once = Smarthost(address=far, schedule=RetrySchedule(give_up_after=0))
    async with serving(folder, "tcp", policy=OURS, smarthost=once, queue=folder / "queue") as address:
        assert (await send(address, "alice@example.org", "eve@far.example"))[0][:3] == "250"
        (bounce,) = await settled(folder, 1)
        assert reported(bounce) == {"eve@far.example": "failed"}
        return bounce.decode().replace("\r\n", "\n")


def test_a_bounce_tells_what_we_found_from_what_the_next_host_said(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 far\r\n")
        await reader.readline()
        writer.close()

    async def scene() -> None:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listener:
            far = Address("tcp", "127.0.0.1", listener.sockets[0].getsockname()[1])
            cut_off = await bounced(tmp_path / "one", far)
        unreached = await bounced(tmp_path / "two", far)
        for bounce, words in ((cut_off, "451 4.4.2 The session ended"), (unreached, "4.4.1 ")):
            assert f"\n    We found, on the way to [127.0.0.1]: {words}" in bounce
            assert f"\nDiagnostic-Code: x-rudp-smtp; {words}" in bounce
            assert " said: " not in bounce
            assert "\nRemote-MTA: " not in bounce

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    asyncio.run(scene())


@pytest.mark.parametrize("refused", ["554 5.3.2 no service", "421 4.3.2 not now"])
def test_a_bounce_says_who_refused_service(tmp_path: Path, refused: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{refused}\r\n".encode())
        await reader.readline()
        writer.write(b"221 bye\r\n")
        writer.close()

    async def scene() -> None:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listener:
            bounce = await bounced(tmp_path, Address("tcp", "127.0.0.1", listener.sockets[0].getsockname()[1]))
            assert f"\n    [127.0.0.1] said: {refused}\n" in bounce
            assert f"\nDiagnostic-Code: smtp; {refused}\n" in bounce
            assert "\nStatus: 4.4.7\nRemote-MTA: dns; [127.0.0.1]\n" in bounce

    asyncio.run(scene())


def test_a_bounce_to_a_sender_who_does_not_exist_is_the_end_of_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with two_servers(tmp_path) as address:
            await send(address, "forged@example.org", "nobody@far.example")
            assert await settled(tmp_path, 0) == []

    asyncio.run(scene())


@pytest.mark.parametrize("sender", ["alice@example.org", ""])
def test_a_delivery_into_our_own_mailbox_is_reported_if_somebody_asked(tmp_path: Path, sender: str) -> None:
    async def scene() -> None:
        async with two_servers(tmp_path) as address:
            long = "x" * 900 + "\r\n"
            await send(address, sender, "bob@example.org", text=long * 400)  # over what is held in memory
            found = await settled(tmp_path, 2 if sender else 1)
            assert len(found) == (2 if sender else 1)
            notices = [mail for mail in found if mail.startswith(b"Return-Path: <>\r\nReceived: from example.org")]
            assert [reported(notice) for notice in notices] == ([{"bob@example.org": "delivered"}] if sender else [])
            assert all(b"\r\nSubject: asked\r\n" in notice and b"xxx" not in notice for notice in notices)

    asyncio.run(scene())


def test_who_could_send_no_notice_offers_none(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path, "tcp") as address, talk(address) as client:
            await client.reply()
            assert (await client.say("HELO c", "MAIL FROM:<a@b.example> RET=HDRS"))[1].startswith("555")
            client.writer.write(b"EHLO c\r\nQUIT\r\n")
            assert "-DSN" not in await client.rest()

    asyncio.run(scene())


def test_over_lmtp_each_recipient_has_its_own_answer(tmp_path: Path) -> None:
    async def scene() -> None:
        async with two_servers(tmp_path, "lmtp") as address:
            paths = ("eve@far.example", "bob@example.org", "eve@far.example", "alice@example.org")
            answers = await send(address, "", *paths)
            assert answers == ["250 2.0.0 Queued as 1", "250 2.0.0 Delivered"] * 2
            await settled(tmp_path, 1)
            shutil.rmtree(tmp_path / "queue" / "tmp")
            (tmp_path / "queue" / "tmp").touch()
            assert [answer[:9] for answer in await send(address, "", *paths[:2])] == ["451 4.3.0", "250 2.0.0"]
            assert len(mails(tmp_path)) == 2

    asyncio.run(scene())
