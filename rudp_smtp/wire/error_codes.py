"""Why a connection is closed, in CONNECTION_CLOSE frames: the codes of RFC 9000 s20.1 that can happen here."""

from enum import IntEnum


class ErrorCode(IntEnum):
    NO_ERROR = 0x00
    INTERNAL_ERROR = 0x01
    CONNECTION_REFUSED = 0x02
    FLOW_CONTROL_ERROR = 0x03
    STREAM_LIMIT_ERROR = 0x04
    STREAM_STATE_ERROR = 0x05
    FINAL_SIZE_ERROR = 0x06
    FRAME_ENCODING_ERROR = 0x07
    TRANSPORT_PARAMETER_ERROR = 0x08
    PROTOCOL_VIOLATION = 0x0A
    APPLICATION_ERROR = 0x0C
