"""N octets one way over one stream. The receiver answers the end with its own: that is the receipt."""

from dataclasses import dataclass
from typing import assert_never

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.transport import (
    Closed,
    Endpoint,
    Established,
    Event,
    StreamData,
    StreamOpened,
    StreamReset,
    StreamStopped,
    StreamWritable,
    Transport,
)
from rudp_smtp.units import Size
from rudp_smtp.workload import WORKLOADS, Delivery, Stage, Workload, WorkloadReport
from rudp_smtp.workload.node import SERVER, Pattern, Role, WorkloadNode, describe_end

CHUNK = 32 << 10  # octets handed to the transport at a time
QUEUED_MAX = 1 << 20  # octets that wait in the transport; more would only be memory


class Sender(Role):
    """Opens the connection, keeps the transport supplied, and closes once the receipt is there."""

    def __init__(self, endpoint: Endpoint, size: int, pattern: Pattern) -> None:
        self.is_done = False
        self.submitted_at: int | None = None
        self.receipt_at: int | None = None
        self.failure = ""
        self._endpoint = endpoint
        self._size = size
        self._pattern = pattern
        self._offset = 0  # octets handed over

    def start(self, now: int) -> None:
        connection = self._endpoint.connect(SERVER, now)
        self.submitted_at = now
        self._supply(connection, connection.open_stream())

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        match event:
            case StreamWritable(stream_id):
                self._supply(connection, stream_id)
            case StreamData(_, _, is_fin):
                if is_fin:
                    self.receipt_at = now
                    connection.close(now)
            case StreamReset() | StreamStopped():
                self._offset = self._size  # nothing more is handed over
                connection.reset(0, "the server refused the stream", now)
            case Closed():
                self.failure = "" if self.receipt_at is not None else describe_end(event)
                self.is_done = True
            case Established() | StreamOpened():
                pass
            case _:
                assert_never(event)

    def _supply(self, connection: Transport, stream_id: int) -> None:
        offset, size = self._offset, self._size
        while offset < size and connection.unsent_bytes(stream_id) < QUEUED_MAX:
            chunk = self._pattern.piece(offset, min(CHUNK, size - offset))
            offset += len(chunk)
            connection.send(stream_id, chunk, offset == size)
        self._offset = offset


class Receiver(Role):
    """Checks every octet by its position and acknowledges the end."""

    def __init__(self, size: int, pattern: Pattern) -> None:
        self.is_done = True  # it only serves
        self.received = 0
        self.is_intact = True
        self.completed_at: int | None = None
        self._size = size
        self._pattern = pattern

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        if not isinstance(event, StreamData):
            return
        if not self._pattern.matches(self.received, event.data):
            self.is_intact = False
        self.received += len(event.data)
        if event.is_fin:
            self.completed_at = now
            self.is_intact = self.is_intact and self.received == self._size
            connection.send(event.stream_id, b"", True)


@dataclass(slots=True)
class BulkStage(Stage):
    sender: Sender
    receiver: Receiver


@WORKLOADS.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk(Workload):
    size: Size = 10_000_000

    @staticmethod
    def check(size: int = 1) -> None:
        if size < 1:
            raise ConfigError("expected at least one octet", key="size")

    def stage(self, client: Endpoint, server: Endpoint, draws: DrawKey) -> BulkStage:
        pattern = Pattern(draws.derive("bulk"))
        sender = Sender(client, self.size, pattern)
        receiver = Receiver(self.size, pattern)
        return BulkStage(
            client=WorkloadNode(client, sender),
            server=WorkloadNode(server, receiver),
            sender=sender,
            receiver=receiver,
        )

    def report(self, stage: Stage) -> WorkloadReport:
        """The transfer is over when the receiver has it all; the receipt comes half a round trip later."""
        assert isinstance(stage, BulkStage)
        sender, receiver = stage.sender, stage.receiver
        is_complete = receiver.completed_at is not None
        delivery = Delivery(
            index=0,
            name="transfer",
            size=self.size,
            session=0,
            submitted_at=sender.submitted_at,
            completed_at=sender.receipt_at,
            delivered_at=receiver.completed_at,
            copies=int(is_complete),
            is_intact=is_complete and receiver.is_intact,
            attempts=int(sender.submitted_at is not None),
            status="delivered" if is_complete else "pending",
            reply=sender.failure,
        )
        client, server = stage.client.stats(), stage.server.stats()
        return WorkloadReport([delivery], client, server, finished_at=receiver.completed_at)
