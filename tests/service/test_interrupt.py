"""Ctrl-C with sessions open: the server says goodbye and is gone, and nothing that it acknowledged with it."""

import re
import signal
import smtplib
import socket
import time
from pathlib import Path

import pytest

from rudp_smtp.drivers import blocking
from tests.ports import free_port
from tests.service.persistent import acknowledged
from tests.service.programs import PATIENCE, serving
from tests.service.scenes import SCENES, finish, playing, wait_until

NOISE = re.compile("traceback|exception|error|warning|never|destroyed|cancelled", re.IGNORECASE)
# Five seconds for messages that are under way, one for the last datagrams, and what a busy machine adds.
END_SECONDS = 10.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_with_sessions_open_ends_when_it_is_asked_to(tmp_path: Path, number: signal.Signals) -> None:
    tcp, rudp = free_port(), free_port()
    listens = ["--listen", f"tcp://127.0.0.1:{tcp}", "--listen", f"rudp://127.0.0.1:{rudp}"]
    relay = ["--relay-to", f"tcp://127.0.0.1:{free_port()}"]
    with serving(tmp_path, *listens, *relay, listens=2) as server:
        silent = [socket.create_connection(("127.0.0.1", tcp)) for _ in range(20)]
        idle = blocking.SMTP("127.0.0.1", rudp, timeout=PATIENCE)
        busy = smtplib.SMTP("127.0.0.1", tcp, timeout=PATIENCE)
        busy.ehlo()
        busy.mail("a@b.example")
        busy.rcpt("bob@localhost")
        busy.putcmd("DATA")
        busy.getreply()
        busy.send(b"Subject: never finished\r\n")
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE) == 0, server.said()
        assert busy.getreply()[0] == 421
        assert idle.getreply()[0] == 421
        assert not NOISE.search(server.said()), server.said()
        for connection in silent:
            connection.close()
        busy.close()
        idle.close()
    assert list((tmp_path / "mail" / "new").iterdir()) == []


def interrupt_again_and_again(name: str, folder: Path, rounds: int) -> None:
    scene = SCENES[name]
    with playing(scene, folder) as (victim, client):
        for _ in range(rounds):
            wait_until(len(acknowledged(folder)) + 5, folder, client)
            began = time.monotonic()
            victim.program.process.send_signal(signal.SIGINT)
            assert victim.program.process.wait(PATIENCE) == 0, victim.program.said()
            assert time.monotonic() - began < END_SECONDS
            assert not NOISE.search(victim.program.said()), victim.program.said()
            victim.restart()
        finish(scene, folder, client)


@pytest.mark.parametrize("name", ["server-tcp", "server-rudp", "gateway-queue-tcp-rudp"])
def test_ctrl_c_under_load_is_quick_and_quiet_and_loses_nothing(tmp_path: Path, name: str) -> None:
    interrupt_again_and_again(name, tmp_path, 1)


@pytest.mark.sweep
@pytest.mark.parametrize("name", [name for name, scene in SCENES.items() if scene.victim != "client"])
def test_ctrl_c_again_and_again_is_quick_and_quiet_and_loses_nothing(tmp_path: Path, name: str) -> None:
    interrupt_again_and_again(name, tmp_path, 10)
