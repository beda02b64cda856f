"""Same scenario, same seed, same bytes: every shipped scenario, in processes that agree on nothing else."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
TABLES = ("runs.csv", "messages.csv", "links.csv", "summary.csv", "trace.csv")


def run(config: Path, output: Path, *, hash_seed: str, workers: str, folder: Path) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": "C", "TZ": f"UTC{hash_seed}"}
    options = ["--replications", "2", "--workers", workers, "--output", str(output)]
    command = [sys.executable, "-m", "rudp_smtp.experiment", str(config), *options]
    subprocess.run(command, check=True, env=environment, cwd=folder, stdout=subprocess.DEVNULL)


def digests(output: Path) -> dict[str, str]:
    files = sorted(path for path in output.rglob("*.csv") if path.name in TABLES)
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_scenario_gives_the_same_bytes_whatever_the_hash_seed_and_the_workers(
    config: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run(config, first, hash_seed="1", workers="1", folder=tmp_path)
    run(config, second, hash_seed="2", workers="2", folder=ROOT)
    assert len(digests(first)) == len(TABLES)
    assert digests(first) == digests(second)
