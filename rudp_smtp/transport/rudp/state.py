"""The states of a connection, of a stream's two halves and of ECN, and the tables of all transitions; nothing else.

RFC 9000 s10 and, for flushing, RFC 9293 s3.3; s3.1 and s3.2 for streams, less the states that only count packets.
No other file assigns a state. A pair that is not in its table is refused.
"""

from rudp_smtp.machine import Word


class State(Word):
    IDLE = "idle"  # made, nothing sent
    HANDSHAKE = "handshake"
    HANDSHAKE_FLUSHING = "handshake_flushing"  # close asked before the peer confirmed
    ESTABLISHED = "established"
    FLUSHING = "flushing"  # close asked: what is queued goes out and is acknowledged first
    CLOSING = "closing"  # our CONNECTION_CLOSE is on its way (s10.2.1)
    DRAINING = "draining"  # the peer's CONNECTION_CLOSE came (s10.2.2)
    CLOSED = "closed"


class Input(Word):
    START = "start"  # connect, or a client's first flight arrived
    PEER_CONFIRMED = "peer_confirmed"  # the peer has shown that it knows our connection ID
    CLOSE = "close"  # the application asked for a graceful end
    FLUSHED = "flushed"
    ABORT = "abort"  # the application reset the connection, or the peer broke a rule
    PEER_CLOSED = "peer_closed"
    IDLE_TIMEOUT = "idle_timeout"
    VERSION_REFUSED = "version_refused"  # the server speaks none of ours
    DRAIN_TIMEOUT = "drain_timeout"


# Asked for with every packet, and an Enum finds its members slowly: hence names for those asked for.
FLUSHING = State.FLUSHING
CLOSED = State.CLOSED
SHAKING_HANDS = (State.HANDSHAKE, State.HANDSHAKE_FLUSHING)
OPEN = (State.ESTABLISHED, State.FLUSHING)
ENDING = (State.CLOSING, State.DRAINING, State.CLOSED)  # only CONNECTION_CLOSE is sent or listened to

TRANSITIONS: dict[tuple[State, Input], State] = {
    (State.IDLE, Input.START): State.HANDSHAKE,
    (State.HANDSHAKE, Input.PEER_CONFIRMED): State.ESTABLISHED,
    (State.HANDSHAKE, Input.CLOSE): State.HANDSHAKE_FLUSHING,
    (State.HANDSHAKE, Input.ABORT): State.CLOSING,
    (State.HANDSHAKE, Input.PEER_CLOSED): State.DRAINING,
    (State.HANDSHAKE, Input.IDLE_TIMEOUT): State.CLOSED,
    (State.HANDSHAKE, Input.VERSION_REFUSED): State.CLOSED,
    (State.HANDSHAKE_FLUSHING, Input.PEER_CONFIRMED): State.FLUSHING,
    (State.HANDSHAKE_FLUSHING, Input.CLOSE): State.HANDSHAKE_FLUSHING,
    (State.HANDSHAKE_FLUSHING, Input.ABORT): State.CLOSING,
    (State.HANDSHAKE_FLUSHING, Input.PEER_CLOSED): State.DRAINING,
    (State.HANDSHAKE_FLUSHING, Input.IDLE_TIMEOUT): State.CLOSED,
    (State.HANDSHAKE_FLUSHING, Input.VERSION_REFUSED): State.CLOSED,
    (State.ESTABLISHED, Input.CLOSE): State.FLUSHING,
    (State.ESTABLISHED, Input.ABORT): State.CLOSING,
    (State.ESTABLISHED, Input.PEER_CLOSED): State.DRAINING,
    (State.ESTABLISHED, Input.IDLE_TIMEOUT): State.CLOSED,
    (State.FLUSHING, Input.CLOSE): State.FLUSHING,
    (State.FLUSHING, Input.FLUSHED): State.CLOSING,
    (State.FLUSHING, Input.ABORT): State.CLOSING,
    (State.FLUSHING, Input.PEER_CLOSED): State.DRAINING,
    (State.FLUSHING, Input.IDLE_TIMEOUT): State.CLOSED,
    # The application may repeat itself at any time; the first end counts.
    (State.CLOSING, Input.CLOSE): State.CLOSING,
    (State.CLOSING, Input.ABORT): State.CLOSING,
    (State.CLOSING, Input.PEER_CLOSED): State.CLOSED,  # it answers ours, or both closed at once: both know
    (State.CLOSING, Input.DRAIN_TIMEOUT): State.CLOSED,
    (State.DRAINING, Input.CLOSE): State.DRAINING,
    (State.DRAINING, Input.ABORT): State.DRAINING,
    (State.DRAINING, Input.PEER_CLOSED): State.DRAINING,  # our answer was lost, the peer repeats
    (State.DRAINING, Input.DRAIN_TIMEOUT): State.CLOSED,
    (State.CLOSED, Input.CLOSE): State.CLOSED,
    (State.CLOSED, Input.ABORT): State.CLOSED,
}


