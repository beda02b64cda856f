"""CRLF framing, length limits and transparency. Read RFC 5321 sections 2.3.8, 4.5.2 and 4.5.3.1 first.

Only CRLF ends a line and only CRLF.CRLF ends mail data. Everything is found by bulk search, never line by line, and
each octet is searched a bounded number of times however the stream was cut into chunks.
"""

import re
from dataclasses import dataclass
from io import IncrementalNewlineDecoder

from rudp_smtp.errors import LocalProtocolError

CRLF = b"\r\n"
END_MARK = b"\r\n.\r\n"  # RFC 5321 section 4.1.1.4; its first CRLF belongs to the mail data, or to DATA itself
PIECE_OCTETS = 64 * 1024  # of mail data are looked at together: smaller pieces cost more time, larger ones memory
TEXT_LINE_OCTETS = 1000  # RFC 5321 section 4.5.3.1.6, CRLF included, the transparency dot not

# Patterns and not bytes.find or bytes.replace: on a megabyte of short lines their search takes half the time.
_DOT_AFTER_LINE_END = re.compile(rb"\r\n\.")
_END_MARK = re.compile(rb"\r\n\.\r\n")
_STRAY = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00")
_STRAY_NAMES = {b"\r": "bare CR", b"\n": "bare LF", b"\0": "NUL"}


