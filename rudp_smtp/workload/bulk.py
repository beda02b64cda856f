"""Octets one way: one transfer or several at once, of a given size or for a given time.

The receiver answers the end of a transfer with its own: that is the receipt. One that goes on for a time (iperf -t) has
none: what was there when the time was over counts, and what was under way is not waited for.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.transport import (
    Address,
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
from rudp_smtp.units import Duration, Size
from rudp_smtp.workload import SERVER, WORKLOADS, Delivery, FlowReport, Progress, Stage, Workload, WorkloadReport
from rudp_smtp.workload.node import Pattern, Role, WorkloadNode, check_multiplex, describe_end

CHUNK = 32 << 10  # octets handed to the transport at a time
QUEUED_MAX = 1 << 20  # octets that wait in the transport; more would only be memory
FLOWS_MAX = 1 << 16
NUMBER_OCTETS = 2  # where there are several, each flow begins with its number: connections may arrive in any order
PATTERN_SHIFT = 1_009  # between one flow's octets and the next one's, so that none passes for another
ENDLESS = 1 << 62  # octets: the time is over before


class Outgoing:
    """A flow at the sender: how far it was handed over, and what became of it."""

    __slots__ = ("connection", "failure", "number", "offset", "receipt_at", "size", "starts_at", "stream_id")

    def __init__(self, number: int, size: int, starts_at: int) -> None:
        self.number = number
        self.size = size
        self.starts_at = starts_at
        self.connection: Transport | None = None  # None: not begun
        self.stream_id = 0
        self.offset = 0  # octets handed over
        self.receipt_at: int | None = None
        self.failure = ""


class Incoming:
    """A flow at the receiver: every octet checked by its position, and counted while there is time."""

    __slots__ = (
        "_deadline",
        "_pattern",
        "_shift",
        "completed_at",
        "in_time",
        "is_intact",
        "last_at",
        "progress",
        "total",
    )

    def __init__(self, number: int, pattern: Pattern, deadline: int) -> None:
        self.total = 0
        self.is_intact = True
        self.completed_at: int | None = None
        self.in_time = 0  # octets, up to the deadline
        self.last_at: int | None = None  # when the last of these came
        self.progress = Progress()
        self._pattern = pattern
        self._shift = number * PATTERN_SHIFT
        self._deadline = deadline

    def on_data(self, data: bytes, now: int) -> None:
        total = self.total
        if not self._pattern.matches(total + self._shift, data):
            self.is_intact = False
        self.total = total = total + len(data)
        if now <= self._deadline:
            self.in_time = total
            self.last_at = now
            if now >= self.progress.due:
                self.progress.add(total, now)


class Sender(Role):
    """Begins each flow at its time, keeps the transport supplied, and closes once the receipts are there."""

    def __init__(
        self,
        endpoint: Endpoint,
        remote: Address,
        flows: Sequence[Outgoing],
        pattern: Pattern,
        *,
        is_shared: bool,
        deadline: int | None,
    ) -> None:
        self.is_done = False
        self.is_time_over = False
        self._endpoint = endpoint
        self._remote = remote
        self._pattern = pattern
        self._prefix_octets = NUMBER_OCTETS if len(flows) > 1 else 0
        self._is_shared = is_shared  # one connection for all flows
        self._deadline = deadline
        self._waiting = deque(flows)
        self._open: dict[Transport, list[Outgoing]] = {}
        self._by_stream: dict[tuple[Transport, int], Outgoing] = {}

    def start(self, now: int) -> None:
        self._begin_due(now)

    def on_wake(self, now: int) -> None:
        if self._deadline is None or now < self._deadline:
            self._begin_due(now)
            return
        self.wake_at = None
        self.is_time_over = True
        for connection in list(self._open):
            self._give_up(connection, "the time is over", now)

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        match event:
            case StreamWritable(stream_id):
                self._supply(connection, self._by_stream[connection, stream_id])
            case StreamData(stream_id, _, is_fin):
                flow = self._by_stream.get((connection, stream_id))
                if is_fin and flow is not None:
                    flow.receipt_at = now
                    self._close_if_done(connection, now)
            case StreamReset() | StreamStopped():
                self._give_up(connection, "the server refused the stream", now)
            case Closed():
                self._on_closed(connection, event)
            case Established() | StreamOpened():
                pass
            case _:
                assert_never(event)

    def _begin_due(self, now: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0].starts_at <= now:
            self._begin(waiting.popleft(), now)
        self.wake_at = waiting[0].starts_at if waiting else self._deadline

    def _begin(self, flow: Outgoing, now: int) -> None:
        if self._is_shared and self._open:
            (connection,) = self._open
        else:
            connection = self._endpoint.connect(self._remote, now)
            self._open[connection] = []
        flow.connection = connection
        flow.stream_id = connection.open_stream()
        self._open[connection].append(flow)
        self._by_stream[connection, flow.stream_id] = flow
        self._supply(connection, flow)

    def _supply(self, connection: Transport, flow: Outgoing) -> None:
        offset, size, stream_id = flow.offset, flow.size, flow.stream_id
        shift = flow.number * PATTERN_SHIFT
        while offset < size and connection.unsent_bytes(stream_id) < QUEUED_MAX:
            chunk = self._pattern.piece(offset + shift, min(CHUNK, size - offset))
            if offset == 0 and self._prefix_octets:
                chunk = flow.number.to_bytes(NUMBER_OCTETS, "big") + chunk[NUMBER_OCTETS:]
            offset += len(chunk)
            connection.send(stream_id, chunk, offset == size)
        flow.offset = offset

    def _close_if_done(self, connection: Transport, now: int) -> None:
        if all(flow.receipt_at is not None for flow in self._open[connection]) and not (
            self._is_shared and self._waiting
        ):
            connection.close(now)

    def _give_up(self, connection: Transport, reason: str, now: int) -> None:
        for flow in self._open[connection]:
            flow.offset = flow.size  # nothing more is handed over
        connection.reset(0, reason, now)

    def _on_closed(self, connection: Transport, end: Closed) -> None:
        broken_off = self._open.pop(connection)
        if self._is_shared:
            broken_off += self._waiting
            self._waiting.clear()
        for flow in broken_off:
            if flow.receipt_at is None and not self.is_time_over:
                flow.failure = describe_end(end)
        if not self._open and not self._waiting:
            self.is_done = True
            self.wake_at = None


class Receiver(Role):
    """Finds the flow that octets belong to, and acknowledges its end."""

    def __init__(self, flows: Sequence[Incoming]) -> None:
        self.is_done = True  # it only serves
        self._flows = flows
        self._by_stream: dict[tuple[Transport, int], Incoming] = {}
        self._heads: dict[tuple[Transport, int], bytes] = {}  # too short yet to tell which flow it is

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        if not isinstance(event, StreamData):
            return
        stream = (connection, event.stream_id)
        flow = self._by_stream.get(stream)
        if flow is not None:
            flow.on_data(event.data, now)
        else:
            flow = self._identify(stream, event.data, now)
        if event.is_fin and flow is not None:
            flow.completed_at = now
            connection.send(event.stream_id, b"", True)

    def _identify(self, stream: tuple[Transport, int], data: bytes, now: int) -> Incoming | None:
        if len(self._flows) == 1:
            number = 0
        else:
            data = self._heads.pop(stream, b"") + data
            if len(data) < NUMBER_OCTETS:
                self._heads[stream] = data
                return None
            number = int.from_bytes(data[:NUMBER_OCTETS], "big")
            data = data[NUMBER_OCTETS:]
        if number >= len(self._flows) or self._flows[number].total:  # a transport that delivers wrong octets
            self._refuse(*stream)
            return None
        flow = self._by_stream[stream] = self._flows[number]
        flow.total = NUMBER_OCTETS if len(self._flows) > 1 else 0
        flow.on_data(data, now)
        return flow

    def _refuse(self, connection: Transport, stream_id: int) -> None:
        connection.stop_sending(stream_id, 0)
        connection.reset_stream(stream_id, 0)


@dataclass(slots=True)
class BulkStage(Stage):
    sender: Sender
    outgoing: list[Outgoing]
    incoming: list[Incoming]
    started_at: int
    deadline: int | None = None


@WORKLOADS.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk(Workload):
    """`flows` transfers at once, each on a connection of its own or all as streams of one.

    Flow k begins k times `stagger` after the first.
    With a `duration` they all go on until that long after the first began, and `size` means nothing.
    """

    size: Size = 10_000_000  # of each
    duration: Duration | None = None
    flows: int = 1
    multiplex: str = "connection"  # or: stream
    stagger: Duration = 0

    @staticmethod
    def check(
        *,
        size: int | None = None,
        duration: int | None = None,
        flows: int = 1,
        multiplex: str = "connection",
        stagger: int = 0,
    ) -> None:
        least = NUMBER_OCTETS if flows > 1 else 1
        if size is not None and size < least:
            few = (
                "at least one octet" if least == 1 else f"at least {least} octets, as each flow begins with its number"
            )
            raise ConfigError(f"{size}B; expected {few}", key="size")
        if size is not None and duration is not None:
            raise ConfigError("a duration beside a size; expected only one of the two", key="duration")
        if not 1 <= flows <= FLOWS_MAX:
            raise ConfigError(f"{flows} flows; expected at least 1 and at most {FLOWS_MAX}", key="flows")
        if duration is not None and duration <= stagger * (flows - 1):
            text = f"over when the last of {flows} flows begins, or before; expected more than flows x stagger"
            raise ConfigError(text, key="duration")
        check_multiplex(multiplex)

    def stage(
        self, client: Endpoint, server: Endpoint, draws: DrawKey, remote: Address = SERVER, start: int = 0
    ) -> BulkStage:
        pattern = Pattern(draws.derive("bulk"))
        size = self.size if self.duration is None else ENDLESS
        deadline = None if self.duration is None else start + self.duration
        outgoing = [Outgoing(number, size, start + number * self.stagger) for number in range(self.flows)]
        incoming = [Incoming(number, pattern, deadline or ENDLESS) for number in range(self.flows)]
        sender = Sender(client, remote, outgoing, pattern, is_shared=self.multiplex == "stream", deadline=deadline)
        return BulkStage(
            client=WorkloadNode(client, sender, start),
            server=WorkloadNode(server, Receiver(incoming)),
            sender=sender,
            outgoing=outgoing,
            incoming=incoming,
            started_at=start,
            deadline=deadline,
        )

    def report(self, stage: Stage) -> WorkloadReport:
        """Over when the receiver has it all, half a round trip before the receipt; or when the time is."""
        assert isinstance(stage, BulkStage)
        rows = [self._row(number, stage) for number in range(self.flows)]
        ends = [self._end(number, stage) for number in range(self.flows)]
        known = [end for end in ends if end is not None]
        flows = [
            FlowReport(row.name, row.submitted_at, end, flow.progress)
            for row, end, flow in zip(rows, ends, stage.incoming, strict=True)
        ]
        return WorkloadReport(
            rows,
            stage.client.stats(),
            stage.server.stats(),
            started_at=stage.started_at,
            finished_at=max(known) if len(known) == self.flows else None,
            flows=flows,
        )

    def _end(self, number: int, stage: BulkStage) -> int | None:
        """When the flow was over as it should be."""
        if stage.deadline is None:
            return stage.incoming[number].completed_at
        is_over = stage.sender.is_time_over and not stage.outgoing[number].failure
        return stage.deadline if is_over else None

    def _row(self, number: int, stage: BulkStage) -> Delivery:
        sent, got = stage.outgoing[number], stage.incoming[number]
        is_timed = stage.deadline is not None
        size = got.in_time if is_timed else self.size
        is_complete = self._end(number, stage) is not None and size > 0
        return Delivery(
            index=number,
            name=f"transfer-{number}",
            size=size,
            session=0 if self.multiplex == "stream" else number,
            submitted_at=sent.starts_at if sent.connection is not None else None,
            completed_at=(stage.deadline if is_complete else None) if is_timed else sent.receipt_at,
            delivered_at=(got.last_at if is_complete else None) if is_timed else got.completed_at,
            copies=int(is_complete),
            is_intact=is_complete and got.is_intact and (is_timed or got.total == size),
            attempts=int(sent.connection is not None),
            status="delivered" if is_complete else "pending",
            reply=sent.failure,
        )
