"""The strict address parser: RFC 5321 section 4.1.2 and its address literals, section 4.1.3; with RFC 6531, UTF-8.

Nothing is repaired and nothing is cut off: text is an address as a whole or it raises.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from rudp_smtp.errors import LocalProtocolError, SmtpSyntaxError

LOCAL_PART_OCTETS = 64  # RFC 5321 section 4.5.3.1.1
DOMAIN_OCTETS = 255  # section 4.5.3.1.2
PATH_OCTETS = 256  # section 4.5.3.1.3, angle brackets included
TOO_LONG_A_PATH = f"path longer than {PATH_OCTETS} octets"
LABEL_OCTETS = 63  # RFC 1035 section 2.3.4
REMEMBERED_ADDRESSES = 1024  # a message's are looked at by the grammar, by the policy and by the store
IPV6_GROUPS = 8
IPV6_GROUPS_BESIDE_GAP = 6  # RFC 5321 section 4.1.3: "::" stands for at least two groups

_ATEXT = r"A-Za-z0-9!#$%&'*+\-/=?^_`{|}~"
_ATOM = rf"[{_ATEXT}]+"
_BEYOND_ASCII = r"\x80-\U0010ffff"  # RFC 6531 section 3.3: UTF8-non-ascii; what of it does not print is refused
_UTF8_ATOM = rf"[{_ATEXT}{_BEYOND_ASCII}]+"
_UTF8_SUB_DOMAIN = rf"[A-Za-z0-9{_BEYOND_ASCII}](?:[A-Za-z0-9{_BEYOND_ASCII}-]*[A-Za-z0-9{_BEYOND_ASCII}])?"
_SUB_DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN_NAME = rf"{_SUB_DOMAIN}(?:\.{_SUB_DOMAIN})*"

_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED_STRING = re.compile(r'"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"')
_UTF8_DOT_STRING = re.compile(rf"{_UTF8_ATOM}(?:\.{_UTF8_ATOM})*")
_UTF8_QUOTED_STRING = re.compile(rf'"(?:[\x20-\x21\x23-\x5b\x5d-\x7e{_BEYOND_ASCII}]|\\[\x20-\x7e])*"')
_QUOTED_PAIR = re.compile(r"\\(.)")
_DOMAIN = re.compile(_DOMAIN_NAME)
_UTF8_DOMAIN = re.compile(rf"{_UTF8_SUB_DOMAIN}(?:\.{_UTF8_SUB_DOMAIN})*")
_LITERAL = re.compile(r"\[([\x21-\x5a\x5e-\x7e]+)\]")
_SOURCE_ROUTE = re.compile(rf"@{_DOMAIN_NAME}(?:,@{_DOMAIN_NAME})*:")
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_IPV6_GROUP = re.compile(r"[0-9A-Fa-f]{1,4}")
_GENERAL = re.compile(r"(?:[A-Za-z0-9-]*[A-Za-z0-9]):[\x21-\x5a\x5e-\x7e]+")


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A Mailbox of the grammar, spelled as it came: the local part with its quotes, a literal with its brackets."""

    local_part: str
    domain: str  # "" only for the bare <Postmaster> of RCPT

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}" if self.domain else self.local_part

    @property
    def name(self) -> str:
        """The local part without its quotes: every way to quote it means the same (RFC 5321 section 4.1.2)."""
        if not self.local_part.startswith('"'):
            return self.local_part
        return _QUOTED_PAIR.sub(r"\1", self.local_part[1:-1])

    @property
    def is_postmaster(self) -> bool:
        return self.name.lower() == "postmaster"


@lru_cache(REMEMBERED_ADDRESSES)
def parse_mailbox(text: str, *, is_utf8: bool = False) -> MailAddress:
    """Local-part "@" ( Domain / address-literal ), the whole text, and no longer than a path may be.

    `is_utf8` lets both parts hold what prints beyond ASCII; lengths count the octets of UTF-8.
    """
    is_utf8 = is_utf8 and not text.isascii()
    if is_utf8 and not text.isprintable():
        raise SmtpSyntaxError("address with characters that do not print")
    quoted, dotted = (_UTF8_QUOTED_STRING, _UTF8_DOT_STRING) if is_utf8 else (_QUOTED_STRING, _DOT_STRING)
    local_part = quoted.match(text) or dotted.match(text)
    if local_part is None:
        raise SmtpSyntaxError("address without a valid local part")
    if _octets(local_part[0]) > LOCAL_PART_OCTETS:
        raise SmtpSyntaxError(f"local part longer than {LOCAL_PART_OCTETS} octets")
    if text[local_part.end() : local_part.end() + 1] != "@":
        raise SmtpSyntaxError("address without an @ behind its local part")
    domain = text[local_part.end() + 1 :]
    check_domain(domain, is_utf8=is_utf8)
    if _octets(text) + len("<>") > PATH_OCTETS:
        raise SmtpSyntaxError(TOO_LONG_A_PATH)
    return MailAddress(local_part[0], domain)


