"""Messages that the standard library's parser stumbles over, or takes minutes for, are shown all the same."""

import time

import pytest

from rudp_smtp.mail import parsing

NESTED = b"".join(
    b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (depth, depth + 1) for depth in range(2000)
)
HOSTILE = {
    "multiparts within multiparts": b"Content-Type: multipart/mixed; boundary=b0\r\n\r\n" + NESTED,
    "messages within messages": b"Content-Type: message/rfc822\r\n\r\n" * 2000,
    "a part's number of 5000 digits": b"Content-Disposition: attachment; filename*" + b"9" * 5000 + b"=x\r\n\r\nx",
    "a codec's name with a NUL": b"Content-Type: text/plain; charset*0*=a\0b'en'%ff\r\nX: y\r\n\r\nx",
    "a file name's with a NUL": b"Content-Disposition: attachment; filename*=a\0b'x'%ff\r\n\r\nx",
    "a codec that only raises": b"Content-Disposition: attachment; filename*=undefined'x'%ff\r\n\r\nx",
    "a codec that cannot replace": b"Content-Type: text/plain; charset=idna\r\n\r\n\xffx..\r\n",
    "a codec of Python's": b"Content-Type: text/plain; charset=punycode\r\n\r\n-" + b"9" * 500_000,
    "eight bits in a part's name": b"Content-ID: <\xff>\r\nContent-Type: \xff/\xfe; boundary=\xff\r\n\r\nx",
    "a field of encoded words": b"Subject: " + b"=?utf-8?q?a?= " * 100_000 + b"\r\n\r\nx",
    "a field of parameters": b"Content-Type: text/plain" + b"; a=b" * 200_000 + b"\r\n\r\nx",
}


@pytest.mark.parametrize("octets", HOSTILE.values(), ids=HOSTILE)
def test_nothing_in_a_message_makes_it_unreadable_or_slow(octets: bytes) -> None:
    began = time.process_time()
    message = parsing.parse(octets)
    for part in parsing.parts(message):
        parsing.decoded(parsing.filename(part) or "")
        assert isinstance(parsing.content(part), bytes)
        assert isinstance(parsing.text(part), str)
    for name in message.keys():  # noqa: SIM118 - a message is no mapping
        assert isinstance(parsing.decoded(parsing.field(message, name)), str)
    assert time.process_time() - began < 10  # it was minutes


def test_what_is_well_formed_is_decoded() -> None:
    message = parsing.parse(
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?_da?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain; charset=latin-1\r\n\r\n\xfc\r\n"
        b"--b\r\nContent-Disposition: attachment; filename*=utf-8''%C3%BC\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        b"eA==\r\n--b--\r\n"
    )
    _, text, attached = parsing.parts(message)
    assert parsing.decoded(parsing.field(message, "Subject")) == "Gr\u00fc\u00dfe da"
    assert (parsing.text(text), parsing.filename(text)) == ("\u00fc", None)
    assert (parsing.content(attached), parsing.filename(attached)) == (b"x", "\u00fc")
