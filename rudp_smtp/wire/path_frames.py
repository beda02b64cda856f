"""PATH_CHALLENGE and PATH_RESPONSE: does an address answer? (RFC 9000 s19.17 and s19.18)"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from rudp_smtp.wire.fields import refusal

PATH_CHALLENGE: Final = 0x1A
PATH_RESPONSE: Final = 0x1B

_TYPE_AND_TOKEN = Struct(">BQ")


@dataclass(slots=True)
class PathChallengeFrame:
    """Eight octets that nobody can guess; whoever gets them says them again."""

    token: int

    def encode(self) -> bytes:
        return _TYPE_AND_TOKEN.pack(PATH_CHALLENGE, self.token)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["PathChallengeFrame", int]:
        return PathChallengeFrame(_decode_token(data, offset)), offset + _TYPE_AND_TOKEN.size


@dataclass(slots=True)
class PathResponseFrame:
    """The octets of a challenge."""

    token: int

    def encode(self) -> bytes:
        return _TYPE_AND_TOKEN.pack(PATH_RESPONSE, self.token)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["PathResponseFrame", int]:
        return PathResponseFrame(_decode_token(data, offset)), offset + _TYPE_AND_TOKEN.size


def _decode_token(data: bytes, offset: int) -> int:
    if offset + _TYPE_AND_TOKEN.size > len(data):
        raise refusal("a path frame runs past the end")
    token: int = _TYPE_AND_TOKEN.unpack_from(data, offset)[1]
    return token
