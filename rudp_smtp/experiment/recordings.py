"""What is written down of live runs: while they go on, because none of them is ever the same again.

A file says which record it goes with: one that does not go with the stored record is of another run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rudp_smtp.drivers.capture import LINK_ETHERNET, LINK_RAW, OUTBOUND, Capture
from rudp_smtp.drivers.ipv4 import udp_payload
from rudp_smtp.drivers.tape import Crossed, CrossedWhole, Noted, Tape
from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.files import write_atomic
from rudp_smtp.experiment.plan import Run
from rudp_smtp.experiment.qlog.recorder import RunLogs, qvis_path, sequence_paths
from rudp_smtp.experiment.qlog.recording import HOSTS, Recorder
from rudp_smtp.experiment.records import Record, record
from rudp_smtp.experiment.runner import identify
from rudp_smtp.experiment.store import Store, digest
from rudp_smtp.experiment.trace_table import FACTS_MAX, FirstFacts, is_traced, save_trace

_HEAD_OCTETS = 4096  # of a file: what says which run it is of is in there
_LINKS = {"udp": LINK_ETHERNET, "netns": LINK_RAW}  # by driver: datagrams need headers, packets have theirs


@dataclass(frozen=True, slots=True)
class Recordings:
    """What is wanted, and where; the folders are there."""

    results: Path
    traced: str  # the key of the run of which trace.csv, there, is
    capture: Path | None = None
    qlog: Path | None = None
    qvis: Path | None = None

    def captures(self, run: Run) -> bool:
        """The first run of each cell, as in simulation."""
        return self.capture is not None and run.replication == 0

    @property
    def has_logs(self) -> bool:
        return self.qlog is not None or self.qvis is not None

    def lacking(self, runs: Sequence[Run], store: Store) -> Iterator[str]:
        """The keys of the stored runs that were not recorded as is wanted now: they have to be done anew."""
        for run in {run.key: run for run in runs}.values():  # the one that is done for all of the same key
            stored = store.load(run.key)
            if stored is None:
                continue
            is_untraced = run.key == self.traced and not is_traced(self.results, run)
            if is_untraced or not all(_is_of(path, stored) for path in self._files(run)):
                yield run.key

    def _files(self, run: Run) -> Iterator[Path]:
        if self.capture is not None and self.captures(run):
            yield capture_path(self.capture, run)
        if self.qlog is not None:
            yield from sequence_paths(self.qlog, run)
        if self.qvis is not None:
            yield qvis_path(self.qvis, run)


def capture_path(folder: Path, run: Run) -> Path:
    return folder / f"run{run.index:05}.pcapng"


def perform_recorded(recordings: Recordings, run: Run) -> Record:
    """What a worker does with live runs."""
    tape, beginning = Tape(), FirstFacts(FACTS_MAX)
    is_logged, is_captured, has_trace = recordings.has_logs, recordings.captures(run), run.key == recordings.traced
    sink = tape if is_logged else beginning if has_trace else None
    done = record(execute(run, sink, tape if is_logged else None, tap=tape if is_logged or is_captured else None))
    if recordings.capture is not None and is_captured:
        capture = Capture(identify(run, digest(done)))
        _play_crossings(tape, capture, _LINKS[run.driver])
        write_atomic(capture_path(recordings.capture, run), capture.octets())
    if is_logged:
        logs = RunLogs(run, recordings.qlog, recordings.qvis, is_live=True)
        _play_facts(tape, logs.recorder, beginning)
        logs.write(digest(done))
    if has_trace:
        save_trace(recordings.results, run, beginning)
    return done


def _play_crossings(tape: Tape, capture: Capture, link: int) -> None:
    for host in HOSTS:
        capture.add_interface(host, link)
    for entry in tape.entries:
        match entry:
            case Crossed(data, hosts, now, ecn, direction):
                capture.note(data, hosts, now, ecn, direction)
            case CrossedWhole(packet, hosts, now, direction):
                capture.note_whole(packet, hosts, now, direction)


def _play_facts(tape: Tape, recorder: Recorder, beginning: FirstFacts) -> None:
    for entry in tape.entries:
        match entry:
            case Noted(data, hosts, now, ecn, direction):
                recorder.note(data, hosts, now, ecn, direction)
            case Crossed(data, hosts, _, _, direction):
                if direction == OUTBOUND:
                    recorder.enter(hosts[0], data)
            case CrossedWhole(packet, hosts, _, direction):
                if direction == OUTBOUND:
                    recorder.enter(hosts[0], udp_payload(packet))
            case _:
                recorder.emit(entry)
                beginning.emit(entry)


def _is_of(path: Path, stored: Record) -> bool:
    """Whole it is if it is there at all."""
    try:
        with path.open("rb") as file:
            return f"record {digest(stored)}".encode() in file.read(_HEAD_OCTETS)
    except OSError:
        return False
