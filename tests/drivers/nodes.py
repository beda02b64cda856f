"""Small hosts that write down what happens to them."""

from collections import deque

from rudp_smtp.datagram import NOT_ECT, Address


class Recorder:
    """Writes a transcript and answers nothing; `outbox` and `deadline` are the test's to fill."""

    def __init__(self, *, is_done: bool = False, deadline: int | None = None) -> None:
        self.is_done = is_done
        self.deadline = deadline
        self.outbox: deque[tuple[bytes, Address, int]] = deque()
        self.transcript: list[str] = []

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        self.transcript.append(f"{now} {remote}: {data.decode()}")

    def handle_timeout(self, now: int) -> None:
        self.transcript.append(f"{now} timeout")
        self.deadline = None

    def next_datagram(self, now: int) -> tuple[bytes, Address, int] | None:
        return self.outbox.popleft() if self.outbox else None

    def next_timeout(self) -> int | None:
        return self.deadline

    @property
    def done(self) -> bool:
        return self.is_done


class Echo(Recorder):
    """A server: sends everything back, and has no work of its own."""

    def __init__(self) -> None:
        super().__init__(is_done=True)

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        super().receive_datagram(data, remote, now, ecn)
        self.outbox.append((data, remote, ecn))


class Caller(Recorder):
    """Sends numbered calls one after another, each once more whenever `patience` runs out."""

    def __init__(self, calls: int, patience: int, remote: Address = "server") -> None:
        super().__init__(deadline=0)
        self._left = calls
        self._patience = patience
        self._remote = remote

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        super().receive_datagram(data, remote, now, ecn)
        self._left -= 1
        self.is_done = self._left == 0
        self._call(now)

    def handle_timeout(self, now: int) -> None:
        super().handle_timeout(now)
        self._call(now)

    def _call(self, now: int) -> None:
        if not self.is_done:
            self.outbox.append((b"call %d" % self._left, self._remote, NOT_ECT))
        self.deadline = None if self.is_done else now + self._patience
