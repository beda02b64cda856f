"""RFC 5321 sections 4.1.2 and 4.1.3: what is an address and what only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.errors import SmtpSyntaxError
from rudp_smtp.smtp.address import (
    MailAddress,
    check_domain,
    parse_forward_path,
    parse_mailbox,
    parse_recipient,
    parse_reverse_path,
)

ACCEPTED = [
    "user@example.com",
    "USER+tag@Example.COM",
    "first.last@sub.domain.example",
    "!#$%&'*+-/=?^_`{|}~@example.com",
    "o'brien@example.com",
    "1@2.3",
    "a@b",
    "a@localhost",
    "a@xn--bcher-kva.example",
    "a@a-b.example",
    "a@1and1.example",
    '"quoted"@example.com',
    '""@example.com',
    '"two words"@example.com',
    '"a@b"@example.com',
    '"a>b"@example.com',
    '"a\\"b"@example.com',
    '"a\\\\"@example.com',
    '"\\a"@example.com',
    '".."@example.com',
    "a@[127.0.0.1]",
    "a@[255.255.255.255]",
    "a@[001.002.003.004]",
    "a@[IPv6:2001:db8::1]",
    "a@[ipv6:::1]",
    "a@[IPv6:::]",
    "a@[IPv6:1:2:3:4:5:6:7:8]",
    "a@[IPv6:1:2:3:4:5:6:192.0.2.1]",
    "a@[IPv6:::ffff:192.0.2.1]",
    "a@[IPv6:1:2:3:4:5:6::]",
    "a@[IPv6:::192.0.2.1]",
    "a@[x-tag:anything!goes(here)]",
    "x" * 64 + "@example.com",
    '"' + "x" * 62 + '"@example.com',
    "a@" + "x" * 63 + ".example",
    "a@" + ".".join(["x" * 63] * 3 + ["x" * 58]),
]
REFUSED = [
    "",
    "user",
    "@example.com",
    "user@",
    "user@@example.com",
    "a@b@c",
    "a b@example.com",
    ".a@example.com",
    "a.@example.com",
    "a..b@example.com",
    "a@example.com ",
    " a@example.com",
    "a@example.com> X",
    "a@example.com\r\nRCPT TO:<b@c>",
    "a\r\n@example.com",
    "a\n@example.com",
    "a\0@example.com",
    "a\t@example.com",
    "a@exa\nmple.com",
    "a@example.com\n",
    "a(comment)@example.com",
    "a,b@example.com",
    "a;b@example.com",
    "a:b@example.com",
    "a\\b@example.com",
    "a[b]@example.com",
    '"unfinished@example.com',
    '"a"b"@example.com',
    '"a"b@example.com',
    'a"b"@example.com',
    '"a\\"@example.com',
    '"a\tb"@example.com',
    '"a\r\nb"@example.com',
    '"a\x7fb"@example.com',
    "jürgen@example.com",
    '"jürgen"@example.com',
    "a@exämple.com",
    "a@-example.com",
    "a@example-.com",
    "a@example..com",
    "a@.example.com",
    "a@example.com.",
    "a@exam_ple.com",
    "a@exam ple.com",
    "a@[]",
    "a@[127.0.0.1",
    "a@127.0.0.1]",
    "a@[127.0.0]",
    "a@[127.0.0.256]",
    "a@[127.0.0.0001]",
    "a@[127.0.0.1.1]",
    "a@[127.0.0.1]x",
    "a@[2001:db8::1",
    "a@[IPv6:]",
    "a@[IPv6:1]",
    "a@[IPv6:12345::]",
    "a@[IPv6:g::]",
    "a@[IPv6:1::2::3]",
    "a@[IPv6::1]",
    "a@[IPv6:1:]",
    "a@[IPv6:1:2:3:4:5:6:7:8:9]",
    "a@[IPv6:1:2:3:4:5:6:7::]",
    "a@[IPv6:1:2:3:4:5:6:7:192.0.2.1]",
    "a@[IPv6:192.0.2.1::]",
    "a@[IPv6:fe80::1%eth0]",
    "a@[IPv6:::1/64]",
    "a@[tag]",
    "a@[-tag-:x]",
    "a@[tag:]",
    "a@[tag:a b]",
    "a@[tag:a\\b]",
    "a@[tag:a[b]",
    "x" * 65 + "@example.com",
    '"' + "x" * 63 + '"@example.com',
    "a@" + "x" * 64 + ".example",
    "a@" + ".".join(["x" * 63] * 3 + ["x" * 62, "x"]),
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_an_address_of_the_grammar_is_read_as_it_is_spelled(text: str) -> None:
    assert str(parse_mailbox(text)) == text


@pytest.mark.parametrize("text", REFUSED)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SmtpSyntaxError):
        parse_mailbox(text)


def test_the_at_sign_that_counts_is_the_one_behind_the_local_part() -> None:
    assert parse_mailbox('"a@b"@c.example') == MailAddress('"a@b"', "c.example")


def test_a_path_stands_in_angle_brackets() -> None:
    assert parse_forward_path("<a@b.example>") == "a@b.example"
    for text in ("a@b.example", "<a@b.example", "a@b.example>", "<<a@b.example>>", "<a@b.example>>", "<>", ""):
        with pytest.raises(SmtpSyntaxError):
            parse_forward_path(text)


def test_the_null_path_is_a_reverse_path_and_no_forward_path() -> None:
    assert parse_reverse_path("<>") == ""
    with pytest.raises(SmtpSyntaxError):
        parse_reverse_path("")


def test_the_bare_postmaster_is_a_forward_path_and_no_reverse_path() -> None:
    assert parse_forward_path("<Postmaster>") == "Postmaster"
    with pytest.raises(SmtpSyntaxError):
        parse_reverse_path("<Postmaster>")


@pytest.mark.parametrize("route", ["@hosta.int:", "@hosta.int,@jkl.org:"])
def test_a_source_route_is_accepted_and_ignored(route: str) -> None:
    assert parse_forward_path(f"<{route}userc@d.bar.org>") == "userc@d.bar.org"
    assert parse_reverse_path(f"<{route}userc@d.bar.org>") == "userc@d.bar.org"


@pytest.mark.parametrize("route", ["@:", "@a", "@a,:", "@a,b:", "a:", "@a:@b:", "@[127.0.0.1]:", ","])
def test_a_malformed_source_route_is_refused(route: str) -> None:
    with pytest.raises(SmtpSyntaxError):
        parse_forward_path(f"<{route}userc@d.bar.org>")


def test_a_path_has_256_octets_at_most_brackets_included() -> None:
    domain = ".".join(["x" * 60] * 4)
    assert parse_forward_path(f"<{'a' * 10}@{domain}>") == f"{'a' * 10}@{domain}"
    with pytest.raises(SmtpSyntaxError, match="256"):
        parse_forward_path(f"<{'a' * 11}@{domain}>")


def test_the_postmaster_is_known_in_any_case_of_letters() -> None:
    assert parse_recipient("postMASTER").is_postmaster
    assert parse_recipient("PostMaster@example.com").is_postmaster
    assert not parse_recipient("postmaster2@example.com").is_postmaster


def test_a_host_names_itself_by_a_domain_or_an_address_literal() -> None:
    check_domain("mx.example.com")
    check_domain("[IPv6:::1]")
    for text in ("", "mx example", "mx\r\nQUIT", "[::1]", "-"):
        with pytest.raises(SmtpSyntaxError):
            check_domain(text)


@given(st.text(alphabet=st.sampled_from('a@."\\<>[]:,- \r\n\0é'), max_size=40))
def test_text_is_an_address_or_an_error_of_one_kind(text: str) -> None:
    for parse in (parse_mailbox, parse_recipient, parse_forward_path, parse_reverse_path):
        try:
            result = str(parse(text))
        except SmtpSyntaxError:
            continue
        assert result.isascii()
        assert result.isprintable()


@pytest.mark.parametrize(
    ("spelled", "name"), [("a.b", "a.b"), ('"a.b"', "a.b"), (r'"a\.b"', "a.b"), (r'"a\\b\" c"', r'a\b" c'), ('""', "")]
)
def test_every_way_to_quote_a_local_part_means_the_same(spelled: str, name: str) -> None:
    address = parse_mailbox(f"{spelled}@b.example")
    assert (address.name, address.local_part) == (name, spelled)
    assert parse_mailbox('"Post\\master"@b.example').is_postmaster
