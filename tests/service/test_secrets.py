"""A password is shown to nobody who looks on: in a value's text, an error, an event, a reply, a trace, a log."""

import base64
from pathlib import Path

import pytest

from rudp_smtp.cli.traces import Tracer
from rudp_smtp.errors import ConfigError
from rudp_smtp.smtp import (
    Authentication,
    Client,
    Envelope,
    Login,
    MemoryCredentials,
    Server,
    decode_password,
    store_password,
)
from rudp_smtp.smtp.auth import MECHANISMS
from rudp_smtp.smtp.commands import BASIC_VERBS, Grammar, parse_command
from rudp_smtp.smtp.sasl import Response
from tests.ports import free_port
from tests.service.programs import rudp_smtp, serving
from tests.smtp.dialogue import Chunks, accept_all, client_events, server_events, singly, whole

PASSWORD = "correct horse"
PLAIN = f"\0tim\0{PASSWORD}".encode()
MAIL = Envelope("a@b.example", ("u@mx.example",), b"Subject: x\r\n\r\nAUTH PLAIN is what a message may speak of\r\n")


def entropy(octets: int) -> bytes:
    return bytes(range(octets))


KEPT = store_password(PASSWORD, entropy)
CREDENTIALS = MemoryCredentials({"tim": KEPT})
IN_THE_CLEAR = tuple(name for name in MECHANISMS if not name.endswith("PLUS"))


def secrets() -> list[str]:
    """The password and what is as good as it, in the forms in which a program shows octets."""
    kept = (KEPT.digest, KEPT.scram.stored_key, KEPT.scram.server_key)
    octets = [PASSWORD.encode(), PLAIN, *kept]
    shown = [base64.b64encode(item).decode().rstrip("=") for item in octets]
    return [PASSWORD, *shown, *(item.hex() for item in octets), *(repr(item)[2:-1] for item in octets)]


def login(password: str = PASSWORD, mechanisms: tuple[str, ...] = IN_THE_CLEAR) -> Login:
    return Login(
        name="tim", password=password, entropy=entropy, mechanisms=mechanisms, is_allowed_without_tls=True
    )  # fmt: skip


def server() -> Server:
    authentication = Authentication(credentials=CREDENTIALS, entropy=entropy, is_allowed_without_tls=True)
    return Server(domain="mx.example", authentication=authentication)


def test_no_value_that_holds_a_secret_shows_it() -> None:
    grammar = Grammar(verbs=BASIC_VERBS | {"AUTH"})
    command = parse_command(b"AUTH PLAIN " + base64.b64encode(PLAIN), grammar=grammar)
    shown = repr([login(), KEPT, KEPT.scram, Response(PLAIN), command])
    assert "'tim'" in shown
    assert [secret for secret in secrets() if secret in shown] == []


def test_an_error_about_a_stored_password_does_not_repeat_it() -> None:
    with pytest.raises(ConfigError) as caught:
        decode_password(PASSWORD)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("chunks", [whole, singly])
@pytest.mark.parametrize("mechanism", IN_THE_CLEAR)
def test_a_trace_shows_that_a_login_was_and_nothing_of_it(
    mechanism: str, chunks: Chunks, capsys: pytest.CaptureFixture[str]
) -> None:
    tracer, mx = Tracer(), server()
    mx.tell(tracer.watching("192.0.2.1"))
    client = Client(domain="c.example", login=login(mechanisms=(mechanism,)), watch=tracer.watching())
    client.submit(MAIL, token=1)
    client.quit()
    carried, said = b"", b"x"
    envelopes: list[Envelope] = []
    while said:
        said = mx.data_to_send()
        for piece in chunks(said):
            client.receive_data(piece)
        asked = client.data_to_send()
        for piece in chunks(asked):
            mx.receive_data(piece)
            envelopes += accept_all(mx)
        carried += asked
        said += asked
    shown = capsys.readouterr().err
    assert envelopes == [MAIL]
    assert shown.count(f"C: AUTH {mechanism}") == 2, "at both ends"
    assert "S: 235 2.7.0" in shown
    assert "[part of a login]" in shown
    answers = [line.rpartition(b" ")[2].decode() for line in carried.partition(b"MAIL FROM")[0].split(b"\r\n")]
    longer = [word for word in answers if len(word) > 16 and "." not in word]
    assert longer, "what is looked for was said"
    assert [word for word in [*secrets(), *longer] if word in shown] == []


def test_a_server_repeats_nothing_of_a_login() -> None:
    mx, said = server(), b""
    name, password = base64.b64encode(b"tim"), PASSWORD.encode()
    wrong = b"AUTH PLAIN " + base64.b64encode(PLAIN) + b"!"
    for line in (b"EHLO c", wrong, b"AUTH PLAIN", PLAIN, b"AUTH LOGIN", name, password, b"AUTH " + password, password):
        mx.receive_data(line + b"\r\n")
        said += mx.data_to_send()
    mx.receive_eof()
    events = list(server_events(mx))
    assert [secret for secret in secrets() if secret in said.decode() + repr(events)] == []


@pytest.mark.parametrize("answer", ["334 !", "334 bm8=", "250 what", "535 5.7.8 no", "454 4.7.0 later", "", "nonsense"])
@pytest.mark.parametrize("mechanism", IN_THE_CLEAR)
def test_a_login_that_fails_is_told_without_what_was_said(mechanism: str, answer: str) -> None:
    client = Client(domain="c.example", login=login(mechanisms=(mechanism,)))
    client.submit(MAIL, token=1)
    client.receive_data(b"220 mx\r\n")
    client.receive_data(f"250-mx\r\n250 AUTH {mechanism}\r\n".encode())
    client.data_to_send()
    for _ in range(3):
        client.receive_data(answer.encode() + b"\r\n")
        client.data_to_send()
    client.receive_eof()
    told = repr(client_events(client))
    assert "DeliveryReport" in told
    assert [secret for secret in secrets() if secret in told] == []


def test_neither_a_server_nor_a_client_leaves_a_trace_of_a_password(tmp_path: Path) -> None:
    """`serve` and `send --trace`, a login that succeeds and one that does not: output, log, Maildir and stories."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "wrong").write_text(PASSWORD + "!\n")
    users = tmp_path / "users"
    rudp_smtp("user", "add", "--users", users, "tim", "--password-file", tmp_path / "password")
    url = f"rudp://127.0.0.1:{free_port()}"
    shown = ""
    options = ["--domain", "mx.example", "--users", users, "--tls-self-signed", "--trace"]
    with serving(tmp_path, "--listen", url, *options) as program:
        for file, status, security in (
            ("password", 0, ["--starttls", "--insecure"]),
            ("wrong", 1, ["--starttls", "--insecure"]),
            ("password", 1, []),  # the server offers no login without TLS
        ):
            letter = ["--from", "a@b.example", "--to", "u@mx.example", "--body", "x", "--trace", *security]
            login = ["--user", "tim", "--password-file", tmp_path / file]
            sent = rudp_smtp("send", "--server", url, *letter, *login)
            assert sent.returncode == status, sent.stderr
            shown += sent.stdout + sent.stderr
        program.wait_for("delivered: <a@b.example>")
        shown += program.said()
        assert "/TLS: AUTH SCRAM-SHA-256" in program.said()
    kept = [path for path in (tmp_path / "mail").rglob("*") if path.is_file()]
    assert "rudp-stories.jsonl" in [path.name for path in kept]
    shown += "".join(path.read_bytes().decode("latin-1") for path in kept)
    assert [secret for secret in secrets() if secret in shown] == []
