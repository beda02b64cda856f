"""Mail data on its way out in pieces: from a source that need not fit into memory, behind DATA or in chunks of BDAT."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from rudp_smtp.smtp.commands import Bdat
from rudp_smtp.smtp.lines import CRLF, PIECE_OCTETS, TEXT_LINE_OCTETS, TextCheck, stuff

CHUNK_OCTETS = 4 * PIECE_OCTETS  # of BDAT, and the most that is handed out at once


@dataclass(frozen=True, slots=True)
class MailSource:
    """Where mail data comes from, opened anew for each transaction that sends it; pieces may have any size.

    `size`: how many octets it has, where that is known; the server can then refuse before they are sent.
    """

    open: Callable[[], Iterable[bytes]]
    size: int | None = None


class Body:
    """Owns one passage through a source: checks what comes and makes it fit for the wire, block by block."""

    __slots__ = (
        "_blocks",
        "_check",
        "_held",
        "_is_begun",
        "_is_chunked",
        "_is_seven_bit",
        "_next",
        "defect",
        "is_over",
    )

    def __init__(self, source: MailSource, *, is_chunked: bool, is_binary: bool, is_seven_bit: bool) -> None:
        self.defect = ""  # why the message cannot be sent after all
        self.is_over = False
        self._blocks = _blocks(source.open())
        self._next = next(self._blocks, b"")
        self._check = TextCheck(line_octets=TEXT_LINE_OCTETS, is_stray_allowed=False, is_binary=is_binary)
        self._is_chunked = is_chunked
        self._is_seven_bit = is_seven_bit
        self._is_begun = False
        self._held = b""  # the line end that the last block ended in: a dot may follow it

    def take(self) -> bytes:
        """The next octets for the wire; the last of them when `is_over`. Nothing, once there is a defect."""
        block = self._next
        following = next(self._blocks, None)
        self.is_over = following is None
        self._next = following or b""
        self._check.take(block, is_last=self.is_over)
        self._check.forget()
        if self._check.defect is not None:
            self.defect = f"mail data with {self._check.defect}"
        elif self._is_seven_bit and not block.isascii():
            self.defect = "mail data with 8-bit octets, and the server does not offer 8BITMIME"
        if self.defect:
            self.is_over = True
            return b""
        if self._is_chunked:
            return Bdat(len(block), is_last=self.is_over).encode() + block
        return self._dotted(block)

    def close(self) -> None:
        """Let go of the source, wherever it is."""
        self._blocks.close()

    def _dotted(self, block: bytes) -> bytes:
        text = self._held + block
        if not self.is_over:
            self._held = CRLF if text.endswith(CRLF) else b"\r" if text.endswith(b"\r") else b""
            text = text[: len(text) - len(self._held)]
        stuffed = stuff(text) if not self._is_begun else stuff(b"x" + text)[1:]
        self._is_begun = True
        return stuffed + b".\r\n" if self.is_over else stuffed


def _blocks(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    """The same octets in blocks of one size, but for the last; none of them is empty."""
    rest = bytearray()
    for piece in pieces:
        rest += piece
        while len(rest) >= CHUNK_OCTETS:
            yield bytes(rest[:CHUNK_OCTETS])
            del rest[:CHUNK_OCTETS]
    if rest:
        yield bytes(rest)
