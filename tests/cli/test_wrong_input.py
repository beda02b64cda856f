"""What a newcomer gets wrong: told where it is and what to do instead, with the right exit status and no traceback."""

import socket
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest

from rudp_smtp.cli.__main__ import main
from rudp_smtp.cli.terminal import tell

LETTER = ["--from", "a@b.example", "--to", "bob@example.org"]
SEND = ["send", "--server", "tcp://127.0.0.1:9", *LETTER]
SERVE = ["serve", "--maildir", "mail", "--listen", "tcp://127.0.0.1:0"]
GATEWAY = ["gateway", "--listen", "tcp://127.0.0.1:0"]

RELAY = [*SERVE, "--relay-to", "tcp://127.0.0.1:9", "--queue", "queue"]
PASS = [*GATEWAY, "--to", "tcp://127.0.0.1:9", "--queue", "queue"]
STARTTLS = "add --relay-starttls, or call the next host at tcps:// or rudps://"
WRONG_RELAY = [
    (["--relay-ca", "text"], f"--relay-ca and --relay-insecure are about TLS: {STARTTLS}"),
    (["--relay-insecure"], f"--relay-ca and --relay-insecure are about TLS: {STARTTLS}"),
    (["--relay-user", "a", "--relay-password-file", "text"], f"--relay-user needs TLS, a password is not for the open "
     f"wire: {STARTTLS}"),
    (["--relay-password-file", "text"], "--relay-password-file is for a login: say as whom with --relay-user"),
    (["--relay-starttls", "--relay-user", "a"], "--relay-user needs --relay-password-file"),
    (["--relay-starttls", "--relay-user", "a", "--relay-password-file", "absent"], "--relay-password-file absent: No"),
    (["--relay-starttls", "--relay-user", "a", "--relay-password-file", "empty"], "--relay-user and --relay-password-"),
    (["--relay-starttls", "--relay-ca", "absent"], "--relay-ca absent: No such file or directory"),
    (["--relay-starttls", "--relay-ca", "text"], "--relay-ca text: no certificate in it; expected PEM"),
    (["--relay-starttls", "--relay-ca", "text", "--relay-insecure"], "--relay-insecure believes anybody: leave out"),
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no certificate, no scenario\n")
    (tmp_path / "latin").write_bytes(b"\xe9\n")
    (tmp_path / "empty").write_bytes(b"")
    return tmp_path


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit status, and what standard error has."""
    try:
        status = main(arguments)
    except SystemExit as error:
        status = int(str(error.code))
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return status, told.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["send", "--server", "ftp://h:1", *LETTER], "unknown scheme 'ftp'"),
        (["send", "--server", "rudp://h:99999", *LETTER], "Port out of range 0-65535"),
        (["send", "--server", "rudp://127.0.0.1:0", *LETTER], "nobody can be called at port 0"),
        (["send", "--server", "tcp://127.0.0.1:9", "--from", "a b", "--to", "bob@example.org"], "envelope address"),
        (["send", "--server", "tcp://127.0.0.1:9", "--from", "a@b.example", "--to", "bob"], "envelope address"),
        ([*SEND, "--data", "text", "--key", "two words"], "idempotency key"),
        ([*SEND, "--data", "text", "--key", ""], "--key '' is none"),
        ([*SEND, "--key", "k1"], "--key goes with --data"),
        ([*SEND, "--password-file", "text"], "say as whom with --user"),
        ([*SEND, "--data", "absent"], "--data absent: No such file or directory"),
        ([*SEND, "--data", "text", "--subject", "x"], "does not go with --subject and --body"),
        ([*SEND, "--subject", "a\nb"], "--from, --to or --subject"),
        ([*SEND, "--user", "a", "--password-file", "absent"], "--password-file absent: No such file or directory"),
        ([*SEND, "--user", "a", "--password-file", "latin"], "--password-file latin does not hold UTF-8"),
        ([*SEND, "--starttls", "--ca", "absent"], "--ca absent: No such file or directory"),
        ([*SEND, "--starttls", "--ca", "text"], "--ca text: no certificate in it"),
        ([*SERVE, "--sessions-per-client", "0"], "'0' is not a whole number from 1 on"),
        ([*SERVE, "--size-limit", "12"], "--size-limit '12' has no unit"),
        ([*SERVE, "--mailbox", "bob@example.org"], "only the name before the @"),
        ([*SERVE, "--queue", "queue"], "--relay-to"),
        ([*SERVE, "--set", "network.both.loss.p=5%"], "add --impair CONFIG"),
        ([*SERVE, "--impair", "text"], "there is none"),
        ([*SERVE, "--listen", "rudp://127.0.0.1:0", "--impair", "text"], "text:1: a single value is no scenario"),
        ([*SERVE, "--relay-to", "tcp://127.0.0.1:0"], "--relay-to tcp://127.0.0.1:0: nobody can be called"),
        ([*SERVE, "--cert", "absent", "--key", "absent"], "--cert absent --key absent: No such file or directory"),
        ([*SERVE, "--cert", "text", "--key", "text"], "--cert text: no certificate in it; expected PEM"),
        (
            [*SERVE, "--relay-to", "tcps://h:9", "--relay-starttls"],
            "--relay-starttls: tcps:// has TLS from the first oct",
        ),
        (
            [*GATEWAY, "--to", "rudps://h:9", "--relay-starttls"],
            "--relay-starttls: rudps:// has TLS from the first oct",
        ),
        ([*GATEWAY, "--to", "tcp://127.0.0.1:0"], "--to tcp://127.0.0.1:0: nobody can be called"),
        ([*GATEWAY, "--to", "tcp://127.0.0.1:9", "--listen", "tcps://127.0.0.1:0"], "needs --tls-self-signed"),
        ([*GATEWAY, "--to", "tcp://127.0.0.1:9", "--size-limit", "big"], "--size-limit 'big'"),
        ([*SEND, "--password-file", "text"], "--password-file is for a login: say as whom with --user"),
        (
            [*SEND, "--starttls", "--user", "a", "--password-file", "empty"],
            "--user and --password-file: a name or pass",
        ),
        ([*SEND, "--starttls", "--ca", "text", "--insecure"], "--insecure believes anybody: leave out --ca, or it"),
        ([*SERVE, "--relay-starttls"], "--relay-starttls is about the next host: say which with --relay-to"),
        ([*SERVE, "--relay-user", "a"], "--relay-user is about the next host: say which with --relay-to"),
        *(([*command, *wrong], words) for command in (RELAY, PASS) for wrong, words in WRONG_RELAY),
        (["inbox", "absent"], "absent is not a Maildir: there are no folders new and cur in it"),
        (["inbox", "absent", "--port", "80"], "add --web"),
        (["inbox", "absent", "2", "--raw", "1"], "one of them at a time"),
        (["inbox", "absent", "--web", "--raw", "1"], "one of them at a time"),
        (["inbox", "absent", "--web", "--port", "99999"], "'99999' is not a port"),
        (["queue", "absent", "list"], "absent is not a queue"),
        (["user", "add", "--users", "users", "alice"], "add --password-file FILE"),
        (["user", "add", "--users", "users", "alice", "--password-file", "empty"], "the password cannot be used"),
    ],
)
def test_bad_input_is_named_and_nothing_is_made(
    place: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.iterdir())
    status, said = fails(arguments, capsys)
    assert status == 2, said
    assert words in said
    assert "[Errno" not in said
    assert sorted(place.iterdir()) == before


@pytest.fixture
def taken() -> Iterator[int]:
    """A port where somebody listens, over TCP and over UDP."""
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        stream.bind(("127.0.0.1", 0))
        stream.listen()
        port: int = stream.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        yield port


@pytest.mark.parametrize("scheme", ["tcp", "rudp"])
@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_a_port_that_is_taken_is_named(
    place: Path, taken: int, command: str, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"serve": ["--maildir", "mail"], "gateway": ["--to", "tcp://127.0.0.1:9"]}[command]
    status, said = fails([command, "--listen", f"{scheme}://127.0.0.1:{taken}", *more], capsys)
    assert status == 1
    assert said.startswith(f"cannot listen on {scheme}://127.0.0.1:{taken}: Address already in use; ")
    assert "another port" in said


def test_the_pages_port_that_is_taken_is_named(place: Path, taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("new", "cur"):
        (place / folder).mkdir()
    status, said = fails(["inbox", ".", "--web", "--port", str(taken)], capsys)
    assert (status, said) == (1, f"--port {taken}: Address already in use; take another (0 is any free one)\n")


@pytest.mark.parametrize("scheme", ["tcp", "rudp"])
def test_a_name_that_is_no_host_is_named(scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = fails(["send", "--server", f"{scheme}://-.invalid:25", *LETTER], capsys)
    assert status == 1
    assert said.startswith(f"cannot connect to {scheme}://-.invalid:25: ")
    assert "Unknown error" not in said


class Gone:
    """A stream whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def test_who_stops_reading_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `| head` does: a trace or a server's notices end, the session goes on."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Gone())
        for _ in range(2):
            tell("a line", is_aside=name == "stderr")


def test_a_command_whose_reader_has_left_ends_quietly(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "password").write_text("secret\n")
    assert main(["user", "add", "--users", "users", "alice", "--password-file", "password"]) == 0
    monkeypatch.setattr(sys, "stdout", Gone())
    assert main(["user", "list", "--users", "users"]) == 141


def test_an_interrupt_is_an_exit_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(work: Coroutine[object, object, object]) -> None:
        work.close()
        raise KeyboardInterrupt

    monkeypatch.setattr("rudp_smtp.cli.send.asyncio.run", interrupted)
    assert fails(SEND, capsys) == (130, "interrupted\n")