def check_domain(text: str, *, is_utf8: bool = False) -> None:
    """Raise unless the whole text is a Domain or an address-literal."""
    if _octets(text) > DOMAIN_OCTETS:
        raise SmtpSyntaxError(f"domain longer than {DOMAIN_OCTETS} octets")
    if text.startswith("["):
        literal = _LITERAL.fullmatch(text)
        if literal is None or not _is_address_literal(literal[1]):
            raise SmtpSyntaxError("malformed address literal")
        return
    if (_UTF8_DOMAIN if is_utf8 else _DOMAIN).fullmatch(text) is None:
        raise SmtpSyntaxError("malformed domain")
    if any(_label_octets(label) > LABEL_OCTETS for label in text.split(".")):
        raise SmtpSyntaxError(f"domain with a label longer than {LABEL_OCTETS} octets")


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _label_octets(label: str) -> int:
    """A label's length in the DNS, where RFC 5890 section 2.3.2.1 spells what is not ASCII as an A-label."""
    return len(label) if label.isascii() else len("xn--") + len(label.encode("punycode"))


def check_own_domain(text: str) -> None:
    """Raise at the caller unless the text may stand for us in a greeting or a hello."""
    try:
        check_domain(text)
    except SmtpSyntaxError as error:
        raise LocalProtocolError(f"{text!r}: {error}") from None


def parse_reverse_path(text: str, *, is_utf8: bool = False) -> str:
    """The mailbox inside `<...>`, or "" for the null path `<>`."""
    inside = _strip_brackets(text)
    return str(parse_mailbox(_skip_source_route(inside), is_utf8=is_utf8)) if inside else ""


def parse_forward_path(text: str, *, is_utf8: bool = False) -> str:
    """The mailbox inside `<...>`, or the bare `Postmaster` that only RCPT may name (RFC 5321 section 4.1.1.3)."""
    inside = _strip_brackets(text)
    if inside.lower() == "postmaster":
        return inside
    return str(parse_mailbox(_skip_source_route(inside), is_utf8=is_utf8))


def parse_recipient(text: str, *, is_utf8: bool = False) -> MailAddress:
    """A forward-path without brackets, as an Envelope holds it: a mailbox or a bare postmaster."""
    return MailAddress(text, "") if text.lower() == "postmaster" else parse_mailbox(text, is_utf8=is_utf8)


def _strip_brackets(text: str) -> str:
    if _octets(text) > PATH_OCTETS:
        raise SmtpSyntaxError(TOO_LONG_A_PATH)
    if len(text) < len("<>") or text[0] != "<" or text[-1] != ">":
        raise SmtpSyntaxError("path without its angle brackets")
    return text[1:-1]


def _skip_source_route(text: str) -> str:
    """RFC 5321 appendix C: a source route must be accepted and should be ignored."""
    route = _SOURCE_ROUTE.match(text)
    return text[route.end() :] if route is not None else text


def _is_address_literal(text: str) -> bool:
    if text[:5].lower() == "ipv6:":
        return _is_ipv6(text[5:])
    return _is_ipv4(text) or _GENERAL.fullmatch(text) is not None


def _is_ipv4(text: str) -> bool:
    return _IPV4.fullmatch(text) is not None and all(int(number) <= 255 for number in text.split("."))


def _is_ipv6(text: str) -> bool:
    halves = text.split("::")
    if len(halves) == 1:
        return _ipv6_groups(text, may_end_in_ipv4=True) == IPV6_GROUPS
    if len(halves) != 2:
        return False
    before, after = (_ipv6_groups(half, may_end_in_ipv4=i == 1) if half else 0 for i, half in enumerate(halves))
    return before is not None and after is not None and before + after <= IPV6_GROUPS_BESIDE_GAP


def _ipv6_groups(text: str, *, may_end_in_ipv4: bool) -> int | None:
    """How many 16-bit groups the text spells, None if it does not."""
    groups = text.split(":")
    count = len(groups)
    if may_end_in_ipv4 and _is_ipv4(groups[-1]):
        groups.pop()
        count += 1  # four octets are two groups
    return count if all(_IPV6_GROUP.fullmatch(group) for group in groups) else None