class SendState(Word):
    OPEN = "open"
    FINISHING = "finishing"  # its last octet is known
    FINISHED = "finished"  # and acknowledged, with all before it
    RESET = "reset"  # RESET_STREAM is on its way
    RESET_ACKED = "reset_acked"


class SendInput(Word):
    FIN = "fin"
    ALL_ACKED = "all_acked"
    RESET = "reset"
    RESET_ACKED = "reset_acked"


SEND_OVER = (SendState.FINISHED, SendState.RESET_ACKED)
SEND_RESET = (SendState.RESET, SendState.RESET_ACKED)

SEND_TRANSITIONS: dict[tuple[SendState, SendInput], SendState] = {
    (SendState.OPEN, SendInput.FIN): SendState.FINISHING,
    (SendState.OPEN, SendInput.RESET): SendState.RESET,
    (SendState.FINISHING, SendInput.ALL_ACKED): SendState.FINISHED,
    (SendState.FINISHING, SendInput.RESET): SendState.RESET,
    (SendState.FINISHED, SendInput.RESET): SendState.FINISHED,  # too late to matter
    (SendState.RESET, SendInput.RESET): SendState.RESET,
    (SendState.RESET, SendInput.RESET_ACKED): SendState.RESET_ACKED,
    (SendState.RESET_ACKED, SendInput.RESET): SendState.RESET_ACKED,
    (SendState.RESET_ACKED, SendInput.RESET_ACKED): SendState.RESET_ACKED,  # a copy that was thought lost
}


class ReceiveState(Word):
    OPEN = "open"
    SIZE_KNOWN = "size_known"
    DELIVERED = "delivered"  # all of it
    RESET = "reset"


class ReceiveInput(Word):
    FIN = "fin"
    ALL_DELIVERED = "all_delivered"
    RESET = "reset"


DELIVERED = ReceiveState.DELIVERED
RECEIVE_OVER = (ReceiveState.DELIVERED, ReceiveState.RESET)

RECEIVE_TRANSITIONS: dict[tuple[ReceiveState, ReceiveInput], ReceiveState] = {
    (ReceiveState.OPEN, ReceiveInput.FIN): ReceiveState.SIZE_KNOWN,
    (ReceiveState.OPEN, ReceiveInput.RESET): ReceiveState.RESET,
    (ReceiveState.SIZE_KNOWN, ReceiveInput.FIN): ReceiveState.SIZE_KNOWN,
    (ReceiveState.SIZE_KNOWN, ReceiveInput.ALL_DELIVERED): ReceiveState.DELIVERED,
    (ReceiveState.SIZE_KNOWN, ReceiveInput.RESET): ReceiveState.RESET,
    (ReceiveState.DELIVERED, ReceiveInput.FIN): ReceiveState.DELIVERED,
    (ReceiveState.DELIVERED, ReceiveInput.RESET): ReceiveState.DELIVERED,  # nothing is left to give up
    (ReceiveState.RESET, ReceiveInput.FIN): ReceiveState.RESET,
    (ReceiveState.RESET, ReceiveInput.RESET): ReceiveState.RESET,
}


class EcnState(Word):
    """RFC 9000 appendix A.4, which has the names; marked packets leave in TESTING and CAPABLE."""

    OFF = "off"
    TESTING = "testing"
    UNKNOWN = "unknown"
    CAPABLE = "capable"
    FAILED = "failed"


class EcnInput(Word):
    START = "start"  # the handshake is done, or the path is a new one
    TESTED = "tested"  # enough packets were marked, or a time-out cut the test short
    PROVEN = "proven"  # the peer counted the marks as they were sent, or as the path changes them
    REFUTED = "refuted"


ECN_TRANSITIONS: dict[tuple[EcnState, EcnInput], EcnState] = {
    (EcnState.OFF, EcnInput.START): EcnState.TESTING,
    (EcnState.TESTING, EcnInput.START): EcnState.TESTING,
    (EcnState.TESTING, EcnInput.TESTED): EcnState.UNKNOWN,
    (EcnState.TESTING, EcnInput.PROVEN): EcnState.CAPABLE,
    (EcnState.TESTING, EcnInput.REFUTED): EcnState.FAILED,
    (EcnState.UNKNOWN, EcnInput.START): EcnState.TESTING,
    (EcnState.UNKNOWN, EcnInput.PROVEN): EcnState.CAPABLE,
    (EcnState.UNKNOWN, EcnInput.REFUTED): EcnState.FAILED,
    (EcnState.CAPABLE, EcnInput.START): EcnState.TESTING,
    (EcnState.CAPABLE, EcnInput.PROVEN): EcnState.CAPABLE,
    (EcnState.CAPABLE, EcnInput.REFUTED): EcnState.FAILED,
    (EcnState.FAILED, EcnInput.START): EcnState.TESTING,
}
