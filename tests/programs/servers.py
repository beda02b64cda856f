"""Our SMTP server over the kernel's TCP, for others' clients: python -m tests.programs.servers DIR."""

import asyncio
import os
import sys
import time
from itertools import count
from pathlib import Path

from rudp_smtp.drivers.sessions import React, Session
from rudp_smtp.drivers.tcp import start_server
from rudp_smtp.mail.mailbox import deliver_received
from rudp_smtp.mail.maildir import Maildir
from rudp_smtp.smtp import Server

PORT = 2525


async def serve(folder: Path) -> None:
    numbers = count()
    mailbox = Maildir(folder, domain="mx.example", unique=lambda: f"{os.getpid()}_{next(numbers)}")

    def answer() -> tuple[Session, React]:
        server = Server(domain="mx.example")

        def react() -> None:
            deliver_received(server, mailbox, now=time.time_ns())

        return server, react

    async with await start_server(answer, "0.0.0.0", PORT) as listener:
        await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
