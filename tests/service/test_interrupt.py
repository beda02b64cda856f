"""Ctrl-C with sessions open: the server says goodbye and is gone."""

import signal
import smtplib
import socket
from pathlib import Path

import pytest

from rudp_smtp.drivers import blocking
from tests.ports import free_port
from tests.service.programs import PATIENCE, serving


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
        assert "Traceback" not in server.said()
        for connection in silent:
            connection.close()
        busy.close()
        idle.close()
    assert list((tmp_path / "mail" / "new").iterdir()) == []
