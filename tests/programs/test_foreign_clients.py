"""smtplib, aiosmtplib and swaks as clients of `rudp-smtp serve`, over TCP and through a path that loses a tenth."""

import asyncio
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import aiosmtplib
import pytest

from rudp_smtp.drivers import aio, blocking
from rudp_smtp.drivers.aio.loop import EventLoop
from rudp_smtp.drivers.certificate import write_self_signed
from tests.ports import free_port
from tests.programs.needs import needs
from tests.service.programs import ROOT, mails, rudp_smtp, running, serving

HOST = "127.0.0.1"
LOSS10 = ROOT / "configs" / "loss10.yaml"
SENDER, RECIPIENT = "alice@example.org", "bob@example.org"
NUMBERS = count()
LOGINS = {"PLAIN": "starttls, plain", "LOGIN": "starttls, login"}
KINDS = ["plain", *LOGINS.values(), "tls from the first octet", "a megabyte"]
Listeners = dict[str, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A server with a listener of each scheme, the losses in front of RUDP's, and gateways from TCP to it."""

    folder: Path
    certificate: Path
    ports: Listeners

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    added = rudp_smtp("user", "add", "--users", folder / "users", "alice", "--password-file", "-", given="secret\n")
    assert added.returncode == 0, added.stderr
    certificate, key = write_self_signed(folder, ["localhost", HOST])
    shown = ["--cert", certificate, "--key", key]
    ports = {scheme: free_port() for scheme in ("tcp", "tcps", "rudp", "rudps")}
    listens = [word for scheme, port in ports.items() for word in ("--listen", f"{scheme}://{HOST}:{port}")]
    options = ["--domain", "example.org", "--mailbox", "bob", "--users", folder / "users", "--impair", LOSS10]
    with ExitStack() as stack:
        stack.enter_context(serving(folder, *listens, *options, *shown, listens=len(ports)))
        ports |= {"gateway tcp": free_port(), "gateway tcps": free_port()}
        doors = [f"--listen={scheme}://{HOST}:{ports[f'gateway {scheme}']}" for scheme in ("tcp", "tcps")]
        gateway = ["gateway", *doors, "--to", f"rudp://{HOST}:{ports['rudp']}", *shown]
        stack.enter_context(running(folder / "gateway.log", *gateway)).wait_for("listening on", 2)
        yield Place(folder, certificate, ports)


def letter(kind: str) -> tuple[str, bytes]:
    """Its subject, which no other has, and the whole of it."""
    subject = f"letter {next(NUMBERS)}"
    lines = 60_000 if kind == "a megabyte" else 3
    text = b"".join(b"line %06d of it.\r\n.\r\n" % number for number in range(lines))
    assert len(text) > 1_000_000 or kind != "a megabyte"
    return subject, f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: {subject}\r\n\r\n".encode() + text


def arrived(place: Place, subject: str) -> bytes:
    (found,) = (mail for mail in mails(place.folder) if f"Subject: {subject}\r\n".encode() in mail)
    return found


def smtplib_sends(place: Place, kind: str, octets: bytes, scheme: str) -> None:
    is_rudp = scheme == "rudp"
    client: smtplib.SMTP
    if kind == "tls from the first octet":
        make = blocking.SMTP_SSL if is_rudp else smtplib.SMTP_SSL
        client = make(HOST, place.ports[scheme + "s"], timeout=30, context=place.context())
    else:
        client = (blocking.SMTP if is_rudp else smtplib.SMTP)(HOST, place.ports[scheme], timeout=30)
    with client:
        if kind != "plain" and not isinstance(client, smtplib.SMTP_SSL):
            client.starttls(context=place.context())
        if kind != "plain":
            client.ehlo()
            client.user, client.password = "alice", "secret"
            is_login = kind == LOGINS["LOGIN"]
            client.auth("LOGIN" if is_login else "PLAIN", client.auth_login if is_login else client.auth_plain)
        assert client.sendmail(SENDER, [RECIPIENT], octets) == {}


async def talk_by_aiosmtplib(place: Place, kind: str, octets: bytes, scheme: str) -> None:
    is_tls = kind == "tls from the first octet"
    port = place.ports[scheme + "s" if is_tls else scheme]
    context = place.context() if is_tls else None
    async with aiosmtplib.SMTP(
        hostname=HOST, port=port, use_tls=is_tls, start_tls=False, tls_context=context
    ) as client:
        if not is_tls and kind != "plain":
            await client.starttls(tls_context=place.context(), server_hostname="localhost")
        await client.ehlo()  # which its `login` would do, but that chooses the mechanism itself
        if kind == LOGINS["LOGIN"]:
            await client.auth_login("alice", "secret")
        elif kind != "plain":
            await client.auth_plain("alice", "secret")
        refused, _ = await client.sendmail(SENDER, [RECIPIENT], octets)
        assert refused == {}
    await aio.shutdown()


def aiosmtplib_sends(place: Place, kind: str, octets: bytes, scheme: str) -> None:
    loop = EventLoop if scheme == "rudp" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(talk_by_aiosmtplib(place, kind, octets, scheme), 50))


