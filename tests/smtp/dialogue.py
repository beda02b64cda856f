"""Ways to talk to one side of a session, or to let both talk to each other, cut into chunks at will."""

from collections.abc import Callable, Iterator

from rudp_smtp.smtp import Client, ClientEvent, Envelope, MailReceived, Reply, Server, ServerEvent
from rudp_smtp.smtp.replies import ReplyReader

Chunks = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    if data:
        yield data


def singly(data: bytes) -> Iterator[bytes]:
    for i in range(len(data)):
        yield data[i : i + 1]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut data into pieces of the given sizes, over and over."""
    pieces = []
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        pieces.append(data[position : position + size])
        position += size
        turn += 1
    return pieces


def read_replies(octets: bytes) -> list[Reply]:
    reader = ReplyReader()
    assert octets.endswith(b"\r\n") or not octets
    replies = (reader.receive_line(line) for line in octets.split(b"\r\n")[:-1])
    return [reply for reply in replies if reply is not None]


def server_events(server: Server) -> Iterator[ServerEvent]:
    while (event := server.next_event()) is not None:
        yield event


def client_events(client: Client) -> list[ClientEvent]:
    events = []
    while (event := client.next_event()) is not None:
        events.append(event)
    return events


def accept_all(server: Server) -> list[Envelope]:
    """Accept each message that waits, and whatever was pipelined behind it; the messages."""
    envelopes = []
    for event in server_events(server):
        if isinstance(event, MailReceived):
            envelopes.append(event.envelope)
            server.accept_mail()
    return envelopes


def say(server: Server, *lines: str) -> list[int]:
    """Say lines to a server that accepts all mail; the codes of its replies."""
    for line in lines:
        server.receive_data(line.encode("latin-1") + b"\r\n")
        accept_all(server)
    return [reply.code for reply in read_replies(server.data_to_send())]


def feed(server: Server, chunks: list[bytes]) -> tuple[bytes, list[ServerEvent]]:
    """Everything a server said and told when fed these chunks, every message accepted at once."""
    said, events = [server.data_to_send()], []
    for chunk in chunks:
        server.receive_data(chunk)
        for event in server_events(server):
            events.append(event)
            if isinstance(event, MailReceived):
                server.accept_mail()
        said.append(server.data_to_send())
    server.receive_eof()
    events.extend(server_events(server))
    return b"".join(said), events


def play(server: Server, transcript: str) -> list[Envelope]:
    """Act out a transcript of `C:` and `S:` lines, of which the latter hold a code; the messages that came of it."""
    envelopes: list[Envelope] = []
    said: list[Reply] = []
    for row in transcript.strip().splitlines():
        side, _, said_next = row.strip().partition(":")
        text = said_next.removeprefix(" ")
        if side == "C":
            assert not said, f"the server said {said} before the client said {text!r}"
            server.receive_data(text.encode("ascii") + b"\r\n")
            envelopes += accept_all(server)
        else:
            said += read_replies(server.data_to_send())
            reply = said.pop(0)
            assert str(reply).startswith(text), f"{text!r} expected, {reply} said"
    assert not said
    return envelopes


def converse(client: Client, server: Server, chunks: Chunks = whole) -> tuple[int, list[Envelope]]:
    """Let both talk until nobody has anything to say; how many flights the client sent, and the messages."""
    flights = 0
    envelopes: list[Envelope] = []
    while True:
        answer = server.data_to_send()
        for chunk in chunks(answer):
            client.receive_data(chunk)
        question = client.data_to_send()
        if not answer and not question:
            return flights, envelopes
        flights += bool(question)
        for chunk in chunks(question):
            server.receive_data(chunk)
            envelopes += accept_all(server)
