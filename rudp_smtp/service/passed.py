"""What a gateway without a queue has passed on under a key, so that a repeat is answered and not sent once more.

In memory: the reply to our client may be lost with its connection, whose repeat then finds the answer here. Of a
gateway that was killed in between, only the far end can tell a repeat, if it knows the extension.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rudp_smtp.errors import KeyConflict
from rudp_smtp.mail.mailbox import refusal
from rudp_smtp.smtp import Reply

REMEMBERED_MAX = 10_000  # messages; the one that came first is forgotten for a new one
CONFLICT = refusal(KeyConflict("the idempotency key stands for another message"))


@dataclass(frozen=True, slots=True)
class Fate:
    """The far end's last word about a message."""

    reply: Reply
    is_accepted: bool


@dataclass(frozen=True, slots=True)
class _Passing:
    fingerprint: str
    fate: asyncio.Future[Fate]


class PassedOn:
    """Owns the keys of what is under way or was accepted. What was refused may be tried again."""

    def __init__(self) -> None:
        self._known: dict[str, _Passing] = {}

    async def once(self, key: str, fingerprint: str, attempt: Callable[[], Awaitable[Fate]]) -> Fate:
        """The fate of the message; `attempt` is asked for it unless another session has had or is having it."""
        while (known := self._known.get(key)) is not None:
            if known.fingerprint != fingerprint:
                return Fate(CONFLICT, is_accepted=False)
            await asyncio.wait([known.fate])  # and not the future itself: a session that ends must not end the other's
            if self._known.get(key) is known:
                return known.fate.result()
        passing = _Passing(fingerprint, asyncio.get_running_loop().create_future())
        self._known[key] = passing
        fate = None
        try:
            fate = await attempt()
        finally:
            if fate is None or not fate.is_accepted:
                self._forget(key, passing)
        if fate.is_accepted:
            passing.fate.set_result(fate)
        if len(self._known) > REMEMBERED_MAX:
            del self._known[next(iter(self._known))]
        return fate

    def _forget(self, key: str, passing: _Passing) -> None:
        """Who waits for it tries for himself."""
        if self._known.get(key) is passing:
            del self._known[key]
        passing.fate.cancel()
