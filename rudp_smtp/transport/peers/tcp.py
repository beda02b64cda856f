"""TCP, the kernel's own, as a scenario chooses it; `tcp_adapter` says how it looks like any other transport.

No packet of it passes through our hands, so only a driver whose hosts have a kernel of their own can carry it.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TRANSPORTS, TransportPlugin
from rudp_smtp.transport.peers.tcp_adapter import TcpEndpoint

_NAME = re.compile(r"[a-z][a-z0-9_]{0,14}")  # TCP_CA_NAME_MAX, linux/tcp.h: 16 with the zero behind


@TRANSPORTS.register
@dataclass(frozen=True, kw_only=True)
class Tcp(TransportPlugin):
    """`congestion` is what `sysctl net.ipv4.tcp_available_congestion_control` names; every other setting, buffers and
    timers, is what the kernel comes with."""

    needs_kernel: ClassVar[bool] = True

    congestion: str = "cubic"
    nodelay: bool = True  # TCP_NODELAY: a small piece does not wait for the acknowledgement of the one before it

    @staticmethod
    def check(congestion: str = "cubic", nodelay: bool = True) -> None:
        if not _NAME.fullmatch(congestion):
            text = f"{congestion!r} is no name of a congestion control; expected one such as cubic, bbr or reno"
            raise ConfigError(text, key="congestion")

    def endpoint(self, *, host: str, accepts: bool, draws: DrawKey, sink: Sink | None) -> TcpEndpoint:
        return TcpEndpoint(self.congestion, host=host, accepts=accepts, is_eager=self.nodelay, sink=sink)
