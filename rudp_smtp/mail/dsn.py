"""Notices about delivery as multipart/report, from the null sender (RFC 3464, RFC 3461 section 6, RFC 6522).

The `email` package builds what is ours; the message that is returned, or its header section, goes in octet for octet.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.message import Message
from email.utils import format_datetime
from enum import Enum

from rudp_smtp.mail.queued import TLS_OPTIONAL, QueuedMail, Recipient, Submission
from rudp_smtp.smtp.lines import TEXT_LINE_OCTETS
from rudp_smtp.units import SECOND

RETURNED_OCTETS_MAX = 1 << 20  # a larger message comes back as its header section, whatever RET said
HEADER_OCTETS_MAX = 64 << 10
REQUIRETLS = ("REQUIRETLS", "")  # as `transit` keeps it
LOCAL_DIAGNOSTIC = "x-rudp-smtp"  # RFC 3464 section 2.3.6: "smtp" is what an SMTP server said
DIAGNOSTIC_MAX = 800  # characters of a reply: the field stays one line

# No folding and no encoding of ours: they would make another address of an address.
_POLICY = policy.compat32.clone(linesep="\r\n", max_line_length=None)


class Action(Enum):
    """The values of the Action field, RFC 3464 section 2.3.3, that this server has a use for."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"  # to a server that sends no notice of success


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientReport:
    """What a notice says of one recipient."""

    recipient: Recipient
    action: Action
    status: str  # RFC 3463
    diagnostic: str = ""  # the reply as the next hop gave it, or what we found; "" if there is nothing to say
    remote: str = ""  # the next hop: a domain or an address literal, RFC 3464 section 2.3.5
    is_local: bool = False  # it has not said the diagnostic
    at: int | None = None  # the last attempt
    retried_until: int | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    submission: Submission
    octets: bytes


_SUBJECTS = {
    Action.FAILED: "Undelivered mail returned to sender",
    Action.DELAYED: "Delayed mail: delivery is still being tried",
    Action.DELIVERED: "Delivery report: your mail was delivered",
    Action.RELAYED: "Delivery report: your mail was relayed",
}
_SAYINGS = {
    Action.FAILED: "could not be delivered to the recipients below, and will not be tried again.",
    Action.DELAYED: "could not be delivered yet to the recipients below. You need not send it again.",
    Action.DELIVERED: "was delivered to the recipients below.",
    Action.RELAYED: "was handed over for the recipients below to a server that may not report of it.",
}
_CONDITIONS = {
    Action.FAILED: "FAILURE",
    Action.DELAYED: "DELAY",
    Action.DELIVERED: "SUCCESS",
    Action.RELAYED: "SUCCESS",
}


def is_wanted(recipient: Recipient, action: Action) -> bool:
    """RFC 3461 section 4.1; who said nothing hears of failure and, as we choose, of delay."""
    return _CONDITIONS[action] in (recipient.notify or ("FAILURE", "DELAY"))


def compose_notice(
    mail: QueuedMail,
    reports: Sequence[RecipientReport],
    original: Iterable[bytes],
    *,
    domain: str,
    now: int,
    token: str,
) -> Notice:
    """The notice to the sender about these recipients, all of them with one action.

    `token`: a text that no other notice has and no sender can guess; the boundary and the Message-ID are made of it.
    """
    sender = mail.submission.reverse_path
    assert sender, "nobody is told of a notice (RFC 5321 section 6.1)"
    action = reports[0].action
    assert all(report.action is action for report in reports)
    boundary = f"=_{token}"
    fields, octets = _returned(mail, action, original)
    message = _fields(sender, action, domain=domain, now=now, token=token)
    if mail.submission.is_tls_optional:
        message["TLS-Required"] = "No"
    message["Content-Type"] = f'multipart/report; report-type=delivery-status; boundary="{boundary}"'
    message.attach(_explanation(mail, reports, domain))
    message.attach(_delivery_status(mail, reports, domain))
    # RFC 2046 section 5.1.1: the CRLF before a delimiter belongs to it.
    head, _, _ = message.as_bytes().rpartition(f"\r\n--{boundary}--".encode())
    part = f"\r\n--{boundary}\r\n{fields}\r\n".encode()
    whole = b"".join((head, part, octets, f"\r\n--{boundary}--\r\n".encode()))
    body = "7BIT" if whole.isascii() else "8BITMIME"
    parameters = (
        ("BODY", body),
        *((("SMTPUTF8", ""),) if not sender.isascii() else ()),
        # RFC 8689 section 5: protected as the message is that it tells of.
        *(kept for kept in (REQUIRETLS, TLS_OPTIONAL) if kept in mail.submission.parameters),
    )
    recipient = Recipient(sender, ("NEVER",))  # a notice asks for none itself
    return Notice(Submission(reverse_path="", recipients=(recipient,), parameters=parameters), whole)


def _fields(sender: str, action: Action, *, domain: str, now: int, token: str) -> Message:
    message = _part()
    message["From"] = f"Mail Delivery System <MAILER-DAEMON@{domain}>"
    message["To"] = f"<{sender}>".encode().decode("ascii", "surrogateescape")  # RFC 6532 if it is not ASCII
    message["Subject"] = _SUBJECTS[action]
    message["Date"] = _date(now)
    message["Message-ID"] = f"<{token}@{domain}>"
    message["Auto-Submitted"] = "auto-replied"  # RFC 3834 section 5: no answering machine answers
    message["MIME-Version"] = "1.0"
    return message


