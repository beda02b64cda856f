"""What a link's match rules may know of our packets. Here, because a link must not: it is handed `read_contents`."""

import re
from typing import get_args

from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.link.match import Contents
from rudp_smtp.wire.frames import Frame, StreamFrame
from rudp_smtp.wire.packet import decode_packet


def _frame_name(cls: type) -> str:
    """StopSendingFrame -> stop_sending."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Frame")).lower()


_NAMES: dict[type, str] = {cls: _frame_name(cls) for cls in get_args(Frame)}
FRAME_NAMES = tuple(sorted(_NAMES.values()))


def read_contents(data: bytes) -> Contents | None:
    """A datagram of another transport, or a damaged one, is no packet of ours."""
    try:
        frames = decode_packet(data).frames
    except PacketDecodeError:
        return None
    pieces = tuple(bytes(frame.data) for frame in frames if isinstance(frame, StreamFrame))
    return Contents(frozenset(_NAMES[type(frame)] for frame in frames), pieces)
