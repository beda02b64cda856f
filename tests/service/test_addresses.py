"""Where a server listens or is called."""

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.service.addresses import Address, parse_address
from rudp_smtp.smtp.address import check_domain


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("rudp://127.0.0.1:2525", Address("rudp", "127.0.0.1", 2525)),
        ("tcp://mail.example.org:25", Address("tcp", "mail.example.org", 25)),
        ("lmtp://[::1]:2424", Address("lmtp", "::1", 2424)),
        ("rudps://localhost", Address("rudps", "localhost", 2525)),
        ("localhost:99", Address("rudp", "localhost", 99)),
        ("tcp://h:0/", Address("tcp", "h", 0)),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("mail.example.org", "mail.example.org"),
        ("localhost", "localhost"),
        ("192.0.2.1", "[192.0.2.1]"),
        ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ("fe80::1%eth0", "[IPv6:fe80::1]"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_has_the_name_that_smtp_has_for_it(host: str, domain: str) -> None:
    assert Address("tcp", host, 25).domain == domain
    check_domain(domain)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://h:1", "unknown scheme 'http'"),
        ("rudp://h:99999", "Port out of range"),
        ("rudp://:25", "expected an address such as rudp://"),
        ("tcp://h:25/path", "expected an address such as"),
        ("rupd://h:25", "did you mean 'rudp'"),
        ("", "expected an address"),
    ],
)
def test_what_is_none_is_told_with_an_example(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_address(text)
