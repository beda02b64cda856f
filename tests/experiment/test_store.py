"""What is stored is found again, and nothing else is."""

import json
from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.files import prepare_folder, write_atomic
from rudp_smtp.experiment.store import Store
from tests.experiment import invented


def test_a_stored_run_is_found_again_the_same(tmp_path: Path) -> None:
    store, record = Store(tmp_path), invented.perform(invented.runs()[0])
    assert store.load(record.key) is None
    store.save(record)
    assert store.load(record.key) == record
    assert [path.name for path in tmp_path.iterdir()] == [f"{record.key}.json"]


def test_a_torn_file_is_no_run_wherever_it_was_torn(tmp_path: Path) -> None:
    store, record = Store(tmp_path), invented.perform(invented.runs()[0])
    store.save(record)
    path = tmp_path / f"{record.key}.json"
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:length])
        assert store.load(record.key) is None


@pytest.mark.parametrize("content", [b"null", b"[]", b"{}", b'"text"', b"\xff\xfe", b'{"format": "1", "record": 3}'])
def test_a_foreign_file_is_no_run(tmp_path: Path, content: bytes) -> None:
    key = invented.runs()[0].key
    (tmp_path / f"{key}.json").write_bytes(content)
    assert Store(tmp_path).load(key) is None


def test_a_run_under_another_name_or_with_other_numbers_is_no_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = (invented.perform(run) for run in invented.runs()[:2])
    store.save(first)
    content = (tmp_path / f"{first.key}.json").read_bytes()
    (tmp_path / f"{second.key}.json").write_bytes(content)
    assert store.load(second.key) is None
    document = json.loads(content)
    document["record"]["metrics"]["completion_ms"] = 1.0
    (tmp_path / f"{first.key}.json").write_text(json.dumps(document))
    assert store.load(first.key) is None


def test_a_run_stored_with_other_columns_is_run_again(tmp_path: Path) -> None:
    store, record = Store(tmp_path), invented.perform(invented.runs()[0])
    store.save(record)
    path = tmp_path / f"{record.key}.json"
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "format": "1-0000000000000000"}))
    assert store.load(record.key) is None


def test_storing_a_run_tidies_up_what_a_killed_process_left_of_it(tmp_path: Path) -> None:
    store, record = Store(tmp_path), invented.perform(invented.runs()[0])
    (tmp_path / f".{record.key}.json.123.tmp").write_text("half")
    store.save(record)
    assert [path.name for path in tmp_path.iterdir()] == [f"{record.key}.json"]


def test_discarding_forgets_the_plan_s_runs_and_no_others(tmp_path: Path) -> None:
    store = Store(tmp_path)
    records = [invented.perform(run) for run in invented.runs()]
    for record in records:
        store.save(record)
    store.discard([records[0].key, records[1].key, "0" * 64])
    assert [store.load(record.key) is not None for record in records] == [False, False, True, True, True, True]


def test_a_folder_under_a_file_cannot_be_written_and_that_is_said_before_any_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write to the output folder"):
        prepare_folder(tmp_path / "file" / "results")


def test_preparing_a_folder_leaves_nothing_but_the_folder(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "deep" / "results")
    prepare_folder(tmp_path / "deep" / "results")
    assert [path.name for path in (tmp_path / "deep").rglob("*")] == ["results", "runs"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
