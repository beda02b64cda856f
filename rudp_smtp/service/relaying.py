"""Relaying: the queue's messages on their way to the next host, one for all that is not for people who live here.

Decisions are `mail.relay`'s; here are the loop, the sessions and the clock. Everything that touches the queue runs in a
thread of its own, one call at a time; what an attempt came to is noted before anybody asks who is due.
"""

import asyncio
import secrets
import threading
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
from rudp_smtp.mail.relay import Attempt, Fate, Relay, RetrySchedule
from rudp_smtp.mail.transit import envelope_of
from rudp_smtp.service.addresses import Address
from rudp_smtp.service.home import HERE, Home
from rudp_smtp.service.office import Policy
from rudp_smtp.service.sending import Sending, Sent, send
from rudp_smtp.smtp import ClientTls, DeliveryReport, Envelope, Login, MailSource
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
    """Owns the loop and its attempts. `turn` is held by whoever uses the queue: it has one transaction at a time."""

    def __init__(
        self,
        queue: Queue,
        smarthost: Smarthost,
        *,
        policy: Policy,
        home: Home | None,
        turn: threading.Lock,
        clock: Callable[[], int],
        notice: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._turn = turn
        self._smarthost = smarthost
        self._domain = policy.domain
        self._home = home
        self._clock = clock
        self._notice = notice
        draws = DrawKey(secrets.randbits(63), "relay")

        def route(path: str) -> str:
            return HERE if home is not None and policy.is_local(path) else str(smarthost.address)

        self._relay = Relay(route=route, draws=draws, schedule=smarthost.schedule)
        self._notifier = Notifier(queue, self._relay, domain=policy.domain, token=lambda: secrets.token_hex(12))
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="relay")
        self._wanted = asyncio.Event()
        self._books = asyncio.Lock()  # what the queue says and what the relay believes agree
        self._attempts: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """Something was queued, or an attempt has ended."""
        self._wanted.set()

    async def close(self) -> None:
        """Stop; what is under way is tried again after the next start, under the same key."""
        tasks = [*([self._loop] if self._loop else []), *self._attempts]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._disk.shutdown()

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            try:
                await self._begin_attempts()
                following = await self._on_disk(self._queue.index.next_due)
            except MailboxError as error:
                self._notice(f"cannot read the queue: {error}")
                await asyncio.sleep(DISK_RETRY)
                continue
            wait = LOOK_AGAIN if following is None else min(max(following - self._clock(), 0), LOOK_AGAIN)
            if self._attempts and wait == 0:
                wait = LOOK_AGAIN  # they are under way, and each end wakes us
            with suppress(TimeoutError):
                # wait_for would lose the cancellation if an attempt that ends wakes us in the same turn (Python 3.11).
                async with asyncio.timeout(wait / SECOND):
                    await self._wanted.wait()

    async def _begin_attempts(self) -> None:
        """Try those who are due, as far as the limits go."""
        async with self._books:
            now = self._clock()
            due = await self._on_disk(partial(self._queue.index.due, now))
            plan = self._relay.plan(due, now)
            if plan.fates:
                await self._settle(plan.fates)
        for attempt in plan.attempts:
            task = asyncio.get_running_loop().create_task(self._try(attempt))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    async def _try(self, attempt: Attempt) -> None:
        try:
            sent = await self._send(attempt)
            if sent is None:
                self._relay.on_gone(attempt)
                return
            async with self._books:
                await self._settle(self._judge(attempt, sent))
        finally:
            self.wake()

    async def _send(self, attempt: Attempt) -> Sent | DriverError | MailboxError | None:
        """One session; what came of it, or why there was none. None: there is no such message any more."""
        message_id, host = attempt.message_id, self._smarthost
        sending = Sending(
            address=host.address, domain=self._domain, tls=host.tls, login=host.login, transport=host.transport
        )
        try:
            mail = await self._on_disk(lambda: self._queue.index.mail(message_id))
            if mail is None:
                return None
            paths = [recipient.forward_path for recipient in attempt.recipients]
            envelope = envelope_of(mail, paths, key=self._queue.relay_key(message_id))
            if attempt.hop == HERE:
                return Sent([await self._deliver(message_id, envelope)])
            source = MailSource(lambda: self._queue.index.body(message_id), mail.octets)
            return await send(sending, [(envelope, source)])
        except (DriverError, MailboxError) as error:
            return error

    async def _deliver(self, message_id: int, envelope: Envelope) -> DeliveryReport:
        home = self._home
        assert home is not None, "nothing else is routed here"
        draft = await self._on_disk(lambda: home.begin(envelope, self._queue.index.body(message_id)))
        return await home.deliver(draft, envelope)

    def _judge(self, attempt: Attempt, sent: Sent | DriverError | MailboxError) -> Sequence[Fate]:
        now = self._clock()
        if isinstance(sent, MailboxError):
            self._notice(f"put off: message {attempt.message_id}: {sent}")
            return self._relay.on_unreadable(attempt, f"4.3.0 {sent}", now)
        if isinstance(sent, DriverError):
            self._notice(f"put off: message {attempt.message_id}: {sent}")
            return self._relay.on_unreachable(attempt, f"4.4.1 {sent}", now)
        (report,) = sent.reports
        self._tell(attempt.message_id, report)
        success = None if "DSN" in sent.extensions else Action.RELAYED
        if attempt.hop == HERE:
            success = Action.DELIVERED
        return self._relay.on_report(attempt, report, now, success=success)

    def _tell(self, message_id: int, report: DeliveryReport) -> None:
        if report.accepted:
            self._notice(f"relayed: message {message_id} to {', '.join(report.accepted)}: {report.reply}")
        elif not report.refused:
            self._notice(f"put off: message {message_id}: {report.reply}")
        for path, reply in report.refused:
            self._notice(f"not relayed: message {message_id} to {path}: {reply}")

    async def _settle(self, fates: Sequence[Fate]) -> None:
        """Note it; a disk that does not take it now is asked again, or the message would be sent twice."""
        while True:
            try:
                return await self._on_disk(lambda: self._notifier.settle(fates, self._clock()))
            except MailboxError as error:
                self._notice(f"cannot note what was relayed: {error}")
                await asyncio.sleep(DISK_RETRY)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        def alone() -> T:
            with self._turn:
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._disk, alone)
