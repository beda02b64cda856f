"""serve, send, inbox and gateway as a user has them: processes, over RUDP with a tenth of the packets lost."""

import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rudp_smtp.drivers import blocking
from tests.ports import free_port
from tests.service.programs import ROOT, Program, mails, rudp_smtp, running, serving

LOSS10 = ROOT / "configs" / "loss10.yaml"
SCRIPT = """
import ssl, sys
from rudp_smtp.drivers.blocking import SMTP

with SMTP("127.0.0.1", int(sys.argv[1]), timeout=30) as client:
    client.ehlo()
    client.starttls(context=ssl._create_unverified_context())
    client.ehlo()
    client.login("alice", "secret")
    client.sendmail("alice@example.org", ["bob@example.org"], "Subject: script\\r\\n\\r\\nhello\\r\\n")
print("Mail sent")
"""


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.fixture
def users(tmp_path: Path) -> Path:
    done = rudp_smtp("user", "add", "--users", tmp_path / "users", "alice", "--password-file", "-", given="secret\n")
    assert done.returncode == 0, done.stderr
    (tmp_path / "password").write_text("secret\n")
    return tmp_path / "users"


@pytest.fixture
def lossy(tmp_path: Path, users: Path) -> Iterator[tuple[Program, int, int]]:
    """A server behind 10 % loss for RUDP, and on TCP; both ports."""
    port, tcp = free_port(), free_port()
    listens = ["--listen", f"rudp://127.0.0.1:{port}", "--listen", f"tcp://127.0.0.1:{tcp}"]
    options = ["--domain", "example.org", "--mailbox", "bob", "--users", users, "--tls-self-signed"]
    with serving(tmp_path, *listens, *options, "--trace", "--impair", LOSS10, listens=2) as server:
        yield server, port, tcp


def test_a_message_is_sent_through_loss_and_seen_in_the_inbox(tmp_path: Path, lossy: tuple[Program, int, int]) -> None:
    server, port, _ = lossy
    url = f"rudp://127.0.0.1:{port}"
    login = ["--starttls", "--insecure", "--user", "alice", "--password-file", tmp_path / "password"]
    letter = ["--from", "alice@example.org", "--to", "bob@example.org", "--subject", "Grüße", "--body", "through loss"]
    sent = rudp_smtp("send", "--server", url, *letter, *login, "--trace")
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout.splitlines() == [
        "From: alice@example.org",
        "To: bob@example.org",
        "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=",
        "Body: through loss",
        "Mail sent",
    ]
    assert "S: 220 example.org ESMTP ready" in sent.stderr
    assert "-> packet" in sent.stderr
    assert f"  {port}#" in server.said()
    for trace in (sent.stderr, server.said()):
        assert "C: STARTTLS" in trace
        assert "C/TLS: MAIL FROM:<alice@example.org>" in trace
        assert "C/TLS: [part of a login]" in trace
        assert "secret" not in trace
        assert "through loss" not in trace
    listed = rudp_smtp("inbox", tmp_path / "mail")
    assert "Grüße" in listed.stdout
    shown = rudp_smtp("inbox", tmp_path / "mail", "1")
    assert "through loss" in shown.stdout
    (octets,) = mails(tmp_path)
    assert b"with ESMTPSA id " in octets
    server.wait_for("delivered: <alice@example.org> to bob@example.org")


def test_the_script_of_the_networking_lab(tmp_path: Path, lossy: tuple[Program, int, int]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(lossy[1])], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "Mail sent\n"), done.stderr
    assert len(mails(tmp_path)) == 1


def test_smtplib_over_tcp_and_over_rudp_reaches_the_same_mailbox(
    tmp_path: Path, lossy: tuple[Program, int, int]
) -> None:
    _, port, tcp = lossy
    for kind, at in ((smtplib.SMTP, tcp), (blocking.SMTP, port)):
        with kind("127.0.0.1", at, timeout=30) as client:
            client.starttls(context=unverified())
            client.login("alice", "secret")
            assert (
                client.sendmail("alice@example.org", ["bob@example.org"], b"Subject: x\r\n\r\n" + b"y\r\n" * 400) == {}
            )
    assert len(mails(tmp_path)) == 2


