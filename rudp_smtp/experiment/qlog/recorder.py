"""record_run: do a simulated run once more, listening, and write its logs; of a live one, `RunLogs` while it is there.

`runNNNNN-client.sqlog` and `runNNNNN-server.sqlog` in the one folder (`sequence`), `runNNNNN.qlog` in the other
(`qvis`); NNNNN is the run's place in the plan, and so its row in runs.csv.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.files import write_atomic
from rudp_smtp.experiment.plan import Run
from rudp_smtp.experiment.qlog.events import Event, Translator
from rudp_smtp.experiment.qlog.qvis import encode_qvis_event, qvis_file
from rudp_smtp.experiment.qlog.recording import HOSTS, Recorder, Seen
from rudp_smtp.experiment.qlog.sequence import Entry, encode_event, sequential_file
from rudp_smtp.experiment.records import Record, record


class _Log:
    """Both hosts' events as they will be written, in one shape."""

    def __init__(self, encode: Callable[[Event], str]) -> None:
        self._encode = encode
        self.entries: dict[str, list[Entry]] = {host: [] for host in HOSTS}

    def add(self, host: str, event: Event) -> None:
        self.entries[host].append((event.time, event.connection, self._encode(event)))


class RunLogs:
    """A run's logs for the folders given, which are there, from what its recorder hears."""

    def __init__(self, run: Run, qlog: Path | None, qvis: Path | None, *, is_live: bool = False) -> None:
        self.recorder = Recorder(self._tell, is_live=is_live)
        self._run = run
        self._folders = qlog, qvis
        self._sequences = _Log(encode_event)
        self._traces = _Log(encode_qvis_event)
        wanted = ((self._sequences, qlog), (self._traces, qvis))
        self._logs = [log for log, folder in wanted if folder is not None]
        self._translators = {host: Translator(host) for host in HOSTS}

    def write(self, digest: str = "") -> None:
        """After the run; `digest` as `identify` has it."""
        self.recorder.finish()
        for host, translator in self._translators.items():
            self._add(host, translator.rest())
        qlog, qvis = self._folders
        if qlog is not None:
            for path, host in zip(sequence_paths(qlog, self._run), HOSTS, strict=True):
                write_atomic(path, sequential_file(self._run, host, self._sequences.entries[host], digest))
        if qvis is not None:
            write_atomic(qvis_path(qvis, self._run), qvis_file(self._run, self._traces.entries, digest))

    def _tell(self, host: str, seen: Seen) -> None:
        self._add(host, self._translators[host].events(seen))

    def _add(self, host: str, events: Iterable[Event]) -> None:
        for event in events:
            for log in self._logs:
                log.add(host, event)


def record_run(run: Run, qlog: Path | None = None, qvis: Path | None = None) -> Record:
    """Write the run's logs into the folders given, which are there; its record, as the run without has it."""
    logs = RunLogs(run, qlog, qvis)
    facts = execute(run, logs.recorder, logs.recorder)
    logs.write()
    return record(facts)


def sequence_paths(qlog: Path, run: Run) -> list[Path]:
    return [qlog / f"run{run.index:05}-{host}.sqlog" for host in HOSTS]


def qvis_path(qvis: Path, run: Run) -> Path:
    return qvis / f"run{run.index:05}.qlog"
