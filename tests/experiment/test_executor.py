"""Executors compute the same; their workers ignore Ctrl-C and never outlive their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.executor import Processes, Serial, available_cores, open_executor


def square(value: int) -> int:
    return value * value


def interrupt_self() -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return os.getpid()


def refuse() -> None:
    raise ValueError("refused")


@pytest.mark.parametrize(
    ("name", "workers", "kind"),
    [("serial", None, Serial), ("local", None, Processes), ("local:3", None, Processes), ("serial", 2, Processes)],
)
def test_executors_are_found_by_name(name: str, workers: int | None, kind: type) -> None:
    with open_executor(name, workers) as executor:
        assert type(executor) is kind


def test_runs_that_take_several_cores_are_fewer_at_a_time() -> None:
    with open_executor("local", cores_each=available_cores()) as executor:
        assert len({executor.submit(os.getpid).result() for _ in range(3)}) == 1
        futures = [executor.submit(os.getpid) for _ in range(6)]
        assert len({future.result() for future in futures}) == 1


@pytest.mark.parametrize("name", ["", "locale", "local:", "local:0", "local:-1", "local:x", "local:²", "serial:2"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected serial, local, or local:N"):
        open_executor(name)


def test_there_is_a_core() -> None:
    assert available_cores() >= 1


@pytest.mark.parametrize("name", ["serial", "local:2"])
def test_results_and_errors_come_through_any_executor(name: str) -> None:
    with open_executor(name) as executor:
        futures = [executor.submit(square, value) for value in range(10)]
        refused = executor.submit(refuse)
        assert [future.result() for future in futures] == [value * value for value in range(10)]
        assert isinstance(refused.exception(), ValueError)


def test_a_worker_ignores_ctrl_c() -> None:
    with open_executor("local:1") as executor:
        assert executor.submit(interrupt_self).result() != os.getpid()


def test_cancelling_does_not_wait_for_what_is_under_way() -> None:
    executor = open_executor("local:1")
    executor.submit(square, 1).result()
    futures = [executor.submit(time.sleep, 600) for _ in range(3)]
    executor.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures)


PARENT = """
import os, time
from rudp_smtp.experiment.executor import open_executor
if __name__ == "__main__":
    executor = open_executor("local:2")
    print(*{executor.submit(os.getpid).result() for _ in range(20)}, flush=True)
    executor.submit(time.sleep, 600)
    executor.submit(time.sleep, 600)
    time.sleep(600)
"""


def is_alive(process: int) -> bool:
    """Neither gone nor a zombie that nobody has buried."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_workers_die_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(word) for word in parent.stdout.readline().split()]
        assert all(map(is_alive, workers))
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 10
        while any(map(is_alive, workers)) and time.monotonic() < deadline:
            os.sched_yield()
        assert not any(map(is_alive, workers))
