"""`rudp-smtp send`: one message to one server.

Exit status: 0 only if the server took it for every recipient; 1 if not, or if there was no server; 2 for bad input.
"""

import argparse
import asyncio
import socket
import sys
import time
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import TYPE_CHECKING

from rudp_smtp.cli import trust
from rudp_smtp.cli.terminal import visible
from rudp_smtp.errors import ConfigError, DriverError, LocalProtocolError, SmtpSyntaxError

if TYPE_CHECKING:
    from rudp_smtp.service.addresses import Address
    from rudp_smtp.service.sending import Sending, Sent
    from rudp_smtp.smtp import ClientTls, Envelope

OK, FAILED, BAD_INPUT = 0, 1, 2
SHOWN_OCTETS = 2000  # of a body
DESCRIPTION = """Send a message to one server, rudp://HOST:PORT or tcp://HOST:PORT (rudps:// and tcps:// with TLS from
the first octet), and say what became of it."""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--server", metavar="URL", required=True, help="such as rudp://127.0.0.1:2525")
    add("--from", metavar="A", required=True, dest="sender", help="the sender's address")
    add("--to", metavar="B", action="append", required=True, help="a recipient's address; may be given several times")
    add("--subject", metavar="S", default="", help="of a message that is made here")
    add("--body", metavar="T", default="", help="its text")
    add("--data", metavar="FILE", type=Path, help="a whole message instead, header and all, as it is; - is stdin")
    security = parser.add_mutually_exclusive_group()
    security.add_argument("--starttls", action="store_true", help="encrypt, or do not send")
    security.add_argument("--tls", action="store_true", help="TLS from the first octet, as rudps:// says")
    trust.configure(add)
    add("--key", metavar="K", help="an idempotency key: sent again under it, the same --data is delivered once")
    add("--trace", action="store_true", help="show the dialogue, and over RUDP the packets beneath it as they fly")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    try:
        sending, envelope = _sending(options), _envelope(options)
    except (ConfigError, LocalProtocolError, SmtpSyntaxError) as error:
        print(visible(str(error), keep="\n"), file=sys.stderr)
        return BAD_INPUT
    try:
        sent = asyncio.run(_send(sending, envelope))
    except DriverError as error:
        print(visible(str(error)), file=sys.stderr)
        return FAILED
    except LocalProtocolError as error:
        print(visible(str(error)), file=sys.stderr)
        return BAD_INPUT
    return _report(envelope, sent)


async def _send(sending: "Sending", envelope: "Envelope") -> "Sent":
    from rudp_smtp.drivers import aio
    from rudp_smtp.service.sending import send

    try:
        return await send(sending, [(envelope, None)])
    finally:
        await aio.shutdown()


def _sending(options: argparse.Namespace) -> "Sending":
    from rudp_smtp.cli.traces import PacketTracer, Tracer
    from rudp_smtp.service.addresses import parse_target
    from rudp_smtp.service.sending import Sending

    address = parse_target("--server", options.server)
    if address.is_lmtp:
        raise ConfigError(f"--server {options.server}: send speaks SMTP, not LMTP")
    wishes = trust.read(options)
    tls, login = _tls(options, wishes, address), wishes.login()
    if login is not None and tls is None:
        print("logging in without TLS: only SCRAM, which does not show the password", file=sys.stderr)
    tracer = Tracer() if options.trace else None
    return Sending(
        address=address,
        domain=_own_name(),
        tls=tls,
        login=login,
        sink=PacketTracer(tracer) if tracer else None,
        watch=tracer.watching() if tracer else None,
    )


def _tls(options: argparse.Namespace, wishes: trust.Wishes, address: "Address") -> "ClientTls | None":
    from rudp_smtp.smtp import ClientTls, TlsUse

    if options.tls or address.is_encrypted:
        use = TlsUse.IMPLICIT
    elif options.starttls:
        use = TlsUse.REQUIRED
    else:
        wishes.refuse_trust("add --starttls or --tls")
        return None
    return ClientTls(context=wishes.context(), server_name=address.host, use=use)


