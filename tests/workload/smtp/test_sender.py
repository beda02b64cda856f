"""Store and forward: what the sender does when the server is there and does not want the mail yet, or at all."""

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.mailbox import MemoryMailbox
from rudp_smtp.smtp import Envelope
from rudp_smtp.transport import Event, StreamData, StreamOpened, Transport
from rudp_smtp.units import SECOND
from rudp_smtp.workload import Delivery, Stage
from rudp_smtp.workload.node import Role, WorkloadNode
from rudp_smtp.workload.smtp.conversation import Lines
from rudp_smtp.workload.smtp.mail import Mail
from rudp_smtp.workload.smtp.receiver import MailReceiver
from rudp_smtp.workload.smtp.sender import RETRY_DELAY_MAX, MailSender, Manners, Session
from tests.workload.scene import LOSSLESS, endpoints, simulate


class FullMailbox(MemoryMailbox):
    """Has no room for the first so many messages."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self._refusals = refusals

    def deliver(self, envelope: Envelope, now: int) -> None:
        if self._refusals:
            self._refusals -= 1
            raise MailboxError("no room", is_full=True)
        super().deliver(envelope, now)


class Refuser(Role):
    """Resets every stream as soon as it is opened."""

    def __init__(self) -> None:
        self.is_done = True
        self.opened_at: list[int] = []

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        if isinstance(event, StreamOpened):
            self.opened_at.append(now)
            connection.reset_stream(event.stream_id, 7)


class BusyHost(Role):
    """Greets every client with the same words."""

    def __init__(self, words: bytes) -> None:
        self.is_done = True
        self.opened_at: list[int] = []
        self._words = words

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        if isinstance(event, StreamOpened):
            self.opened_at.append(now)
            connection.send(event.stream_id, self._words)
        elif isinstance(event, StreamData) and event.data:
            connection.send(event.stream_id, b"221 Goodbye\r\n", True)


def send(count: int, server_role: Role, until: int = 400 * SECOND) -> list[Delivery]:
    """Send `count` small messages over one session and give back their rows. It is done when none is pending."""
    draws = DrawKey(1)
    client, server = endpoints(draws)
    lines = Lines(client)
    session = Session(0, lines, Manners())
    mails = [
        Mail(Envelope("a@a.example", ("b@b.example",), b"%d\r\n" % index), 0, Delivery(index, "", 3, 0))
        for index in range(count)
    ]
    for mail in mails:
        session.add(mail)
    stage = Stage(WorkloadNode(client, MailSender(lines, [session])), WorkloadNode(server, server_role))
    result = simulate(stage, LOSSLESS, LOSSLESS, draws, until=until)
    assert (result.stop == "done") == all(mail.row.status != "pending" for mail in mails)
    return [mail.row for mail in mails]


def test_deferred_mail_is_sent_again_later_and_the_rest_goes_on() -> None:
    mailbox = FullMailbox(refusals=1)
    first, second = send(2, MailReceiver(mailbox))
    assert [delivered.envelope.mail_data for delivered in mailbox.messages] == [b"1\r\n", b"0\r\n"]
    assert (first.status, first.attempts) == ("delivered", 2)
    assert (second.status, second.attempts) == ("delivered", 1)
    assert first.completed_at is not None
    assert first.completed_at > RETRY_DELAY_MAX
    assert second.completed_at is not None
    assert second.completed_at < SECOND


def test_mail_that_is_always_deferred_stays_pending_with_the_reply() -> None:
    (row,) = send(1, MailReceiver(FullMailbox(refusals=1000)))
    assert row.status == "pending"
    assert row.reply == "452 4.3.1 Insufficient storage"
    assert row.attempts == 7  # once every 64 seconds


def test_a_server_that_resets_the_stream_is_asked_again_ever_more_rarely() -> None:
    refuser = Refuser()
    (row,) = send(1, refuser)
    assert row.status == "pending"
    assert row.reply == "connection closed: local (the server refused the stream)"
    gaps = [later - earlier for earlier, later in zip(refuser.opened_at, refuser.opened_at[1:], strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[0] > SECOND
    assert gaps[-1] > RETRY_DELAY_MAX
    assert 8 <= row.attempts <= 12


def test_a_host_that_refuses_service_is_left_politely_and_asked_again() -> None:
    for words in (b"421 4.3.2 Going down\r\n", b"554 5.3.2 No SMTP here\r\n", b"not SMTP at all\r\n"):
        host = BusyHost(words)
        (row,) = send(1, host, until=100 * SECOND)
        assert row.status == "pending"
        assert 5 <= len(host.opened_at) <= 8
        assert row.attempts == len(host.opened_at)


def test_a_host_that_says_a_whole_session_of_approval_in_advance_delivers_nothing() -> None:
    words = b"220 mx\r\n250-mx\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n250 kept\r\n221 bye\r\n"
    (row,) = send(1, BusyHost(words), until=10 * SECOND)
    assert row.status == "pending"
    assert row.completed_at is None
