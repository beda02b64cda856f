"""The whole exception tree.

Three kinds of wrong (what a peer sends, what a caller asks, what we got wrong): the first two are here, the third is
an `assert`.
"""

from enum import IntEnum


class RudpError(Exception):
    """Anything this package raises on purpose."""


class ErrorCode(IntEnum):
    """Why a connection is closed, as the peer is told (RFC 9000 s20.1: its names and numbers)."""

    NO_ERROR = 0x0
    INTERNAL_ERROR = 0x1
    CONNECTION_REFUSED = 0x2
    FLOW_CONTROL_ERROR = 0x3
    STREAM_LIMIT_ERROR = 0x4
    STREAM_STATE_ERROR = 0x5
    FINAL_SIZE_ERROR = 0x6
    FRAME_ENCODING_ERROR = 0x7
    TRANSPORT_PARAMETER_ERROR = 0x8
    PROTOCOL_VIOLATION = 0xA
    VERSION_NEGOTIATION_ERROR = 0x11  # RFC 9368 s10.2


class ConfigError(RudpError):
    """A scenario or option that cannot be obeyed; the message names the place and the remedy."""

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.key = key  # dotted key path inside the scenario, "" when there is none

    def __reduce__(self) -> tuple[object, ...]:
        return _restore_config_error, (self.message, self.key)


def _restore_config_error(message: str, key: str) -> ConfigError:
    return ConfigError(message, key=key)


class DriverError(RudpError):
    """The world outside refused: a socket, a file, a process."""


class MailboxError(DriverError):
    """A message could not be made safe, and nothing of it was kept. `is_full`: for want of space."""

    def __init__(self, message: str, *, is_full: bool = False) -> None:
        super().__init__(message)
        self.is_full = is_full


class KeyConflict(MailboxError):
    """An idempotency key came with another message than the one it stands for: the client mixed them up."""


class LivelockError(RudpError):
    """A node works without end at one instant of time: a defect of ours, named before it can hang."""


class RunFailed(RudpError):
    """A run of an experiment raised: a defect of ours. The message names the run; the first failure is the cause."""


class ProtocolError(RudpError):
    """A rule of the protocol was broken; `error_code` is what the peer is told."""

    def __init__(self, message: str, *, error_code: int = 0) -> None:
        super().__init__(message)
        self.error_code = error_code


class LocalProtocolError(ProtocolError):
    """Our caller asked for something the protocol forbids in this state."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule. Never leaves `receive_datagram`: it closes the connection."""


class PacketDecodeError(RemoteProtocolError):
    """Octets that are not a packet of ours; `trigger` is the reason a PacketDropped fact gives.

    header_parse_error, unsupported_version, integrity_check_failed or frame_encoding_error.
    """

    def __init__(self, message: str, *, trigger: str = "header_parse_error", error_code: int = 0) -> None:
        super().__init__(message, error_code=error_code)
        self.trigger = trigger


class SmtpSyntaxError(RemoteProtocolError):
    """A command, reply or address that RFC 5321's grammar does not produce."""
