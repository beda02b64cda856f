"""Lists of numbers that a scenario may keep in a file of their own: fates of packets, delay tables, rate traces.

The numbers themselves take the file name's place before anything is checked. So they are part of what a run is, its
key included, and neither the link nor a worker ever sees a file.
"""

import re
from pathlib import Path

from rudp_smtp.experiment.document import Place, Problems, Tree

MAX_FILE_BYTES = 64_000_000  # the delays of some millions of packets

_NUMBER = re.compile(r"-?[0-9]{1,19}")
_LISTS = (
    ("loss", "fates"),
    ("loss", "packets"),
    ("loss", "copies"),
    ("duplicated",),
    ("corrupt", "flips"),
    ("rate", "trace"),
    ("slot", "waits"),
    ("delay", "distribution", "values"),
    ("delay", "distribution", "offsets"),
    ("delay", "distribution", "copies"),
    ("reorder", "packets"),
    ("reorder", "copies"),
)
FILE_KEYS = frozenset(path[-1] for path in _LISTS)


class Inliner:
    """Owns what it has read: a grid names the same file in every cell."""

    def __init__(self) -> None:
        self._read: dict[Path, list[int]] = {}

    def inline(self, tree: Tree, problems: Problems) -> bool:
        """Replace the name of every file of numbers by what is in it; whether all of them could be read."""
        before = len(problems)
        for direction in ("forward", "reverse"):
            for rest in _LISTS:
                path = ("network", direction, *rest)
                given = tree.get(*path)
                if not isinstance(given, str):
                    continue
                place = tree.locate(path)
                numbers = self._numbers(given, place, problems)
                if numbers is not None:
                    tree.assign(path, Tree(list(numbers), {(): place}), place)
        return len(problems) == before

    def _numbers(self, given: str, place: Place, problems: Problems) -> list[int] | None:
        target = (place.folder / given).resolve()
        if target not in self._read:
            text = _text(target, given, place, problems)
            if text is None:
                return None
            words = [
                (word, line) for line, row in enumerate(text.splitlines(), 1) for word in row.split("#")[0].split()
            ]
            wrong = next(((word, line) for word, line in words if not _NUMBER.fullmatch(word)), None)
            if wrong is not None:
                message = f"{given!r}, line {wrong[1]}: {wrong[0]!r} is not a whole number; expected nothing else"
                problems.add(place, message)
                return None
            self._read[target] = [int(word) for word, _ in words]
        return self._read[target]


def _text(target: Path, given: str, place: Place, problems: Problems) -> str | None:
    try:
        with target.open("rb") as file:
            octets = file.read(MAX_FILE_BYTES + 1)
        if len(octets) <= MAX_FILE_BYTES:
            return octets.decode("ascii")
        text = f"{given!r} is longer than {MAX_FILE_BYTES} bytes; expected a file of numbers"
    except OSError as error:
        text = f"{given!r} cannot be read: {error.strerror}, as seen from {place.folder.as_posix()}/"
    except ValueError:  # octets beyond ASCII, or a name no file can have
        text = f"{given!r} is not a file of numbers; expected whole numbers with spaces or lines between, or a list"
    problems.add(place, text)
    return None
