"""MailServer: an office, its listeners and their sessions, from the start to an orderly end."""

import asyncio
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from rudp_smtp.drivers.aio import client_at
from rudp_smtp.drivers.sessions import Patience, React, Session, SessionProtocol, Work, new_buffer
from rudp_smtp.drivers.sockets import Endpoint
from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.maildir import Maildir
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.queued import Submission
from rudp_smtp.mail.spool import Draft, Receipt
from rudp_smtp.service.addresses import Address, host_and_port
from rudp_smtp.service.attending import Attendant
from rudp_smtp.service.clients import ClientLimits, Clients, Visit, connection_limits
from rudp_smtp.service.commits import GroupCommit
from rudp_smtp.service.desk import Desk
from rudp_smtp.service.home import Home
from rudp_smtp.service.office import Office, Policy
from rudp_smtp.service.passed import PassedOn
from rudp_smtp.service.passing import PassingDesk
from rudp_smtp.service.relaying import Relaying, Smarthost
from rudp_smtp.service.storybook import StoryBook
from rudp_smtp.service.streams import Listener, listen
from rudp_smtp.smtp import Authentication, Extensions, Limits, Reply, Server, ServerTls, Watch
from rudp_smtp.smtp.header import HEADER_OCTETS
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TransportPlugin, TransportStats
from rudp_smtp.units import SECOND

RECIPIENTS_MAX = 100
HELD_OCTETS = HEADER_OCTETS  # of a message in memory: its header; what is larger goes to the disk as it comes
TURN_AWAY = Patience(idle=5 * SECOND)  # who does not take our word by then is cut off: it has no place here
UNKNOWN = ("unknown", 0)
SHUTDOWN_SECONDS = 5.0  # for sessions to finish the message they are at
EXTENSIONS = Extensions(
    is_chunking=True, is_smtputf8=True, is_dsn=True, is_limits=True, is_requiretls=True, is_idempotent=True
)


ClientBehind = Callable[[Endpoint], Endpoint | None]  # a peer that only relays -> whom it relays for, if it knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator says."""

    policy: Policy
    maildir: Path | None = None
    tls: ServerTls | None = None
    authentication: Authentication | None = None
    size_limit: int = 32 << 20
    smarthost: Smarthost | None = None
    queue: Path | None = None
    patience: Patience = field(default_factory=Patience)
    client_limits: ClientLimits = field(default_factory=ClientLimits)
    notice: Callable[[str], None] = print
    watch: Callable[[str], Watch] | None = None  # of the session with a client


