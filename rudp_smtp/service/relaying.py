"""Relaying: the queue's messages on their way to the next host, one host for all (a smarthost, or the far gateway).

Decisions are `mail.relay`'s; here are the loop, the sessions and the clock. Everything that touches the disk runs in a
thread of its own, one call at a time.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import DriverError, MailboxError
from rudp_smtp.mail.dsn import Action
from rudp_smtp.mail.notices import Notifier
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.queued import QueuedMail
from rudp_smtp.mail.relay import Attempt, Fate, Relay, RetrySchedule
from rudp_smtp.mail.transit import envelope_of
from rudp_smtp.service.addresses import Address
from rudp_smtp.service.sending import Sending, send
from rudp_smtp.smtp import ClientTls, DeliveryReport, Login, MailSource
from rudp_smtp.transport import TransportPlugin
from rudp_smtp.units import SECOND

LOOK_AGAIN = 60 * SECOND  # an operator may have asked for a retry in another process
DISK_RETRY = 5.0  # seconds

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Smarthost:
    """Where everything goes, and how we are known there."""

    address: Address
    tls: ClientTls | None = None
    login: Login | None = None
    transport: TransportPlugin | None = None
    schedule: RetrySchedule = field(default_factory=RetrySchedule)


class Relaying:
    """Owns the loop and its attempts."""

    def __init__(
        self,
        queue: Queue,
        smarthost: Smarthost,
        *,
        domain: str,
        clock: Callable[[], int],
        notice: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._smarthost = smarthost
        self._domain = domain
        self._clock = clock
        self._notice = notice
        draws = DrawKey(secrets.randbits(63), "relay")
        self._relay = Relay(route=lambda path: str(smarthost.address), draws=draws, schedule=smarthost.schedule)
        self._notifier = Notifier(queue, self._relay, domain=domain, token=lambda: secrets.token_hex(12))
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="relay")
        self._wanted = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """Something was queued, or an attempt has ended."""
        self._wanted.set()

    async def close(self) -> None:
        """Stop; what is under way is tried again after the next start, under the same key."""
        for task in [*self._attempts, *([self._loop] if self._loop else [])]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._disk.shutdown()

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            now = self._clock()
            due = await self._on_disk(partial(self._queue.index.due, now))
            plan = self._relay.plan(due, now)
            if plan.fates:
                await self._settle(plan.fates)
            for attempt in plan.attempts:
                task = asyncio.get_running_loop().create_task(self._try(attempt))
                self._attempts.add(task)
                task.add_done_callback(self._attempts.discard)
            following = await self._on_disk(self._queue.index.next_due)
            wait = LOOK_AGAIN if following is None else min(max(following - self._clock(), 0), LOOK_AGAIN)
            if self._attempts and wait == 0:
                wait = LOOK_AGAIN  # they are under way, and each end wakes us
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), wait / SECOND)

    async def _try(self, attempt: Attempt) -> None:
        try:
            mail = await self._on_disk(lambda: self._queue.index.mail(attempt.message_id))
            if mail is None:
                fates: Sequence[Fate] = self._relay.on_unreachable(attempt, "the message is gone", self._clock())
            else:
                fates = await self._send(attempt, mail)
            await self._settle(fates)
        finally:
            self.wake()

    async def _send(self, attempt: Attempt, mail: QueuedMail) -> Sequence[Fate]:
        paths = [recipient.forward_path for recipient in attempt.recipients]
        envelope = envelope_of(mail, paths, key=self._queue.relay_key(mail.message_id))
        source = MailSource(lambda: self._queue.index.body(mail.message_id), mail.octets)
        host = self._smarthost
        try:
            sent = await send(
                Sending(
                    address=host.address,
                    domain=self._domain,
                    tls=host.tls,
                    login=host.login,
                    transport=host.transport,
                ),
                [(envelope, source)],
            )
        except DriverError as error:
            self._notice(f"put off: message {mail.message_id}: {error}")
            return self._relay.on_unreachable(attempt, f"4.4.1 {error}", self._clock())
        (report,) = sent.reports
        self._tell(mail, report)
        success = None if "DSN" in sent.extensions else Action.RELAYED
        return self._relay.on_report(attempt, report, self._clock(), success=success)

    def _tell(self, mail: QueuedMail, report: DeliveryReport) -> None:
        if report.accepted:
            self._notice(f"relayed: message {mail.message_id} to {', '.join(report.accepted)}: {report.reply}")
        for path, reply in report.refused:
            self._notice(f"not relayed: message {mail.message_id} to {path}: {reply}")

    async def _settle(self, fates: Sequence[Fate]) -> None:
        """Note it; a disk that does not take it now is asked again, or the message would be sent twice."""
        while True:
            try:
                return await self._on_disk(lambda: self._notifier.settle(fates, self._clock()))
            except MailboxError as error:
                self._notice(f"cannot note what was relayed: {error}")
                await asyncio.sleep(DISK_RETRY)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)
