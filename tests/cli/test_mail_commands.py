"""`rudp-smtp queue`, `rudp-smtp inbox` and `rudp-smtp user` as a person uses them."""

import os
from collections.abc import Iterator
from email.message import EmailMessage
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rudp_smtp.cli.__main__ import main
from rudp_smtp.cli.terminal import visible
from rudp_smtp.mail.maildir import Maildir
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.queued import Recipient, Result, Settlement, Submission
from rudp_smtp.mail.state import RecipientInput
from rudp_smtp.mail.users import UserFile
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.units import SECOND

NOW = 1_700_000_000 * SECOND
ESCAPES = "\x1b[2J\x9b2J\x07\u202egnp.exe\r"
HOSTILE = f"Subject: {ESCAPES}\r\n\r\n{ESCAPES}\r\n[red]text[/red]\r\n".encode()


def status(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as error:
        return int(error.code or 0)


@pytest.fixture(name="queue")
def make_queue(tmp_path: Path) -> Iterator[Queue]:
    """Two messages; the second has one recipient that was put off and another one that was refused."""
    queue = Queue(tmp_path / "queue", identity="x")
    for number, recipients in enumerate((("u@b.example",), ("v@b.example", "w@b.example")), 1):
        about = Submission(
            reverse_path="s@a.example",
            recipients=tuple(Recipient(path, ("DELAY",), "rfc822;o@x") for path in recipients),
            envelope_id="E1",
            returns="HDRS",
            parameters=(("BODY", "8BITMIME"), ("SMTPUTF8", "")),
        )
        draft = queue.begin(about)
        draft.write(HOSTILE * number)
        queue.commit([draft], NOW)
    mail = queue.index.mail(2)
    assert mail is not None
    later, never = mail.recipients
    results = (
        Result(later.recipient_id, RecipientInput.DEFER, "450 \x1b[1mlater", NOW + 3600 * SECOND),
        Result(never.recipient_id, RecipientInput.FAIL, "550 no"),
    )
    queue.settle([Settlement(2, results)], NOW)
    yield queue
    queue.close()


def test_the_queue_is_listed_a_line_for_each_recipient(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("queue", tmp_path / "queue", "list") == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["id", "arrived", "(UTC)"]
    assert [line.split() for line in lines] == [
        ["1", "2023-11-14", "22:13:20", str(len(HOSTILE)), "<s@a.example>", "<u@b.example>", "pending", "0",
         "2023-11-14", "22:13:20", "-"],
        ["2", "2023-11-14", "22:13:20", str(2 * len(HOSTILE)), "<s@a.example>", "<v@b.example>", "pending", "1",
         "2023-11-14", "23:13:20", "450", r"\x1b[1mlater"],
        ["2", "2023-11-14", "22:13:20", str(2 * len(HOSTILE)), "<s@a.example>", "<w@b.example>", "failed", "1", "-",
         "550", "no"],
    ]  # fmt: skip


def test_a_message_is_shown_with_all_that_is_known_and_without_its_escapes(
    queue: Queue, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert status("queue", tmp_path / "queue", "show", 1) == 0
    shown = capfdbinary.readouterr().out.decode()
    for line in ("ENVID E1", "RET HDRS", "BODY 8BITMIME", "SMTPUTF8", "NOTIFY u@b.example: DELAY", "[red]text[/red]"):
        assert line in shown.splitlines()
    assert r"Subject: \x1b[2J\x9b2J\x07\u202egnp.exe\x0d" in shown
    assert not set(shown) & set(ESCAPES[:1] + "\x9b\x07\u202e\r")
    assert status("queue", tmp_path / "queue", "show", "--raw", 1) == 0
    assert capfdbinary.readouterr().out == HOSTILE


def test_an_operator_changes_what_waits_while_the_server_has_the_queue(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: object) -> str:
        assert status("queue", tmp_path / "queue", *arguments) == 0
        return capsys.readouterr().out

    assert said("hold", "--all") == "2 recipients held\n"
    assert queue.index.due(NOW + 9999 * SECOND) == []
    assert said("release", 2) == "1 recipients released\n"
    assert said("retry", 1, 2) == "1 recipients will be tried now\n"
    assert said("remove", 1) == "1 messages removed\n"
    assert [mail.message_id for mail in queue.index.listing()] == [2]


def test_what_cannot_be_done_is_a_status_and_a_sentence(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("queue", tmp_path / "queue", "hold", 1, 77) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("1 recipients held\n", "77 is not in the queue\n")
    assert status("queue", tmp_path / "queue", "remove") == 2
    assert "--all" in capsys.readouterr().err
    assert status("queue", tmp_path / "nowhere", "list") == 2
    assert "is not a queue" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
    assert status("queue", tmp_path / "queue", "explode") == 2


def put(folder: Path, octets: bytes, seconds: int = 0) -> None:
    names = count()
    maildir = Maildir(folder, domain="mx.example", unique=lambda: f"Q{next(names)}")
    maildir.deliver(Envelope("a@b.example", ("u@mx.example",), octets), NOW + seconds * SECOND)


def letter() -> bytes:
    message = EmailMessage()
    message["From"] = "J\u00f6rg <j@a.example>"
    message["To"] = "u@mx.example"
    message["Date"] = "Tue, 14 Nov 2023 22:13:20 +0000"
    message["Subject"] = (
        "Gr\u00fc\u00dfe und eine lange Zeile, die der Generator in mehrere Worte teilen muss, sie ist so"
    )
    message.set_content("Gr\u00fc\u00df Gott\n")
    message.add_alternative("<p>Gr\u00fc\u00df Gott</p>", subtype="html")
    message.add_attachment(b"%PDF" * 100, maintype="application", subtype="pdf", filename="\u00dcbersicht.pdf")
    return message.as_bytes().replace(b"\n", b"\r\n")


def test_the_mail_that_arrived_is_listed_oldest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "box", b"Subject: second\r\n\r\nx\r\n", 5)
    put(tmp_path / "box", letter(), -5)
    put(tmp_path / "box", HOSTILE, 60)
    first = min((tmp_path / "box" / "new").iterdir())
    first.rename(tmp_path / "box" / "cur" / f"{first.name}:2,S")
    assert status("inbox", tmp_path / "box") == 0
    heading, one, two, three = capsys.readouterr().out.splitlines()
    assert heading.split() == ["number", "date", "from", "subject", "attachments", "octets"]
    subject = "Gr\u00fc\u00dfe und eine lange Zeile, die der Generator in mehrere Worte teilen muss, sie ist so"
    assert one.split() == f"1 Tue, 14 Nov 2023 22:13:20 +0000 J\u00f6rg <j@a.example> {subject} 1 1714".split()
    assert two.split()[:3] == ["2", "new", "second"]
    assert three.split()[:2] == ["3", "new"]
    assert r"\x1b[2J" in three


def test_a_long_subject_does_not_make_every_line_of_the_list_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "box", b"Subject: " + b"x" * 100_000 + b"\r\n\r\n")
    put(tmp_path / "box", b"Subject: short\r\n\r\n", 1)
    assert status("inbox", tmp_path / "box") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) < 400
    assert status("inbox", tmp_path / "box", 1) == 0
    assert "x" * 100_000 in capsys.readouterr().out


def test_what_is_no_message_is_not_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "box", b"Subject: only\r\n\r\n")
    (tmp_path / "box" / "new" / "1.folder").mkdir()
    (tmp_path / "box" / "cur" / "1.link").symlink_to("nowhere")
    assert status("inbox", tmp_path / "box") == 0
    _, only = capsys.readouterr().out.splitlines()
    assert only.split()[:3] == ["1", "new", "only"]


