"""Machine: a state, and the table of all its transitions. Tables are in files named state.py; nothing else assigns a
state."""

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from rudp_smtp.errors import LocalProtocolError


class Word(Enum):
    """A state or an input. There is one object of each, so it is hashed as such: Enum's own way is a call in Python."""

    __hash__ = object.__hash__


S = TypeVar("S", bound=Word)
I = TypeVar("I", bound=Word)  # noqa: E741 - S x I -> S


class Machine(Generic[S, I]):
    """Owns a state. What is given in a state for which its table has no such pair is refused."""

    __slots__ = ("_transitions", "state")

    def __init__(self, transitions: Mapping[tuple[S, I], S], start: S) -> None:
        self._transitions = transitions
        self.state = start

    def allows(self, given: I) -> bool:
        return (self.state, given) in self._transitions

    def advance(self, given: I) -> bool:
        """Take the transition; False when it leads back to the same state."""
        following = self._transitions.get((self.state, given))
        if following is None:
            raise LocalProtocolError(f"{given.name.lower()} is not possible while {self.state.name.lower()}")
        is_change = following is not self.state
        self.state = following
        return is_change
