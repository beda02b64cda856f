"""STARTTLS, implicit TLS and AUTH at the server: RFC 3207, RFC 8314, RFC 4954."""

import base64
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import ConfigError, LocalProtocolError
from rudp_smtp.smtp import (
    Authentication,
    Extensions,
    Limits,
    MemoryCredentials,
    Reply,
    Server,
    ServerTls,
    SessionEnded,
    StoredPassword,
    store_password,
)
from rudp_smtp.smtp.parameters import decode_xtext
from tests.smtp.certificates import certificate, server_context
from tests.smtp.dialogue import cut, feed, play, read_replies, say, server_events
from tests.smtp.encrypted import TlsPeer


def entropy(octets: int) -> bytes:
    return bytes(range(octets))


PASSWORD = "correct horse"
CREDENTIALS = MemoryCredentials({"tim": store_password(PASSWORD, entropy)})
PLAIN = base64.b64encode(f"\0tim\0{PASSWORD}".encode()).decode()
WRONG = base64.b64encode(b"\0tim\0wrong").decode()
NOBODY = base64.b64encode(f"\0nobody\0{PASSWORD}".encode()).decode()


def secured(
    *,
    is_implicit: bool = False,
    is_tls_required: bool = False,
    is_auth_required: bool = False,
    is_allowed_without_tls: bool = False,
    limits: Limits | None = None,
    extensions: Extensions | None = None,
) -> Server:
    return Server(
        domain="mx.example",
        limits=limits,
        extensions=extensions,
        tls=ServerTls(
            context=server_context(),
            certificate=certificate()[1],
            is_implicit=is_implicit,
            is_required=is_tls_required,
        ),
        authentication=Authentication(
            credentials=CREDENTIALS,
            entropy=entropy,
            is_required=is_auth_required,
            is_allowed_without_tls=is_allowed_without_tls,
        ),
    )


def encrypted(server: Server, context: ssl.SSLContext | None = None) -> TlsPeer:
    """A peer that has done STARTTLS and said EHLO again."""
    assert say(server, "EHLO client.example", "STARTTLS") == [220, 250, 220]
    peer = TlsPeer(server, context)
    assert peer.codes("EHLO client.example") == [250]
    return peer


def offers(reply: bytes) -> dict[str, str]:
    words = [row[4:].decode().partition(" ") for row in reply.split(b"\r\n")[1:-1]]
    return {keyword: parameters for keyword, _, parameters in words}


def test_what_is_offered_depends_on_tls() -> None:
    server = secured()
    server.data_to_send()
    server.receive_data(b"EHLO client.example\r\n")
    before = offers(server.data_to_send())
    assert "STARTTLS" in before
    assert "AUTH" not in before
    server.receive_data(b"STARTTLS\r\n")
    server.data_to_send()
    after = offers(TlsPeer(server).say(b"EHLO client.example\r\n"))
    assert "STARTTLS" not in after
    assert after["AUTH"] == "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"


def test_mail_goes_through_tls_and_the_envelope_says_so() -> None:
    peer = encrypted(secured())
    assert peer.codes(f"AUTH PLAIN {PLAIN}", "MAIL FROM:<a@b.example>", "RCPT TO:<u@mx.example>", "DATA", "x", ".") == [
        235, 250, 250, 354, 250,
    ]  # fmt: skip
    (envelope,) = peer.envelopes
    assert (envelope.is_encrypted, envelope.authenticated_as, envelope.mail_data) == (True, "tim", b"x\r\n")
    assert envelope.protocol == "ESMTPSA"
    assert peer.codes("QUIT") == [221]
    assert peer.server.done


def test_the_usage_example_of_rfc_3207_section_5() -> None:
    server = secured()
    play(
        server,
        """
        S: 220
        C: EHLO mail.example.com
        S: 250
        C: STARTTLS
        S: 220
        """,
    )
    peer = TlsPeer(server)
    assert peer.codes("EHLO mail.example.com") == [250]


def test_what_was_said_before_tls_is_forgotten() -> None:
    server = secured(is_allowed_without_tls=True)
    assert say(server, "EHLO client.example", f"AUTH PLAIN {PLAIN}", "STARTTLS") == [220, 250, 235, 220]
    peer = TlsPeer(server)
    assert peer.codes("MAIL FROM:<a@b.example>", "AUTH PLAIN =", "EHLO c", f"AUTH PLAIN {PLAIN}") == [
        503,
        503,
        250,
        235,
    ]


