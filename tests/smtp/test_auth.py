"""SASL machines by themselves: the examples of the RFCs, both sides against each other, and what must fail."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import ConfigError, LocalProtocolError
from rudp_smtp.smtp import Authentication, Login, MemoryCredentials, decode_password, store_password
from rudp_smtp.smtp.credentials import StoredPassword, saslprep, scram_keys
from rudp_smtp.smtp.sasl import Challenge, Denied, Granted, Refused, Response
from rudp_smtp.smtp.scram import ScramClient, ScramServer
from rudp_smtp.smtp.tls import BINDING_END_POINT, BINDING_UNIQUE, end_point_binding
from tests.smtp.certificates import certificate


def entropy(octets: int) -> bytes:
    return bytes(range(octets))


def unbound(kind: str) -> bytes | None:
    return None


def to_one_certificate(kind: str) -> bytes | None:
    return b"hash of a certificate" if kind == BINDING_END_POINT else None


# RFC 7677 section 3, with its nonces and salt.
CLIENT_NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_client_of_the_example_of_rfc_7677() -> None:
    client = ScramClient("user", "pencil", CLIENT_NONCE)
    assert client.respond(None) == Response(b"n,,n=user,r=" + CLIENT_NONCE.encode())
    assert client.respond(SERVER_FIRST) == Response(CLIENT_FINAL)
    assert not client.is_satisfied
    assert client.respond(SERVER_FINAL) == Response(b"")
    assert client.is_satisfied


def test_a_server_asks_with_the_salt_and_the_iterations_that_are_kept() -> None:
    keys = scram_keys("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    credentials = MemoryCredentials({"user": StoredPassword(b"", b"", keys)})
    server = ScramServer(credentials, entropy, unbound, b"", is_bound=False, is_plus_offered=False)
    assert server.respond(None) == Challenge(b"")
    challenge = server.respond(b"n,,n=user,r=" + CLIENT_NONCE.encode())
    assert isinstance(challenge, Challenge)
    assert challenge.octets.startswith(b"r=" + CLIENT_NONCE.encode())
    assert challenge.octets.endswith(b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")


@pytest.mark.parametrize(
    "said",
    [
        SERVER_FIRST.replace(b"rOprNG", b"xOprNG"),
        b"r=" + CLIENT_NONCE.encode() + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        SERVER_FIRST.replace(b"i=4096", b"i=1"),
        SERVER_FIRST.replace(b"i=4096", b"i=99999999"),
        SERVER_FIRST.replace(b"s=W22ZaJ0SNY7soEsUEjb6gQ==", b"s=W22"),
        b"e=other-error",
        b"\xff",
        b"",
    ],
)
def test_a_client_breaks_off_when_the_server_says_what_it_must_not(said: bytes) -> None:
    client = ScramClient("user", "pencil", CLIENT_NONCE)
    client.respond(None)
    assert isinstance(client.respond(said), Refused)
    assert not client.is_satisfied


def test_a_client_is_not_content_with_a_server_that_does_not_know_the_password() -> None:
    client = ScramClient("user", "pencil", CLIENT_NONCE)
    client.respond(None)
    client.respond(SERVER_FIRST)
    assert isinstance(client.respond(b"v=" + base64.b64encode(bytes(32))), Refused)
    assert not client.is_satisfied


def negotiate(client: ScramClient, server: ScramServer) -> Granted | Denied | Refused:
    """Let both talk to the end; the verdict that ended it."""
    challenge: bytes | None = None
    for _ in range(5):
        step = client.respond(challenge)
        if isinstance(step, Refused):
            return step
        answer = server.respond(step.octets)
        if not isinstance(answer, Challenge):
            return answer
        challenge = answer.octets
    raise AssertionError("no end")


STORED = {name: store_password("p=w,d", entropy) for name in ("user", "a=b,c", "i")}


@pytest.mark.parametrize("name", ["user", "a=b,c", "\u2170"])
def test_both_sides_agree_on_names_with_any_character(name: str) -> None:
    server = ScramServer(MemoryCredentials(STORED), entropy, unbound, b"", is_bound=False, is_plus_offered=False)
    assert negotiate(ScramClient(name, "p=w,d", "nonce"), server) == Granted(saslprep(name))


@pytest.mark.parametrize(("name", "password"), [("user", "wrong"), ("nobody", "p=w,d")])
def test_a_wrong_password_and_a_name_that_nobody_has_fail_alike(name: str, password: str) -> None:
    server = ScramServer(MemoryCredentials(STORED), entropy, unbound, b"key", is_bound=False, is_plus_offered=False)
    assert negotiate(ScramClient(name, password, "nonce"), server) == Denied("the proof does not hold")


def test_a_name_that_nobody_has_always_gets_the_same_salt() -> None:
    salts = set()
    for key in (b"key", b"key", b"other"):
        server = ScramServer(MemoryCredentials({}), entropy, unbound, key, is_bound=False, is_plus_offered=False)
        challenge = server.respond(b"n,,n=nobody,r=x")
        assert isinstance(challenge, Challenge)
        salts.add(challenge.octets)
    assert len(salts) == 2


def plus(kind: str, bound: bytes) -> ScramClient:
    return ScramClient("user", "p=w,d", "nonce", kind=kind, bound=bound)


def test_with_plus_the_proof_holds_for_one_channel_only() -> None:
    def server() -> ScramServer:
        return ScramServer(
            MemoryCredentials(STORED), entropy, to_one_certificate, b"", is_bound=True, is_plus_offered=True
        )

    assert negotiate(plus(BINDING_END_POINT, b"hash of a certificate"), server()) == Granted("user")
    assert isinstance(negotiate(plus(BINDING_END_POINT, b"of another one"), server()), Denied)
    assert isinstance(negotiate(plus(BINDING_UNIQUE, b"hash of a certificate"), server()), Denied)
    assert isinstance(negotiate(ScramClient("user", "p=w,d", "nonce"), server()), Denied)


@pytest.mark.parametrize(
    ("first", "is_plus_offered", "is_denied"),
    [
        (b"n,,n=user,r=x", True, False),
        (b"y,,n=user,r=x", False, False),
        (b"y,,n=user,r=x", True, True),  # somebody took -PLUS out of what we offered
        (b"p=tls-unique,,n=user,r=x", True, True),
        (b"n,a=user,n=user,r=x", True, False),
        (b"n,a=root,n=user,r=x", True, True),
        (b"n,,m=ext,n=user,r=x", True, True),
        (b"n,,n=us=er,r=x", True, True),
        (b"n,,n=,r=x", True, True),
        (b"n,,n=user,r=", True, True),
        (b"n,,n=user", True, True),
        (b"n=user,r=x", True, True),
        (b"n,,n=us\xff,r=x", True, True),
        (b"n,,n=us\x07er,r=x", True, True),
        (b"", True, True),
    ],
)
def test_what_a_client_may_open_with(first: bytes, is_plus_offered: bool, is_denied: bool) -> None:
    server = ScramServer(
        MemoryCredentials(STORED), entropy, unbound, b"", is_bound=False, is_plus_offered=is_plus_offered
    )
    assert isinstance(server.respond(first), Denied) == is_denied


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60) | st.text(alphabet="nyp=,racvi0+/", max_size=40).map(str.encode), max_size=4))
def test_octets_that_are_no_scram_grant_nothing_and_never_raise(said: list[bytes]) -> None:
    server = ScramServer(MemoryCredentials(STORED), entropy, unbound, b"", is_bound=False, is_plus_offered=False)
    assert isinstance(server.respond(b"n,,n=user,r=x"), Challenge)
    client = ScramClient("user", "p=w,d", "nonce")
    client.respond(None)
    for octets in said:
        assert not isinstance(server.respond(octets), Granted)
        client.respond(octets)
    assert not client.is_satisfied


@pytest.mark.parametrize(
    ("text", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b")],
)
def test_the_examples_of_saslprep_in_rfc_4013_section_3(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "", "\u00ad", "a\u0000b", "\ue000"])
def test_what_saslprep_prohibits(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        saslprep(text)


def test_a_password_is_kept_as_two_hashes_and_read_back_from_a_line() -> None:
    stored = store_password("s\u00adecret", entropy)
    assert stored.matches("secret")
    assert not stored.matches("Secret")
    assert not stored.matches("\0")
    line = stored.encode()
    assert "secret" not in line
    assert decode_password(line) == stored


@pytest.mark.parametrize("line", ["", "secret", "scrypt-scram-sha-256$x$a$a$a$a$a", "scrypt-scram-sha-256$1$a$a$a$a$!"])
def test_a_line_that_is_no_stored_password_is_an_error_of_its_writer(line: str) -> None:
    with pytest.raises(ConfigError):
        decode_password(line)


def test_a_login_takes_the_best_that_is_offered_and_shows_no_password_in_the_clear() -> None:
    login = Login(name="user", password="secret", entropy=entropy)
    everything = ("LOGIN", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2")

    def choice(offered: tuple[str, ...], *, is_bound: bool, is_encrypted: bool) -> str | None:
        chosen = login.choose(offered, to_one_certificate if is_bound else unbound, is_encrypted=is_encrypted)
        return None if chosen is None else chosen[0]

    assert choice(everything, is_bound=True, is_encrypted=True) == "SCRAM-SHA-256-PLUS"
    assert choice(everything, is_bound=False, is_encrypted=True) == "SCRAM-SHA-256"
    assert choice(everything, is_bound=False, is_encrypted=False) == "SCRAM-SHA-256"
    assert choice(everything[:2], is_bound=False, is_encrypted=True) == "PLAIN"
    assert choice(everything[:2], is_bound=False, is_encrypted=False) is None
    assert choice(("XOAUTH2",), is_bound=False, is_encrypted=True) is None
    assert "secret" not in repr(login)


@pytest.mark.parametrize(("name", "password"), [("", "x"), ("x", ""), ("a\0b", "x"), ("a", "x\r\n")])
def test_what_cannot_be_said_is_refused_where_the_login_is_made(name: str, password: str) -> None:
    with pytest.raises(LocalProtocolError):
        Login(name=name, password=password, entropy=entropy)


def test_plus_is_offered_where_there_is_something_to_bind_to() -> None:
    authentication = Authentication(credentials=MemoryCredentials({}), entropy=entropy)
    assert authentication.offered(unbound, is_encrypted=False) == ()
    assert authentication.offered(unbound, is_encrypted=True) == ("SCRAM-SHA-256", "PLAIN", "LOGIN")
    assert authentication.offered(to_one_certificate, is_encrypted=True)[0] == "SCRAM-SHA-256-PLUS"


def test_the_hash_that_binds_to_a_certificate_is_its_signatures_own() -> None:
    der = certificate()[1]
    assert end_point_binding(der) == hashlib.sha256(der).digest()
    for broken in (b"", b"\x30", der[:100], b"\x30\x03\x02\x01\x05", bytes(50)):
        assert end_point_binding(broken) is None
