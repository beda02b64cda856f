"""A message that waits to be sent, and what SMTP asks of its octets (RFC 5321 s2.3.8, s4.5.3.1.6)."""

from dataclasses import dataclass

from rudp_smtp.smtp.lines import CRLF, TEXT_LINE_OCTETS

TEXT_LINE_MAX = TEXT_LINE_OCTETS - len(CRLF)


@dataclass(frozen=True, slots=True)
class Message:
    """Octets as they were found or generated, and whom the envelope names."""

    name: str
    reverse_path: str
    forward_paths: tuple[str, ...]
    octets: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """Mail data that SMTP may carry as it stands. `changes` says what was made canonical, nothing when it was."""

    data: bytes
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that SMTP may not carry, and that nobody may mend in silence."""

    reason: str


def prepare(message: Message) -> Prepared | Refused:
    """Make a text file's line ends CRLF; refuse what has no one meaning as mail data.

    A file that ends its lines with LF alone is a text file of this system, and its canonical form is certain. Where
    bare CR or both kinds of line end occur, any change would be a guess (and a gate to SMTP smuggling).
    """
    octets = message.octets
    changes: list[str] = []
    if not octets:
        return Refused("it is empty")
    if b"\0" in octets:
        return Refused("it contains NUL")
    crlf = octets.count(b"\r\n")
    if octets.count(b"\r") > crlf:
        return Refused("it contains a bare CR")
    if octets.count(b"\n") > crlf:
        if crlf:
            return Refused("it mixes CRLF with bare LF")
        octets = octets.replace(b"\n", b"\r\n")
        changes.append("bare LF line ends became CRLF")
    if not octets.endswith(b"\r\n"):
        octets += b"\r\n"
        changes.append("the last line got its line end")
    for number, line in enumerate(octets.split(b"\r\n"), 1):
        if len(line) > TEXT_LINE_MAX:
            return Refused(f"line {number} has {len(line)} octets, more than {TEXT_LINE_MAX}")
    return Prepared(octets, tuple(changes))