def test_what_is_refused_is_told_with_the_servers_reply(tmp_path: Path, lossy: tuple[Program, int, int]) -> None:
    url = f"tcp://127.0.0.1:{lossy[2]}"
    to = ["--to", "bob@example.org", "--to", "nobody@example.org", "--to", "eve@elsewhere.example"]
    sent = rudp_smtp("send", "--server", url, "--from", "a@example.org", *to, "--body", "x")
    assert sent.returncode == 1
    assert "sent to bob@example.org" in sent.stdout
    assert "Mail sent" not in sent.stdout
    assert "not sent to nobody@example.org: refused by the server: 550 5.1.1 No such mailbox here" in sent.stderr
    assert "not sent to eve@elsewhere.example: refused by the server: 550 5.7.1 We do not relay" in sent.stderr
    assert len(mails(tmp_path)) == 1


def test_a_wrong_password_sends_nothing(tmp_path: Path, lossy: tuple[Program, int, int]) -> None:
    (tmp_path / "wrong").write_text("guess\n")
    login = ["--starttls", "--insecure", "--user", "alice", "--password-file", tmp_path / "wrong"]
    letter = ["--from", "alice@example.org", "--to", "bob@example.org"]
    sent = rudp_smtp("send", "--server", f"tcp://127.0.0.1:{lossy[2]}", *letter, *login)
    assert sent.returncode == 1
    assert "535" in sent.stderr
    assert mails(tmp_path) == []


@pytest.mark.parametrize("scheme", ["tcp", "rudp"])
def test_a_certificate_that_nobody_signed_is_named(
    tmp_path: Path, lossy: tuple[Program, int, int], scheme: str
) -> None:
    letter = ["--from", "alice@example.org", "--to", "bob@example.org", "--starttls"]
    sent = rudp_smtp("send", "--server", f"{scheme}://127.0.0.1:{lossy[2 if scheme == 'tcp' else 1]}", *letter)
    assert sent.returncode == 1
    assert "certificate verify failed: self" in sent.stderr
    assert mails(tmp_path) == []


def test_a_large_message_arrives_octet_for_octet(tmp_path: Path, lossy: tuple[Program, int, int]) -> None:
    text = b"Subject: large\r\n\r\n" + b"".join(b"line %06d .\r\n.\r\n" % number for number in range(60_000))
    (tmp_path / "large.eml").write_bytes(text)
    letter = ["--from", "a@example.org", "--to", "bob@example.org", "--data", tmp_path / "large.eml"]
    sent = rudp_smtp("send", "--server", f"rudp://127.0.0.1:{lossy[1]}", *letter)
    assert sent.returncode == 0, sent.stderr
    (octets,) = mails(tmp_path)
    assert octets.endswith(text)
    assert len(octets) < len(text) + 500


