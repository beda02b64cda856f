"""Facts -> qlog events, as draft-ietf-quic-qlog-quic-events-13 has them.

What the draft has no event for is in namespaces of ours: `rudp` (a loss that was none), `link` (what a link did to a
packet, told at the host that sent it) and `smtp` (commands, replies, and the sizes of messages). Times are virtual
nanoseconds here; files have milliseconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import assert_never

from rudp_smtp.experiment.build import CLIENT
from rudp_smtp.experiment.metrics import milliseconds
from rudp_smtp.experiment.qlog.arq import ArqNumbers
from rudp_smtp.experiment.qlog.packets import ONE_RTT_NAME, Contents, Fields, hello_fields, read_contents
from rudp_smtp.experiment.qlog.recording import Seen
from rudp_smtp.trace import (
    NO_NUMBER,
    ConnectionStateUpdated,
    EcnStateUpdated,
    LinkFate,
    MetricsUpdated,
    MigrationStateUpdated,
    MtuUpdated,
    PacketAcked,
    PacketDropped,
    PacketLost,
    PacketReceived,
    PacketSent,
    SmtpCommand,
    SmtpContent,
    SmtpReply,
    SpuriousLoss,
    TimerExpired,
)

_STATES = {  # the transports' -> the draft's; others go as they are, as it allows
    "handshake": "attempted",
    "syn_sent": "attempted",
    "syn_received": "handshake_started",
    "established": "handshake_complete",
}
_TRIGGERS = {  # why a packet was dropped -> the draft's category; the reason itself is among the details
    "duplicate": "duplicate",
    "unknown_connection_id": "connection_unknown",
    "unsupported_version": "unsupported",
    "answer_limit": "rejected",
    "unknown_path": "rejected",
    "no_handshake": "rejected",
    "unexpected_source_connection_id": "rejected",
    "integrity_check_failed": "invalid",
    "header_parse_error": "invalid",
    "frame_encoding_error": "invalid",
    "datagram_too_large": "invalid",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One record of a log. `connection`: its ordinal at the host; None: it is of no connection."""

    time: int
    connection: int | None
    name: str
    data: Fields


