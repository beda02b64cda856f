"""Notices: a program reads them with the email package, a person reads the first part, the original is untouched."""

from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.mail.dsn import RETURNED_OCTETS_MAX, Action, Notice, RecipientReport, compose_notice, is_wanted
from rudp_smtp.mail.queued import TLS_OPTIONAL, QueuedMail, Recipient, Submission
from rudp_smtp.smtp.address import parse_mailbox
from rudp_smtp.units import SECOND

NOW = 1_700_000_000 * SECOND
DATE = "Tue, 14 Nov 2023 22:13:20 +0000"
ORIGINAL = b"Received: x\r\nFrom: a@b.example\r\nSubject: hello\r\n\r\n.body\r\n--=_token--\r\n\r\nFrom end\r\n\r\n"
BOB = Recipient("bob@c.example", (), "rfc822;bob@old.example")


def queued(sender: str = "s@a.example", returns: str = "FULL", octets: int = len(ORIGINAL)) -> QueuedMail:
    submission = Submission(reverse_path=sender, recipients=(BOB,), envelope_id="QQ 314", returns=returns)
    return QueuedMail(message_id=1, submission=submission, arrived_at=NOW - SECOND, octets=octets, recipients=())


def failed(recipient: Recipient = BOB, diagnostic: str = "550 5.1.1 no such user") -> RecipientReport:
    return RecipientReport(
        recipient=recipient, action=Action.FAILED, status="5.1.1", diagnostic=diagnostic, remote="mx.c.example", at=NOW
    )


def compose(mail: QueuedMail, *reports: RecipientReport, original: bytes = ORIGINAL) -> Notice:
    pieces = [original[start : start + 7] for start in range(0, len(original), 7)]
    return compose_notice(mail, reports or (failed(),), pieces, domain="mx.example", now=NOW, token="t1")


def parts(notice: Notice) -> tuple[EmailMessage, str, list[MIMEPart], bytes]:
    """The message, what a person reads, what a program reads, and the returned octets."""
    message = message_from_bytes(notice.octets, policy=policy.SMTPUTF8)
    assert isinstance(message, EmailMessage)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert not message.defects
    text, status, _ = message.iter_parts()
    assert isinstance(text, EmailMessage)
    assert status.get_content_type() == "message/delivery-status"
    boundary = f"--{message.get_boundary()}".encode()
    returned = notice.octets.split(boundary)[3].partition(b"\r\n\r\n")[2][:-2]
    return message, text.get_content(), [block for block in status.walk() if block is not status], returned


def test_a_bounce_says_who_why_and_where_and_returns_the_message_octet_for_octet() -> None:
    notice = compose(queued())
    message, text, (about, bob), returned = parts(notice)
    assert (message["To"], message["From"]) == ("s@a.example", "Mail Delivery System <MAILER-DAEMON@mx.example>")
    assert (message["Date"], message["Message-ID"]) == (DATE, "<t1@mx.example>")
    assert message["Auto-Submitted"] == "auto-replied"
    assert "could not be delivered" in text
    assert "<bob@c.example>\n    mx.c.example said: 550 5.1.1 no such user" in text.replace("\r\n", "\n")
    assert dict(about.items()) == {
        "Original-Envelope-Id": "QQ 314",
        "Reporting-MTA": "dns; mx.example",
        "Arrival-Date": "Tue, 14 Nov 2023 22:13:19 +0000",
    }
    assert dict(bob.items()) == {
        "Original-Recipient": "rfc822; bob@old.example",
        "Final-Recipient": "rfc822; bob@c.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.c.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
        "Last-Attempt-Date": DATE,
    }
    assert returned == ORIGINAL
    assert notice.submission.reverse_path == ""
    assert notice.submission.recipients == (Recipient("s@a.example", ("NEVER",)),)
    assert notice.submission.parameters == (("BODY", "7BIT"),)


@pytest.mark.parametrize(
    ("remote", "words"),
    [
        ("mx.c.example", "We found, on the way to mx.c.example: 4.4.1 no connection"),
        ("", "4.4.1 no connection"),
    ],
)
def test_what_no_other_host_has_said_is_not_put_into_its_mouth(remote: str, words: str) -> None:
    found = replace(failed(diagnostic="4.4.1 no connection"), is_local=True, remote=remote)
    _, text, (_, bob), _ = parts(compose(queued(), found))
    assert f"<bob@c.example>\n    {words}\n" in text.replace("\r\n", "\n")
    assert bob["Diagnostic-Code"] == "x-rudp-smtp; 4.4.1 no connection"
    assert bob["Remote-MTA"] is None, "RFC 3464 section 2.3.5: who reported the status"


@pytest.mark.parametrize(
    ("mail", "action"),
    [
        (queued(returns="HDRS"), Action.FAILED),
        (queued(returns=""), Action.FAILED),
        (queued(octets=RETURNED_OCTETS_MAX + 1), Action.FAILED),
        (queued(), Action.DELAYED),
        (queued(), Action.DELIVERED),
        (queued(), Action.RELAYED),
    ],
)
def test_only_a_failure_with_ret_full_returns_more_than_the_header(mail: QueuedMail, action: Action) -> None:
    report = RecipientReport(recipient=BOB, action=action, status="2.0.0", retried_until=NOW)
    message, _, (_, bob), returned = parts(compose(mail, report))
    assert returned == ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert bob["Action"] == action.value
    assert bob["Will-Retry-Until"] == DATE
    assert list(message.iter_parts())[2].get_content_type() == "text/rfc822-headers"


