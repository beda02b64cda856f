"""Mail for others, on its way to a next host that has to prove who it is and wants to know who we are: processes."""

import smtplib
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.service.programs import Program, mails, rudp_smtp, running, serving
from tests.smtp.certificates import certificate

PASSWORD = "correct horse"
TEXT = "Subject: for your eyes\r\n\r\nonly\r\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Certificates, passwords, users, and a folder for each host."""
    pem, _, key = certificate()
    for name, octets in (("chain.pem", pem), ("key.pem", key), ("right", PASSWORD.encode()), ("wrong", b"Tr0ub4dor")):
        (tmp_path / name).write_bytes(octets)
    done = rudp_smtp("user", "add", "--users", tmp_path / "users", "alice", "--password-file", tmp_path / "right")
    assert done.returncode == 0, done.stderr
    for name in ("near", "far", "last"):
        (tmp_path / name).mkdir()
    return tmp_path


def offer(place: Path) -> list[object]:
    return ["--cert", place / "chain.pem", "--key", place / "key.pem"]


def demand(place: Path, password: str = "right") -> list[object]:
    """TLS with a host that the authority of this test has signed for, and a login there."""
    login = ["--relay-user", "alice", "--relay-password-file", place / password]
    return ["--relay-starttls", "--relay-ca", place / "chain.pem", *login]


@contextmanager
def host(place: Path, name: str, domain: str, *options: object, scheme: str = "tcp") -> Iterator[tuple[Program, int]]:
    port = free_port()
    url = f"{scheme}://127.0.0.1:{port}"
    with serving(place / name, "--listen", url, "--domain", domain, *options) as program:
        yield program, port


@contextmanager
def gateway(place: Path, *options: object) -> Iterator[tuple[Program, int]]:
    port = free_port()
    with running(place / "near.log", "gateway", "--listen", f"tcp://127.0.0.1:{port}", *options) as program:
        program.wait_for("listening on")
        yield program, port


def submit(port: int, *, needs_tls: bool, is_known: bool = True) -> None:
    trusting = ssl.create_default_context(cadata=certificate()[0].decode())
    with smtplib.SMTP("localhost", port, timeout=30) as client:
        client.starttls(context=trusting)
        if is_known:
            client.login("alice", PASSWORD)
        options = ["REQUIRETLS"] if needs_tls else []
        assert client.sendmail("alice@near.example", ["eve@last.example"], TEXT, options) == {}


def everything(folder: Path) -> bytes:
    """What the programs said, and what they have on the disk but for the secrets that were there before."""
    given = {"right", "wrong", "key.pem"}
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name not in given)


@pytest.mark.parametrize("kind", ["serve", "gateway", "gateway with a queue"])
@pytest.mark.parametrize("scheme", ["tcp", "rudp"])
def test_mail_that_requires_tls_goes_over_hosts_that_prove_themselves(place: Path, kind: str, scheme: str) -> None:
    """The second host takes mail for others from who has logged in, and none may be without TLS on the way."""
    with (
        host(place, "last", "last.example", *offer(place)) as (last, third),
        host(
            place, "far", "far.example", "--users", place / "users", *offer(place),
            "--relay-to", f"tcp://localhost:{third}", "--relay-starttls", "--relay-ca", place / "chain.pem",
            scheme=scheme,
        ) as (_, second),
    ):  # fmt: skip
        onward = f"{scheme}://localhost:{second}"
        if kind == "serve":
            options = ["--users", place / "users", *offer(place), "--relay-to", onward, *demand(place)]
            near = host(place, "near", "near.example", *options)
        else:
            queue = ["--queue", place / "near" / "queue"] if "queue" in kind else []
            near = gateway(place, "--to", onward, *queue, *offer(place), *demand(place))
        with near as (_, first):
            submit(first, needs_tls=True, is_known=kind == "serve")
            last.wait_for("delivered: <alice@near.example> to eve@last.example")
    (octets,) = mails(place / "last")
    assert octets.endswith(TEXT.encode())
    assert b"by far.example with ESMTPSA " in octets
    assert b"by last.example with ESMTPS " in octets
    assert PASSWORD.encode() not in everything(place)


def test_a_wrong_password_keeps_the_mail_until_there_is_a_right_one(place: Path) -> None:
    with (
        host(place, "last", "last.example") as (last, third),
        host(
            place, "far", "far.example", "--users", place / "users", *offer(place),
            "--relay-to", f"tcp://localhost:{third}",
        ) as (_, second),
    ):  # fmt: skip
        queue = ["--queue", place / "near" / "queue"]
        options = ["--to", f"tcp://localhost:{second}", *queue, *offer(place)]
        with gateway(place, *options, *demand(place, "wrong")) as (near, first):
            submit(first, needs_tls=False, is_known=False)
            near.wait_for("not relayed: message 1 to eve@last.example: 535 5.7.8")
        listed = rudp_smtp("queue", place / "near" / "queue", "list").stdout
        assert "<eve@last.example>" in listed
        assert "535 5.7.8" in listed
        assert rudp_smtp("queue", place / "near" / "queue", "retry", "1").returncode == 0
        assert mails(place / "last") == []
        with gateway(place, *options, *demand(place)):
            last.wait_for("delivered: <alice@near.example> to eve@last.example")
    (octets,) = mails(place / "last")
    assert octets.endswith(TEXT.encode())
    shown = everything(place)
    assert PASSWORD.encode() not in shown
    assert b"Tr0ub4dor" not in shown