def _part() -> Message:
    return Message(policy=_POLICY)


def _explanation(mail: QueuedMail, reports: Sequence[RecipientReport], domain: str) -> Message:
    """For people. In ASCII as a whole, so that it is the same whatever the recipients' addresses are."""
    lines = [
        f"This is the mail server at {domain}.",
        "",
        f"Your message of {_date(mail.arrived_at)}",
        _SAYINGS[reports[0].action],
        "",
    ]
    for report in reports:
        lines.append(f"<{_as_ascii(report.recipient.forward_path)}>")
        if report.diagnostic:
            lines.append(f"    {_source(report)}{_one_line(report.diagnostic)}")
        if report.retried_until is not None:
            lines.append(f"    It will be tried until {_date(report.retried_until)}.")
    text = _part()
    text["Content-Type"] = "text/plain; charset=us-ascii"
    text.set_payload("".join(f"{line}\r\n" for line in lines))
    return text


def _source(report: RecipientReport) -> str:
    if not report.remote:
        return ""
    return f"We found, on the way to {report.remote}: " if report.is_local else f"{report.remote} said: "


def _delivery_status(mail: QueuedMail, reports: Sequence[RecipientReport], domain: str) -> Message:
    """For programs, RFC 3464 section 2."""
    about = _part()
    if mail.submission.envelope_id:
        about["Original-Envelope-Id"] = mail.submission.envelope_id
    about["Reporting-MTA"] = f"dns; {domain}"
    about["Arrival-Date"] = _date(mail.arrived_at)
    blocks: list[Message | str] = [about]
    for report in reports:
        block = _part()
        if report.recipient.original:
            address_type, _, address = report.recipient.original.partition(";")
            block["Original-Recipient"] = f"{address_type}; {_as_ascii(address)}"
        block["Final-Recipient"] = _typed(report.recipient.forward_path)
        block["Action"] = report.action.value
        block["Status"] = report.status
        if report.remote and not report.is_local:  # the MTA "that reported delivery status", section 2.3.5
            block["Remote-MTA"] = f"dns; {report.remote}"
        if report.diagnostic:
            kind = LOCAL_DIAGNOSTIC if report.is_local else "smtp"
            block["Diagnostic-Code"] = f"{kind}; {_one_line(report.diagnostic)}"
        if report.at is not None:
            block["Last-Attempt-Date"] = _date(report.at)
        if report.retried_until is not None:
            block["Will-Retry-Until"] = _date(report.retried_until)
        blocks.append(block)
    part = _part()
    part["Content-Type"] = "message/delivery-status"
    part.set_payload(blocks)
    return part


def _returned(mail: QueuedMail, action: Action, original: Iterable[bytes]) -> tuple[str, bytes]:
    """The header fields and the octets of the last part.

    The whole message only where it failed and RET asked for it (RFC 3461 section 4.3), if it is not too large and can
    be part of another: BINARYMIME cannot. What requires TLS never comes back whole (RFC 8689 section 5).
    """
    about = mail.submission
    is_full = action is Action.FAILED and about.returns == "FULL" and mail.octets <= RETURNED_OCTETS_MAX
    is_full = is_full and REQUIRETLS not in about.parameters
    octets = b""
    for piece in original:
        octets += piece
        if not is_full and (b"\r\n\r\n" in octets or len(octets) >= HEADER_OCTETS_MAX):
            break
    is_full = is_full and _is_text(octets)
    if not is_full:
        octets = _header_section(octets)
    kind = "message/rfc822" if is_full else "text/rfc822-headers"
    encoding = "7bit" if octets.isascii() else "8bit"
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n", octets


def _header_section(octets: bytes) -> bytes:
    """As far as it is text: a part must not break the lines of the message it is in."""
    header = octets.partition(b"\r\n\r\n")[0][:HEADER_OCTETS_MAX]
    lines = [line for line in header.split(b"\r\n") if _is_text(line)]
    return b"".join(line + b"\r\n" for line in lines)


def _is_text(octets: bytes) -> bool:
    lines = octets.split(b"\r\n")
    return not any(len(line) > TEXT_LINE_OCTETS - 2 or set(line) & {0, 10, 13} for line in lines)


def _typed(address: str) -> str:
    """RFC 6533 section 3: an address that is not ASCII has a type of its own, and a form that is."""
    return f"rfc822; {address}" if address.isascii() else f"utf-8; {_as_ascii(address)}"


def _as_ascii(address: str) -> str:
    """RFC 6533 section 3, utf-8-addr-xtext, for what ASCII lacks."""
    return "".join(char if " " <= char <= "~" else f"\\x{{{ord(char):X}}}" for char in address)


def _one_line(reply: str) -> str:
    return "".join(char if " " <= char <= "~" else " " for char in reply)[:DIAGNOSTIC_MAX]


def _date(time: int) -> str:
    return format_datetime(datetime.fromtimestamp(time // SECOND, UTC))
