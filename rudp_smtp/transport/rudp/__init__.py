"""`rudp`, our reliable UDP transport: QUIC's rules without its encryption (RFC 9000, RFC 9002).

A datagram goes endpoint -> connection -> receive -> the part a frame concerns; what leaves goes assemble -> connection
-> endpoint. The parts: streams (with send_stream, recv_stream, schedule, flow), handshake, lifecycle (with keep_alive),
those that know the way to the peer (path, mtu, ecn, skips), and, from their own packages, recovery and ack. What has
no connection yet: accept (a server's decision on a first flight), guests (what each of its clients has), tokens (its
proofs of address), opening (a client's first flight, and answers without state), resumption (what both keep for the
next connection).
"""

from rudp_smtp.draws import DrawKey
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TRANSPORTS, TransportPlugin
from rudp_smtp.transport.rudp.config import TransportConfig
from rudp_smtp.transport.rudp.endpoint import Endpoint


@TRANSPORTS.register
class Rudp(TransportConfig, TransportPlugin):
    """The transport as a scenario chooses it."""

    def endpoint(self, *, host: str, accepts: bool, draws: DrawKey, sink: Sink | None) -> Endpoint:
        return Endpoint(self, host=host, accepts=accepts, draws=draws, sink=sink)
