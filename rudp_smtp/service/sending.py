"""One session with a server: messages in, a report for each out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from rudp_smtp.drivers.sessions import Patience, Session, hold
from rudp_smtp.service.addresses import Address
from rudp_smtp.service.streams import connect
from rudp_smtp.smtp import (
    Client,
    ClientTls,
    DeliveryReport,
    Envelope,
    Login,
    MailSource,
    SessionEnded,
    SessionReady,
)
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TransportPlugin
from rudp_smtp.units import SECOND

CONNECT_SECONDS = 30.0
PATIENCE = Patience(idle=600 * SECOND)  # RFC 5321 section 4.5.3.2.6: 10 minutes for the final reply


Watch = Callable[[str, bytes], None]  # is told who spoke ("C" or "S") and the octets, as the wire carries them


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Whom to call, and as whom."""

    address: Address
    domain: str
    tls: ClientTls | None = None
    login: Login | None = None
    transport: TransportPlugin | None = None
    patience: Patience = PATIENCE
    sink: Sink | None = None
    watch: Watch | None = None  # of the dialogue


@dataclass(slots=True)
class Sent:
    """What came of it; `reports` in the order of the messages."""

    reports: list[DeliveryReport] = field(default_factory=list)
    extensions: Mapping[str, str] = field(default_factory=dict)
    end: str = ""


OnReport = Callable[[Sent, DeliveryReport], Awaitable[None]]


async def send(
    sending: Sending, messages: Sequence[tuple[Envelope, MailSource | None]], on_report: OnReport | None = None
) -> Sent:
    """Deliver all of them in one session. Raises DriverError where no connection came about.

    `on_report` hears of each as soon as its fate is known; its token is the message's number.
    """
    stream = await connect(sending.address, CONNECT_SECONDS, transport=sending.transport, sink=sending.sink)
    client = Client(domain=sending.domain, tls=sending.tls, login=sending.login)
    for token, (envelope, source) in enumerate(messages):
        client.submit(envelope, token, source)
    client.quit()
    sent = Sent()

    async def react() -> None:
        while (event := client.next_event()) is not None:
            match event:
                case SessionReady():
                    sent.extensions = event.extensions
                case DeliveryReport():
                    sent.reports.append(event)
                    if on_report is not None:
                        await on_report(sent, event)
                case SessionEnded():
                    sent.end = event.reason
                case _:
                    assert_never(event)

    session: Session = client if sending.watch is None else _Watched(client, sending.watch)
    await hold(session, react, stream, sending.patience)
    sent.reports.sort(key=lambda report: report.token)
    return sent


class _Watched:
    """A session whose octets somebody sees pass."""

    def __init__(self, client: Client, watch: Watch) -> None:
        self._client = client
        self._watch = watch

    def receive_data(self, data: bytes) -> None:
        self._watch("S", data)
        self._client.receive_data(data)

    def receive_eof(self) -> None:
        self._client.receive_eof()

    def data_to_send(self) -> bytes:
        data = self._client.data_to_send()
        if data:
            self._watch("C", data)
        return data

    @property
    def done(self) -> bool:
        return self._client.done