@pytest.mark.parametrize("injected", [b"RSET\r\n", b"EHLO evil\r\nMAIL FROM:<evil@b.example>\r\n", b"half a li"])
def test_commands_that_came_in_the_clear_behind_starttls_are_never_obeyed(injected: bytes) -> None:
    server = secured()
    say(server, "EHLO client.example")
    server.receive_data(b"STARTTLS\r\n" + injected)
    assert [reply.code for reply in read_replies(server.data_to_send())] == [220]
    peer = TlsPeer(server)
    assert peer.hear() == b""
    assert peer.codes("EHLO client.example", "NOOP") == [250, 250]


def test_starttls_is_for_between_ehlo_and_mail_and_only_once() -> None:
    assert say(secured(), "STARTTLS", "HELO c", "STARTTLS") == [220, 503, 250, 503]
    server = secured()
    say(server, "EHLO c", "MAIL FROM:<a@b.example>")
    assert say(server, "STARTTLS", "RSET", "STARTTLS now", "STARTTLS") == [503, 250, 501, 220]
    assert encrypted(secured()).codes("STARTTLS") == [503]
    assert say(Server(domain="mx.example"), "EHLO c", "STARTTLS") == [220, 250, 500]


def test_octets_that_are_no_tls_end_the_session() -> None:
    server = secured()
    say(server, "EHLO c", "STARTTLS")
    server.receive_data(b"EHLO in the clear\r\n")
    (end,) = server_events(server)
    assert isinstance(end, SessionEnded)
    assert end.reason.startswith("TLS: ")
    assert not end.is_clean
    assert b"250" not in server.data_to_send()


def test_an_implicit_tls_session_is_greeted_inside() -> None:
    server = secured(is_implicit=True)
    assert server.data_to_send() == b""
    peer = TlsPeer(server)
    assert peer.hear() == b"220 mx.example ESMTP ready\r\n"
    assert peer.codes("EHLO c", "STARTTLS", f"AUTH PLAIN {PLAIN}", "QUIT") == [250, 503, 235, 221]


def test_a_stream_that_ends_in_the_handshake_ends_the_session() -> None:
    begun = secured()
    say(begun, "EHLO c", "STARTTLS")
    for server in (secured(is_implicit=True), begun):
        server.receive_eof()
        assert [type(event) for event in server_events(server)] == [SessionEnded]


def test_a_channel_that_is_closed_ends_the_session() -> None:
    peer = encrypted(secured())
    peer.close()
    assert peer.server.done


def test_where_tls_is_required_nothing_else_is_served_before() -> None:
    server = secured(is_tls_required=True)
    lines = ("EHLO c", "NOOP", "MAIL FROM:<a@b.example>", "RCPT TO:<u@mx.example>", "VRFY x", "RSET", "STARTTLS")
    assert say(server, *lines) == [220, 250, 250, 530, 530, 530, 530, 220]
    assert TlsPeer(server).codes("EHLO c", "MAIL FROM:<a@b.example>") == [250, 250]


def test_where_authentication_is_required_there_is_no_mail_without() -> None:
    peer = encrypted(secured(is_auth_required=True))
    lines = (
        "MAIL FROM:<a@b.example>",
        "RCPT TO:<u@mx.example>",
        "DATA",
        f"AUTH PLAIN {PLAIN}",
        "MAIL FROM:<a@b.example>",
    )
    assert peer.codes(*lines) == [530, 503, 503, 235, 250]


def test_passwords_are_not_taken_in_the_clear() -> None:
    assert say(secured(), "EHLO c", f"AUTH PLAIN {PLAIN}", "AUTH SCRAM-SHA-256") == [220, 250, 538, 538]
    assert say(secured(is_allowed_without_tls=True), "EHLO c", f"AUTH PLAIN {PLAIN}") == [220, 250, 235]


def test_the_plain_example_of_rfc_4954_section_4_1() -> None:
    # The RFC's user and password, with and without an initial response.
    credentials = MemoryCredentials({"test": store_password("1234", entropy)})
    authentication = Authentication(credentials=credentials, entropy=entropy, is_allowed_without_tls=True)
    for transcript in (
        """
        C: AUTH PLAIN dGVzdAB0ZXN0ADEyMzQ=
        S: 235 2.7.0
        """,
        """
        C: AUTH PLAIN
        S: 334
        C: dGVzdAB0ZXN0ADEyMzQ=
        S: 235 2.7.0
        """,
    ):
        server = Server(domain="mx.example", authentication=authentication)
        say(server, "EHLO client.example.com")
        play(server, transcript)


