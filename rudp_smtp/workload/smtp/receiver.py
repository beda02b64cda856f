"""The server host: an SMTP session for every stream that is opened, one mailbox for all; and whose copy is whose."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from rudp_smtp.mail.mailbox import DeliveredMail, Mailbox, deliver_received
from rudp_smtp.smtp import Envelope, Extensions, Server
from rudp_smtp.smtp.tls import ServerTls
from rudp_smtp.transport import (
    Closed,
    Established,
    Event,
    StreamData,
    StreamOpened,
    StreamReset,
    StreamStopped,
    StreamWritable,
    Transport,
)
from rudp_smtp.workload.node import Role
from rudp_smtp.workload.smtp.dialogue import Dialogue, overhear
from rudp_smtp.workload.smtp.mail import Mail, client_domain

SERVER_DOMAIN = "server.example"


@dataclass(slots=True)
class _Session:
    """What a stream is to the server host."""

    server: Server
    dialogue: Dialogue | None


class MailReceiver(Role):
    """The server host: an SMTP session for every stream that is opened, one mailbox for all."""

    def __init__(self, mailbox: Mailbox, tls: ServerTls | None = None, *, is_chunking: bool = False) -> None:
        self.is_done = True  # it only serves
        self._tls = tls
        self._extensions = Extensions(is_chunking=is_chunking)
        self._mailbox = mailbox
        self._sessions: dict[Transport, dict[int, _Session]] = {}
        self._established: set[Transport] = set()

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        match event:
            case StreamOpened(stream_id):
                server = Server(
                    domain=SERVER_DOMAIN, accepts=_accept_everyone, tls=self._tls, extensions=self._extensions
                )
                is_readable = self._tls is None or not self._tls.is_implicit
                opened = _Session(server, overhear(connection, stream_id) if is_readable else None)
                self._sessions.setdefault(connection, {})[stream_id] = opened
                self._answer(connection, stream_id, opened, now)
            case StreamData(stream_id, octets, is_fin):
                session = self._sessions.get(connection, {}).get(stream_id)
                if session is None:  # it ended; what comes behind QUIT is nothing to us
                    return
                if session.dialogue is not None:
                    session.dialogue.on_commands(octets, now)
                session.server.receive_data(octets, is_early=connection not in self._established)
                if is_fin:
                    session.server.receive_eof()
                self._answer(connection, stream_id, session, now)
            case StreamReset(stream_id) | StreamStopped(stream_id):
                if self._sessions.get(connection, {}).pop(stream_id, None) is not None:
                    connection.reset_stream(stream_id, 0)
            case Established():
                self._established.add(connection)
            case Closed():
                self._sessions.pop(connection, None)
                self._established.discard(connection)
            case StreamWritable():
                pass
            case _:
                assert_never(event)

    def _answer(self, connection: Transport, stream_id: int, session: _Session, now: int) -> None:
        end = deliver_received(session.server, self._mailbox, now)
        octets = session.server.data_to_send()
        if octets or end is not None:
            connection.send(stream_id, octets, end is not None)
            if session.dialogue is not None:
                session.dialogue.on_replies(octets, now)
        if end is not None:
            del self._sessions[connection][stream_id]


def _accept_everyone(forward_path: str) -> None:
    """Every recipient of a workload is local here."""


def match_copies(mails: Sequence[Mail], delivered: Sequence[DeliveredMail]) -> int:
    """Fill in each row's copies; how many copies nobody sent."""
    return assign_copies(mails, delivered).count(None)


def assign_copies(mails: Sequence[Mail], delivered: Sequence[DeliveredMail]) -> list[Mail | None]:
    """Fill in each row's copies; whose each copy is, None: nobody sent it.

    A session has one message under way at a time, so of equal messages a copy is the first's that had no final reply
    when it arrived; and a copy that equals none of its session's messages is a damaged one of the message under way.
    """
    by_session: dict[str, deque[Mail]] = {}
    by_envelope: dict[tuple[str, Envelope], deque[Mail]] = {}
    for mail in mails:
        domain = client_domain(mail.row.session)
        by_session.setdefault(domain, deque()).append(mail)
        by_envelope.setdefault((domain, mail.envelope), deque()).append(mail)
        mail.row.copies, mail.row.delivered_at, mail.row.is_intact = 0, None, False
    owners: list[Mail | None] = []
    for copy in delivered:
        domain = copy.envelope.client_domain
        equals = by_envelope.get((domain, copy.envelope))
        candidates = equals or by_session.get(domain)
        if candidates is None:
            owners.append(None)
            continue
        mail = _under_way(candidates, copy.arrived_at)
        owners.append(mail)
        row = mail.row
        row.is_intact = bool(equals) and (row.is_intact or row.copies == 0)
        row.delivered_at = copy.arrived_at if row.delivered_at is None else row.delivered_at
        row.copies += 1
    return owners


def _under_way(mails: deque[Mail], now: int) -> Mail:
    """The one that a copy at this time is of. Those that were over before are forgotten: time goes on."""
    while len(mails) > 1 and (over_at := mails[0].row.completed_at) is not None and over_at < now:
        mails.popleft()
    for mail in mails:
        last = mail.row
        if last.completed_at is None or last.completed_at > now:
            break
        if last.completed_at == now and not last.copies:  # a path without delay; one that has its copy is over
            break
    return mail