class LastWord:
    """A session of one reply, which is all there is to say to whom there is no place for."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    @property
    def done(self) -> bool:
        return True

    @property
    def has_events(self) -> bool:
        return False

    def receive_data(self, data: bytes | memoryview) -> None:
        """Nobody listens."""

    def receive_eof(self) -> None: ...

    def data_to_send(self) -> bytes:
        octets, self._octets = self._octets, b""
        return octets


class MailServer:
    """Use as an asynchronous context; `listen` inside. `unique` and `identity`: texts that nobody else has."""

    def __init__(
        self, settings: Settings, *, clock: Callable[[], int], unique: Callable[[], str], identity: str
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._unique = unique
        self._identity = identity
        self._stack = AsyncExitStack()
        self._listeners: list[Listener] = []
        self._closing = asyncio.Event()
        self._passed = PassedOn()
        self._sessions: dict[SessionProtocol, Server] = {}
        loop = asyncio.get_running_loop()
        self._clients = Clients(settings.client_limits, lambda: int(loop.time() * SECOND))
        self._office: Office | None = None

    async def __aenter__(self) -> "MailServer":
        """Open the store: raises MailboxError where that cannot be."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            office = Office(policy=settings.policy, clock=self._clock, notice=settings.notice)
            if settings.maildir is not None:
                office = self._with_maildir(office, settings.maildir, stack)
            if settings.queue is not None and settings.smarthost is not None:
                office = await self._with_queue(office, settings.queue, settings.smarthost, stack)
            self._office = office
            stack.push_async_callback(self._hang_up)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def listen(
        self,
        address: Address,
        *,
        transport: TransportPlugin | None = None,
        sink: Sink | None = None,
        client_behind: ClientBehind = lambda peer: None,
    ) -> Address:
        """Take sessions there; the address with the port that it has. Raises DriverError."""

        buffer = new_buffer()

        def begin(protocol: SessionProtocol) -> tuple[Session, React, Patience]:
            peer = (protocol.transport.get_extra_info("peername") or UNKNOWN)[:2]
            return self._begin(address, client_behind(peer) or peer, protocol)

        def client_of(peer: Hashable) -> str:
            assert isinstance(peer, tuple)
            return client_at(client_behind(peer[:2]) or peer)

        listener, bound = await listen(
            address,
            lambda: SessionProtocol(begin, buffer),
            transport=transport,
            sink=sink,
            limits=connection_limits(self._settings.client_limits),
            client_of=client_of,
        )
        self._listeners.append(listener)
        return bound

    def _with_maildir(self, office: Office, path: Path, stack: AsyncExitStack) -> Office:
        maildir = Maildir(path, domain=office.policy.domain, unique=self._unique)
        stack.callback(maildir.close)
        maildir.clean(self._clock())
        deliveries = GroupCommit(maildir.commit, self._clock, "deliveries")
        stack.push_async_callback(deliveries.close)
        return replace(office, maildir=maildir, stories=StoryBook(path), deliveries=deliveries)

    async def _with_queue(self, office: Office, path: Path, smarthost: Smarthost, stack: AsyncExitStack) -> Office:
        queue = Queue(path, identity=self._identity)
        stack.callback(queue.close)
        turn = threading.Lock()

        def commit(drafts: Sequence[Draft[Submission]], now: int) -> list[Receipt | MailboxError]:
            with turn:
                return queue.commit(drafts, now)

        submissions = GroupCommit(commit, self._clock, "submissions")
        stack.push_async_callback(submissions.close)
        home = None
        if office.maildir is not None and office.deliveries is not None:
            home = Home(office.policy, office.maildir, office.deliveries, self._clock)
        relaying = Relaying(
            queue,
            smarthost,
            policy=office.policy,
            home=home,
            turn=turn,
            clock=self._clock,
            notice=office.notice,
        )
        stack.push_async_callback(relaying.close)
        relaying.start()
        return replace(office, queue=queue, submissions=submissions, on_queued=relaying.wake)

    @property
    def _is_passing(self) -> bool:
        """Each message is answered when the next host has answered, so it can have one recipient only: SMTP has one
        answer. The client sends the others in further transactions (RFC 5321 section 4.5.3.1.10, RFC 9422)."""
        return self._settings.smarthost is not None and self._settings.queue is None

    # Sessions

    def _begin(self, address: Address, client: Endpoint, protocol: SessionProtocol) -> tuple[Session, React, Patience]:
        visit = self._clients.admit(client[0])
        if isinstance(visit, Reply):  # said where it needs no TLS
            return LastWord(b"" if address.is_encrypted else visit.encode()), lambda: None, TURN_AWAY
        server = self._sessions[protocol] = self._server(address, visit, client[0])
        if self._settings.watch is not None:
            server.tell(self._settings.watch(host_and_port(client)))
        desk = self._desk(server, visit, protocol.transport, client)
        attendant = Attendant(server, desk)

        def react() -> Work | None:
            wait = visit.wait_after(server.authentication_failures)
            return self._react_after(wait, attendant) if wait else attendant.react()

        def leave(over: asyncio.Future[None]) -> None:
            del self._sessions[protocol]
            desk.abandon()
            visit.leave()
            self._report(over)

        protocol.over.add_done_callback(leave)
        return server, react, self._settings.patience

    async def _react_after(self, wait: int, attendant: Attendant) -> None:
        """Let a session wait, which counts meanwhile, hung up or not."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), wait / SECOND)
        work = attendant.react()
        if work is not None:
            await work

    @staticmethod
    def _report(over: asyncio.Future[None]) -> None:
        """The error that ended this session, and no other one, if it was one."""
        if not over.cancelled() and (error := over.exception()) is not None:
            over.get_loop().call_exception_handler({"message": "a session failed", "exception": error})

    def _desk(
        self, server: Server, visit: Visit, transport: asyncio.BaseTransport, client: Endpoint
    ) -> Desk | PassingDesk:
        assert self._office is not None
        if self._is_passing:
            assert self._settings.smarthost is not None
            return PassingDesk(server, visit, self._settings.smarthost, self._office, self._passed)

        def stats() -> TransportStats | None:
            told = transport.get_extra_info("rudp_stats")
            return told if isinstance(told, TransportStats) else None

        return Desk(self._office, server, visit, client=client, stats=stats)

    def _server(self, address: Address, visit: Visit, client_address: str) -> Server:
        settings = self._settings
        tls = settings.tls
        if tls is not None:
            tls = replace(tls, is_implicit=address.is_encrypted)
        server = Server(
            domain=settings.policy.domain,
            limits=Limits(
                message_octets=settings.size_limit,
                held_octets=HELD_OCTETS,
                recipients=1 if self._is_passing else RECIPIENTS_MAX,
            ),
            accepts=lambda path: self._refusal(server, path) or visit.refuse_recipient(),
            # RFC 3461 section 5: who offers DSN sends the notices, for which there has to be a queue, or hands them on.
            extensions=replace(EXTENSIONS, is_dsn=settings.smarthost is not None),
            tls=tls,
            authentication=settings.authentication,
            is_lmtp=address.is_lmtp,
            client_address=client_address,
        )
        return server

    def _refusal(self, server: Server, forward_path: str) -> Reply | None:
        return self._settings.policy.refuse(forward_path, is_trusted=bool(server.peer.authenticated_as))

    async def _hang_up(self) -> None:
        """Take no more sessions, and let those that are at a message finish it."""
        self._closing.set()
        for listener in self._listeners:
            listener.close()
        for protocol, server in list(self._sessions.items()):
            server.shut_down()
            protocol.wake()
        if self._sessions:
            await asyncio.wait([protocol.over for protocol in self._sessions], timeout=SHUTDOWN_SECONDS)
        for protocol in list(self._sessions):
            await protocol.abandon()
