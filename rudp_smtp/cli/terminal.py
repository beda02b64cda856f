"""What the commands about mail print: tables, plain where there is no terminal, and nothing that moves a cursor."""

import io
import sys
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rudp_smtp.errors import MailboxError
from rudp_smtp.units import SECOND

OK, NOT_FOUND, BAD_INPUT, UNREAD = 0, 1, 2, 141
_DANGEROUS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # control, format (bidirectional too), no character


def visible(text: str, keep: str = "") -> str:
    """Text of a stranger: what would command the terminal, or hide other text, as an escape that can be read."""
    if text.isprintable():
        return text
    return "".join(
        char if char in keep or unicodedata.category(char) not in _DANGEROUS else _escape(char) for char in text
    )


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """No cell is cut short; the cells are made visible here. Rich's own table takes ten times as long."""
    from rich.cells import cell_len
    from rich.text import Text

    from rudp_smtp.experiment.console import Output

    lines = [headings, *([visible(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
              for line in lines)  # fmt: skip
    Output().print(Text(next(padded).rstrip(), style="bold"), soft_wrap=True)
    for line in padded:
        print(line.rstrip())


def print_octets(octets: bytes) -> None:
    """As they are, whatever they do to a terminal: who asks for them pipes them."""
    sys.stdout.flush()
    sys.stdout.buffer.write(octets)
    sys.stdout.flush()


def tell(text: str, *, is_aside: bool = False) -> None:
    """A line while a command goes on, aside: on standard error. A reader who left hears no more and stops nobody."""
    try:
        print(text, file=sys.stderr if is_aside else sys.stdout, flush=True)
    except BrokenPipeError:
        mute(is_aside=is_aside)


def mute(*, is_aside: bool = False) -> None:
    """Nobody reads this any more, what is still flushed at exit included."""
    if is_aside:
        sys.stderr = _Nowhere()
    else:
        sys.stdout = _Nowhere()


class _Nowhere(io.StringIO):
    """Keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


def guarded(act: Callable[[], int]) -> int:
    """Do what a command does; a reader who left and a store that refuses are exit statuses, not tracebacks."""
    try:
        status = act()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough, as `| head` has
        mute()
        return UNREAD
    except MailboxError as error:
        print(visible(str(error)), file=sys.stderr)
        return BAD_INPUT
    return status


def moment(time: int) -> str:
    """ns since the epoch, as a person reads it."""
    try:
        return datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return f"{time} ns"
