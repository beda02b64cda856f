"""Relaying: the queue's messages on their way to the next host, one for all that is not for people who live here.

Decisions are `mail.relay`'s; here are the loop, the sessions and the clock. Everything that touches the queue runs in a
thread of its own, one call at a time; what an attempt came to is noted before anybody asks who is due.
"""

import asyncio
import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
from rudp_smtp.service.home import HERE, Home
from rudp_smtp.service.office import Policy
from rudp_smtp.service.sending import Sending, Sent, send
from rudp_smtp.smtp import ClientTls, DeliveryReport, Envelope, Login, MailSource, TlsUse
from rudp_smtp.transport import TransportPlugin
from rudp_smtp.units import SECOND

LOOK_AGAIN = 60 * SECOND  # an operator may have asked for a retry in another process
DISK_RETRY = 5.0  # seconds
SESSIONS_PER_HOP = 5
MESSAGES_PER_SESSION = 20  # so that one that breaks off holds up few

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Smarthost:
    """Where everything goes, and how we are known there."""

    address: Address
    tls: ClientTls | None = None
    login: Login | None = None
    transport: TransportPlugin | None = None
    schedule: RetrySchedule = field(default_factory=RetrySchedule)

    def ways(self, domain: str) -> list[Sending]:
        """How to call it: as the operator says. What follows is for mail whose header says TLS-Required: No, one after
        the other for as long as TLS fails (RFC 8689 section 4.2.2): with whoever it is, and in the clear. It never
        costs the password."""
        tls = self.tls
        ways = [Sending(address=self.address, domain=domain, tls=tls, login=self.login, transport=self.transport)]
        if tls is not None:
            login = self.login.discreet() if self.login is not None else None
            if tls.is_verifying or tls.use is TlsUse.REQUIRED:
                ways.append(replace(ways[0], tls=tls.relaxed(), login=login))
            if tls.use is not TlsUse.IMPLICIT:
                ways.append(replace(ways[0], tls=None, login=login))
        return ways


class Relaying:
    """Owns the loop, its sessions and their attempts.

    `turn` is held by whoever uses the queue: it has one transaction at a time.
    """

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
        self._notifier = Notifier(
            queue,
            self._relay,
            domain=policy.domain,
            token=lambda: secrets.token_hex(12),
            host_of=lambda hop: "" if hop == HERE else smarthost.address.domain,
        )
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="relay")
        self._wanted = asyncio.Event()
        self._books = asyncio.Lock()  # what the queue says and what the relay believes agree
        self._waiting: dict[str, deque[Attempt]] = {}  # for a session, by next hop
        self._sessions: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()  # one for each
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """Something was queued, or an attempt has ended."""
        self._wanted.set()

    async def close(self) -> None:
        """Stop; what is under way is tried again after the next start, under the same key."""
        for waiting in self._waiting.values():
            waiting.clear()
        tasks = [*([self._loop] if self._loop else []), *self._tasks]
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
            if self._tasks and wait == 0:
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
            self._waiting.setdefault(attempt.hop, deque()).append(attempt)
        for hop in list(self._waiting):
            self._open_sessions(hop)

    def _open_sessions(self, hop: str) -> None:
        """Those who wait share the sessions that may still be opened: when there are many, each carries several."""
        waiting = self._waiting[hop]
        while waiting and self._sessions[hop] < SESSIONS_PER_HOP:
            free = SESSIONS_PER_HOP - self._sessions[hop]
            size = min(-(-len(waiting) // free), MESSAGES_PER_SESSION)
            self._sessions[hop] += 1
            task = asyncio.get_running_loop().create_task(self._hold(hop, [waiting.popleft() for _ in range(size)]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _hold(self, hop: str, attempts: Sequence[Attempt]) -> None:
        """One session, from beginning to end."""
        try:
            if hop == HERE:
                for attempt in attempts:
                    await self._deliver(attempt)
            else:
                await self._carry(attempts, self._smarthost.ways(self._domain))
        finally:
            self._sessions[hop] -= 1
            self._open_sessions(hop)
            self.wake()

    async def _carry(self, attempts: Sequence[Attempt], ways: Sequence[Sending]) -> None:
        """Send these messages one behind the other, and note of each what became of it as soon as it is known.

        All go the first way; for want of TLS, those that can do without it go the next.
        """
        way, *others = ways
        pending: dict[int, Attempt] = {}
        without_tls: list[Attempt] = []
        messages: list[tuple[Envelope, MailSource | None]] = []
        for attempt in attempts:
            mail = await self._mail(attempt)
            if mail is not None:
                pending[len(messages)] = attempt
                body = partial(self._queue.index.body, attempt.message_id)
                messages.append((self._envelope(attempt, mail), MailSource(body, mail.octets)))

        async def on_report(sent: Sent, report: DeliveryReport) -> None:
            attempt = pending.pop(report.token)
            if others and report.lacks_tls and attempt.is_tls_optional:
                self._notice(f"without TLS that holds, as it asks: message {attempt.message_id}: {report.reply}")
                without_tls.append(attempt)
                return
            success = None if "DSN" in sent.extensions else Action.RELAYED
            await self._note(attempt, report, success)

        try:
            if messages:
                await send(way, messages, on_report)
        except MailboxError as error:
            if len(messages) == 1:
                await self._put_off(pending[0], error)
            else:
                for attempt in pending.values():  # one of them cannot be read: let it not stand in the others' way
                    await self._carry([attempt], ways)
        except DriverError as error:
            for attempt in pending.values():
                await self._put_off(attempt, error)
        if without_tls:
            await self._carry(without_tls, others)

    async def _deliver(self, attempt: Attempt) -> None:
        home, mail = self._home, await self._mail(attempt)
        assert home is not None, "nothing else is routed here"
        if mail is None:
            return
        envelope = self._envelope(attempt, mail)
        try:
            draft = await self._on_disk(lambda: home.begin(envelope, self._queue.index.body(attempt.message_id)))
        except MailboxError as error:
            await self._put_off(attempt, error)
        else:
            await self._note(attempt, await home.deliver(draft, envelope), Action.DELIVERED)

    async def _mail(self, attempt: Attempt) -> QueuedMail | None:
        """What the attempt is about; None if that is no more there, or cannot be read, which is noted here."""
        try:
            mail = await self._on_disk(lambda: self._queue.index.mail(attempt.message_id))
        except MailboxError as error:
            await self._put_off(attempt, error)
            return None
        if mail is None:
            self._relay.on_gone(attempt)
        return mail

    def _envelope(self, attempt: Attempt, mail: QueuedMail) -> Envelope:
        paths = [recipient.forward_path for recipient in attempt.recipients]
        return envelope_of(mail, paths, key=self._queue.relay_key(attempt.message_id))

    async def _note(self, attempt: Attempt, report: DeliveryReport, success: Action | None) -> None:
        async with self._books:
            self._tell(attempt.message_id, report)
            await self._settle(self._relay.on_report(attempt, report, self._clock(), success=success))

    async def _put_off(self, attempt: Attempt, error: DriverError | MailboxError) -> None:
        async with self._books:
            self._notice(f"put off: message {attempt.message_id}: {error}")
            now = self._clock()
            if isinstance(error, MailboxError):
                fates = self._relay.on_unreadable(attempt, f"4.3.0 {error}", now)
            else:
                fates = self._relay.on_unreachable(attempt, f"4.4.1 {error}", now)
            await self._settle(fates)

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
