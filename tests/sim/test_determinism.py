"""Same scenario, same seed, same bytes: every shipped scenario, in processes that agree on nothing else."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
TABLES = ("runs.csv", "messages.csv", "links.csv", "summary.csv")
# All scenarios in one process, and no figures: what takes the time of the command is not what is compared.
RUN_ALL = """
import sys
from pathlib import Path
from rudp_smtp.experiment.study import run_file
executor, output, *configs = sys.argv[1:]
if __name__ == "__main__":
    for config in configs:
        run_file(Path(config), Path(output) / Path(config).stem, {"replications": "2", "executor": executor})
"""


def run_all(script: Path, output: Path, *, hash_seed: str, executor: str, folder: Path) -> dict[str, str]:
    """The digest of each table of each scenario."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": "C", "TZ": f"UTC{hash_seed}"}
    command = [sys.executable, str(script), executor, str(output), *map(str, CONFIGS)]
    subprocess.run(command, check=True, env=environment, cwd=folder, capture_output=True)
    files = sorted(path for path in output.rglob("*.csv") if path.name in TABLES)
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_shipped_scenario_gives_the_same_bytes_whatever_the_hash_seed_and_the_workers(tmp_path: Path) -> None:
    script = tmp_path / "run_all.py"
    script.write_text(RUN_ALL, encoding="utf-8")
    first = run_all(script, tmp_path / "first", hash_seed="1", executor="serial", folder=tmp_path)
    second = run_all(script, tmp_path / "second", hash_seed="2", executor="local:2", folder=ROOT)
    assert len(first) == len(TABLES) * len(CONFIGS)
    assert first == second
