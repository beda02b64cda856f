"""What comes in by SMTP goes out by SMTP with everything its sender asked for."""

from pathlib import Path

import pytest

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.transit import envelope_of, submission_of
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.parameters import BodyType, Notify, RecipientDsn, Ret

BOB = RecipientDsn((Notify.SUCCESS, Notify.DELAY), "rfc822;bob+x@old.example")
ENVELOPES = [
    Envelope("a@b.example", ("u@c.example",), b"", authenticated_as="bob"),
    Envelope("a@b.example", ("u@c.example",), b"", auth="<>", is_tls_optional=True),
    Envelope("", ("u@c.example", "v@c.example"), b"", body=BodyType.SEVEN_BIT, is_extended=True, auth="<>"),
    Envelope(
        "\u00e4@b.example",
        ("u@c.example", "bob@c.example"),
        b"",
        body=BodyType.BINARY_MIME,
        is_smtputf8=True,
        ret=Ret.HEADERS,
        envid="QQ 314=+",
        dsn=(RecipientDsn(), BOB),
        requires_tls=True,
        auth="bob@b.example",
        authenticated_as="bob",
        idempotency_key="k",
    ),
]


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_an_envelope_leaves_the_queue_as_it_came_under_the_queues_own_key(tmp_path: Path, envelope: Envelope) -> None:
    queue = Queue(tmp_path / "q", identity="q1")
    draft = queue.begin(submission_of(envelope, range(len(envelope.forward_paths)), "k"))
    draft.write(b"text\r\n")
    queue.commit([draft], 1)
    mail = queue.index.mail(1)
    assert mail is not None
    assert [due.is_tls_optional for due in queue.index.due(1)] == [envelope.is_tls_optional] * len(mail.recipients)
    out = envelope_of(mail, envelope.forward_paths, key=queue.relay_key(1))
    assert out.idempotency_key == "q1.1"
    about_tls = ("requires_tls", "is_tls_optional")
    for name in ("reverse_path", "forward_paths", "body", "is_smtputf8", "ret", "envid", "dsn", "auth", *about_tls):
        assert getattr(out, name) == getattr(envelope, name), name
    queue.close()


def test_what_a_stranger_says_of_who_submitted_it_first_goes_no_further() -> None:
    envelope = Envelope("a@b.example", ("u@c.example",), b"", auth="boss@b.example")
    assert ("AUTH", "<>") in submission_of(envelope, [0], "").parameters


def test_some_of_the_recipients_keep_their_own_wishes(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "q", identity="q1")
    queue.commit([queue.begin(submission_of(ENVELOPES[-1], [0, 1], ""))], 1)
    mail = queue.index.mail(1)
    assert mail is not None
    assert envelope_of(mail, ("bob@c.example",), key="").dsn == (BOB,)
    assert envelope_of(mail, ("u@c.example",), key="").dsn == ()
    queue.close()


@pytest.mark.parametrize("identity", ["a b", "x" * 45, "[192.0.2.1]"])
def test_an_identity_that_gives_no_keys_is_refused(tmp_path: Path, identity: str) -> None:
    with pytest.raises(LocalProtocolError, match="idempotency key"):
        Queue(tmp_path / "q", identity=identity)
    assert not (tmp_path / "q").exists()