def test_a_message_that_can_do_without_tls_has_notices_that_can() -> None:
    mail = queued()
    open_mail = replace(mail, submission=replace(mail.submission, parameters=(TLS_OPTIONAL,)))
    for asked in (mail, open_mail):
        notice = compose(asked)
        assert notice.submission.is_tls_optional == (asked is open_mail)
        assert parts(notice)[0]["TLS-Required"] == ("No" if asked is open_mail else None)
        assert b".body" in parts(notice)[3], "it comes back whole, as it asked"


def test_a_message_that_requires_tls_comes_back_as_its_header_and_requires_tls_again() -> None:
    """RFC 8689 section 5, whatever RET said."""
    mail = queued()
    secret = replace(mail, submission=replace(mail.submission, parameters=(("REQUIRETLS", ""),)))
    for asked, expected in ((mail, False), (secret, True)):
        notice = compose(asked)
        assert (("REQUIRETLS", "") in notice.submission.parameters) == expected
        assert (b".body" not in parts(notice)[3]) == expected


def test_octets_that_are_no_text_are_not_returned_within_one() -> None:
    original = b"Subject: x\r\nX-Bad: \0\r\nX-Long: " + b"x" * 2000 + b"\r\n\r\nbare\nLF\r\n"
    notice = compose(queued(), original=original)
    assert parts(notice)[3] == b"Subject: x\r\n"


def test_eight_bit_octets_come_back_as_they_are_and_are_declared() -> None:
    original = b"Subject: caf\xe9\r\n\r\n\xff\r\n"
    notice = compose(queued(), original=original)
    assert parts(notice)[3] == original
    assert notice.submission.parameters == (("BODY", "8BITMIME"),)


def test_addresses_beyond_ascii_have_the_form_that_every_reader_takes() -> None:
    recipient = Recipient("jos\u00e9@c.example")
    _, text, (_, block), _ = parts(compose(queued(), failed(recipient)))
    assert block["Final-Recipient"] == r"utf-8; jos\x{E9}@c.example"
    assert r"<jos\x{E9}@c.example>" in text
    notice = compose(queued(sender="zo\u00eb@a.example"), failed(recipient))
    assert "To: <zo\u00eb@a.example>\r\n".encode() in notice.octets
    assert notice.submission.parameters == (("BODY", "8BITMIME"), ("SMTPUTF8", ""))


def test_a_reply_of_a_hostile_server_stays_one_field() -> None:
    diagnostic = "550 x\r\nStatus: 2.0.0\r\n\r\nAction: delivered\x1b[2J" + "y" * 5000
    _, _, blocks, _ = parts(compose(queued(), failed(diagnostic=diagnostic)))
    assert len(blocks) == 2
    assert blocks[1]["Status"] == "5.1.1"
    assert all(len(line) <= 998 for line in compose(queued(), failed(diagnostic=diagnostic)).octets.split(b"\r\n"))


@given(
    st.from_regex(r'"([ !#-\[\]-~]|\\[ -~]){1,20}"|[A-Za-z0-9!#$%&*+/=?^_`{|}~-]{1,60}', fullmatch=True),
    st.sampled_from(["a.example", "[192.0.2.1]", "x" * 60 + "." + "y" * 60 + ".example"]),
)
def test_any_address_that_smtp_carries_stands_in_a_notice_as_it_is(local_part: str, domain: str) -> None:
    address = f"{local_part}@{domain}"
    parse_mailbox(address)
    notice = compose(queued(sender=address), failed(Recipient(address)))
    assert f"\r\nTo: <{address}>\r\n".encode() in notice.octets
    assert f"\r\nFinal-Recipient: rfc822; {address}\r\n".encode() in notice.octets
    assert not [line for line in notice.octets.split(b"\r\n") if b"\r" in line or b"\n" in line]


@given(st.binary(max_size=300))
def test_a_notice_is_text_whatever_was_in_the_message(octets: bytes) -> None:
    for original in (octets, b"Subject: x\r\n\r\n" + octets):
        notice = compose(queued(), original=original)
        assert not set(notice.octets.replace(b"\r\n", b"")) & {0, 10, 13}
        assert notice.octets.endswith(b"\r\n--=_t1--\r\n")
        parts(notice)


@pytest.mark.parametrize(
    ("notify", "wanted"),
    [
        ((), {Action.FAILED, Action.DELAYED}),
        (("NEVER",), set()),
        (("FAILURE",), {Action.FAILED}),
        (("SUCCESS", "DELAY"), {Action.DELIVERED, Action.RELAYED, Action.DELAYED}),
    ],
)
def test_notices_are_sent_as_notify_says(notify: tuple[str, ...], wanted: set[Action]) -> None:
    assert {action for action in Action if is_wanted(Recipient("u@b.example", notify), action)} == wanted
