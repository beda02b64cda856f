"""One session with a server: messages in, a report for each out."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from rudp_smtp.drivers.sessions import Patience, Work, calling, hold
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
    Watch,
)
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TransportPlugin
from rudp_smtp.units import SECOND

CONNECT_SECONDS = 30.0
PATIENCE = Patience(idle=600 * SECOND)  # RFC 5321 section 4.5.3.2.6: 10 minutes for the final reply


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


OnReport = Callable[[Sent, DeliveryReport], Coroutine[object, object, None]]


async def send(
    sending: Sending, messages: Sequence[tuple[Envelope, MailSource | None]], on_report: OnReport | None = None
) -> Sent:
    """Deliver all of them in one session. Raises DriverError where no connection came about.

    `on_report` hears of each as soon as its fate is known; its token is the message's number.
    """
    client = Client(domain=sending.domain, tls=sending.tls, login=sending.login, watch=sending.watch)
    for token, (envelope, source) in enumerate(messages):
        client.submit(envelope, token, source)
    client.quit()
    sent = Sent()

    def next_report() -> DeliveryReport | None:
        while (event := client.next_event()) is not None:
            match event:
                case SessionReady():
                    sent.extensions = event.extensions
                case DeliveryReport():
                    sent.reports.append(event)
                    return event
                case SessionEnded():
                    sent.end = event.reason
                case _:
                    assert_never(event)
        return None

    async def tell(listener: OnReport, report: DeliveryReport | None) -> None:
        while report is not None:
            await listener(sent, report)
            report = next_report()

    def react() -> Work | None:
        while (report := next_report()) is not None:
            if on_report is not None:
                return tell(on_report, report)
        return None

    protocol = calling(client, react, sending.patience)
    await connect(sending.address, protocol, CONNECT_SECONDS, transport=sending.transport, sink=sending.sink)
    await hold(protocol)
    sent.reports.sort(key=lambda report: report.token)
    return sent
