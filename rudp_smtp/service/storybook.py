"""The stories of the messages that one commit made safe, written together: a file opened for each would cost more."""

import asyncio
from pathlib import Path

from rudp_smtp.mail.stories import Story, write_stories


class StoryBook:
    """Owns what was told since the loop's last turn, of messages in this Maildir."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._told: list[tuple[str, Story]] = []

    def tell(self, trace_id: str, story: Story) -> None:
        if not self._told:
            asyncio.get_running_loop().call_soon(self._write)
        self._told.append((trace_id, story))

    def _write(self) -> None:
        told, self._told = self._told, []
        write_stories(self._root, told)
