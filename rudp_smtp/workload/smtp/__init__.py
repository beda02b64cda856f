"""Mail: N messages over S sessions, a stream for each, from hand-over to the mailbox (RFC 5321).

`sender` is the client host, `receiver` the server host. What the mailbox got is compared octet for octet with what had
to be sent.
"""

from dataclasses import dataclass, field
from typing import Annotated

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.mail.corpus import load_corpus
from rudp_smtp.mail.generator import RECIPIENTS_MAX, generate_message
from rudp_smtp.mail.mailbox import MemoryMailbox
from rudp_smtp.mail.message import Message, Refused, prepare
from rudp_smtp.mail.size import MESSAGE_SIZES
from rudp_smtp.registry import UNSAID, Spec, nearest
from rudp_smtp.smtp import Envelope
from rudp_smtp.smtp.tls import ClientTls, ServerTls
from rudp_smtp.transport import Address, Endpoint
from rudp_smtp.units import Duration
from rudp_smtp.workload import SERVER, WORKLOADS, Delivery, Stage, Workload, WorkloadReport
from rudp_smtp.workload.node import WorkloadNode, check_multiplex
from rudp_smtp.workload.smtp.conversation import Lines
from rudp_smtp.workload.smtp.encryption import check_tls, encrypt
from rudp_smtp.workload.smtp.mail import Mail
from rudp_smtp.workload.smtp.receiver import MailReceiver, match_copies
from rudp_smtp.workload.smtp.relay import RelayQueue, follow_copies
from rudp_smtp.workload.smtp.sender import MailSender, Manners, Session

MESSAGES_GENERATED = 20
MESSAGES_MAX = 1_000_000  # of one run: they are all made before it starts
SESSIONS_MAX = 1 << 16
HOPS_MAX = 30  # RFC 5321 section 6.3 has loops found behind a hundred; here each costs two hosts and two links
CONNECT = ("persistent", "per_message")
SIZE_GENERATED = Spec("constant", (("size", 16 << 10),))


@dataclass(slots=True)
class SmtpStage(Stage):
    mailbox: MemoryMailbox  # the last hop's
    queues: list[RelayQueue]  # of the servers before it
    rows: list[Delivery]  # of every message, the refused ones too
    mails: list[Mail]  # of those that were sent
    started_at: int


