"""TOKEN: octets only the server that made them can read, which prove an address (RFC 9000 s8.1, s19.7)."""

from dataclasses import dataclass
from typing import Final

from rudp_smtp.wire.fields import decode_octets, refusal
from rudp_smtp.wire.varint import encode_varint

TOKEN: Final = 0x07  # frame type

MAX_TOKEN_SIZE = 512  # ours: a first flight has room for it beside all else


@dataclass(slots=True)
class TokenFrame:
    """From the server a new token for later connections, as NEW_TOKEN is. From the client the token it was given.

    A departure: QUIC's clients have a header field for it. Here it is the first frame of an INITIAL packet, so that
    what needs no token does not pay for one, and a server still finds it without reading any frame.
    """

    token: bytes

    def encode(self) -> bytes:
        assert 0 < len(self.token) <= MAX_TOKEN_SIZE
        return encode_varint(TOKEN) + encode_varint(len(self.token)) + self.token

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["TokenFrame", int]:
        token, offset = decode_octets(data, offset + 1)
        if not 0 < len(token) <= MAX_TOKEN_SIZE:
            raise refusal(f"a token of {len(token)} octets")
        return TokenFrame(token), offset