@dataclass(frozen=True, slots=True)
class Defect:
    """The first thing in mail data that SMTP may not carry, and the number of its line, counted from 1.

    In a text that is not kept while it is looked at, counted from behind so many octets.
    """

    line: int
    fault: str
    behind: int = 0

    def __str__(self) -> str:
        return f"{self.fault} in line {self.line}" + (f" behind octet {self.behind}" if self.behind else "")


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of mail data as it was before transparency, cut anywhere but within a CRLF or behind one."""

    octets: bytes
    is_last: bool  # the end mark came behind it


class LineBuffer:
    """Owns what arrived and was not consumed yet: command or reply lines, and mail data up to its end mark."""

    __slots__ = ("_head", "_is_dotted", "_octets", "_opens_text", "_scanned", "_start")

    def __init__(self) -> None:
        self._octets = bytearray(CRLF)  # before a line the two octets before `_start` are a line end: see `next_text`
        self._start = len(CRLF)
        self._scanned = self._start  # nothing we look for begins between `_start` and here
        self._head = b""  # the beginning of a line too long to be kept
        self._opens_text = False  # of the mail data nothing was handed out yet
        self._is_dotted = False  # what was not handed out has a line that needs its dot taken off

    def __len__(self) -> int:
        return len(self._octets) - self._start

    @property
    def is_line_too_long(self) -> bool:
        """The line that has not ended yet is over the limit that `next_line` was last given."""
        return bool(self._head)

    def append(self, data: bytes | memoryview) -> None:
        spent = self._start - len(CRLF)
        if spent:
            del self._octets[:spent]
            self._start -= spent
            self._scanned -= spent
        self._octets += data

    def clear(self) -> None:
        self._octets[:] = CRLF
        self._start = self._scanned = len(CRLF)
        self._head = b""

    def next_line(self, limit: int) -> bytes | None:
        """The next whole line without its CRLF. Of a line over `limit` octets, the first `limit` + 1 and no more."""
        octets = self._octets
        end = octets.find(CRLF, self._scanned)
        if end < 0:
            self._scanned = max(self._start, len(octets) - 1)  # the last octet may be half a CRLF
            if self._scanned - self._start > limit:
                self._drop_long_line(limit)
            return None
        line = self._head or bytes(octets[self._start : min(end, self._start + limit + 1)])
        self._head = b""
        self._start = self._scanned = end + len(CRLF)
        return line

    def _drop_long_line(self, limit: int) -> None:
        self._head = self._head or bytes(self._octets[self._start : self._start + limit + 1])
        del self._octets[self._start : self._scanned]
        self._scanned = self._start

    def begin_text(self) -> None:
        """Mail data follows. The line end before it may already be the first half of the end mark."""
        self._scanned = self._start - len(CRLF)
        self._opens_text, self._is_dotted = True, False

    def next_text(self) -> Text | None:
        """Mail data without its dots: all the rest once its end mark is here, or else a piece when one is worth it."""
        mark = self._find_end_mark()
        if mark >= 0:
            end, following = mark + len(CRLF), mark + len(END_MARK)
        elif len(self) < PIECE_OCTETS:
            return None
        else:
            end = following = len(self._octets) - self._half_mark()
        raw = b""
        if end > self._start:
            with memoryview(self._octets) as view:
                raw = bytes(view[self._start : end])
        if self._is_dotted:
            raw = _DOT_AFTER_LINE_END.sub(CRLF, raw)
            raw = raw[1:] if self._opens_text and raw.startswith(b".") else raw
        self._start = self._scanned = following
        self._opens_text = self._is_dotted = False
        return Text(raw, is_last=mark >= 0)

    def _find_end_mark(self) -> int:
        """Where the end mark begins, or -1. While no line began with a dot, one search serves for both questions."""
        octets = self._octets
        if not self._is_dotted:
            if octets.find(b".", self._scanned) < 0:  # as in most of what is long: base64 has none
                self._scanned = max(self._scanned, len(octets) - 2)
                return -1
            found = _DOT_AFTER_LINE_END.search(octets, self._scanned)
            dot = found.start() if found is not None else -1
            if dot >= 0 and octets[dot : dot + len(END_MARK)] == END_MARK:
                return dot
            self._scanned = dot if dot >= 0 else max(self._scanned, len(octets) - 2)
            if dot < 0 or END_MARK.startswith(octets[dot : dot + len(END_MARK)]):
                return -1  # nothing yet, or perhaps the mark: its last octets have not come
            self._is_dotted = True
        ended = _END_MARK.search(octets, self._scanned)
        if ended is None:
            self._scanned = max(self._scanned, len(octets) - 4)
            return -1
        return ended.start()

    def take(self, count: int) -> bytes:
        """The next octets whatever they are, at most `count`: a chunk of BDAT."""
        with memoryview(self._octets) as view:
            octets = bytes(view[self._start : self._start + count])
        self._start += len(octets)
        self._scanned = self._start
        return octets

    def _half_mark(self) -> int:
        """How many octets at the end may be the beginning of the end mark."""
        tail = bytes(self._octets[-len(END_MARK) + 1 :])
        return next((size for size in range(len(tail), 0, -1) if END_MARK.startswith(tail[-size:])), 0)


def stuff(text: bytes) -> bytes:
    """Double the dot that opens a line, the first line included (RFC 5321 section 4.5.2)."""
    stuffed = _DOT_AFTER_LINE_END.sub(b"\r\n..", text)
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def unstuff(text: bytes) -> bytes:
    """Take off the dot that opens a line, the first line included. `text` is whole lines without the end mark."""
    plain = _DOT_AFTER_LINE_END.sub(CRLF, text)
    return plain[1:] if plain.startswith(b".") else plain


def encode_text(text: bytes) -> bytes:
    """Mail data as it is sent: stuffed, with the end mark. It ends in CRLF already, or is empty."""
    if text and not text.endswith(CRLF):
        raise LocalProtocolError("mail data that does not end in CRLF")
    return stuff(text) + b".\r\n"


def first_defect(
    text: bytes, *, line_octets: int = TEXT_LINE_OCTETS, is_stray_allowed: bool = False, column: int = 0
) -> Defect | None:
    """The first line of mail data that holds a bare CR, a bare LF, a NUL, or more than `line_octets` octets.

    `column`: so many octets of the first line came before.
    """
    # Where every LF ends a line, to look for it alone takes half the time.
    has_stray = not is_stray_allowed and _has_stray(text)
    position = _long_line(text, line_octets, -column, CRLF if has_stray or is_stray_allowed else b"\n")
    fault = f"more than {line_octets} octets"
    if has_stray:
        stray = _STRAY.search(text, 0, position + line_octets - 1 if position is not None else len(text))
        if stray is not None:
            position, fault = stray.start(), _STRAY_NAMES[stray[0]]
    if position is None:
        return None
    return Defect(text.count(CRLF, 0, max(position, 0)) + 1, fault)


def _has_stray(text: bytes) -> bool:
    """The newline decoder notes which line ends it saw, in one pass: four times as fast as counting CR, LF and CRLF."""
    seen = IncrementalNewlineDecoder(None, translate=False)
    seen.decode(text.decode("latin-1"), final=True)
    return seen.newlines not in (None, "\r\n") or b"\0" in text


def _long_line(text: bytes, line_octets: int, position: int, line_end: bytes) -> int | None:
    """Where the first line over the limit begins. Leaps from limit to limit, one short search each.

    A line that has not ended is over the limit as soon as its CRLF would be.
    """
    find, width = text.rfind, len(line_end)
    position_max = len(text) - (line_octets - len(CRLF)) - 1  # what begins behind it has room for its end still
    start = 0  # the first line may have begun before the text
    while position <= position_max:
        end = find(line_end, start, position + line_octets)
        if end < 0:
            return position
        start = position = end + width
    return None


class TextCheck:
    """Watches mail data as it passes, in pieces of any size: how much, and its first defect."""

    __slots__ = ("_behind", "_column", "_half", "_is_binary", "_is_stray_allowed", "_line_octets", "_passed", "defect",
                 "size")  # fmt: skip

    def __init__(self, *, line_octets: int, is_stray_allowed: bool, is_binary: bool = False) -> None:
        self.size = 0
        self.defect: Defect | None = None
        self._line_octets = line_octets
        self._is_stray_allowed = is_stray_allowed
        self._is_binary = is_binary  # RFC 3030 section 3: there are no lines
        self._passed: list[bytes] = []  # whose lines are not counted: only a defect needs to know
        self._behind = 0  # octets that passed and were forgotten
        self._column = 0
        self._half = b""  # a CR whose LF may come with the next piece

    def take(self, octets: bytes, *, is_last: bool) -> None:
        self.size += len(octets)
        if self.defect is not None or self._is_binary:
            return
        text = self._half + octets if self._half else octets
        self._half = b""
        if not is_last and text.endswith(b"\r"):
            text, self._half = text[:-1], b"\r"
        found = first_defect(
            text, line_octets=self._line_octets, is_stray_allowed=self._is_stray_allowed, column=self._column
        )
        if found is None and is_last and not text.endswith(CRLF) and (text or self._column):
            found = Defect(text.count(CRLF) + 1, "no CRLF at its end")
        if found is not None:
            lines = sum(text.count(CRLF) for text in self._passed)
            self._passed.clear()
            self.defect = Defect(found.line + lines, found.fault, self._behind)
        elif not is_last:
            end = text.rfind(CRLF)
            self._column = self._column + len(text) if end < 0 else len(text) - end - len(CRLF)
            self._passed.append(text)

    def forget(self) -> None:
        """Hold no longer what passed."""
        self._behind += sum(map(len, self._passed))
        self._passed.clear()
