"""The whole exception tree.

Three kinds of wrong (what a peer sends, what a caller asks, what we got wrong): the first two are here, the third is
an `assert`.
"""


class RudpError(Exception):
    """Anything this package raises on purpose."""


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
