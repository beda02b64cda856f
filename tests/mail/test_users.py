"""The file of users: what it keeps, who may read it, and changes that are all or nothing."""

import os
from hashlib import sha256
from hmac import digest
from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.mail.users import UserFile
from rudp_smtp.smtp.credentials import derive_keys
from tests.mail.disks import Crash, WeakDisk


def entropy(octets: int) -> bytes:
    return bytes(range(octets))


@pytest.fixture(name="path")
def make_path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    users = UserFile(path)
    assert not users.add("bob", "secret", entropy)
    assert not users.add("ann", "p\u00e4ss", entropy)
    return path


def test_a_user_is_found_by_a_password_and_by_no_other(path: Path) -> None:
    users = UserFile(path)
    assert users.names() == ["ann", "bob"]
    bob, ann = users.find("bob"), users.find("ann")
    assert bob is not None
    assert ann is not None
    assert bob.matches("secret")
    assert not bob.matches("Secret")
    assert ann.matches("pa\u0308ss"), "another spelling of the same (RFC 4013)"
    assert users.find("eve") is None


def test_scram_needs_no_more_than_what_is_kept(path: Path) -> None:
    bob = UserFile(path).find("bob")
    assert bob is not None
    client_key, server_key = derive_keys("secret", bob.scram.salt, bob.scram.iterations)
    assert (sha256(client_key).digest(), server_key) == (bob.scram.stored_key, bob.scram.server_key)
    signature = digest(bob.scram.stored_key, b"said", "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    recovered = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert sha256(recovered).digest() == bob.scram.stored_key


def test_no_password_stands_in_the_file_and_nobody_else_reads_it(path: Path) -> None:
    assert b"secret" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["users"]
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        UserFile(path).find("bob")


def test_a_server_sees_a_change_without_a_restart(path: Path) -> None:
    server = UserFile(path)
    assert server.find("bob") is not None
    operator = UserFile(path)
    assert operator.remove("bob")
    assert not operator.remove("bob")
    assert operator.add("ann", "another", entropy)
    assert server.find("bob") is None
    ann = server.find("ann")
    assert ann is not None
    assert ann.matches("another")


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "x" * 2000, "\u0007"])
def test_what_cannot_be_a_name_is_refused(path: Path, name: str) -> None:
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="cannot be a user"):
        UserFile(path).add(name, "secret", entropy)
    with pytest.raises(ConfigError, match="password"):
        UserFile(path).add("eve", "", entropy)
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", ["bob", "bob:", "bob:hunter2", ":x", "b\tb:x", "bob:scrypt-scram-sha-256$1$a$b$c$d$e"])
def test_a_line_that_is_no_user_is_named_by_its_number_and_not_repeated(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ConfigError, match="line 3 is not a user") as caught:
        UserFile(path).find("bob")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("mode", ["fails_at", "ends_before"])
def test_a_change_is_all_or_nothing_wherever_it_is_cut_off(tmp_path: Path, mode: str) -> None:
    whole = WeakDisk()
    UserFile(tmp_path / "whole", whole).add("ann", "x", entropy)
    for step, name in enumerate(whole.steps):
        path, disk = tmp_path / f"users{step}", WeakDisk()
        UserFile(path).add("bob", "old", entropy)
        setattr(disk, mode, step)
        with pytest.raises((ConfigError, Crash)):
            UserFile(path, disk).add("bob", "new", entropy)
        bob = UserFile(path).find("bob")
        assert bob is not None
        assert bob.matches("old") or (bob.matches("new") and name == "sync_directory")
        beside = path.with_name(f".{path.name}.new")
        if beside.exists():
            with pytest.raises(ConfigError, match="may be removed"):
                UserFile(path).add("bob", "third", entropy)
            beside.unlink()
        UserFile(path).add("bob", "third", os.getrandom)
