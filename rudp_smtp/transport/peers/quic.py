"""QUIC as aioquic speaks it, as a scenario chooses it; `quic_adapter` says how its streams and events become ours."""

from dataclasses import dataclass
from typing import Any, Literal

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TRANSPORTS, Endpoint, TransportPlugin
from rudp_smtp.units import MILLISECOND, SECOND, Duration, Size

MIB = 1 << 20
DATAGRAM_SIZE_MIN, DATAGRAM_SIZE_MAX = 1200, 65_507  # RFC 9000 section 14.1; IPv4's and UDP's headers take the rest


@TRANSPORTS.register
@dataclass(frozen=True, kw_only=True)
class Quic(TransportPlugin):
    """The defaults are aioquic's own."""

    congestion: Literal["reno", "cubic"] = "reno"
    datagram_size: Size = 1200
    initial_rtt: Duration = 100 * MILLISECOND
    connection_window: Size = MIB  # these two are what the peer may send before it is given more
    stream_window: Size = MIB
    max_idle_timeout: Duration = 60 * SECOND

    @classmethod
    def check(cls, **parameters: Any) -> None:
        """Refuse what cannot work, and what is not installed."""
        self = cls(**parameters)
        if not DATAGRAM_SIZE_MIN <= self.datagram_size <= DATAGRAM_SIZE_MAX:
            text = f"{self.datagram_size}B is not from {DATAGRAM_SIZE_MIN}B to {DATAGRAM_SIZE_MAX}B"
            raise ConfigError(text, key="datagram_size")
        for key in ("connection_window", "stream_window"):
            if getattr(self, key) < DATAGRAM_SIZE_MIN:
                raise ConfigError(f"expected at least {DATAGRAM_SIZE_MIN}B", key=key)
        for key in ("initial_rtt", "max_idle_timeout"):
            if getattr(self, key) < MILLISECOND:
                raise ConfigError("expected at least 1ms", key=key)
        require_installed()

    def endpoint(self, *, host: str, accepts: bool, draws: DrawKey, sink: Sink | None) -> Endpoint:
        """`draws` has nothing to decide: what aioquic draws for itself are keys and identifiers of fixed length."""
        require_installed()
        from rudp_smtp.transport.peers.quic_adapter import QuicEndpoint

        return QuicEndpoint(self, host=host, accepts=accepts, sink=sink)


def require_installed() -> None:
    try:
        import aioquic  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError("transport 'quic' needs a package more: pip install 'rudp-smtp[quic]'") from error
