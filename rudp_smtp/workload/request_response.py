"""A dialogue: turns of request and response on one stream, one after the other (TRANSPORT.md section 2)."""

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
from rudp_smtp.workload import SERVER, WORKLOADS, Delivery, Stage, Workload, WorkloadReport
from rudp_smtp.workload.node import PATTERN_PERIOD, Pattern, Role, WorkloadNode, describe_end

TURNS_MAX = 1_000_000  # each has a row


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What both sides know of it: how long, and which octets."""

    turns: int
    request_size: int
    response_size: int
    think: int
    requests: Pattern
    responses: Pattern


class Asker(Role):
    """Asks, waits for the whole answer, thinks, asks again. Turns begin when the connection is established."""

    def __init__(self, endpoint: Endpoint, dialogue: Dialogue, remote: Address) -> None:
        self.is_done = False
        self.established_at: int | None = None
        self.asked_at: list[int] = []  # by turn, as far as it came
        self.answered_at: list[int] = []
        self.intact: list[bool] = []
        self.failure = ""
        self._endpoint = endpoint
        self._remote = remote
        self._dialogue = dialogue
        self._connection: Transport | None = None
        self._stream_id = 0
        self._received = 0
        self._is_turn_intact = True

    def start(self, now: int) -> None:
        self._connection = self._endpoint.connect(self._remote, now)
        self._stream_id = self._connection.open_stream()

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        match event:
            case StreamData():
                self._on_answer(connection, event.data, now)
                if event.is_fin and len(self.answered_at) < self._dialogue.turns:
                    self._give_up(connection, "the server ended the dialogue early", now)
            case Established():
                self.established_at = now
                self._ask(connection, now)
            case StreamReset() | StreamStopped():
                self._give_up(connection, "the server refused the stream", now)
            case Closed():
                if len(self.answered_at) < self._dialogue.turns:
                    self.failure = self.failure or describe_end(event)
                self.wake_at = None
                self.is_done = True
            case StreamOpened() | StreamWritable():
                pass
            case _:
                assert_never(event)

    def on_wake(self, now: int) -> None:
        self.wake_at = None
        assert self._connection is not None
        self._ask(self._connection, now)

    def _ask(self, connection: Transport, now: int) -> None:
        dialogue = self._dialogue
        self.asked_at.append(now)
        turn = len(self.asked_at)
        request = dialogue.requests.piece((turn - 1) * dialogue.request_size, dialogue.request_size)
        connection.send(self._stream_id, request, turn == dialogue.turns)

    def _give_up(self, connection: Transport, reason: str, now: int) -> None:
        self.failure = reason
        connection.reset(0, reason, now)

    def _on_answer(self, connection: Transport, data: bytes, now: int) -> None:
        if self.failure:
            return
        dialogue = self._dialogue
        if not dialogue.responses.matches(self._received, data):
            self._is_turn_intact = False
        self._received += len(data)
        if self._received < len(self.asked_at) * dialogue.response_size or len(self.asked_at) == len(self.answered_at):
            return
        self.answered_at.append(now)
        self.intact.append(self._is_turn_intact)
        self._is_turn_intact = True
        if len(self.answered_at) == dialogue.turns:
            connection.close(now)
        elif dialogue.think:
            self.wake_at = now + dialogue.think
        else:
            self._ask(connection, now)


class Answerer(Role):
    """Answers each whole request at once."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.is_done = True  # it only serves
        self.asked_at: list[int] = []  # when the request of each turn was complete
        self.intact: list[bool] = []
        self._dialogue = dialogue
        self._received = 0
        self._is_turn_intact = True

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        if not isinstance(event, StreamData):
            return
        dialogue = self._dialogue
        if not dialogue.requests.matches(self._received, event.data):
            self._is_turn_intact = False
        self._received += len(event.data)
        turn = len(self.asked_at)
        if turn == dialogue.turns or self._received < (turn + 1) * dialogue.request_size:
            return
        self.asked_at.append(now)
        self.intact.append(self._is_turn_intact)
        self._is_turn_intact = True
        response = dialogue.responses.piece(turn * dialogue.response_size, dialogue.response_size)
        connection.send(event.stream_id, response, turn + 1 == dialogue.turns)


@dataclass(slots=True)
class DialogueStage(Stage):
    asker: Asker
    answerer: Answerer


@WORKLOADS.register
@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResponse(Workload):
    """`think` is the pause between an answer and the next request."""

    turns: int = 20
    request: Size = 48
    response: Size = 64
    think: Duration = 0

    @staticmethod
    def check(turns: int = 1, request: int = 1, response: int = 1, think: int = 0) -> None:
        if not 1 <= turns <= TURNS_MAX:
            raise ConfigError(f"{turns} turns; expected at least 1 and at most {TURNS_MAX}", key="turns")
        for key, size in (("request", request), ("response", response)):
            if not 1 <= size <= PATTERN_PERIOD:
                raise ConfigError(f"{size}B is not from 1B to {PATTERN_PERIOD}B", key=key)

    def stage(
        self, client: Endpoint, server: Endpoint, draws: DrawKey, remote: Address = SERVER, start: int = 0
    ) -> DialogueStage:
        dialogue = Dialogue(
            turns=self.turns,
            request_size=self.request,
            response_size=self.response,
            think=self.think,
            requests=Pattern(draws.derive("request")),
            responses=Pattern(draws.derive("response")),
        )
        asker, answerer = Asker(client, dialogue, remote), Answerer(dialogue)
        return DialogueStage(
            client=WorkloadNode(client, asker, start),
            server=WorkloadNode(server, answerer),
            asker=asker,
            answerer=answerer,
        )

    def report(self, stage: Stage) -> WorkloadReport:
        """A row per turn; `delivered_at` is when the request was with the server, the size counts both ways."""
        assert isinstance(stage, DialogueStage)
        asker = stage.asker
        deliveries = [self._row(turn, asker, stage.answerer) for turn in range(self.turns)]
        client, server = stage.client.stats(), stage.server.stats()
        finished_at = asker.answered_at[-1] if len(asker.answered_at) == self.turns else None
        return WorkloadReport(deliveries, client, server, started_at=asker.established_at or 0, finished_at=finished_at)

    def _row(self, turn: int, asker: Asker, answerer: Answerer) -> Delivery:
        is_asked, is_delivered = turn < len(asker.asked_at), turn < len(answerer.asked_at)
        is_answered = turn < len(asker.answered_at)
        return Delivery(
            index=turn,
            name=f"turn-{turn}",
            size=self.request + self.response,
            session=0,
            submitted_at=asker.asked_at[turn] if is_asked else None,
            completed_at=asker.answered_at[turn] if is_answered else None,
            delivered_at=answerer.asked_at[turn] if is_delivered else None,
            copies=int(is_delivered),
            is_intact=is_answered and asker.intact[turn] and answerer.intact[turn],
            attempts=int(is_asked),
            status="delivered" if is_answered else "pending",
            reply="" if is_answered else asker.failure,
        )
