"""What the parameters of MAIL and RCPT mean, read and written: RFC 1870, 6152, 3030, 6531, 3461, 8689, 4954, and ours.

`XIDEMPOTENT` is our own: MAIL names its message by a key that the client gives to no other, and keeps for every
repetition of this one. Whoever delivers remembers the key with each forward-path, and delivers none of them twice.
"""

import re
from dataclasses import dataclass
from enum import Enum

from rudp_smtp.errors import LocalProtocolError, SmtpSyntaxError
from rudp_smtp.smtp.address import parse_mailbox

SIZE_DIGITS = 20  # RFC 1870 section 3
ENVID_OCTETS = 100  # RFC 3461 section 4.4
ORCPT_OCTETS = 500  # section 4.2
KEY_OCTETS = 64
NO_IDENTITY = "<>"  # in AUTH of MAIL: who submitted the message first is not known, or not proven (RFC 4954 section 5)

# By how much each lengthens the line it stands in, its space included: RFC 1870 section 3, RFC 6152 section 2 (RFC
# 3030's value is no longer), RFC 6531 section 3.1, RFC 3461 section 4, RFC 4954 section 5, RFC 8689 section 2.
MAIL_OCTETS = {
    "SIZE": 26,
    "BODY": 17,
    "SMTPUTF8": 10,
    "RET": len(" RET=FULL"),
    "ENVID": len(" ENVID=") + ENVID_OCTETS,
    "AUTH": 500,
    "REQUIRETLS": len(" REQUIRETLS"),
    "XIDEMPOTENT": len(" XIDEMPOTENT=") + KEY_OCTETS,
}
RCPT_OCTETS = {
    "NOTIFY": len(" NOTIFY=SUCCESS,FAILURE,DELAY"),
    "ORCPT": len(" ORCPT=") + ORCPT_OCTETS,
}

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")
_SIZE = re.compile(rf"[0-9]{{1,{SIZE_DIGITS}}}")
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*")
_ESCAPE = re.compile(r"\+([0-9A-F]{2})")
_TO_ESCAPE = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_KEY = re.compile(rf"[A-Za-z0-9._-]{{1,{KEY_OCTETS}}}")


class BodyType(Enum):
    """The values of BODY, RFC 6152 section 2 and RFC 3030 section 3."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"
    BINARY_MIME = "BINARYMIME"


class Ret(Enum):
    """How much of the message a failure notice returns, RFC 3461 section 4.3."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Notify(Enum):
    """When a notice is wanted, RFC 3461 section 4.1. NEVER stands alone."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True)
class RecipientDsn:
    """What RCPT says of notices: when (nothing: as the server likes), and the recipient's first address.

    `orcpt` is what stands before and behind the semicolon, decoded: `rfc822;bob@example.com`.
    """

    notify: tuple[Notify, ...] = ()
    orcpt: str = ""

    def __post_init__(self) -> None:
        if len(set(self.notify)) != len(self.notify) or (Notify.NEVER in self.notify and len(self.notify) > 1):
            raise LocalProtocolError(f"NOTIFY of {', '.join(item.value for item in self.notify)}")
        if self.orcpt:
            check_orcpt(self.orcpt)


NO_DSN = RecipientDsn()


def check_orcpt(orcpt: str) -> None:
    """Raise at the caller unless the text is an address type and an address."""
    address_type, semicolon, address = orcpt.partition(";")
    if not semicolon or _ADDRESS_TYPE.fullmatch(address_type) is None or not _PRINTABLE.fullmatch(address):
        raise LocalProtocolError(f"ORCPT {orcpt!r} is no address type and address")
    if len(encode_xtext(address)) + len(address_type) + 1 > ORCPT_OCTETS:
        raise LocalProtocolError(f"ORCPT longer than {ORCPT_OCTETS} octets")


def check_envid(envid: str) -> None:
    """Raise at the caller unless the text may be an ENVID, or is "" for none."""
    if envid and (_PRINTABLE.fullmatch(envid) is None or len(encode_xtext(envid)) > ENVID_OCTETS):
        raise LocalProtocolError(f"ENVID {envid!r} is not 1 to {ENVID_OCTETS} printable octets")


def check_key(key: str) -> None:
    """Raise at the caller unless the text may be an idempotency key, or is "" for none."""
    if key and _KEY.fullmatch(key) is None:
        raise LocalProtocolError(f"idempotency key {key!r} is not 1 to {KEY_OCTETS} letters, digits, dots or dashes")


def encode_xtext(text: str) -> str:
    """RFC 3461 section 4."""
    return _TO_ESCAPE.sub(lambda found: f"+{ord(found[0]):02X}", text)


def decode_xtext(text: str) -> str:
    if _XTEXT.fullmatch(text) is None:
        raise SmtpSyntaxError("malformed xtext")
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def split_parameters(text: str) -> tuple[tuple[str, str], ...]:
    """Keywords in capitals and their values, "" where there is none."""
    parameters: dict[str, str] = {}
    for word in text.split():
        parameter = _PARAMETER.fullmatch(word)
        if parameter is None:
            raise SmtpSyntaxError("Malformed parameter")
        keyword = parameter[1].upper()
        if keyword in parameters:
            raise SmtpSyntaxError(f"{keyword} given twice")
        parameters[keyword] = parameter[2] or ""
    return tuple(parameters.items())


def parse_size(value: str) -> int:
    if _SIZE.fullmatch(value) is None:
        raise SmtpSyntaxError("Bad value of SIZE")
    return int(value)


def parse_body(value: str, *, is_binary_offered: bool) -> BodyType:
    for kind in BodyType:
        if kind.value == value.upper() and (is_binary_offered or kind is not BodyType.BINARY_MIME):
            return kind
    raise SmtpSyntaxError("Bad value of BODY")


def parse_ret(value: str) -> Ret:
    for kind in Ret:
        if kind.value == value.upper():
            return kind
    raise SmtpSyntaxError("Bad value of RET")


def parse_envid(value: str) -> str:
    envid = decode_xtext(value)
    if len(value) > ENVID_OCTETS or _PRINTABLE.fullmatch(envid) is None:
        raise SmtpSyntaxError("Bad value of ENVID")
    return envid


def parse_notify(value: str) -> tuple[Notify, ...]:
    words = value.upper().split(",")
    found = tuple(kind for kind in Notify if kind.value in words)
    if len(found) != len(words) or (Notify.NEVER in found and len(found) > 1):
        raise SmtpSyntaxError("Bad value of NOTIFY")
    return found


def parse_orcpt(value: str) -> str:
    address_type, _, address = value.partition(";")
    orcpt = f"{address_type};{decode_xtext(address)}"
    try:
        check_orcpt(orcpt)
    except LocalProtocolError:
        raise SmtpSyntaxError("Bad value of ORCPT") from None
    return orcpt


def parse_auth(value: str) -> str:
    """The mailbox that submitted the message first, or NO_IDENTITY (RFC 4954 section 5)."""
    identity = decode_xtext(value)
    try:
        return identity if identity == NO_IDENTITY else str(parse_mailbox(identity))
    except SmtpSyntaxError:
        raise SmtpSyntaxError("Bad value of AUTH") from None


def parse_key(value: str) -> str:
    if _KEY.fullmatch(value) is None:
        raise SmtpSyntaxError("Bad value of XIDEMPOTENT")
    return value


def parse_flag(keyword: str, value: str) -> bool:
    if value:
        raise SmtpSyntaxError(f"{keyword} takes no value")
    return True
