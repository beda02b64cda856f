"""What a watcher is told of a session: all of the dialogue, inside TLS too, and nothing of a login or a message."""

import base64
import hashlib
from dataclasses import replace
from itertools import product

import pytest

from rudp_smtp.smtp import (
    Authentication,
    Client,
    ClientTls,
    Envelope,
    Extensions,
    Login,
    MailSource,
    MemoryCredentials,
    Said,
    Server,
    ServerTls,
    TlsUse,
    store_password,
)
from rudp_smtp.smtp.auth import MECHANISMS
from tests.smtp.certificates import HOST, certificate, client_context, server_context
from tests.smtp.dialogue import converse, feed, singly, whole

NAME, PASSWORD = "tim", "correct horse"
MAIL = Envelope("a@b.example", ("u@mx.example",), b"Subject: hush\r\n\r\n.the code is 1234\r\n")
LOGIN = "[part of a login]"


def entropy(octets: int) -> bytes:
    return bytes(range(octets))


CREDENTIALS = MemoryCredentials({NAME: store_password(PASSWORD, entropy)})


def make_server(
    *, is_implicit: bool = False, is_chunking: bool = False, is_allowed_without_tls: bool = False
) -> Server:
    tls = ServerTls(context=server_context(), certificate=certificate()[1], is_implicit=is_implicit)
    authentication = Authentication(
        credentials=CREDENTIALS, entropy=entropy, is_allowed_without_tls=is_allowed_without_tls
    )
    extensions = Extensions(is_chunking=is_chunking)
    return Server(domain="mx.example", extensions=extensions, tls=tls, authentication=authentication)


def make_client(
    use: TlsUse | None, watch: list[Said], mechanism: str = "PLAIN", password: str = PASSWORD, name: str = HOST
) -> Client:
    tls = None if use is None else ClientTls(context=client_context(), server_name=name, use=use)
    login = Login(name=NAME, password=password, entropy=entropy, mechanisms=(mechanism,), is_allowed_without_tls=True)
    return Client(domain="c.example", tls=tls, login=login, watch=watch.append)


def secrets_of(password: str) -> list[str]:
    """What must not be seen: the password and what the mechanisms make of it, as they are and in base64."""
    plain = [password.encode(), f"\0{NAME}\0{password}".encode(), hashlib.sha256(password.encode()).digest()]
    return [password, *(base64.b64encode(text).decode().rstrip("=") for text in plain)]


@pytest.mark.parametrize("chunks", [whole, singly])
@pytest.mark.parametrize("password", [PASSWORD, "wrong one"])
@pytest.mark.parametrize(
    ("use", "mechanism"),
    [
        *product((TlsUse.REQUIRED, TlsUse.IMPLICIT), MECHANISMS),
        *product((None,), MECHANISMS[1:]),  # the first is bound to TLS
    ],
)
def test_all_is_told_but_what_a_login_and_a_message_hold(
    use: TlsUse | None, mechanism: str, password: str, chunks: object
) -> None:
    mine: list[Said] = []
    theirs: list[Said] = []
    server = make_server(is_implicit=use is TlsUse.IMPLICIT, is_allowed_without_tls=True)
    server.tell(theirs.append)
    client = make_client(use, mine, mechanism, password)
    client.submit(MAIL, token=1)
    client.quit()
    _, envelopes = converse(client, server, chunks)  # type: ignore[arg-type]
    assert len(envelopes) == (password == PASSWORD)
    for told in (mine, theirs):
        text = "\n".join(said.text for said in told)
        assert not [secret for secret in secrets_of(password) if secret in text]
        assert "1234" not in text
        assert "hush" not in text
        assert ("n=" + NAME) not in text
        lines = [said.text for said in told]
        assert f"AUTH {mechanism}" in text
        assert lines.count(LOGIN) == {"PLAIN": 0, "LOGIN": 2}.get(mechanism, 1 + (password == PASSWORD))
        assert (f"[{len(MAIL.mail_data)} octets of mail data]" in lines) == (told is theirs and bool(envelopes))
        outside = [said.text for said in told if not said.is_encrypted]
        if use is TlsUse.REQUIRED:
            assert outside[0] == "220 mx.example ESMTP ready"
            assert outside[-2:] == ["STARTTLS", "220 2.0.0 Ready to start TLS"]
        elif use is TlsUse.IMPLICIT:
            assert outside == []
        else:
            assert outside == lines
    assert sorted(said.text for said in mine if "octets" not in said.text) == sorted(
        said.text for said in theirs if "octets" not in said.text
    )


