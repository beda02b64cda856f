"""Stories: what the transport went through to bring each message, kept beside a Maildir, one line a message.

They lie in the Maildir's file `rudp-stories.jsonl`, which mail readers do not look at, under the `id` of our Received
field, so a reader may mark, move and rename the message. A story is for the eyes: losing one loses nothing else, so it
costs a part of one write and no fsync, and the oldest go when the file has grown.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

NAME, FORMER_NAME = "rudp-stories.jsonl", "rudp-stories.1.jsonl"
FILE_OCTETS = 4 << 20  # then it becomes the former one
HEADER_OCTETS = 4096  # of a message: our field is in front

_RECEIVED_ID = re.compile(
    rb"^Received:(?:[^\r\n]|\r?\n[ \t])*?\sid ([0-9A-Za-z][0-9A-Za-z.-]{0,199})[\s;]", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """From MAIL to the final reply, as the receiving server saw it. Times are milliseconds, sizes octets."""

    transport: str  # rudp or tcp
    peer: str
    protocol: str  # as in the Received field: ESMTP, ESMTPS, LMTP, ...
    size: int
    duration_ms: float
    packets_received: int = 0
    packets_missing: int = 0  # the peer sent them, and they never came: lost on the way, or skipped on purpose
    packets_duplicate: int = 0
    packets_sent: int = 0  # ours
    packets_lost: int = 0  # of these
    bytes_received: int = 0  # datagrams
    bytes_resent: int = 0  # of our side of the stream
    smoothed_rtt_ms: float = 0.0
    min_rtt_ms: float = 0.0


_FIELDS = tuple(field.name for field in fields(Story))


def write_stories(root: Path, stories: Sequence[tuple[str, Story]]) -> None:
    """Keep stories under what our Received fields call their messages; a disk that does not take them is forgiven."""
    lines = [
        json.dumps({"id": trace_id} | {name: getattr(story, name) for name in _FIELDS}) for trace_id, story in stories
    ]
    with suppress(OSError):
        handle = os.open(root / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, "".join(f"{line}\n" for line in lines).encode())
            is_full = os.fstat(handle).st_size >= FILE_OCTETS
        finally:
            os.close(handle)
        if is_full:
            os.replace(root / NAME, root / FORMER_NAME)


def read_story(root: Path, source: bytes) -> Story | None:
    """The story of a message by its octets, if it is still kept whole; whoever forged the field gets nothing."""
    found = _RECEIVED_ID.search(source[:HEADER_OCTETS])
    if found is None:
        return None
    start = b'{"id": "%s",' % found[1]
    for line in _lines(root):
        if line.startswith(start):
            try:
                told = json.loads(line)
                return Story(**{name: told[name] for name in _FIELDS})
            except (ValueError, KeyError, TypeError):
                return None
    return None


def _lines(root: Path) -> Iterator[bytes]:
    for name in (NAME, FORMER_NAME):
        with suppress(OSError), (root / name).open("rb") as file:
            yield from file
