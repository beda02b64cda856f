"""record_run: do a run once more, listening, and write its logs.

`runNNNNN-client.sqlog` and `runNNNNN-server.sqlog` in the one folder (`sequence`), `runNNNNN.qlog` in the other
(`qvis`); NNNNN is the run's place in the plan, and so its row in runs.csv.
"""

from collections.abc import Callable
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


def record_run(run: Run, qlog: Path | None = None, qvis: Path | None = None) -> Record:
    """Write the run's logs into the folders given, which are there; its record, as the run without has it."""
    sequences = None if qlog is None else _Log(encode_event)
    traces = None if qvis is None else _Log(encode_qvis_event)
    logs = [log for log in (sequences, traces) if log is not None]
    translators = {host: Translator(host) for host in HOSTS}

    def tell(host: str, seen: Seen) -> None:
        for event in translators[host].events(seen):
            for log in logs:
                log.add(host, event)

    recorder = Recorder(tell)
    facts = execute(run, recorder, recorder)
    recorder.finish()
    for host, translator in translators.items():
        for event in translator.rest():
            for log in logs:
                log.add(host, event)
    if qlog is not None and sequences is not None:
        for host in HOSTS:
            content = sequential_file(run, host, sequences.entries[host])
            write_atomic(qlog / f"run{run.index:05}-{host}.sqlog", content)
    if qvis is not None and traces is not None:
        write_atomic(qvis / f"run{run.index:05}.qlog", qvis_file(run, traces.entries))
    return record(facts)
