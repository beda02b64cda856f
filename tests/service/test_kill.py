"""kill -9 of a running server, client and gateway under load: nothing acknowledged is lost, and nothing comes twice."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rudp_smtp.draws import DrawKey
from tests.ports import free_port
from tests.service.persistent import acknowledged, text
from tests.service.programs import PATIENCE, Program, serving
from tests.service.scenes import SCENES, arrived, check, finish, playing, wait_until

TRIES_MAX = 4  # of one message; the last one lives as long as it likes


SHORT = ("server-tcp", "server-rudp", "gateway-queue-tcp-rudp")
ROUNDS, SWEEP_ROUNDS = 1, 25  # of each


def kill_again_and_again(name: str, folder: Path, rounds: int) -> None:
    scene, draws = SCENES[name], DrawKey(1, f"kill {name}")
    with playing(scene, folder) as (victim, client):
        wait_until(1, folder, client)
        for number in range(rounds):
            wait_until(len(acknowledged(folder)) + draws.below(number, 12), folder, client)
            time.sleep(draws.below(rounds + number, 200) / 1000)
            victim.kill()
            victim.restart()
            wait_until(len(acknowledged(folder)) + 1, folder, client)
        finish(scene, folder, client)


@pytest.mark.parametrize("name", SHORT)
def test_what_is_killed_loses_and_repeats_nothing(tmp_path: Path, name: str) -> None:
    kill_again_and_again(name, tmp_path, ROUNDS)


@pytest.mark.sweep
@pytest.mark.parametrize("name", SCENES)
def test_what_is_killed_again_and_again_loses_and_repeats_nothing(tmp_path: Path, name: str) -> None:
    kill_again_and_again(name, tmp_path, SWEEP_ROUNDS)


class Senders:
    """`rudp-smtp send`, several at a time, of whom each is killed and started again until its mail is sent."""

    def __init__(self, scheme: str, folder: Path) -> None:
        self.url = f"{scheme}://127.0.0.1:{free_port()}"
        self._folder = folder
        self._whole = PATIENCE  # seconds that a run takes that is not killed: the fewest so far

    def send(self, number: int, lives: int = TRIES_MAX) -> int:
        """Send message `number`, with so many tries, of which the last is let live; how many were killed."""
        file = self._folder / f"{number}.eml"
        file.write_bytes(text(number))
        to = ["--to", "b@example.org", "--from", "a@client.example", "--key", f"key{number}"]
        draws = DrawKey(2, f"kill send {number}")
        for kills in range(lives):
            began = time.monotonic()
            life = self._whole * (500 + draws.below(kills, 550)) / 1000 if kills < lives - 1 else PATIENCE
            program = Program(["send", "--server", self.url, *to, "--data", str(file)], self._folder / f"{number}.log")
            try:
                assert program.process.wait(life) == 0, program.said()
            except subprocess.TimeoutExpired:
                program.kill()
                continue
            self._whole = min(self._whole, time.monotonic() - began)
            assert program.said().endswith("Mail sent\n")
            return kills
        raise AssertionError(f"message {number} is never sent: {program.said()}")


def kill_senders(scheme: str, folder: Path, kills_min: int, at_once: int) -> None:
    senders = Senders(scheme, folder)
    listens = ("--listen", senders.url, "--domain", "example.org")
    with serving(folder, *listens), ThreadPoolExecutor(at_once) as threads:
        senders.send(0, lives=1)
        kills, sent = 0, 1
        while kills < kills_min:
            kills += sum(threads.map(senders.send, range(sent, sent + at_once)))
            sent += at_once
        check(arrived(folder), set(range(sent)))


@pytest.mark.parametrize("scheme", ["rudp"])
def test_a_sender_that_is_killed_has_its_mail_delivered_once(tmp_path: Path, scheme: str) -> None:
    kill_senders(scheme, tmp_path, 1, 1)


@pytest.mark.sweep
@pytest.mark.parametrize("scheme", ["tcp", "rudp"])
def test_a_sender_that_is_killed_again_and_again_has_its_mail_delivered_once(tmp_path: Path, scheme: str) -> None:
    kill_senders(scheme, tmp_path, SWEEP_ROUNDS, 3)
