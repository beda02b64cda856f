"""What waits in the queue goes to the next host in few sessions, each message once, within the limits of that host."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rudp_smtp.drivers.sessions import React, Session, Work
from rudp_smtp.drivers.tcp import start_server
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.queue_index import QueueIndex
from rudp_smtp.mail.queued import Recipient, Submission
from rudp_smtp.service.addresses import Address
from rudp_smtp.service.office import Policy
from rudp_smtp.service.relaying import MESSAGES_PER_SESSION, SESSIONS_PER_HOP, Smarthost
from rudp_smtp.smtp import Authentication, Envelope, Extensions, Limits, MailReceived, Server, ServerTls
from tests.service.test_attacks import serving

GATEWAY = Policy(domain="ours.example", has_mailboxes=False, relays=True, relays_for_all=True)
EXTENSIONS = Extensions(is_limits=True, is_chunking=True)


class FarEnd:
    """A server that counts its sessions, and greets nobody before it is opened."""

    def __init__(
        self, mails: int | None = None, *, tls: ServerTls | None = None, authentication: Authentication | None = None
    ) -> None:
        self.sessions = 0
        self.arrived: list[bytes] = []
        self.envelopes: list[Envelope] = []
        self.is_open = asyncio.Event()
        self._limits = Limits(mails=mails)
        self._tls = tls
        self._authentication = authentication

    def answer(self) -> tuple[Session, React]:
        server = Server(
            domain="far.example",
            local_domains=("far.example",),
            limits=self._limits,
            extensions=EXTENSIONS,
            tls=self._tls,
            authentication=self._authentication,
        )
        self.sessions += 1

        def take() -> None:
            while (event := server.next_event()) is not None:
                if isinstance(event, MailReceived):
                    self.arrived.append(event.envelope.mail_data)
                    self.envelopes.append(event.envelope)
                    server.accept_mail()

        async def take_later() -> None:
            await self.is_open.wait()
            take()

        def react() -> Work | None:
            if not self.is_open.is_set():
                return take_later()
            take()
            return None

        return server, react


@asynccontextmanager
async def relaying(folder: Path, far: FarEnd) -> AsyncIterator[None]:
    """A gateway that has the queue that `fill` made, and this far end."""
    listener = await start_server(far.answer, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    smarthost = Smarthost(address=Address("tcp", "127.0.0.1", port))
    async with serving(folder, "tcp", policy=GATEWAY, maildir=None, smarthost=smarthost, queue=folder / "queue"):
        try:
            yield
        finally:
            listener.close()


def fill(folder: Path, count: int) -> list[bytes]:
    queue = Queue(folder / "queue", identity="filled")
    texts = [b"Subject: number %d\r\n\r\nhello\r\n" % number for number in range(count)]
    for text in texts:
        draft = queue.begin(Submission(reverse_path="a@b.example", recipients=(Recipient("u@far.example"),)))
        draft.write(text)
        queue.commit([draft], time.time_ns())
    queue.close()
    return texts


async def until_left(folder: Path, count: int) -> None:
    index = QueueIndex(folder / "queue")
    try:
        async with asyncio.timeout(30):
            while len(list(index.listing())) > count:
                await asyncio.sleep(0.02)
    finally:
        index.close()


@pytest.mark.parametrize("count", [1, 4, 40, 2 * SESSIONS_PER_HOP * MESSAGES_PER_SESSION])
def test_many_messages_share_few_sessions(tmp_path: Path, count: int) -> None:
    async def scene() -> None:
        texts, far = fill(tmp_path, count), FarEnd()
        far.is_open.set()
        async with relaying(tmp_path, far):
            await until_left(tmp_path, 0)
        assert sorted(far.arrived) == sorted(texts)
        rounds = -(-count // (SESSIONS_PER_HOP * MESSAGES_PER_SESSION))
        assert far.sessions <= min(count, SESSIONS_PER_HOP * (rounds + 1))

    asyncio.run(scene())


def test_what_is_over_a_limit_of_messages_goes_in_the_next_session_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        texts, far = fill(tmp_path, 40), FarEnd(mails=3)
        far.is_open.set()
        async with relaying(tmp_path, far):
            await until_left(tmp_path, 0)
        assert sorted(far.arrived) == sorted(texts)

    asyncio.run(scene())


def test_a_message_that_cannot_be_read_does_not_keep_the_others(tmp_path: Path) -> None:
    async def scene() -> None:
        texts, far = fill(tmp_path, 40), FarEnd()
        async with relaying(tmp_path, far):
            while not far.sessions:
                await asyncio.sleep(0.01)
            names = sorted((tmp_path / "queue" / "bodies").iterdir(), key=lambda path: int(path.name.split("-")[1]))
            names[11].unlink()
            far.is_open.set()
            await until_left(tmp_path, 1)
        assert sorted(set(far.arrived)) == sorted(set(texts) - {texts[11]})

    asyncio.run(scene())
