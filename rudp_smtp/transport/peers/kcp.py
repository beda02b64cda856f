"""KCP, the ARQ of games and tunnels, as a scenario chooses it; `kcp_adapter` says what had to be added to it.

`preset` is one of the two profiles that KCP's own README names; a parameter given beside it stands instead of the
preset's. `eager_flush` sends at once what is written or has to be acknowledged, where KCP by itself waits for its next
tick.
"""

from dataclasses import dataclass
from typing import Any, Literal

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TRANSPORTS, Endpoint, TransportPlugin
from rudp_smtp.units import MILLISECOND, SECOND, Duration, Size

Preset = Literal["default", "turbo"]
# nodelay, interval, resend, nc: "normal mode" and "turbo mode" of KCP's README, with the windows it has by itself and
# those its README's test sets.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {
        "nodelay": False,
        "interval": 40 * MILLISECOND,
        "resend": 0,
        "nc": False,
        "send_window": 32,
        "receive_window": 128,
    },
    "turbo": {
        "nodelay": True,
        "interval": 10 * MILLISECOND,
        "resend": 2,
        "nc": True,
        "send_window": 128,
        "receive_window": 128,
    },
}
INTERVAL_MIN, INTERVAL_MAX = 10 * MILLISECOND, 5 * SECOND  # ikcp_nodelay takes no other
WINDOW_MAX = 0xFFFF  # what a header can say
RECEIVE_WINDOW_MIN = 128  # IKCP_WND_RCV: ikcp_wndsize takes none that is smaller
RESEND_MAX = 0x7FFF_FFFF
DATAGRAM_SIZE_MIN, DATAGRAM_SIZE_MAX = 100, 65_507


@TRANSPORTS.register
@dataclass(frozen=True, kw_only=True)
class Kcp(TransportPlugin):
    """Parameters have KCP's own names. Windows count segments."""

    preset: Preset = "default"
    nodelay: bool | None = None  # time-outs from 30 ms on and not 100 ms, that grow by half and do not double
    interval: Duration | None = None  # between two ticks
    resend: int | None = None  # segments acknowledged beyond one before it is sent again; 0: only after a time-out
    nc: bool | None = None  # no congestion control: whatever the windows allow
    send_window: int | None = None
    receive_window: int | None = None
    eager_flush: bool = False
    datagram_size: Size = 1400  # the most that leaves, the adapter's checksum included
    max_idle_timeout: Duration = 30 * SECOND  # of silence from the peer, then the connection is given up

    @classmethod
    def check(cls, **parameters: Any) -> None:
        """Refuse what cannot work, and what is not installed."""
        self = cls(**parameters)
        if not INTERVAL_MIN <= self.value("interval") <= INTERVAL_MAX or self.value("interval") % MILLISECOND:
            raise ConfigError("KCP ticks every 10ms to 5s, in whole ms", key="interval")
        if not 0 <= self.value("resend") <= RESEND_MAX:
            raise ConfigError(f"{self.resend} is not a number of acknowledgements; 0 is never", key="resend")
        for key, least in (("send_window", 1), ("receive_window", RECEIVE_WINDOW_MIN)):
            if not least <= self.value(key) <= WINDOW_MAX:
                raise ConfigError(f"{self.value(key)} segments are not from {least} to {WINDOW_MAX}", key=key)
        if not DATAGRAM_SIZE_MIN <= self.datagram_size <= DATAGRAM_SIZE_MAX:
            text = f"{self.datagram_size}B is not from {DATAGRAM_SIZE_MIN}B to {DATAGRAM_SIZE_MAX}B"
            raise ConfigError(text, key="datagram_size")
        if self.max_idle_timeout < MILLISECOND:
            raise ConfigError("expected at least 1ms", key="max_idle_timeout")
        require_installed()

    def value(self, key: str) -> Any:
        """A parameter: as given, or the preset's."""
        given = getattr(self, key)
        return PRESETS[self.preset][key] if given is None else given

    def endpoint(self, *, host: str, accepts: bool, draws: DrawKey, sink: Sink | None) -> Endpoint:
        require_installed()
        from rudp_smtp.transport.peers.kcp_adapter import KcpEndpoint

        return KcpEndpoint(self, host=host, accepts=accepts, draws=draws, sink=sink)


def require_installed() -> None:
    try:
        import kcp  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError("transport 'kcp' needs a package more: pip install 'rudp-smtp[kcp]'") from error
