"""Commands, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp.commands import (
    Auth,
    Command,
    Data,
    Hello,
    Help,
    MailFrom,
    Malformed,
    Noop,
    Quit,
    RcptTo,
    Rset,
    Vrfy,
    parse_command,
)
from rudp_smtp.smtp.parameters import BodyType

WRITTEN: list[tuple[Hello | MailFrom | RcptTo | Data | Rset | Noop | Quit | Vrfy | Help, bytes]] = [
    (Hello("example.com", is_extended=True), b"EHLO example.com\r\n"),
    (Hello("[127.0.0.1]", is_extended=False), b"HELO [127.0.0.1]\r\n"),
    (MailFrom(""), b"MAIL FROM:<>\r\n"),
    (MailFrom("a@b.example"), b"MAIL FROM:<a@b.example>\r\n"),
    (
        MailFrom("a@b.example", 500, BodyType.EIGHT_BIT_MIME, (("SIZE", "500"), ("BODY", "8BITMIME"))),
        b"MAIL FROM:<a@b.example> SIZE=500 BODY=8BITMIME\r\n",
    ),
    (RcptTo("Postmaster"), b"RCPT TO:<Postmaster>\r\n"),
    (RcptTo('"a> b"@c.example'), b'RCPT TO:<"a> b"@c.example>\r\n'),
    (Data(), b"DATA\r\n"),
    (Rset(), b"RSET\r\n"),
    (Noop(), b"NOOP\r\n"),
    (Quit(), b"QUIT\r\n"),
    (Vrfy("Smith"), b"VRFY Smith\r\n"),
    (Help(), b"HELP\r\n"),
]


@pytest.mark.parametrize(("command", "octets"), WRITTEN)
def test_a_command_is_read_as_it_is_written(
    command: Hello | MailFrom | RcptTo | Data | Rset | Noop | Quit | Vrfy | Help, octets: bytes
) -> None:
    assert command.encode() == octets
    assert parse_command(octets[:-2]) == command


@pytest.mark.parametrize("bad", ["a\r\nRCPT TO:<x@y>", "a\nb", "a\rb", "a\0b", "a\x7fb", "a\tb"])
def test_no_command_that_we_write_holds_a_control_character(bad: str) -> None:
    commands = (
        Hello(bad, is_extended=True),
        MailFrom(f"{bad}@b.example"),
        MailFrom("a@b.example", idempotency_key=bad),
        RcptTo(f"{bad}@b.example"),
        Auth("PLAIN", bad),
        Vrfy(bad),
    )
    for command in commands:
        with pytest.raises(LocalProtocolError, match="control character"):
            command.encode()


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"ehlo X", Hello("X", is_extended=True)),
        (b"mail from:<a@b> size=5", MailFrom("a@b", size=5)),
        (b"mail from:<a@b> body=7bit", MailFrom("a@b", body=BodyType.SEVEN_BIT)),
        (b"MAIL FROM:<@x,@y:a@b>", MailFrom("a@b")),
        (b"RCPT TO:<a@b> \t ", RcptTo("a@b")),
        (b"QUIT  ", Quit()),
        (b"NOOP whatever this is", Noop()),
        (b"HELP MAIL", Help()),
        (b"EHLO under_score", Hello("under_score", is_extended=True)),
    ],
)  # fmt: skip
def test_what_the_grammar_leaves_free_is_accepted(line: bytes, command: Command) -> None:
    assert parse_command(line) == command


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", 500), (b" ", 500), (b"FOO", 500), (b"STARTTLS", 500), (b"EHLOX", 500), (b" NOOP", 500), (b"NOOP\tx", 500),
        (b"NOOP \xff", 500), (b"NOOP a\nb", 500), (b"NOOP a\rb", 500), (b"NOOP \0", 500), (b"NOOP " + b"x" * 506, 500),
        (b"EXPN list", 502),
        (b"EHLO", 501), (b"EHLO a b", 501), (b"HELO", 501), (b"VRFY", 501),
        (b"DATA now", 501), (b"RSET x", 501), (b"QUIT x", 501),
        (b"MAIL", 501), (b"MAIL FROM", 501), (b"MAIL FROM:", 501), (b"MAIL FROM:a@b", 501), (b"MAIL FROM: <a@b>", 501),
        (b"MAIL FROM :<a@b>", 501), (b"MAIL  FROM:<a@b>", 501), (b"MAIL TO:<a@b>", 501), (b"MAIL FROM:<a>", 501),
        (b"MAIL FROM:<a@b>SIZE=1", 501), (b"MAIL FROM:<a@b> SIZE", 501), (b"MAIL FROM:<a@b> SIZE=", 501),
        (b"MAIL FROM:<a@b> SIZE=x", 501), (b"MAIL FROM:<a@b> SIZE=-1", 501),
        (b"MAIL FROM:<a@b> SIZE=" + b"1" * 21, 501),
        (b"MAIL FROM:<a@b> SIZE=1 SIZE=1", 501), (b"MAIL FROM:<a@b> BODY=9BIT", 501), (b"MAIL FROM:<a@b> =1", 501),
        (b"MAIL FROM:<a@b> FOO=1", 555), (b"MAIL FROM:<a@b> SMTPUTF8", 555),
        (b"RCPT TO:<>", 501), (b"RCPT TO:a@b", 501), (b"RCPT TO: <a@b>", 501), (b"RCPT FROM:<a@b>", 501),
        (b"RCPT TO:<a@b> X", 555), (b"RCPT TO:<a@b> <c@d>", 555), (b"RCPT TO:<a@b>,<c@d>", 501),
    ],
)  # fmt: skip
def test_what_the_grammar_does_not_produce_is_answered_with_its_code(line: bytes, code: int) -> None:
    command = parse_command(line)
    assert isinstance(command, Malformed)
    assert command.reply.code == code
    assert command.reply.status.startswith("5.")


def test_only_mail_may_be_longer_than_512_octets() -> None:
    # RFC 1870 and RFC 6152 lengthen the line that carries their parameters, and no other.
    path = b"<" + b"x" * 40 + b"@" + b".".join([b"y" * 47] * 4) + b"> "
    mail = b"MAIL FROM:" + path
    assert isinstance(parse_command(mail + b" " * (512 - 2 - len(mail)) + b"SIZE=" + b"1" * 20), MailFrom)
    rcpt = b"RCPT TO:" + path
    assert isinstance(parse_command(rcpt + b" " * (510 - len(rcpt))), RcptTo)
    assert isinstance(parse_command(rcpt + b" " * (511 - len(rcpt))), Malformed)


@given(st.binary(max_size=80) | st.text(alphabet='MAILFROMRCPTTO:<>@a." =\\', max_size=60).map(str.encode))
def test_any_line_is_a_command_or_a_refusal_that_can_be_sent(line: bytes) -> None:
    for prefix in (b"", b"MAIL FROM:", b"RCPT TO:<", b"EHLO "):
        command = parse_command(prefix + line)
        if isinstance(command, Malformed):
            assert command.reply.is_permanent
            assert command.reply.encode().count(b"\r\n") == 1
        else:
            assert command.encode().count(b"\n") == 1
