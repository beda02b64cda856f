"""Session states and the transition tables of both sides. A pair that is missing is out of order.

The server's table says which command may come; the client's says what may be written next (RFC 2920 section 3.1):
replies come back in the order of the commands, so what waits for one is a queue and no state.
"""

from enum import auto

from rudp_smtp.machine import Word


class ServerState(Word):
    HANDSHAKE = auto()  # of TLS: no SMTP is spoken
    CONNECTED = auto()  # the greeting is on its way; who the client is, is not known yet
    READY = auto()
    AUTHENTICATING = auto()  # what comes answers a challenge
    MAIL_REFUSED = auto()  # what was pipelined behind the refused MAIL is out of order, and not the client's fault
    MAIL = auto()  # reverse-path given
    RCPT = auto()  # and at least one forward-path
    DATA = auto()  # what comes is mail data, up to its end mark
    CHUNK = auto()  # what comes is mail data, so many octets
    CHUNKED = auto()  # and the next command is another chunk, or gives the message up
    DELIVERING = auto()  # the application decides; nothing is read
    CLOSED = auto()


class ServerInput(Word):
    STARTTLS = auto()
    ENCRYPTED = auto()  # and nothing that was said before counts
    HELLO = auto()
    AUTH = auto()
    AUTH_OVER = auto()  # whether it was granted or not
    MAIL = auto()
    REFUSE_MAIL = auto()
    RCPT = auto()
    DATA = auto()
    BDAT = auto()
    RSET = auto()
    CHUNK_OVER = auto()  # it was not the last
    HAND_OVER = auto()  # end mark, or last chunk, of an acceptable message
    REFUSE_DATA = auto()  # of one that is not
    ANSWER = auto()
    CLOSE = auto()  # QUIT, 421, or the end of the stream


SERVER_TRANSITIONS: dict[tuple[ServerState, ServerInput], ServerState] = {
    (ServerState.HANDSHAKE, ServerInput.ENCRYPTED): ServerState.CONNECTED,
    (ServerState.HANDSHAKE, ServerInput.CLOSE): ServerState.CLOSED,
    (ServerState.CONNECTED, ServerInput.HELLO): ServerState.READY,
    (ServerState.CONNECTED, ServerInput.RSET): ServerState.CONNECTED,
    (ServerState.CONNECTED, ServerInput.CLOSE): ServerState.CLOSED,
    (ServerState.READY, ServerInput.HELLO): ServerState.READY,
    (ServerState.READY, ServerInput.STARTTLS): ServerState.HANDSHAKE,
    (ServerState.READY, ServerInput.AUTH): ServerState.AUTHENTICATING,
    (ServerState.READY, ServerInput.MAIL): ServerState.MAIL,
    (ServerState.READY, ServerInput.REFUSE_MAIL): ServerState.MAIL_REFUSED,
    (ServerState.READY, ServerInput.RSET): ServerState.READY,
    (ServerState.READY, ServerInput.CLOSE): ServerState.CLOSED,
    (ServerState.AUTHENTICATING, ServerInput.AUTH_OVER): ServerState.READY,
    (ServerState.AUTHENTICATING, ServerInput.CLOSE): ServerState.CLOSED,
    (ServerState.MAIL_REFUSED, ServerInput.HELLO): ServerState.READY,
    (ServerState.MAIL_REFUSED, ServerInput.STARTTLS): ServerState.HANDSHAKE,
    (ServerState.MAIL_REFUSED, ServerInput.AUTH): ServerState.AUTHENTICATING,
    (ServerState.MAIL_REFUSED, ServerInput.MAIL): ServerState.MAIL,
    (ServerState.MAIL_REFUSED, ServerInput.REFUSE_MAIL): ServerState.MAIL_REFUSED,
    (ServerState.MAIL_REFUSED, ServerInput.RSET): ServerState.READY,
    (ServerState.MAIL_REFUSED, ServerInput.CLOSE): ServerState.CLOSED,
    (ServerState.MAIL, ServerInput.HELLO): ServerState.READY,
    (ServerState.MAIL, ServerInput.RCPT): ServerState.RCPT,
    (ServerState.MAIL, ServerInput.RSET): ServerState.READY,
    (ServerState.MAIL, ServerInput.CLOSE): ServerState.CLOSED,
    (ServerState.RCPT, ServerInput.HELLO): ServerState.READY,
    (ServerState.RCPT, ServerInput.RCPT): ServerState.RCPT,
    (ServerState.RCPT, ServerInput.DATA): ServerState.DATA,
    (ServerState.RCPT, ServerInput.BDAT): ServerState.CHUNK,
    (ServerState.RCPT, ServerInput.RSET): ServerState.READY,
    (ServerState.RCPT, ServerInput.CLOSE): ServerState.CLOSED,
    (ServerState.DATA, ServerInput.HAND_OVER): ServerState.DELIVERING,
    (ServerState.DATA, ServerInput.REFUSE_DATA): ServerState.READY,
    (ServerState.DATA, ServerInput.CLOSE): ServerState.CLOSED,
    (ServerState.CHUNK, ServerInput.CHUNK_OVER): ServerState.CHUNKED,
    (ServerState.CHUNK, ServerInput.HAND_OVER): ServerState.DELIVERING,
    # What was pipelined behind a refused chunk are more chunks, mostly: none of them is the client's fault.
    (ServerState.CHUNK, ServerInput.REFUSE_DATA): ServerState.MAIL_REFUSED,
    (ServerState.CHUNK, ServerInput.CLOSE): ServerState.CLOSED,
    (ServerState.CHUNKED, ServerInput.BDAT): ServerState.CHUNK,
    (ServerState.CHUNKED, ServerInput.HELLO): ServerState.READY,
    (ServerState.CHUNKED, ServerInput.RSET): ServerState.READY,
    (ServerState.CHUNKED, ServerInput.CLOSE): ServerState.CLOSED,
    (ServerState.DELIVERING, ServerInput.ANSWER): ServerState.READY,
}


