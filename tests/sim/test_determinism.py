"""Same scenario, same seed, same bytes: every shipped scenario, in processes that agree on nothing else."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
TABLES = ("runs.csv", "messages.csv", "links.csv", "summary.csv", "trace.csv")

RUN_ALL = """
import sys
from rudp_smtp.experiment.__main__ import main
output, workers, *configs = sys.argv[1:]
for config in configs:
    name = config.rsplit("/", 1)[1].removesuffix(".yaml")
    arguments = [config, "--replications", "2", "--workers", workers, "--output", f"{output}/{name}"]
    if main(arguments) != 0:
        sys.exit(f"{config} did not deliver everything")
"""


def run_all(output: Path, *, hash_seed: str, workers: str, folder: Path) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": "C", "TZ": f"UTC{hash_seed}"}
    command = [sys.executable, "-c", RUN_ALL, str(output), workers, *map(str, CONFIGS)]
    subprocess.run(command, check=True, env=environment, cwd=folder, stdout=subprocess.DEVNULL)


def digests(output: Path) -> dict[str, str]:
    files = sorted(path for path in output.rglob("*.csv") if path.name in TABLES)
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_shipped_scenario_gives_the_same_bytes_whatever_the_hash_seed_and_the_workers(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run_all(first, hash_seed="1", workers="1", folder=tmp_path)
    run_all(second, hash_seed="2", workers="2", folder=ROOT)
    assert len(digests(first)) == len(CONFIGS) * len(TABLES)
    assert digests(first) == digests(second)
