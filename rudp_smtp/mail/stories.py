"""Stories: what the transport went through to bring each message, kept beside a Maildir, one small file a message.

They lie in the Maildir's folder `rudp-stories`, which mail readers do not look into, under the message's unique name:
what comes before the colon, so that a reader may mark and move the message. A story is for the eyes: losing one loses
nothing else, so it is written without fsync.
"""

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = "rudp-stories"
SIZE_MAX = 64 * 1024  # of a file

_UNIQUE = re.compile(r"[^/\0.:][^/\0:]*")


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


def write_story(root: Path, name: str, story: Story) -> None:
    """Keep the story of the message in the file called `name`; a disk that does not take it is not complained of."""
    folder = root / FOLDER
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{unique_name(name)}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(story)))
        os.replace(temporary, path)


def read_story(root: Path, name: str) -> Story | None:
    """The message's story, if there is a whole one."""
    try:
        with (root / FOLDER / f"{unique_name(name)}.json").open("rb") as file:
            told = json.loads(file.read(SIZE_MAX))
        return Story(**told)
    except (OSError, ValueError, TypeError):
        return None


def unique_name(name: str) -> str:
    """A Maildir file's name without its flags. Raises ValueError for what is none."""
    unique = name.partition(":")[0]
    if _UNIQUE.fullmatch(unique) is None:
        raise ValueError(f"{name!r} is no name of a message")
    return unique