class Translator:
    """One host's facts, one after the other. Owns what an event says of the past: the state before, the packet lost."""

    def __init__(self, host: str) -> None:
        self._is_client = host == CLIENT
        self._acked: list[PacketAcked] = []  # of one acknowledgement: they are one event
        self._kinds: dict[tuple[int, int], Fields] = {}  # connection, number -> what a loss says of the packet
        self._arq = ArqNumbers()
        self._states: dict[tuple[int, str], object] = {}  # connection, which state -> its last value

    def events(self, seen: Seen) -> Iterator[Event]:
        fact = seen.fact
        if isinstance(fact, PacketAcked):
            if self._acked and (self._acked[0].time, self._acked[0].connection) != (fact.time, fact.connection):
                yield from self.rest()
            self._acked.append(fact)
            return
        yield from self.rest()
        yield from self._told(seen)

    def rest(self) -> Iterator[Event]:
        """What was held back to be told together."""
        if self._acked:
            first, numbers = self._acked[0], sorted(fact.packet_number for fact in self._acked)
            self._acked = []
            yield Event(first.time, first.connection, "quic:packets_acked", {"packet_numbers": numbers})

    def _told(self, seen: Seen) -> Iterator[Event]:
        fact = seen.fact
        match fact:
            case PacketSent():
                yield from self._sent(fact, seen)
            case PacketReceived():
                yield from self._received(fact, seen)
            case PacketDropped():
                yield self._dropped(fact, seen)
            case PacketLost():
                data = {"trigger": fact.trigger} | self._kind(fact.connection, fact.packet_number)
                yield Event(fact.time, fact.connection, "quic:packet_lost", data)
            case SpuriousLoss():
                data = self._kind(fact.connection, fact.packet_number)
                yield Event(fact.time, fact.connection, "rudp:spurious_loss", data)
            case MetricsUpdated():
                yield from self._metrics(fact)
            case TimerExpired():
                data = {"timer_type": fact.timer, "event_type": "expired"}
                yield Event(fact.time, fact.connection, "quic:timer_updated", data)
            case ConnectionStateUpdated():
                yield self._change(fact, "connection_state_updated", _STATES.get(fact.state, fact.state))
            case MtuUpdated():
                yield self._change(fact, "mtu_updated", fact.size)
            case EcnStateUpdated():
                yield self._change(fact, "ecn_state_updated", fact.state)
            case MigrationStateUpdated():
                yield self._change(fact, "migration_state_updated", fact.state)
            case SmtpCommand():
                yield Event(
                    fact.time, fact.connection, "smtp:command", {"stream_id": fact.stream_id, "line": fact.line}
                )
            case SmtpReply():
                data = {"stream_id": fact.stream_id, "code": fact.code, "text": fact.text}
                yield Event(fact.time, fact.connection, "smtp:reply", data)
            case SmtpContent():
                data = {"stream_id": fact.stream_id, "raw": {"length": fact.size}}
                yield Event(fact.time, fact.connection, "smtp:content", data)
            case LinkFate():
                yield self._fate(fact, seen)
            case PacketAcked():
                raise AssertionError("acknowledgements are gathered")
            case _:
                assert_never(fact)

    # Packets

    def _sent(self, fact: PacketSent, seen: Seen) -> Iterator[Event]:
        contents = read_contents(seen.data, fact, fact.packet_number, is_from_client=self._is_client)
        contents = self._with_arq(contents, seen.data, fact, fact)
        probe: Fields = {"is_mtu_probe_packet": True} if fact.is_path_probe else {}
        extra: Fields = probe | ({"trigger": "pto_probe"} if fact.is_probe else {})
        if fact.packet_number != NO_NUMBER:
            kind: Fields = {"header": {name: contents.header[name] for name in ("packet_type", "packet_number")}}
            self._kinds[fact.connection, fact.packet_number] = kind | probe
        yield from self._packet(fact, contents, "quic:packet_sent", extra)

    def _received(self, fact: PacketReceived, seen: Seen) -> Iterator[Event]:
        contents = read_contents(seen.data, seen.sent, fact.packet_number, is_from_client=not self._is_client)
        contents = self._with_arq(contents, seen.data, seen.sent, fact)
        yield from self._packet(fact, contents, "quic:packet_received", {})

    def _with_arq(
        self, contents: Contents, data: bytes | None, sent: PacketSent | None, fact: PacketSent | PacketReceived
    ) -> Contents:
        """The same with the frames of ARQ's, if it is such a datagram."""
        is_local = isinstance(fact, PacketSent)
        frames = self._arq.frames(data, sent, fact.connection, is_local=is_local) if data else None
        return contents if frames is None else replace(contents, frames=frames)

    def _packet(
        self, fact: PacketSent | PacketReceived, contents: Contents, name: str, extra: Fields
    ) -> Iterator[Event]:
        connection = None if fact.connection == NO_NUMBER else fact.connection
        is_local = isinstance(fact, PacketSent)
        if contents.hello is not None and connection is not None:
            parameters = hello_fields(contents.hello, is_local=is_local)
            if self._before(connection, f"parameters {is_local}", parameters) != parameters:
                yield Event(fact.time, connection, "quic:parameters_set", parameters)
        data: Fields = {"header": contents.header}
        if contents.frames is not None:
            data["frames"] = contents.frames
        if contents.supported_versions:
            data["supported_versions"] = contents.supported_versions
        yield Event(fact.time, connection, name, data | {"raw": {"length": fact.size}} | extra)

    def _dropped(self, fact: PacketDropped, seen: Seen) -> Event:
        data: Fields = {"raw": {"length": fact.size}, "trigger": _TRIGGERS.get(fact.trigger, "general")}
        if fact.trigger == "duplicate":  # what else is dropped may not be what it seems
            contents = read_contents(seen.data, seen.sent, NO_NUMBER, is_from_client=not self._is_client)
            data = {"header": contents.header} | data
        return Event(fact.time, None, "quic:packet_dropped", data | {"details": {"reason": fact.trigger}})

    def _kind(self, connection: int, number: int) -> Fields:
        return self._kinds.get((connection, number), {"header": {"packet_type": ONE_RTT_NAME, "packet_number": number}})

    def _fate(self, fact: LinkFate, seen: Seen) -> Event:
        data: Fields = {"link": fact.link, "fate": fact.fate, "index": fact.index, "raw": {"length": fact.size}}
        sent = seen.sent
        if sent is None or sent.connection == NO_NUMBER:
            return Event(fact.time, None, "link:packet_fate", data)
        return Event(
            fact.time, sent.connection, "link:packet_fate", data | self._kind(sent.connection, sent.packet_number)
        )

    # States

    def _metrics(self, fact: MetricsUpdated) -> Iterator[Event]:
        data: Fields = {
            "min_rtt": milliseconds(fact.min_rtt),
            "smoothed_rtt": milliseconds(fact.smoothed_rtt),
            "latest_rtt": milliseconds(fact.latest_rtt),
            "rtt_variance": milliseconds(fact.rttvar),
            "pto_count": fact.pto_count,
            "congestion_window": fact.congestion_window,
            "bytes_in_flight": fact.bytes_in_flight,
        }
        if fact.ssthresh is not None:
            data["ssthresh"] = fact.ssthresh
        if not fact.latest_rtt:  # no sample yet: the smoothed one is a guess, and the others are nothing
            del data["min_rtt"], data["latest_rtt"]
        yield Event(fact.time, fact.connection, "quic:recovery_metrics_updated", data)
        if fact.phase and self._states.get((fact.connection, "congestion_state_updated")) != fact.phase:
            yield self._change(fact, "congestion_state_updated", fact.phase)

    def _change(
        self,
        fact: MetricsUpdated | ConnectionStateUpdated | MtuUpdated | EcnStateUpdated | MigrationStateUpdated,
        name: str,
        value: object,
    ) -> Event:
        old = self._before(fact.connection, name, value)
        data: Fields = {"new": value} if old is None else {"old": old, "new": value}
        return Event(fact.time, fact.connection, f"quic:{name}", data)

    def _before(self, connection: int, which: str, value: object) -> object:
        """Note a state; what it was, None at the first time."""
        old = self._states.get((connection, which))
        self._states[connection, which] = value
        return old
