"""A peer that speaks TLS to one side of ours by hand, line by line."""

import ssl
from contextlib import suppress

from rudp_smtp.smtp import Envelope, Server
from tests.smtp.certificates import HOST, client_context
from tests.smtp.dialogue import accept_all


class TlsPeer:
    """The client's end of a TLS channel to a Server, without any SMTP of its own."""

    def __init__(self, server: Server, context: ssl.SSLContext | None = None) -> None:
        self.server = server
        self.envelopes: list[Envelope] = []  # of the messages that came, every one accepted
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or client_context()).wrap_bio(self._incoming, self._outgoing, server_hostname=HOST)
        self._shake_hands()

    def say(self, data: bytes) -> bytes:
        """Say octets; what the server answers."""
        self.tls.write(data)
        self._exchange()
        return self.hear()

    def close(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self._exchange()

    def hear(self) -> bytes:
        heard = b""
        while True:
            try:
                piece = self.tls.read()
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                return heard
            if not piece:
                return heard
            heard += piece

    def codes(self, *lines: str) -> list[int]:
        """Say lines one by one; the codes of the answers."""
        said = b"".join(self.say(line.encode() + b"\r\n") for line in lines)
        return [int(row[:3]) for row in said.split(b"\r\n")[:-1] if row[3:4] != b"-"]

    def _shake_hands(self) -> None:
        for _ in range(10):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._exchange()
            else:
                self._exchange()
                return
        raise AssertionError("no handshake")

    def _exchange(self) -> None:
        self.server.receive_data(self._outgoing.read())
        self.envelopes += accept_all(self.server)
        self._incoming.write(self.server.data_to_send())