def test_login_asks_for_both_and_takes_the_name_with_the_command() -> None:
    name, password = (base64.b64encode(word.encode()).decode() for word in ("tim", PASSWORD))
    for lines in (("AUTH LOGIN", name, password), (f"auth login {name}", password)):
        codes = encrypted(secured()).codes(*lines)
        assert codes == [334] * (len(lines) - 1) + [235]


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (("AUTH",), [501]),
        (("AUTH PLAIN a b",), [501]),
        (("AUTH CRAM-MD5",), [504]),
        (("AUTH PLAIN !",), [501]),
        (("AUTH PLAIN =",), [535]),
        (("AUTH PLAIN", "*"), [334, 501]),
        (("AUTH PLAIN", "not base64"), [334, 501]),
        (("AUTH PLAIN", "x" * 13000), [334, 500]),
        (("AUTH PLAIN " + "x" * 13000,), [500]),
        ((f"AUTH PLAIN {WRONG}",), [535]),
        ((f"AUTH PLAIN {NOBODY}",), [535]),
        ((f"AUTH PLAIN {base64.b64encode(f'root{chr(0)}tim{chr(0)}{PASSWORD}'.encode()).decode()}",), [535]),
        ((f"AUTH PLAIN {base64.b64encode(bytes([255, 0, 0])).decode()}",), [535]),
        ((f"AUTH PLAIN {base64.b64encode(b'x' + bytes(2) + b'y' * 2000).decode()}",), [535]),
        ((f"AUTH PLAIN {PLAIN}", f"AUTH PLAIN {PLAIN}"), [235, 503]),
        (("MAIL FROM:<a@b.example>", f"AUTH PLAIN {PLAIN}"), [250, 503]),
        (("HELO c", f"AUTH PLAIN {PLAIN}"), [250, 503]),
    ],
)
def test_every_way_to_fail_has_its_code_and_the_session_goes_on(lines: tuple[str, ...], codes: list[int]) -> None:
    peer = encrypted(secured())
    assert peer.codes(*lines) == codes
    assert peer.codes("NOOP") == [250]


def test_who_may_log_in_cannot_be_read_now_and_the_client_is_told_to_come_again() -> None:
    class Unreadable:
        def find(self, name: str) -> StoredPassword | None:
            raise ConfigError("users cannot be read")

    authentication = Authentication(credentials=Unreadable(), entropy=entropy, is_allowed_without_tls=True)
    server = Server(domain="mx.example", authentication=authentication)
    lines = ("EHLO c", f"AUTH PLAIN {PLAIN}", "AUTH SCRAM-SHA-256 biwsbj11LHI9eA==", "NOOP")
    assert say(server, *lines) == [220, 250, 454, 454, 250]


def test_a_long_initial_response_is_no_line_too_long() -> None:
    assert encrypted(secured()).codes("AUTH PLAIN " + "x" * 8000) == [535]
    assert encrypted(secured()).codes("NOOP " + "x" * 600) == [500]


def test_too_many_failures_to_authenticate_end_the_session() -> None:
    peer = encrypted(secured(limits=Limits(authentication_failures=3)))
    assert peer.codes(*[f"AUTH PLAIN {WRONG}"] * 5) == [535, 535, 421]
    assert peer.server.done


def test_a_policy_may_look_at_who_asks() -> None:
    def accepts(forward_path: str) -> Reply | None:
        return None if server.peer.authenticated_as else Reply(550, ("5.7.1 We do not relay",))

    server = Server(
        domain="mx.example",
        accepts=accepts,
        authentication=Authentication(credentials=CREDENTIALS, entropy=entropy, is_allowed_without_tls=True),
    )
    lines = ("EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<x@far.example>", "RSET", f"AUTH PLAIN {PLAIN}")
    assert say(server, *lines, *lines[1:3]) == [220, 250, 250, 550, 250, 235, 250, 250]


