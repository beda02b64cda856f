"""Envelope: what SMTP carries, RFC 5321 section 2.3.1."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who it is from, who gets it, and the mail data: whole lines ending in CRLF, or nothing at all.

    Addresses are written without angle brackets; a reverse-path of "" is the null path `<>`. The last three fields are
    facts about the session it came by, for trace fields, and no part of what makes two envelopes equal.
    """

    reverse_path: str
    forward_paths: tuple[str, ...]
    mail_data: bytes
    parameters: tuple[tuple[str, str], ...] = field(default=(), compare=False)  # of MAIL, as received: SIZE, BODY
    client_domain: str = field(default="", compare=False)  # what the client called itself in HELO or EHLO
    is_extended: bool = field(default=False, compare=False)  # EHLO, not HELO