def test_the_dialogue_is_told_in_its_order() -> None:
    told: list[Said] = []
    server = make_server(is_chunking=True)
    client = make_client(TlsUse.REQUIRED, told)
    client.submit(MAIL, token=1)
    client.submit(replace(MAIL, mail_data=b""), token=2, source=MailSource(lambda: (b"x" * 70 + b"\r\n",) * 3000))
    client.quit()
    converse(client, server)
    inside = [f"{said.who}: {said.text}" for said in told if said.is_encrypted]
    assert inside[0] == "C: EHLO c.example"
    login = inside.index("C: AUTH PLAIN [part of a login]")
    assert inside[login + 1 : login + 5] == [
        "S: 235 2.7.0 Authentication succeeded",
        f"C: MAIL FROM:<a@b.example> SIZE={len(MAIL.mail_data)}",
        "C: RCPT TO:<u@mx.example>",
        f"C: BDAT {len(MAIL.mail_data)} LAST",
    ]
    assert sum(line.startswith("C: BDAT ") for line in inside) > 1
    assert inside[-1] == "S: 221 2.0.0 mx.example closing"


def test_what_was_not_sent_for_a_bad_certificate_is_not_told() -> None:
    told: list[Said] = []
    client = make_client(TlsUse.REQUIRED, told, name="other.example")
    client.submit(MAIL, token=1)
    converse(client, make_server())
    assert client.done
    assert [said for said in told if said.is_encrypted] == []
    assert told[-1] == Said("S", "220 2.0.0 Ready to start TLS", is_encrypted=False)


@pytest.mark.parametrize(
    "lines",
    [
        b"AUTH LOGIN\r\ndGlt\r\nc2VjcmV0\r\n",
        b"AUTH PLAIN AHRpbQBzZWNyZXQ=\r\n",
        b"AUTH PLAIN AHRpbQBzZWNyZXQ= AHRpbQBzZWNyZXQ=\r\n",
        b"AUTH AHRpbQBzZWNyZXQ=\r\n",
        b"auth\tplain AHRpbQBzZWNyZXQ=\r\n",
        b" AUTH PLAIN AHRpbQBzZWNyZXQ=\r\n",
        b"AUTH=PLAIN c2VjcmV0\r\n",
        b"NOOP\r\nAUTH LOGIN dGlt\r\nNOOP\r\nc2VjcmV0\r\n",
    ],
)
@pytest.mark.parametrize("has_tls", [False, True])
def test_a_client_that_logs_in_wrongly_is_not_told_on(lines: bytes, has_tls: bool) -> None:
    """Where AUTH is not offered, or malformed, or its response comes before anybody asked."""
    told: list[Said] = []
    server = make_server(is_allowed_without_tls=has_tls)
    server.tell(told.append)
    feed(server, [b"EHLO c.example\r\n", lines, b"MAIL FROM:<a@b.example>\r\nRCPT TO:<u@mx.example>\r\n"])
    text = "\n".join(said.text for said in told)
    assert not any(secret in text for secret in ("c2VjcmV0", "AHRpbQBzZWNyZXQ", "dGlt"))
    assert "RCPT TO:<u@mx.example>" in text


def test_mail_data_ahead_of_its_go_ahead_is_mail_data_all_the_same() -> None:
    told: list[Said] = []
    server = Server(domain="mx.example")
    server.tell(told.append)
    envelope = b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@mx.example>\r\n"
    feed(server, [envelope + b"DATA\r\nSubject: hush\r\n\r\nx\r\n.\r\nQUIT\r\n"])
    assert [said.text for said in told if said.who == "C"][3:] == ["DATA", "[20 octets of mail data]", "QUIT"]