class ClientState(Word):
    GREETING = auto()  # nothing may be written before the server's 220, but for an early EHLO
    EHLO_EARLY = auto()  # it is said, and the 220 still to come
    EHLO = auto()
    HELO = auto()  # EHLO was not understood
    STARTTLS = auto()  # it is written: only its reply says what may follow
    AUTH = auto()
    READY = auto()
    ENVELOPE = auto()  # MAIL is written; RCPT and DATA may be
    DATA = auto()  # DATA is written: only its reply says what may follow
    BODY = auto()  # mail data is written piece by piece
    ABANDONED = auto()  # a transaction may be open still at the server's end: RSET first
    QUITTING = auto()
    CLOSED = auto()


class ClientInput(Word):
    HELLO_EARLY = auto()
    GREETED = auto()
    HELLO_ACCEPTED = auto()
    HELLO_REFUSED = auto()
    STARTTLS = auto()
    ENCRYPTED = auto()  # 220 came: what was said before does not count
    AUTH = auto()
    AUTH_GRANTED = auto()
    MAIL = auto()
    MAIL_REFUSED = auto()
    DATA = auto()
    BODY = auto()
    TEXT = auto()  # 354 came, the mail data and its end mark are written
    LAST_CHUNK = auto()  # it is written; what comes of it is not known
    ACCEPTED = auto()
    ABANDON = auto()
    RSET = auto()
    QUIT = auto()
    CLOSE = auto()


