"""Stories: what the transport went through to bring each message, kept beside a Maildir, one small file a message.

They lie in the Maildir's folder `rudp-stories`, which mail readers do not look into, under the `id` of our Received
field, so a reader may mark, move and rename the message. A story is for the eyes: losing one loses nothing else, so it
is written without fsync.
"""

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = "rudp-stories"
SIZE_MAX = 64 * 1024  # of a file
HEADER_OCTETS = 4096  # our field is in front

_TRACE_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,199}")
_RECEIVED_ID = re.compile(rb"^Received:(?:[^\r\n]|\r?\n[ \t])*?\sid ([0-9A-Za-z][0-9A-Za-z.-]*)[\s;]", re.MULTILINE)


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


def write_story(root: Path, trace_id: str, story: Story) -> None:
    """Keep the story of the message that our Received field calls so; a disk that does not take it is forgiven."""
    folder = root / FOLDER
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{trace_id}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(story)))
        os.replace(temporary, path)


def read_story(root: Path, source: bytes) -> Story | None:
    """The story of a message by its octets, if there is a whole one; whoever forged the field gets nothing."""
    header = source[:HEADER_OCTETS]
    found = _RECEIVED_ID.search(header)
    if found is None or _TRACE_ID.fullmatch(found[1].decode("ascii")) is None:
        return None
    try:
        with (root / FOLDER / f"{found[1].decode('ascii')}.json").open("rb") as file:
            told = json.loads(file.read(SIZE_MAX))
        return Story(**told)
    except (OSError, ValueError, TypeError):
        return None
