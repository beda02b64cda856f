"""Golden digests: the CSV files of a few small scenarios, byte for byte.

They change only when behaviour does, and then on purpose: raise MODEL_VERSION, look at what changed in the tables, and
write the new digests with `python -m tests.golden.test_golden` from the project's root.
"""

import hashlib
import json
import tempfile
from pathlib import Path

import pytest

from rudp_smtp.experiment.__main__ import main
from rudp_smtp.experiment.plan import MODEL_VERSION

HERE = Path(__file__).parent
DIGESTS = HERE / "digests.json"
SCENARIOS = sorted(path.stem for path in HERE.glob("*.yaml"))


def tables_of(scenario: str, output: Path) -> dict[str, str]:
    """Run a scenario; the digest of each table it wrote."""
    status = main([str(HERE / f"{scenario}.yaml"), "--output", str(output), "--workers", "1"])
    assert status == 0
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(output.glob("*.csv"))}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_still_gives_the_bytes_it_gave(scenario: str, tmp_path: Path) -> None:
    golden = json.loads(DIGESTS.read_text())
    assert tables_of(scenario, tmp_path / scenario) == golden["tables"][scenario]


def test_the_digests_are_of_this_model_version() -> None:
    assert json.loads(DIGESTS.read_text())["model_version"] == MODEL_VERSION


def write_digests() -> None:
    with tempfile.TemporaryDirectory() as folder:
        tables = {scenario: tables_of(scenario, Path(folder) / scenario) for scenario in SCENARIOS}
    DIGESTS.write_text(json.dumps({"model_version": MODEL_VERSION, "tables": tables}, indent=2) + "\n")


if __name__ == "__main__":
    write_digests()
