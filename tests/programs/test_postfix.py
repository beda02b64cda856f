"""Postfix at either end of a path that loses a tenth of the packets each way."""

import hashlib
import re
import smtplib
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.programs.needs import needs
from tests.programs.postfix import DOMAIN, HOST, Postfix, postfix
from tests.service.programs import ROOT, Program, rudp_smtp, running

LOSS10 = ROOT / "configs" / "loss10.yaml"
NUMBER = re.compile(rb"^X-Number: (\d+)\r?$", re.MULTILINE)
PATIENCE = 300.0

pytestmark = needs("postfix", is_root_needed=True)


def letter(number: int) -> bytes:
    """A message like no other: of a few lines or of many, dots and an empty line among them."""
    lines = [b"%d of %d" % (line, number) + b"." * (line % 3) for line in range(number * 37 % 400)]
    return b"\r\n".join((b"Subject: a letter", b"X-Number: %d" % number, b"", *lines, b".", b"", b"end", b""))


def body(mail: bytes) -> bytes:
    return mail.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


def send_all(port: int, count: int) -> None:
    with smtplib.SMTP(HOST, port, timeout=60) as client:
        for number in range(count):
            assert client.sendmail("a@client.example", [f"b@{DOMAIN}"], letter(number)) == {}


def numbers(mails: list[bytes]) -> Counter[int]:
    """How often each number arrived, whole."""
    found: Counter[int] = Counter()
    for mail in mails:
        match = NUMBER.search(mail)
        assert match is not None, mail
        number = int(match[1])
        assert hashlib.sha256(body(mail)).digest() == hashlib.sha256(body(letter(number))).digest()
        found[number] += 1
    return found


def started(stack: ExitStack, log: Path, says: str, *command: object) -> Program:
    program = stack.enter_context(running(log, *command))
    program.wait_for(says)
    return program


@dataclass(frozen=True, slots=True)
class Crossing:
    """TCP at `port`, RUDP through the losses from `rudp_port` on, TCP again to whoever listens at the far end."""

    port: int
    rudp_port: int
    proxy: Program


@contextmanager
def crossing(folder: Path, last_port: int, *, has_queues: bool) -> Iterator[Crossing]:
    first, relay, second = free_port(), free_port(), free_port()
    near = ["gateway", "--listen", f"tcp://{HOST}:{first}", "--to", f"rudp://{HOST}:{relay}"]
    path = ["proxy", "--listen", f"{HOST}:{relay}", "--to", f"{HOST}:{second}", "--config", LOSS10]
    far = ["gateway", "--listen", f"rudp://{HOST}:{second}", "--to", f"tcp://{HOST}:{last_port}"]
    if has_queues:
        near += ["--queue", str(folder / "near")]
        far += ["--queue", str(folder / "far")]
    with ExitStack() as stack:
        started(stack, folder / "far.log", "listening on", *far)
        proxy = started(stack, folder / "proxy.log", "relaying from", *path)
        started(stack, folder / "near.log", "listening on", *near)
        yield Crossing(first, relay, proxy)


def lost(proxy: Program) -> int:
    return sum(int(count) for count in re.findall(r"lost (\d+)", proxy.said()))


def wait_until_nothing_is_left(first: Postfix, folder: Path, *, has_queues: bool) -> None:
    """No one of them all has a message to send, and so nobody can send one twice later."""
    deadline = time.monotonic() + PATIENCE
    while first.queued() > 0:
        assert time.monotonic() < deadline, first.said()[-4000:]
        time.sleep(0.2)
    for name in ("near", "far") if has_queues else ():
        while is_waiting(folder / name):
            assert time.monotonic() < deadline, f"the {name} gateway's queue is never empty"
            time.sleep(0.2)


def is_waiting(queue: Path) -> bool:
    listed = rudp_smtp("queue", queue, "list")
    assert listed.returncode == 0, listed.stderr
    return DOMAIN in listed.stdout


def carry(folder: Path, count: int, *, has_queues: bool) -> tuple[Counter[int], int]:
    """From Postfix to Postfix: how often each of the messages arrived, and how many packets were lost."""
    with (
        postfix("last") as last,
        crossing(folder, last.port, has_queues=has_queues) as middle,
        postfix("first", next_port=middle.port) as first,
    ):
        send_all(first.port, count)
        wait_until_nothing_is_left(first, folder, has_queues=has_queues)
        last.wait_for("status=sent (delivered to maildir)", count)
        middle.proxy.process.terminate()
        middle.proxy.process.wait(20)
        return numbers(last.mails()), lost(middle.proxy)


@pytest.mark.parametrize("has_queues", [False, True], ids=["passing", "queue"])
@pytest.mark.parametrize("count", [40, pytest.param(1_000, marks=pytest.mark.sweep)])
def test_postfix_hands_postfix_each_message_once(tmp_path: Path, count: int, has_queues: bool) -> None:
    arrived, packets_lost = carry(tmp_path, count, has_queues=has_queues)
    assert arrived == Counter(range(count))
    assert packets_lost > count / 2  # of ten a message or more: the path was what it says


def test_our_client_sends_to_postfix_directly_and_over_the_losses(tmp_path: Path) -> None:
    with postfix("last") as last, crossing(tmp_path, last.port, has_queues=False) as middle:
        servers = (f"tcp://{HOST}:{last.port}", f"rudp://{HOST}:{middle.rudp_port}")
        for number, server in enumerate(servers):
            (tmp_path / "letter").write_bytes(letter(number))
            words = ["--from", "a@client.example", "--to", f"b@{DOMAIN}", "--data", tmp_path / "letter"]
            sent = rudp_smtp("send", "--server", server, *words)
            assert (sent.returncode, sent.stdout.splitlines()[-1:]) == (0, ["Mail sent"]), sent.stderr
        last.wait_for("status=sent (delivered to maildir)", len(servers))
        assert numbers(last.mails()) == Counter(range(len(servers)))