class NoService(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"554 5.3.2 no service\r\n")
        assert self.rfile.readline() == b"QUIT\r\n"
        self.wfile.write(b"221 2.0.0 bye\r\n")


class Dying(socketserver.StreamRequestHandler):
    """Knows all but nobody, and is gone at DATA."""

    def handle(self) -> None:
        self.wfile.write(b"220 far\r\n")
        while not (line := self.rfile.readline()).startswith(b"DATA"):
            self.wfile.write(b"550 5.1.1 no such user\r\n" if b"nobody" in line else b"250 ok\r\n")


@contextmanager
def answering(handler: type[socketserver.StreamRequestHandler]) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def queue_row(place: Path, *words: str) -> str:
    """The line of the queue's list with these words, as soon as there is one: what is told is noted behind that."""
    for _ in range(100):
        rows = rudp_smtp("queue", place / "near" / "queue", "list").stdout.splitlines()
        for row in rows:
            if all(word in row for word in words):
                return row
    raise AssertionError(f"no row with {words}: {rows}")


def test_mail_waits_for_a_host_that_refuses_service(place: Path) -> None:
    with answering(NoService) as url:
        queue = ["--queue", place / "near" / "queue"]
        with gateway(place, "--to", url, *queue, *offer(place)) as (near, first):
            submit(first, needs_tls=False, is_known=False)
            near.wait_for("not relayed: message 1 to eve@last.example: 554 5.3.2 no service")
            assert " pending " in queue_row(place, "<eve@last.example>", "554 5.3.2 no service")


def test_who_sends_without_a_queue_hears_that_service_is_refused() -> None:
    with answering(NoService) as url:
        sent = rudp_smtp("send", "--server", url, "--from", "a@b.example", "--to", "eve@last.example")
    assert sent.returncode == 1
    assert "not sent to eve@last.example: refused by the server: 554 5.3.2 no service" in sent.stderr


def test_who_sends_hears_whom_the_server_refused_before_it_died() -> None:
    with answering(Dying) as url:
        to = ("--to", "nobody@last.example", "--to", "eve@last.example")
        sent = rudp_smtp("send", "--server", url, "--from", "a@b.example", *to)
    assert sent.returncode == 1
    assert "not sent to nobody@last.example: refused by the server: 550 5.1.1 no such user" in sent.stderr
    assert "not sent to eve@last.example: refused here: 451 4.4.2 The session ended" in sent.stderr


def test_who_was_refused_before_the_next_host_died_is_told_at_once_and_the_others_wait(place: Path) -> None:
    with answering(Dying) as url:
        queue = ["--queue", place / "near" / "queue"]
        with (
            gateway(place, "--to", url, *queue) as (near, first),
            smtplib.SMTP("localhost", first, timeout=30) as client,
        ):
            client.sendmail("", ["nobody@last.example", "eve@last.example"], TEXT)
            near.wait_for("not relayed: message 1 to eve@last.example: 451 4.4.2")
            near.wait_for("not relayed: message 1 to nobody@last.example: 550 5.1.1 no such user")
            assert " failed " in queue_row(place, "<nobody@last.example>", "550 5.1.1 no such user")
            assert " pending " in queue_row(place, "<eve@last.example>", "451 4.4.2 ")


@pytest.mark.parametrize(
    ("theirs", "ours", "words"),
    [
        (["--tls-self-signed"], [], "451 4.7.10 TLS: certificate verify failed: self-signed certificate"),
        ([], [], "454 4.7.10 The server does not offer STARTTLS"),
        ([], ["--relay-insecure"], "454 4.7.10 The server does not offer STARTTLS"),
    ],
)
def test_a_host_without_proof_gets_no_mail_and_it_waits(
    place: Path, theirs: list[str], ours: list[str], words: str
) -> None:
    with host(place, "last", "last.example", *theirs, "--trace") as (last, port):
        queue = ["--queue", place / "near" / "queue", "--relay-starttls", *ours]
        with gateway(place, "--to", f"tcp://127.0.0.1:{port}", *queue, *offer(place)) as (near, first):
            submit(first, needs_tls=False, is_known=False)
            near.wait_for(f"not relayed: message 1 to eve@last.example: {words}")
        assert "EHLO" in last.said()
        assert "MAIL FROM" not in last.said()
    assert "<eve@last.example>" in rudp_smtp("queue", place / "near" / "queue", "list").stdout
    assert mails(place / "last") == []


def test_a_certificate_made_on_the_spot_is_believed_on_request(place: Path) -> None:
    users = ["--users", place / "users", "--tls-self-signed"]
    login = ["--relay-user", "alice", "--relay-password-file", place / "right"]
    with (
        host(place, "last", "last.example", *users, scheme="rudps") as (last, port),
        gateway(place, "--to", f"rudps://127.0.0.1:{port}", "--relay-insecure", *login, *offer(place)) as (_, first),
    ):
        submit(first, needs_tls=False, is_known=False)
        last.wait_for("delivered: <alice@near.example> to eve@last.example")
    (octets,) = mails(place / "last")
    assert b"by last.example with ESMTPSA " in octets