def test_a_message_sent_again_under_its_key_is_delivered_once(tmp_path: Path, lossy: tuple[Program, int, int]) -> None:
    letter = ["--from", "a@example.org", "--to", "bob@example.org", "--data", "-", "--key", "k1"]
    for _ in range(2):
        url = f"tcp://127.0.0.1:{lossy[2]}"
        sent = rudp_smtp("send", "--server", url, *letter, given="Subject: once\n\nonly\n")
        assert sent.returncode == 0, sent.stderr
    assert len(mails(tmp_path)) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "http://h:1"], "unknown scheme"),
        (["--listen", "rudps://127.0.0.1:0"], "needs --tls-self-signed"),
        (["--listen", "tcp://127.0.0.1:0", "--cert", "x.pem"], "--cert and --key go together"),
        (["--listen", "tcp://127.0.0.1:0", "--domain", "no good"], "no good"),
        (["--listen", "tcp://127.0.0.1:0", "--size-limit", "big"], "big"),
        (["--listen", "tcp://127.0.0.1:0", "--users", "/nonexistent/users", "--tls-self-signed"], "cannot be read"),
        (["--listen", "tcp://127.0.0.1:0", "--relay-to", "lmtp://127.0.0.1:24"], "speaks SMTP, not LMTP"),
        (["--listen", "rudp://127.0.0.1:0", "--impair", "/nonexistent.yaml"], "nonexistent.yaml"),
    ],
)
def test_a_server_names_what_is_wrong_and_leaves(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = rudp_smtp("serve", "--maildir", tmp_path / "mail", *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr


def _answer_once(listener: socket.socket, replies: list[bytes]) -> None:
    """Say each reply behind a line, an empty one behind the end of the message, and hang up."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rwb", buffering=0) as stream:
        stream.write(b"220 foreign\r\n")
        for reply in replies:
            line = stream.readline()
            while reply == b"" and line != b".\r\n":
                line = stream.readline()
            stream.write(reply)


def test_what_an_older_server_leaves_open_is_said(tmp_path: Path) -> None:
    (tmp_path / "letter").write_bytes(b"Subject: x\n")
    ok = b"250 ok\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_answer_once, args=(listener, [ok, ok, ok, b"354 go\r\n", b""]))
        server.start()
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        letter = ["--from", "a@b.example", "--to", "c@d.example", "--data", tmp_path / "letter", "--key", "k"]
        sent = rudp_smtp("send", "--server", url, *letter)
        server.join()
    assert sent.returncode == 1
    assert "the server knows no --key" in sent.stderr
    assert "may have arrived: only the answer is missing" in sent.stderr


def test_where_nobody_listens_send_says_so() -> None:
    for scheme in ("rudp", "tcp"):
        url = f"{scheme}://127.0.0.1:{free_port()}"
        sent = rudp_smtp("send", "--server", url, "--from", "a@b.example", "--to", "c@d.example")
        assert sent.returncode == 1
        assert "refused" in sent.stderr


@pytest.mark.parametrize("has_queue", [False, True], ids=["passing", "queue"])
def test_gateways_carry_mail_over_a_lossy_path(tmp_path: Path, has_queue: bool) -> None:
    """TCP to a gateway, RUDP through 10 % loss to a second one, TCP to a server: each message once."""
    first, relay, second, last = (free_port() for _ in range(4))
    queues = [["--queue", tmp_path / f"queue{number}"] if has_queue else [] for number in range(2)]
    with (
        serving(tmp_path, "--listen", f"tcp://127.0.0.1:{last}", "--domain", "example.org"),
        running(
            tmp_path / "second.log",
            "gateway", "--listen", f"rudp://127.0.0.1:{second}", "--to", f"tcp://127.0.0.1:{last}", *queues[0],
        ) as far,
        running(
            tmp_path / "proxy.log",
            "proxy", "--listen", f"127.0.0.1:{relay}", "--to", f"127.0.0.1:{second}", "--config", LOSS10,
        ) as proxy,
        running(
            tmp_path / "first.log",
            "gateway", "--listen", f"tcp://127.0.0.1:{first}", "--to", f"rudp://127.0.0.1:{relay}", *queues[1],
        ) as near,
    ):  # fmt: skip
        far.wait_for("listening on")
        proxy.wait_for("relaying from")
        near.wait_for("listening on")
        with smtplib.SMTP("127.0.0.1", first, timeout=60) as client:
            for number in range(8):
                text = f"Subject: number {number}\r\n\r\nhello\r\n"
                assert client.sendmail("a@example.org", ["b@example.org"], text) == {}
        if has_queue:
            far.wait_for("relayed: message", 8)
        found = sorted(line for mail in mails(tmp_path) for line in mail.splitlines() if line.startswith(b"Subject"))
        assert found == [b"Subject: number %d" % number for number in range(8)]


def test_mail_for_others_is_relayed_for_who_logged_in(tmp_path: Path, users: Path) -> None:
    ours, theirs = free_port(), free_port()
    (tmp_path / "far").mkdir()
    login = ["--starttls", "--insecure", "--user", "alice", "--password-file", tmp_path / "password"]
    options = ["--domain", "example.org", "--users", users, "--tls-self-signed"]
    relay = ["--relay-to", f"rudp://127.0.0.1:{theirs}", "--queue", tmp_path / "queue"]
    letter = ["--from", "alice@example.org", "--to", "eve@elsewhere.example", "--to", "bob@example.org", "--body", "x"]
    with serving(tmp_path, "--listen", f"rudp://127.0.0.1:{ours}", *options, *relay) as near:
        sent = rudp_smtp("send", "--server", f"rudp://127.0.0.1:{ours}", *letter, *login)
        assert sent.returncode == 0, sent.stderr
        near.wait_for("put off: message 1")
        listed = rudp_smtp("queue", tmp_path / "queue", "list")
        assert "eve@elsewhere.example" in listed.stdout
        with serving(tmp_path / "far", "--listen", f"rudp://127.0.0.1:{theirs}", "--domain", "elsewhere.example"):
            pass
    assert len(mails(tmp_path)) == 1
    far = ["--listen", f"rudp://127.0.0.1:{theirs}", "--domain", "elsewhere.example"]
    with serving(tmp_path / "far", *far):
        assert rudp_smtp("queue", tmp_path / "queue", "retry", "1").returncode == 0
        with serving(tmp_path, "--listen", f"rudp://127.0.0.1:{ours}", *options, *relay) as near:
            near.wait_for("relayed: message 1")
    assert len(mails(tmp_path / "far")) == 1
