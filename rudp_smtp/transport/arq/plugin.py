"""ArqTransport: parameters and a protocol, as a transport."""

from rudp_smtp.draws import DrawKey
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TransportPlugin
from rudp_smtp.transport.arq.endpoint import ArqEndpoint
from rudp_smtp.transport.arq.parameters import ArqParameters


class ArqTransport(ArqParameters, TransportPlugin):
    """What a protocol's file derives from and registers."""

    def endpoint(self, *, host: str, accepts: bool, draws: DrawKey, sink: Sink | None) -> ArqEndpoint:
        return ArqEndpoint(self, host=host, accepts=accepts, draws=draws, sink=sink)