def _own_name() -> str:
    """What we say hello with: a name if there is a proper one, or our address as RFC 5321 section 4.1.4 asks."""
    from rudp_smtp.smtp.address import check_own_domain

    name = socket.getfqdn()
    try:
        check_own_domain(name)
    except LocalProtocolError:
        return "[127.0.0.1]"
    return name


def _envelope(options: argparse.Namespace) -> "Envelope":
    from rudp_smtp.smtp import Envelope
    from rudp_smtp.smtp.delivery import check_envelope

    if options.data is not None and (options.subject or options.body):
        raise ConfigError("--data is a whole message: it does not go with --subject and --body")
    if options.key is not None and options.data is None:
        raise ConfigError("--key goes with --data: a message that is made here is never the same again")
    if options.key == "":
        raise ConfigError("--key '' is none")
    text = _message(options) if options.data is None else _whole(options.data)
    needs_utf8 = not all(part.isascii() for part in (options.sender, *options.to))
    envelope = Envelope(
        options.sender, tuple(options.to), text, is_smtputf8=needs_utf8, idempotency_key=options.key or ""
    )
    check_envelope(envelope, None)
    return envelope


def _message(options: argparse.Namespace) -> bytes:
    message = EmailMessage()
    try:
        message["From"], message["To"], message["Subject"] = options.sender, ", ".join(options.to), options.subject
    except ValueError as error:
        raise ConfigError(f"--from, --to or --subject: {error}") from None
    message["Date"] = formatdate(time.time(), localtime=True)
    message["Message-ID"] = make_msgid(domain=options.sender.rpartition("@")[2] or "localhost")
    message.set_content(options.body + "\n")
    return message.as_bytes(policy=message.policy.clone(linesep="\r\n"))


def _whole(file: Path) -> bytes:
    """A message from a file: line ends become CRLF and nothing else is touched."""
    try:
        octets = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigError(f"--data {file}: {error.strerror}") from error
    lines = octets.replace(b"\r\n", b"\n")
    if b"\r" in lines:
        raise ConfigError(f"--data {file}: a bare CR in it can be sent by nobody (RFC 5321 section 2.3.8)")
    return (lines if lines.endswith(b"\n") or not lines else lines + b"\n").replace(b"\n", b"\r\n")


def _report(envelope: "Envelope", sent: "Sent") -> int:
    from email import message_from_bytes

    from rudp_smtp.smtp import Outcome
    from rudp_smtp.smtp.delivery import takes_key

    message = message_from_bytes(envelope.mail_data)
    body = envelope.mail_data.partition(b"\r\n\r\n")[2]
    print(f"From: {visible(envelope.reverse_path)}")
    print(f"To: {visible(', '.join(envelope.forward_paths))}")
    print(f"Subject: {visible(str(message.get('Subject', '')))}")
    shown = body[:SHOWN_OCTETS].decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n")
    more = "" if len(body) <= SHOWN_OCTETS else f"\n[{len(body) - SHOWN_OCTETS} more octets]"
    print(f"Body: {visible(shown, keep=chr(10) + chr(9))}{more}")
    if not sent.reports:
        print(f"Not sent: {visible(sent.end)}", file=sys.stderr)
        return FAILED
    (report,) = sent.reports
    refused = dict(report.refused)
    may_have_arrived = bool(report.accepted) or report.outcome is Outcome.UNCONFIRMED
    if may_have_arrived and not takes_key(sent.extensions, envelope.idempotency_key):
        print("the server knows no --key: sent again, it may deliver the message twice", file=sys.stderr)
    if not refused and report.accepted:
        print("Mail sent")
        return OK
    for recipient in envelope.forward_paths:
        if recipient in report.accepted:
            print(f"sent to {visible(recipient)}")
        else:
            by = "here" if recipient in report.refused_here else "by the server"
            reply = refused.get(recipient, report.reply)
            print(f"not sent to {visible(recipient)}: refused {by}: {visible(str(reply))}", file=sys.stderr)
    if report.outcome is Outcome.UNCONFIRMED:
        print("the message was sent to its end, and may have arrived: only the answer is missing", file=sys.stderr)
    return FAILED