CLIENT_TRANSITIONS: dict[tuple[ClientState, ClientInput], ClientState] = {
    (ClientState.GREETING, ClientInput.GREETED): ClientState.EHLO,
    (ClientState.GREETING, ClientInput.QUIT): ClientState.QUITTING,
    (ClientState.GREETING, ClientInput.CLOSE): ClientState.CLOSED,
    (ClientState.GREETING, ClientInput.HELLO_EARLY): ClientState.EHLO_EARLY,
    (ClientState.EHLO_EARLY, ClientInput.GREETED): ClientState.EHLO,
    (ClientState.EHLO_EARLY, ClientInput.QUIT): ClientState.QUITTING,
    (ClientState.EHLO_EARLY, ClientInput.CLOSE): ClientState.CLOSED,
    (ClientState.EHLO, ClientInput.HELLO_ACCEPTED): ClientState.READY,
    (ClientState.EHLO, ClientInput.HELLO_REFUSED): ClientState.HELO,
    (ClientState.EHLO, ClientInput.STARTTLS): ClientState.STARTTLS,
    (ClientState.EHLO, ClientInput.AUTH): ClientState.AUTH,
    (ClientState.EHLO, ClientInput.QUIT): ClientState.QUITTING,
    (ClientState.EHLO, ClientInput.CLOSE): ClientState.CLOSED,
    (ClientState.HELO, ClientInput.HELLO_ACCEPTED): ClientState.READY,
    (ClientState.HELO, ClientInput.QUIT): ClientState.QUITTING,
    (ClientState.STARTTLS, ClientInput.ENCRYPTED): ClientState.EHLO,
    (ClientState.STARTTLS, ClientInput.AUTH): ClientState.AUTH,
    (ClientState.STARTTLS, ClientInput.HELLO_ACCEPTED): ClientState.READY,
    (ClientState.STARTTLS, ClientInput.QUIT): ClientState.QUITTING,
    (ClientState.STARTTLS, ClientInput.CLOSE): ClientState.CLOSED,
    (ClientState.AUTH, ClientInput.AUTH_GRANTED): ClientState.READY,
    (ClientState.AUTH, ClientInput.QUIT): ClientState.QUITTING,
    (ClientState.AUTH, ClientInput.CLOSE): ClientState.CLOSED,
    (ClientState.HELO, ClientInput.CLOSE): ClientState.CLOSED,
    (ClientState.READY, ClientInput.MAIL): ClientState.ENVELOPE,
    (ClientState.READY, ClientInput.QUIT): ClientState.QUITTING,
    (ClientState.READY, ClientInput.CLOSE): ClientState.CLOSED,
    (ClientState.ENVELOPE, ClientInput.MAIL_REFUSED): ClientState.READY,
    (ClientState.ENVELOPE, ClientInput.DATA): ClientState.DATA,
    (ClientState.ENVELOPE, ClientInput.BODY): ClientState.BODY,
    (ClientState.ENVELOPE, ClientInput.LAST_CHUNK): ClientState.ABANDONED,
    (ClientState.ENVELOPE, ClientInput.ABANDON): ClientState.ABANDONED,
    (ClientState.ENVELOPE, ClientInput.CLOSE): ClientState.CLOSED,
    (ClientState.DATA, ClientInput.MAIL_REFUSED): ClientState.READY,
    (ClientState.DATA, ClientInput.TEXT): ClientState.READY,
    (ClientState.DATA, ClientInput.BODY): ClientState.BODY,
    (ClientState.DATA, ClientInput.ABANDON): ClientState.ABANDONED,
    (ClientState.DATA, ClientInput.CLOSE): ClientState.CLOSED,
    (ClientState.BODY, ClientInput.TEXT): ClientState.READY,
    (ClientState.BODY, ClientInput.LAST_CHUNK): ClientState.ABANDONED,
    (ClientState.BODY, ClientInput.ABANDON): ClientState.ABANDONED,
    (ClientState.BODY, ClientInput.CLOSE): ClientState.CLOSED,
    (ClientState.ABANDONED, ClientInput.ACCEPTED): ClientState.READY,
    (ClientState.ABANDONED, ClientInput.RSET): ClientState.READY,
    (ClientState.ABANDONED, ClientInput.QUIT): ClientState.QUITTING,
    (ClientState.ABANDONED, ClientInput.CLOSE): ClientState.CLOSED,
    (ClientState.QUITTING, ClientInput.CLOSE): ClientState.CLOSED,
}
