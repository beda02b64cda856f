"""Dialogue: an SMTP session overheard at one of its ends, for whoever listens to facts."""

import re

from rudp_smtp.trace import Sink, SmtpCommand, SmtpContent, SmtpReply, VantagePoint
from rudp_smtp.transport import Transport

LINE_MAX = 4096  # octets of an unfinished line that are kept: longer than any line there may be
_END = b"\r\n.\r\n"  # of mail data (RFC 5321 section 4.1.1.4)
_BDAT = re.compile(rb"BDAT +([0-9]{1,18})( +LAST)? *$", re.IGNORECASE)
_GO_AHEAD = 354
_READY = 220  # behind STARTTLS


class Dialogue:
    """Tells the commands, the replies, and how large a message was, never what was in it.

    What is said and what is heard is given in the order it was, in pieces of any size. Behind STARTTLS and its 220 no
    more is understood.
    """

    def __init__(self, vantage: VantagePoint, sink: Sink, stream_id: int) -> None:
        self._vantage = vantage
        self._sink = sink
        self._stream_id = stream_id
        self._commands = self._replies = b""  # the beginning of a line
        self._texts: list[str] = []  # of a reply's lines but the last
        self._is_content = False  # the server said 354: what the client says is mail data
        self._is_tls_wanted = self._is_encrypted = False
        self._tail = b""  # of that, as much as may be the beginning of its end
        self._size = 0
        self._chunk_left = 0  # octets

    def on_commands(self, octets: bytes, now: int) -> None:
        """What the client says: commands, and mail data where the server asked for it."""
        while octets and not self._is_encrypted:
            if self._chunk_left:
                octets = self._chunk(octets, now)
                continue
            if self._is_content:
                octets = self._content(octets, now)
                continue
            line, end, octets = (self._commands + octets).partition(b"\r\n")
            if not end:
                self._commands = line[:LINE_MAX]
                return
            self._commands = b""
            self._is_tls_wanted = line.strip().upper() == b"STARTTLS"
            vantage = self._vantage
            fact = SmtpCommand(now, vantage.host, vantage.connection, self._stream_id, _text(line))
            self._sink.emit(fact)
            if chunk := _BDAT.match(line):
                self._chunk_left = self._size = int(chunk[1])

    def on_replies(self, octets: bytes, now: int) -> None:
        """What the server says."""
        if self._is_encrypted:
            return
        *lines, rest = (self._replies + octets).split(b"\r\n")
        self._replies = rest[:LINE_MAX]
        for line in lines:
            self._texts.append(_text(line[4:]))
            if line[3:4] == b"-" or not line[:3].isdigit():
                continue
            code, text, vantage = int(line[:3]), "\n".join(self._texts), self._vantage
            self._texts = []
            self._sink.emit(SmtpReply(now, vantage.host, vantage.connection, self._stream_id, code, text))
            if self._is_tls_wanted and code == _READY:
                self._is_encrypted = True
                return
            if code == _GO_AHEAD:
                self._is_content, self._tail, self._size = True, b"\r\n", 0

    def _chunk(self, octets: bytes, now: int) -> bytes:
        """Pass over a chunk, as long as BDAT said (RFC 3030), whatever the server says of it; what is behind."""
        rest = octets[self._chunk_left :]
        self._chunk_left -= len(octets) - len(rest)
        if not self._chunk_left:
            vantage = self._vantage
            self._sink.emit(SmtpContent(now, vantage.host, vantage.connection, self._stream_id, self._size))
        return rest

    def _content(self, octets: bytes, now: int) -> bytes:
        """Pass over mail data; what is behind its end."""
        seen = self._tail + octets
        place = seen.find(_END)
        if place < 0:
            self._size += len(octets)
            self._tail = seen[-len(_END) + 1 :]
            return b""
        size = self._size + place + 2 - len(self._tail)
        self._is_content = False
        vantage = self._vantage
        self._sink.emit(SmtpContent(now, vantage.host, vantage.connection, self._stream_id, size))
        return seen[place + len(_END) :]


def overhear(connection: Transport, stream_id: int) -> Dialogue | None:
    """The dialogue on a stream, if anybody listens."""
    vantage = connection.vantage
    return None if vantage.sink is None else Dialogue(vantage, vantage.sink, stream_id)


def _text(octets: bytes) -> str:
    return octets.decode(errors="backslashreplace")