@pytest.mark.parametrize("scheme", ["tcp", "rudp"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("send", [smtplib_sends, aiosmtplib_sends])
def test_a_library_hands_over_a_message_octet_for_octet(
    place: Place, send: Callable[[Place, str, bytes, str], None], kind: str, scheme: str
) -> None:
    subject, octets = letter(kind)
    send(place, kind, octets, scheme)
    mail = arrived(place, subject)
    assert mail.endswith(octets)
    assert (b"with ESMTPSA id " in mail) == (kind != "plain")


def swaks(place: Place, subject: str, octets: bytes, *options: str) -> bytes:
    data = place.folder / "data"
    data.write_bytes(octets)
    command = ["swaks", "--server", HOST, "--from", SENDER, "--to", RECIPIENT, "--data", f"@{data}", "--no-data-fixup"]
    encryption = ["--tls-ca-path", str(place.certificate), "--tls-verify"]
    done = subprocess.run(
        [*command, *encryption, *options], capture_output=True, text=True, timeout=60, check=False, cwd=place.folder
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return arrived(place, subject)


LOGIN = ["--auth-user", "alice", "--auth-password", "secret"]
SWAKS_OPTIONS = {
    "plain": [],
    LOGINS["PLAIN"]: ["--tls", "--auth", "PLAIN", *LOGIN],
    LOGINS["LOGIN"]: ["--tls", "--auth", "LOGIN", *LOGIN],
    "tls from the first octet": ["--tls-on-connect", "--auth", "PLAIN", *LOGIN],
    "a megabyte": ["--tls", "--auth", "PLAIN", *LOGIN],
}


@needs("swaks")
@pytest.mark.parametrize("kind", KINDS)
def test_swaks_hands_over_a_message_by_tcp(place: Place, kind: str) -> None:
    subject, octets = letter(kind)
    port = place.ports["tcps" if kind == "tls from the first octet" else "tcp"]
    mail = swaks(place, subject, dotted(octets), "--port", str(port), *SWAKS_OPTIONS[kind])
    assert mail.endswith(octets)
    assert (b"with ESMTPSA id " in mail) == (kind != "plain")


def dotted(octets: bytes) -> bytes:
    """As swaks wants what it is not to fix: with the dots of transparency and the one at the end."""
    return octets.replace(b"\r\n.", b"\r\n..") + b".\r\n"


@needs("swaks")
@pytest.mark.parametrize("kind", ["plain", "starttls", "tls from the first octet", "a megabyte"])
def test_swaks_hands_over_a_message_by_a_gateway_to_rudp(place: Place, kind: str) -> None:
    """A gateway knows no users: who may connect may send."""
    subject, octets = letter(kind)
    port = place.ports["gateway tcps" if kind == "tls from the first octet" else "gateway tcp"]
    option = {"plain": [], "tls from the first octet": ["--tls-on-connect"]}.get(kind, ["--tls"])
    mail = swaks(place, subject, dotted(octets), "--port", str(port), *option)
    assert mail.endswith(octets)
    assert (b"by localhost with ESMTPS\r\n" in mail) == (kind != "plain")  # the gateway encrypts onward in any case
