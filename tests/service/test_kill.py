"""kill -9 of a running server, client and gateway under load: nothing acknowledged is lost, and nothing comes twice."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rudp_smtp.draws import DrawKey
from tests.ports import free_port
from tests.service.persistent import acknowledged, text
from tests.service.programs import PATIENCE, Program, rudp_smtp, serving
from tests.service.scenes import SCENES, arrived, check, finish, playing, wait_until

FIRST = ["--to", "b@example.org", "--from", "a@client.example", "--body", "how long does it take?"]
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


def send_and_kill(url: str, folder: Path, number: int, whole: float) -> int:
    """`rudp-smtp send` of one message, killed and started again until it says that the mail is sent; how many kills.

    A run that is not killed takes about `whole` seconds, most of them before it has connected.
    """
    file = folder / f"{number}.eml"
    file.write_bytes(text(number))
    to = ["--to", "b@example.org", "--from", "a@client.example", "--key", f"key{number}"]
    draws = DrawKey(2, f"kill send {number}")
    for kills in range(TRIES_MAX):
        life = whole * (500 + draws.below(kills, 600)) / 1000 if kills < TRIES_MAX - 1 else PATIENCE
        program = Program(["send", "--server", url, *to, "--data", str(file)], folder / f"{number}.log")
        try:
            assert program.process.wait(life) == 0, program.said()
        except subprocess.TimeoutExpired:
            program.kill()
            continue
        assert program.said().endswith("Mail sent\n")
        return kills
    raise AssertionError(f"message {number} is never sent: {program.said()}")


def kill_senders(scheme: str, folder: Path, kills_min: int, at_once: int) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}"
    with serving(folder, "--listen", url, "--domain", "example.org"), ThreadPoolExecutor(at_once) as senders:
        began = time.monotonic()
        list(senders.map(lambda number: rudp_smtp("send", "--server", url, *FIRST, "--key", number), range(at_once)))
        whole = time.monotonic() - began
        for path in (folder / "mail" / "new").iterdir():
            path.unlink()
        kills = sent = 0
        while kills < kills_min:
            numbers = range(sent, sent + at_once)
            kills += sum(senders.map(lambda number: send_and_kill(url, folder, number, whole), numbers))
            sent += at_once
        check(arrived(folder), set(range(sent)))


@pytest.mark.parametrize("scheme", ["rudp"])
def test_a_sender_that_is_killed_has_its_mail_delivered_once(tmp_path: Path, scheme: str) -> None:
    kill_senders(scheme, tmp_path, 1, 1)


@pytest.mark.sweep
@pytest.mark.parametrize("scheme", ["tcp", "rudp"])
def test_a_sender_that_is_killed_again_and_again_has_its_mail_delivered_once(tmp_path: Path, scheme: str) -> None:
    kill_senders(scheme, tmp_path, SWEEP_ROUNDS, 3)