@pytest.mark.parametrize(
    ("said", "vouched"),
    [
        ("", ""),
        ("<>", "<>"),
        ("tim@b.example", "tim@b.example"),
        ("Tim@b.example", "Tim@b.example"),
        ("e+3Dmc2@example.com", "<>"),
    ],
)
def test_who_submitted_a_message_is_believed_of_nobody_but_of_that_one(said: str, vouched: str) -> None:
    """RFC 4954 section 5, with the mailbox of its example."""
    mail = "MAIL FROM:<a@b.example>" + (f" AUTH={said}" if said else "")
    lines = (mail, "RCPT TO:<u@mx.example>", "DATA", ".")
    peer = encrypted(secured())
    assert peer.codes(*lines, f"AUTH PLAIN {PLAIN}", *lines) == [250, 250, 354, 250, 235, 250, 250, 354, 250]
    stranger, known = peer.envelopes
    assert stranger.auth == known.auth == decode_xtext(said)
    assert (stranger.vouched, known.vouched) == ("<>", vouched)


def test_mechanisms_are_named_by_the_operator() -> None:
    authentication = Authentication(
        credentials=CREDENTIALS, entropy=entropy, mechanisms=("LOGIN",), is_allowed_without_tls=True
    )
    server = Server(domain="mx.example", authentication=authentication)
    assert say(server, "EHLO c", f"AUTH PLAIN {PLAIN}", "AUTH LOGIN") == [220, 250, 504, 334]
    with pytest.raises(LocalProtocolError, match="CRAM-MD5"):
        Authentication(credentials=CREDENTIALS, entropy=entropy, mechanisms=("CRAM-MD5",))


def test_where_nothing_is_configured_the_verbs_are_unknown() -> None:
    server = Server(domain="mx.example")
    assert say(server, "EHLO c", "AUTH PLAIN", "BDAT 0 LAST", "LHLO c") == [220, 250, 500, 500, 500]


def test_requiretls_is_for_sessions_with_tls() -> None:
    server = secured(extensions=Extensions(is_requiretls=True))
    assert say(server, "EHLO c", "MAIL FROM:<a@b.example> REQUIRETLS") == [220, 250, 555]
    peer = encrypted(secured(extensions=Extensions(is_requiretls=True)))
    assert b"250 REQUIRETLS\r\n" in peer.say(b"EHLO c\r\n").replace(b"-", b" ")
    assert peer.codes("MAIL FROM:<a@b.example> REQUIRETLS=1") == [501]
    lines = ("MAIL FROM:<a@b.example> REQUIRETLS", "RCPT TO:<u@mx.example>", "DATA", ".")
    assert peer.codes(*lines) == [250, 250, 354, 250]
    assert peer.envelopes[0].requires_tls


def test_what_the_header_says_of_tls_is_told_unless_mail_requires_it() -> None:
    """RFC 8689 section 4.1."""
    peer = encrypted(secured(extensions=Extensions(is_requiretls=True)))
    peer.say(b"EHLO c\r\n")
    for parameter in ("", " REQUIRETLS"):
        lines = (f"MAIL FROM:<a@b.example>{parameter}", "RCPT TO:<u@mx.example>", "DATA", "TLS-Required: No\r\n.")
        assert peer.codes(*lines) == [250, 250, 354, 250]
    assert [envelope.is_tls_optional for envelope in peer.envelopes] == [True, False]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([b"AUTH PLAIN\r\n", b"AUTH LOGIN\r\n", b"AUTH SCRAM-SHA-256\r\n", b"EHLO c\r\n",
    b"bixjLA==\r\n", b"biwsbj11LHI9eA==\r\n", b"Yz1iaXdzLHI9eCxwPXg=\r\n", b"*\r\n", b"=\r\n", b"\r\n", b"\xff\r\n",
    b"MAIL FROM:<a@b.example>\r\n", f"AUTH PLAIN {WRONG}\r\n".encode()]), max_size=12))  # fmt: skip
def test_whatever_is_said_to_authenticate_is_answered(lines: list[bytes]) -> None:
    authentication = Authentication(credentials=CREDENTIALS, entropy=entropy, is_allowed_without_tls=True)
    said = [feed(Server(domain="mx.example", authentication=authentication), chunks) for chunks in
            (lines, cut(b"".join(lines), [1]))]  # fmt: skip
    assert said[0] == said[1]
    read_replies(said[0][0])


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_random_octets_in_the_place_of_tls_never_raise(chunks: list[bytes]) -> None:
    server = secured(is_implicit=True)
    for chunk in chunks:
        server.receive_data(chunk)
        server.data_to_send()
    server.receive_eof()
    assert [type(event) for event in server_events(server)] == [SessionEnded]