@WORKLOADS.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Smtp(Workload):
    """`messages`: how many; of a corpus all if not said, and from its beginning again if there are fewer.

    `size` and `recipients` (null: mostly one) are of generated messages, and mean nothing beside a corpus, whose
    messages have their own. Message k is handed over at k times `interval`, to session k modulo `sessions`.

    `multiplex: connection` gives each session a connection, `stream` a stream of one that all share. `connect:
    per_message` takes a new connection for each of a session's messages, as soon as the one before is closed.

    `early_ehlo` says EHLO without waiting for the greeting, marked as safe to be played again: a transport that can
    resume carries it in its first flight to a server it knows (`transport.resumption`), which saves a round trip. All
    else waits for the server's answer, always.

    `tls` encrypts every session: `starttls` after a first EHLO in the clear (RFC 3207), `implicit` from the first octet
    (RFC 8314). The handshake's round trips and the records' octets are those of TLS 1.3.

    `chunking` has servers offer CHUNKING, and so clients send mail as BDAT chunks (RFC 3030), with no turn for DATA.

    With several `hops` each server but the last is a relay: it holds what it answers 250 for and sends it on, over a
    path like the first. A message is delivered when the last mailbox has it; the final reply is the first hop's.
    """

    messages: int | None = None
    size: Annotated[Spec, MESSAGE_SIZES] = SIZE_GENERATED
    recipients: int | None = None
    corpus: str | None = None
    sessions: int = 1
    multiplex: str = "connection"
    connect: str = "persistent"
    pipelining: bool = True
    early_ehlo: bool = False
    interval: Duration = 0
    tls: str = field(default="none", metadata=UNSAID)
    hops: int = field(default=1, metadata=UNSAID)
    chunking: bool = field(default=False, metadata=UNSAID)

    @staticmethod
    def check(
        *,
        messages: int | None = None,
        recipients: int | None = None,
        sessions: int = 1,
        multiplex: str = "connection",
        connect: str = "persistent",
        tls: str = "none",
        hops: int = 1,
        **_: object,
    ) -> None:
        if messages is not None and not 1 <= messages <= MESSAGES_MAX:
            raise ConfigError(f"{messages} messages; expected at least 1 and at most {MESSAGES_MAX}", key="messages")
        if recipients is not None and not 1 <= recipients <= RECIPIENTS_MAX:
            raise ConfigError(f"{recipients} recipients; expected 1 to {RECIPIENTS_MAX}", key="recipients")
        if not 1 <= sessions <= SESSIONS_MAX:
            raise ConfigError(f"{sessions} sessions; expected at least 1 and at most {SESSIONS_MAX}", key="sessions")
        check_multiplex(multiplex)
        check_tls(tls)
        if not 1 <= hops <= HOPS_MAX:
            raise ConfigError(f"{hops} hops; expected 1 to {HOPS_MAX}", key="hops")
        if connect not in CONNECT:
            raise ConfigError(f"no way to connect is {connect!r}; {nearest(connect, CONNECT)}", key="connect")
        if multiplex == "stream" and connect == "per_message":
            raise ConfigError("a connection for each message cannot be shared by the sessions", key="connect")

    def stage(
        self, client: Endpoint, server: Endpoint, draws: DrawKey, remote: Address = SERVER, start: int = 0
    ) -> SmtpStage:
        client_tls, server_tls = encrypt(self.tls)
        lines, sessions = self._sessions(client, remote, client_tls)
        rows: list[Delivery] = []
        mails: list[Mail] = []
        for index, message in enumerate(self._messages(draws)):
            row = Delivery(index, message.name, len(message.octets), index % self.sessions)
            rows.append(row)
            prepared = prepare(message)
            if isinstance(prepared, Refused):
                row.status, row.reply = "refused", f"not sent: {prepared.reason}"
                continue
            row.size, row.changed_before_sending = len(prepared.data), "; ".join(prepared.changes)
            envelope = Envelope(message.reverse_path, message.forward_paths, prepared.data)
            mails.append(Mail(envelope, start + index * self.interval, row))
            sessions[row.session].add(mails[-1])
        queues = [RelayQueue(self.sessions) for _ in range(self.hops - 1)]
        mailbox = MemoryMailbox()
        return SmtpStage(
            client=WorkloadNode(client, MailSender(lines, sessions), start),
            server=WorkloadNode(server, self._receiver(queues[0] if queues else mailbox, server_tls)),
            mailbox=mailbox,
            queues=queues,
            rows=rows,
            mails=mails,
            started_at=start,
        )

    def extend(self, stage: Stage, client: Endpoint, server: Endpoint, remote: Address) -> None:
        assert isinstance(stage, SmtpStage)
        place = len(stage.further)
        client_tls, server_tls = encrypt(self.tls)
        sender = stage.queues[place].sender = MailSender(*self._sessions(client, remote, client_tls))
        mailbox = [*stage.queues, stage.mailbox][place + 1]
        stage.further.append((WorkloadNode(client, sender), WorkloadNode(server, self._receiver(mailbox, server_tls))))

    def report(self, stage: Stage) -> WorkloadReport:
        """A row per message. Over when the last message has its final reply."""
        assert isinstance(stage, SmtpStage)
        if stage.queues:
            strays = follow_copies(stage.mails, stage.queues, stage.mailbox)
        else:
            strays = match_copies(stage.mails, stage.mailbox.messages)
        notes = [f"{strays} copies in the mailbox are of no session here"] if strays else []
        client, server = stage.client.stats(), stage.server.stats()
        is_over = all(row.status != "pending" for row in stage.rows)
        started_at = stage.started_at
        every_row = [*stage.rows, *(mail.row for queue in stage.queues for mail in queue.mails)]
        finished_at = (
            max((row.completed_at or started_at for row in every_row), default=started_at) if is_over else None
        )
        return WorkloadReport(stage.rows, client, server, started_at=started_at, finished_at=finished_at, notes=notes)

    def _sessions(self, client: Endpoint, remote: Address, tls: ClientTls | None) -> tuple[Lines, list[Session]]:
        lines = Lines(client, remote, is_shared=self.multiplex == "stream")
        manners = Manners(
            pipelining=self.pipelining,
            early_ehlo=self.early_ehlo,
            is_one_message=self.connect == "per_message",
            tls=tls,
        )
        return lines, [Session(ordinal, lines, manners) for ordinal in range(self.sessions)]

    def _receiver(self, mailbox: MemoryMailbox, tls: ServerTls | None) -> MailReceiver:
        return MailReceiver(mailbox, tls, is_chunking=self.chunking)

    def _messages(self, draws: DrawKey) -> list[Message]:
        if self.corpus is not None:
            found = load_corpus(self.corpus)
            return [found[index % len(found)] for index in range(self.messages or len(found))]
        sizes, size_draws, mail_draws = MESSAGE_SIZES.build(self.size), draws.derive("size"), draws.derive("mail")
        return [
            generate_message(index, mail_draws, sizes.octets(index, size_draws), self.recipients)
            for index in range(self.messages or MESSAGES_GENERATED)
        ]
