"""`rudp-smtp send` into aiosmtpd as it is, behind our asyncio transport and a path that loses a tenth."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP

from rudp_smtp.drivers import aio
from rudp_smtp.drivers.certificate import self_signed
from tests.ports import free_port
from tests.service.programs import ROOT, rudp_smtp, running

HOST = "127.0.0.1"
LINES = b"line of it\r\n.\r\n"


@dataclass
class Box:
    """aiosmtpd's handler."""

    mails: list[bytes] = field(default_factory=list)

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802 - its name
        self.mails.append(envelope.content)  # type: ignore[attr-defined]
        return "250 2.0.0 kept"


@pytest.mark.parametrize(
    ("tls", "repeats"), [([], 70_000), (["--starttls", "--insecure"], 3)], ids=["a megabyte", "starttls"]
)
def test_our_client_sends_to_aiosmtpd_over_the_losses(tmp_path: Path, tls: list[str], repeats: int) -> None:
    relay, box = free_port(), Box()
    text = b"Subject: a letter\r\n\r\n" + LINES * repeats
    (tmp_path / "letter").write_bytes(text)
    words = ["--from", "a@client.example", "--to", "b@example.org", "--data", str(tmp_path / "letter")]

    async def scene() -> None:
        context, _ = self_signed([HOST])
        server = await aio.create_server(lambda: SMTP(box, hostname="mx", tls_context=context), HOST, 0)
        port = server.sockets[0].getsockname()[1]
        options = [
            "--listen",
            f"{HOST}:{relay}",
            "--to",
            f"{HOST}:{port}",
            "--config",
            ROOT / "configs" / "loss10.yaml",
        ]
        with running(tmp_path / "proxy.log", "proxy", *options) as proxy:
            proxy.wait_for("relaying from")
            sent = await asyncio.to_thread(rudp_smtp, "send", "--server", f"rudp://{HOST}:{relay}", *words, *tls)
            assert (sent.returncode, sent.stdout.splitlines()[-1:]) == (0, ["Mail sent"]), sent.stderr
        server.close()
        await server.wait_closed()

    asyncio.run(scene())
    assert [mail.replace(b"\r\n", b"\n") for mail in box.mails] == [text.replace(b"\r\n", b"\n")]
