"""The states of an ARQ connection and the table of all transitions; nothing else. No other file assigns a state.

Three-way opening and graceful close as in Kurose and Ross, section 3.5.6, with one close for both directions.
"""

from rudp_smtp.machine import Word


class State(Word):
    SYN_SENT = "syn_sent"
    SYN_RECEIVED = "syn_received"
    ESTABLISHED = "established"
    LINGERING = "lingering"  # over for the application; the peer may not know, so its frames are answered
    CLOSED = "closed"


class Input(Word):
    CONFIRMED = "confirmed"  # the peer has shown that it knows of the connection
    ALL_ACKED = "all_acked"  # our CLOSE was, and so all before it
    PEER_CLOSED = "peer_closed"  # its CLOSE came, and so all before it
    RESET = "reset"  # by our application, or because the peer broke a rule
    PEER_RESET = "peer_reset"
    SILENCE = "silence"  # nothing came from the peer for too long
    LINGERED = "lingered"


TRANSITIONS: dict[tuple[State, Input], State] = {
    (State.SYN_SENT, Input.CONFIRMED): State.ESTABLISHED,
    (State.SYN_SENT, Input.RESET): State.LINGERING,
    (State.SYN_SENT, Input.PEER_RESET): State.CLOSED,
    (State.SYN_SENT, Input.SILENCE): State.CLOSED,
    (State.SYN_RECEIVED, Input.CONFIRMED): State.ESTABLISHED,
    (State.SYN_RECEIVED, Input.PEER_RESET): State.CLOSED,
    (State.SYN_RECEIVED, Input.SILENCE): State.CLOSED,
    (State.ESTABLISHED, Input.ALL_ACKED): State.CLOSED,
    (State.ESTABLISHED, Input.PEER_CLOSED): State.LINGERING,
    (State.ESTABLISHED, Input.RESET): State.LINGERING,
    (State.ESTABLISHED, Input.PEER_RESET): State.CLOSED,
    (State.ESTABLISHED, Input.SILENCE): State.CLOSED,
    (State.LINGERING, Input.PEER_RESET): State.CLOSED,
    (State.LINGERING, Input.LINGERED): State.CLOSED,
}

# Asked for with every frame, and an Enum finds its members slowly.
SYN_SENT, SYN_RECEIVED, ESTABLISHED, LINGERING, CLOSED = State
OVER = (LINGERING, CLOSED)