def test_a_message_is_shown_for_people_or_as_it_is(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    put(tmp_path / "box", letter())
    put(tmp_path / "box", HOSTILE, 1)
    assert status("inbox", tmp_path / "box", 1, 2) == 0
    shown = capfdbinary.readouterr().out.decode()
    assert "Attachment: \u00dcbersicht.pdf, application/pdf, 400 octets\n\nGr\u00fc\u00df Gott\n" in shown
    assert "<p>" not in shown
    assert r"\u202egnp.exe" in shown
    assert not set(shown) & set("\x1b\x9b\x07\u202e\r")
    assert status("inbox", tmp_path / "box", "--raw", 2) == 0
    assert capfdbinary.readouterr().out.endswith(HOSTILE)
    assert status("inbox", tmp_path / "box", 3) == 1
    assert status("inbox", tmp_path) == 2


PIECES = [
    b"Subject: =?utf-8?b?",
    b"=?=?\xff?q?=FF?=",
    b"From: =?idna?q?=ff?=\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n",
    b"Content-Type: message/rfc822\r\n",
    b"Content-Type: text/plain; charset=\xff\r\n",
    b"Content-Type: text/plain; charset=undefined\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding: x-uuencode\r\n",
    b"Content-Disposition: attachment; filename*=utf-99''%FF\r\n",
    b"Content-Disposition: attachment; filename*0*=x''%\r\n",
    b"\r\n",
    b"--b\r\n",
    b"Content-Disposition: attachment; filename*" + b"9" * 5000 + b"*=undefined'x'%ff\r\n",
    b"Content-Type: text/plain; charset*=a\0b'x'%ff\r\n",
    b"Content-ID: <\xff>\r\n",
    b"A===\r\n",
    b"begin 644 x\r\n",
    b"\x1b[2J",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(PIECES),
            max_size=12,
        ).map(b"".join),
    )
)
def test_whatever_arrived_is_listed_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], octets: bytes
) -> None:
    box = tmp_path / "any"
    for folder in ("new", "cur"):
        (box / folder).mkdir(parents=True, exist_ok=True)
    (box / "new" / "1.a").write_bytes(octets)
    assert status("inbox", box) == 0
    assert status("inbox", box, 1) == 0
    assert not set(capsys.readouterr().out) & set("\x1b\x9b\x07\u202e\r")
    os.unlink(box / "new" / "1.a")


@given(st.text())
def test_visible_text_holds_no_control_character_and_changes_nothing_else(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable() or any(char.isspace() for char in shown)
    assert visible(shown) == shown
    if text.isascii() and text.isprintable():
        assert shown == text


def test_users_are_added_listed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    users, password = ("--users", tmp_path / "users"), tmp_path / "password"
    password.write_text("secret\n")
    assert status("user", "add", "bob", *users, "--password-file", password) == 0
    assert status("user", "add", "bob", *users, "--password-file", password) == 0
    answers = iter(["other", "other", "one", "two"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    assert status("user", "add", "ann", *users) == 0
    assert status("user", "list", *users) == 0
    assert capsys.readouterr().out == "bob was added\nbob has another password\nann was added\nann\nbob\n"
    assert status("user", "add", "eve", *users) == 2
    assert "not the same" in capsys.readouterr().err
    ann = UserFile(tmp_path / "users").find("ann")
    assert ann is not None
    assert ann.matches("other")
    assert status("user", "remove", "ann", *users) == 0
    assert status("user", "remove", "ann", *users) == 1
    assert UserFile(tmp_path / "users").names() == ["bob"]
    for place in (tmp_path / "absent", tmp_path):
        assert status("user", "add", "eve", *users, "--password-file", place) == 2
    assert status("user", "add", "eve", "secret", *users) == 2
    assert status("user", "list", "--users", tmp_path / "absent") == 2
