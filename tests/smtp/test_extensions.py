"""DSN, SMTPUTF8, LIMITS, XIDEMPOTENT and LMTP at the server: what is parsed, carried and refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp import (
    BodyType,
    Envelope,
    Extensions,
    Limits,
    MailReceived,
    Notify,
    RecipientDsn,
    Reply,
    Ret,
    Server,
)
from rudp_smtp.smtp.commands import BASIC_VERBS, Grammar, MailFrom, Malformed, RcptTo, parse_command
from rudp_smtp.smtp.parameters import decode_xtext, encode_xtext
from tests.smtp.dialogue import accept_all, play, read_replies, server_events

EVERYTHING = Extensions(
    is_chunking=True, is_smtputf8=True, is_dsn=True, is_limits=True, is_requiretls=True, is_idempotent=True
)
GRAMMAR = EVERYTHING.grammar(is_lmtp=False, is_encrypted=True, has_tls=True, has_authentication=True)


def extended(extensions: Extensions = EVERYTHING, limits: Limits | None = None, *, is_lmtp: bool = False) -> Server:
    return Server(domain="mx.example", extensions=extensions, limits=limits, is_lmtp=is_lmtp)


def speak(server: Server, *lines: str) -> list[int]:
    server.receive_data("".join(line + "\r\n" for line in lines).encode())
    return [reply.code for reply in read_replies(server.data_to_send())]


def received(server: Server) -> Envelope:
    speak(server, "DATA")
    server.receive_data(b"text\r\n.\r\n")
    (envelope,) = accept_all(server)
    return envelope


def test_everything_is_announced_and_nothing_that_is_off() -> None:
    server = extended(limits=Limits(recipients=5, mails=7))
    server.data_to_send()
    server.receive_data(b"EHLO c\r\n")
    assert read_replies(server.data_to_send())[0].lines[5:] == (
        "CHUNKING", "BINARYMIME", "SMTPUTF8", "DSN", "LIMITS RCPTMAX=5 MAILMAX=7", "XIDEMPOTENT 64",
    )  # fmt: skip


def test_the_example_of_rfc_3461_section_10_2() -> None:
    server = Server(domain="mx.example", extensions=EVERYTHING, accepts=lambda path: None)
    play(
        server,
        """
        S: 220
        C: EHLO Pure-Heart.ORG
        S: 250
        C: MAIL FROM:<Alice@Pure-Heart.ORG> RET=HDRS ENVID=QQ314159
        S: 250
        C: RCPT TO:<Bob@Big-Bucks.COM> NOTIFY=SUCCESS ORCPT=rfc822;Bob@Big-Bucks.COM
        S: 250
        C: RCPT TO:<Carol@Ivory.EDU> NOTIFY=FAILURE ORCPT=rfc822;Carol@Ivory.EDU
        S: 250
        C: RCPT TO:<Dana@Ivory.EDU> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana@Ivory.EDU
        S: 250
        C: RCPT TO:<Eric@Bombs.AF.MIL> NOTIFY=FAILURE ORCPT=rfc822;Eric@Bombs.AF.MIL
        S: 250
        C: RCPT TO:<Fred@Bombs.AF.MIL> NOTIFY=NEVER
        S: 250
        C: RCPT TO:<George@Tax-ME.GOV> NOTIFY=FAILURE ORCPT=rfc822;George@Tax-ME.GOV
        S: 250
        """,
    )
    envelope = received(server)
    assert (envelope.ret, envelope.envid) == (Ret.HEADERS, "QQ314159")
    assert envelope.dsn[0] == RecipientDsn((Notify.SUCCESS,), "rfc822;Bob@Big-Bucks.COM")
    assert envelope.dsn_of(2).notify == (Notify.SUCCESS, Notify.FAILURE)
    assert envelope.dsn_of(4) == RecipientDsn((Notify.NEVER,))
    assert len(envelope.dsn) == len(envelope.forward_paths) == 6


def test_an_envelope_without_a_word_of_notices_has_none() -> None:
    server = extended()
    speak(server, "EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<u@mx.example>")
    envelope = received(server)
    assert (envelope.dsn, envelope.dsn_of(0), envelope.ret, envelope.envid) == ((), RecipientDsn(), None, "")


WRITTEN = [
    MailFrom("a@b", ret=Ret.FULL, envid="a+b =c"),
    MailFrom("a@b", 5, BodyType.BINARY_MIME, is_smtputf8=True, requires_tls=True, idempotency_key="k.1-2_3"),
    MailFrom("jürgen@exämple.de", is_smtputf8=True),
    MailFrom("a@b", auth="<>"),
    MailFrom("a@b", auth="e+=mc2@b.example"),
    RcptTo("用户@例子.测试", RecipientDsn((Notify.NEVER,), "rfc822;a+b=c@d")),
    RcptTo("u@v", RecipientDsn((Notify.SUCCESS, Notify.FAILURE, Notify.DELAY))),
]


@pytest.mark.parametrize("command", WRITTEN)
def test_a_command_with_parameters_is_read_as_it_is_written(command: MailFrom | RcptTo) -> None:
    assert parse_command(command.encode()[:-2], grammar=GRAMMAR) == command


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("MAIL FROM:<a@b> RET=SOME", 501), ("MAIL FROM:<a@b> RET", 501), ("MAIL FROM:<a@b> ENVID=", 501),
        ("MAIL FROM:<a@b> ENVID=a+b", 501), ("MAIL FROM:<a@b> ENVID=+0D+0A", 501), ("MAIL FROM:<a@b> ENVID=+2b", 501),
        ("MAIL FROM:<a@b> ENVID=" + "x" * 101, 501), ("MAIL FROM:<a@b> RET=FULL RET=FULL", 501),
        ("MAIL FROM:<a@b> SMTPUTF8=1", 501), ("MAIL FROM:<a@b> XIDEMPOTENT", 501), ("MAIL FROM:<a@b> AUTH=", 501),
        ("MAIL FROM:<a@b> XIDEMPOTENT=a/b", 501), ("MAIL FROM:<a@b> XIDEMPOTENT=" + "x" * 65, 501),
        ("MAIL FROM:<a@b> AUTH=+00", 501), ("MAIL FROM:<a@b> BODY=16BIT", 501), ("MAIL FROM:<a@b> NOTIFY=NEVER", 555),
        ("RCPT TO:<u@v> NOTIFY=", 501), ("RCPT TO:<u@v> NOTIFY=NEVER,SUCCESS", 501),
        ("RCPT TO:<u@v> NOTIFY=OFTEN", 501), ("RCPT TO:<u@v> NOTIFY=SUCCESS,SUCCESS", 501),
        ("RCPT TO:<u@v> NOTIFY=SUCCESS,", 501),
        ("RCPT TO:<u@v> ORCPT=u@v", 501), ("RCPT TO:<u@v> ORCPT=rfc822;", 501), ("RCPT TO:<u@v> ORCPT=;u@v", 501),
        ("RCPT TO:<u@v> ORCPT=rfc822;a+0Ab", 501), ("RCPT TO:<u@v> ORCPT=rfc822;" + "x" * 495, 501),
        ("RCPT TO:<u@v> RET=FULL", 555), ("RCPT TO:<u@v> ORCPT=rfc822;a ORCPT=rfc822;a", 501),
        ("RCPT TO:<\u0085@v>", 501), ("RCPT TO:<a\u200b@v>", 501), ("RCPT TO:<u@" + "ü" * 60 + ">", 501),
        ("NOOP jürgen", 500), ("EHLO exämple", 500),
    ],
)  # fmt: skip
def test_what_a_parameter_may_not_hold_is_answered_with_its_code(line: str, code: int) -> None:
    command = parse_command(line.encode(), grammar=GRAMMAR)
    assert isinstance(command, Malformed)
    assert command.reply.code == code
    command.reply.encode()


def test_octets_that_are_no_utf8_are_refused() -> None:
    command = parse_command(b"RCPT TO:<\xff@v>", grammar=GRAMMAR)
    assert isinstance(command, Malformed)
    assert command.reply.code == 500


def test_lines_may_be_longer_by_what_their_parameters_add_and_no_more() -> None:
    orcpt = "rfc822;" + "x" * 480
    path = "a" * 60 + "@" + ".".join(["b" * 60] * 3)
    assert isinstance(parse_command(f"RCPT TO:<{path}> ORCPT={orcpt}".encode(), grammar=GRAMMAR), RcptTo)
    assert isinstance(parse_command(f"RCPT TO:<{path}>".encode() + b" " * 1000, grammar=GRAMMAR), Malformed)
    assert isinstance(parse_command(f"NOOP {orcpt * 2}".encode(), grammar=GRAMMAR), Malformed)
    assert GRAMMAR.verbs > BASIC_VERBS
    assert Grammar().extra_octets_max == 26 + 17


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=30))
def test_xtext_is_printable_and_read_back(text: str) -> None:
    encoded = encode_xtext(text)
    assert encoded.isascii()
    assert encoded.isprintable()
    assert " " not in encoded
    assert decode_xtext(encoded) == text


@pytest.mark.parametrize(
    ("notify", "orcpt"),
    [((Notify.NEVER, Notify.DELAY), ""), ((Notify.DELAY, Notify.DELAY), ""), ((), "u@v"), ((), "rfc822;a\r\nb"),
     ((), "rfc822;" + "x" * 500), ((), "rfc822;")],
)  # fmt: skip
def test_what_rcpt_cannot_say_raises_where_it_is_made(notify: tuple[Notify, ...], orcpt: str) -> None:
    with pytest.raises(LocalProtocolError):
        RecipientDsn(notify, orcpt)


def test_addresses_beyond_ascii_need_smtputf8() -> None:
    server = extended()
    assert speak(server, "EHLO c", "MAIL FROM:<jürgen@b.example>", "RSET") == [220, 250, 550, 250]
    assert speak(server, "MAIL FROM:<a@b.example>", "RCPT TO:<jürgen@mx.example>", "RSET") == [250, 553, 250]
    lines = ("MAIL FROM:<jürgen@exämple.de> SMTPUTF8", "RCPT TO:<Пётр@mx.example>", 'RCPT TO:<"ü ß"@mx.example>')
    assert speak(server, *lines) == [250, 250, 250]
    envelope = received(server)
    assert (envelope.reverse_path, envelope.is_smtputf8) == ("jürgen@exämple.de", True)
    assert envelope.forward_paths == ("Пётр@mx.example", '"ü ß"@mx.example')
    assert envelope.protocol == "UTF8SMTP"
    plain = extended(Extensions())
    assert speak(plain, "EHLO c", "MAIL FROM:<jürgen@b.example> SMTPUTF8") == [220, 250, 500]
    assert speak(plain, "MAIL FROM:<a@b.example> SMTPUTF8") == [555]


def test_the_limits_that_are_announced_are_held_to() -> None:
    server = extended(limits=Limits(recipients=2, mails=2))
    mail = ("MAIL FROM:<a@b.example>", *[f"RCPT TO:<u{i}@mx.example>" for i in range(3)], "RSET")
    assert speak(server, "EHLO c", *mail) == [220, 250, 250, 250, 250, 452, 250]
    assert speak(server, *mail[:1], "RSET", "MAIL FROM:<a@b.example>") == [250, 250, 452]


def test_an_idempotency_key_reaches_the_envelope() -> None:
    server = extended()
    speak(server, "EHLO c", "MAIL FROM:<a@b.example> XIDEMPOTENT=01.msg_A-z", "RCPT TO:<u@mx.example>")
    assert received(server).idempotency_key == "01.msg_A-z"
    assert speak(extended(Extensions()), "EHLO c", "MAIL FROM:<a@b.example> XIDEMPOTENT=x") == [220, 250, 555]


def lmtp() -> Server:
    return extended(Extensions(is_chunking=True), is_lmtp=True)


def test_the_example_of_rfc_2033_section_4_2() -> None:
    def accepts(forward_path: str) -> Reply | None:
        return Reply(550, ("5.1.1 No such user here",)) if "jones" in forward_path else None

    server = Server(domain="foo.edu", is_lmtp=True, accepts=accepts)
    play(
        server,
        """
        S: 220
        C: LHLO foo.edu
        S: 250
        C: MAIL FROM:<chris@bar.com>
        S: 250
        C: RCPT TO:<pat@foo.edu>
        S: 250
        C: RCPT TO:<jones@foo.edu>
        S: 550
        C: RCPT TO:<green@foo.edu>
        S: 250
        C: DATA
        S: 354
        """,
    )
    server.receive_data(b"Blah blah blah...\r\n..etc. etc. etc.\r\n.\r\n")
    (event,) = server_events(server)
    assert isinstance(event, MailReceived)
    assert event.envelope.protocol == "LMTP"
    server.answer_recipients(
        [Reply(250, ("2.1.5 OK",)), Reply(452, ("4.2.2 <green@foo.edu> is temporarily over quota",))]
    )
    assert [reply.code for reply in read_replies(server.data_to_send())] == [250, 452]
    assert speak(server, "QUIT") == [221]


def test_lmtp_is_greeted_by_lhlo_only_and_needs_a_recipient() -> None:
    server = lmtp()
    assert server.data_to_send() == b"220 mx.example LMTP ready\r\n"
    assert speak(server, "EHLO c", "HELO c", "LHLO c", "MAIL FROM:<>", "DATA") == [500, 500, 250, 250, 503]
    # RFC 2033 section 4.3: the last chunk has a reply for each recipient, which for none is no reply.
    assert speak(server, "BDAT 4", "xx", "BDAT 4 LAST", "xx", "NOOP") == [503, 250]
    server.receive_data(b"HELP\r\n")
    assert b"LHLO" in server.data_to_send()


def test_lmtp_answers_once_for_each_recipient_whatever_the_answer() -> None:
    begun = ("LHLO c", "MAIL FROM:<>", *[f"RCPT TO:<u{i}@mx.example>" for i in range(3)], "DATA")
    for answer, code in (("accept", 250), ("reject", 451)):
        server = lmtp()
        speak(server, *begun)
        server.receive_data(b"x\r\n.\r\n")
        list(server_events(server))
        with pytest.raises(LocalProtocolError):
            server.answer_recipients([Reply(250, ("ok",))])
        with pytest.raises(LocalProtocolError):
            server.answer_recipients([Reply(354, ("ok",))] * 3)
        if answer == "accept":
            server.accept_mail()
        else:
            server.reject_mail(Reply(451, ("4.3.0 no",)))
        assert speak(server, "NOOP") == [code] * 3 + [250]
    server = lmtp()
    speak(server, *begun)
    assert speak(server, "a\nb", ".", "NOOP") == [550] * 3 + [250]
    server = lmtp()
    speak(server, *begun[:-1])
    server.receive_data(b"BDAT 3 LAST\r\nx\r\n")
    list(server_events(server))
    server.accept_mail()
    assert speak(server, "NOOP") == [250] * 3 + [250]


def test_smtp_has_one_answer_only() -> None:
    server = extended()
    speak(server, "EHLO c", "MAIL FROM:<>", "RCPT TO:<u@mx.example>", "DATA")
    server.receive_data(b"x\r\n.\r\n")
    list(server_events(server))
    with pytest.raises(LocalProtocolError):
        server.answer_recipients([Reply(250, ("ok",))])


@given(st.text(max_size=60).map(str.encode) | st.binary(max_size=60))
def test_any_line_is_a_command_or_a_refusal_whatever_is_offered(line: bytes) -> None:
    for prefix in (
        b"",
        b"MAIL FROM:<a@b> ",
        b"RCPT TO:<a@b> ",
        b"RCPT TO:<",
        b"BDAT ",
        b"AUTH ",
        b"MAIL FROM:<a@b> ENVID=",
    ):
        command = parse_command(prefix + line, grammar=GRAMMAR)
        if isinstance(command, Malformed):
            command.reply.encode()
        else:
            assert command.encode().count(b"\n") == 1
