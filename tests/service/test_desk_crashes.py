"""A relaying server whose disk fails or forgets: Maildir and queue behind one 250, which is said when both are safe."""

import asyncio
import errno
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from rudp_smtp.mail.maildir import Maildir
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.spool import SPILL_OCTETS
from rudp_smtp.service.attending import Attendant
from rudp_smtp.service.clients import ClientLimits, Clients, Visit
from rudp_smtp.service.commits import GroupCommit
from rudp_smtp.service.desk import Desk
from rudp_smtp.service.mailserver import EXTENSIONS, HELD_OCTETS
from rudp_smtp.service.office import Office, Policy
from rudp_smtp.smtp import Limits, Server
from rudp_smtp.units import SECOND
from tests.mail.disks import Crash, WeakDisk

NOW = 1_700_000_000 * SECOND
POLICY = Policy(domain="here.example", relays=True, relays_for_all=True)
LOCAL, REMOTE = "<bob@here.example>", "<eve@far.example>"
NAMES = count()


@pytest.fixture(name="fast_path")
def make_fast_path() -> Iterator[Path]:
    """Here it is an account that says what is safe, so a real disk's syncs would only take time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@dataclass(frozen=True, slots=True)
class Mail:
    name: str
    to: tuple[str, ...]
    octets: int

    @property
    def text(self) -> bytes:
        line = b"%s\r\n" % (self.name.encode() * 70)
        return b"Subject: %s\r\n\r\n" % self.name.encode() + line * (self.octets // len(line) + 1)


MAILS = (
    Mail("a", (LOCAL, REMOTE), 10),
    Mail("b", (REMOTE, LOCAL), HELD_OCTETS + SPILL_OCTETS),  # streamed to both as it comes
    Mail("c", (LOCAL,), 10),
    Mail("d", (REMOTE,), 10),
)


@dataclass
class Told:
    """What the client was told: which messages are accepted, and which are refused with which code."""

    accepted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def office(root: Path, disk: WeakDisk | None = None) -> AsyncIterator[Office]:
    maildir = Maildir(root / "mail", domain="here.example", unique=lambda: f"U{next(NAMES)}", files=disk)
    queue = Queue(root / "queue", identity="relaying", files=disk)
    deliveries = GroupCommit(maildir.commit, lambda: NOW, "deliveries")
    submissions = GroupCommit(queue.commit, lambda: NOW, "submissions")
    try:
        yield Office(
            policy=POLICY,
            clock=lambda: NOW,
            maildir=maildir,
            deliveries=deliveries,
            queue=queue,
            submissions=submissions,
            notice=lambda text: None,
        )
    finally:
        await deliveries.close()
        await submissions.close()
        maildir.close()
        queue.close()


async def send(office: Office, mail: Mail, told: Told) -> None:
    """One session with one message, under its key."""
    limits = Limits(held_octets=HELD_OCTETS, recipients=len(mail.to))
    server = Server(domain="here.example", limits=limits, accepts=lambda path: None, extensions=EXTENSIONS)
    visit = Clients(ClientLimits(), lambda: 0).admit("127.0.0.1")
    assert isinstance(visit, Visit)
    desk = Desk(office, server, visit, client=("127.0.0.1", 25), stats=lambda: None)
    attendant = Attendant(server, desk)
    commands = ["EHLO c", f"MAIL FROM:<a@b.example> XIDEMPOTENT=key{mail.name}", *(f"RCPT TO:{to}" for to in mail.to)]
    for said in (*(f"{command}\r\n".encode() for command in (*commands, "DATA")), mail.text + b".\r\n"):
        for start in range(0, len(said), 60_000):
            server.receive_data(said[start : start + 60_000])
            if (work := attendant.react()) is not None:
                await work
        reply = server.data_to_send().decode().splitlines()[-1]
        assert reply[:3] in ("220", "250", "354") or said.endswith(b".\r\n"), reply
    if reply.startswith("250"):
        told.accepted.append(mail.name)
    else:
        told.refused[mail.name] = reply[:3]


async def run(root: Path, disk: WeakDisk | None, told: Told, arm: Callable[[], None] = lambda: None) -> None:
    """All the mails, on a disk that behaves until `arm` has been called."""
    async with office(root, disk) as opened:
        arm()
        with suppress(Crash):
            for mail in MAILS:
                await send(opened, mail, told)


def arrived(root: Path) -> tuple[Counter[str], Counter[str]]:
    """How often each message is in the mailbox and in the queue, each of them whole."""
    texts = {mail.name: mail.text for mail in MAILS}

    def name_of(octets: bytes) -> str:
        _, mark, text = octets.partition(b"Subject: ")
        name = text[:1].decode()
        assert mark + text == texts[name], f"{name} is not whole"
        return name

    in_box = Counter(name_of(file.read_bytes()) for file in (root / "mail" / "new").iterdir())
    queue = Queue(root / "queue", identity="reader")
    in_queue = Counter(name_of(b"".join(queue.index.body(mail.message_id))) for mail in queue.index.listing())
    queue.close()
    return in_box, in_queue


def check_safe(root: Path, told: Told) -> None:
    """What 250 was said for is wherever it has to be, and nothing is anywhere twice."""
    in_box, in_queue = arrived(root)
    assert not [name for name, times in [*in_box.items(), *in_queue.items()] if times > 1]
    for mail in MAILS:
        if mail.name in told.accepted:
            assert mail.name in in_box or LOCAL not in mail.to
            assert mail.name in in_queue or REMOTE not in mail.to


def check_repeat(root: Path) -> None:
    """The client sends all of it again, as it must if it was not told 250: then everything is there once."""
    again = Told()
    asyncio.run(run(root, None, again))
    assert again == Told([mail.name for mail in MAILS])
    in_box, in_queue = arrived(root)
    assert in_box == {"a": 1, "b": 1, "c": 1}
    assert in_queue == {"a": 1, "b": 1, "d": 1}


def steps_of(root: Path) -> list[str]:
    disk, told = WeakDisk(), Told()
    asyncio.run(run(root, disk, told, disk.rest))
    assert told == Told([mail.name for mail in MAILS])
    return disk.steps


def test_every_kind_of_step_is_tried(fast_path: Path) -> None:
    steps = Counter(steps_of(fast_path))
    assert steps["sync"] == steps["create"] == 6  # four messages, two of them in both places
    assert steps["rename"] == 6
    assert steps["commit"] >= 6
    assert {"write", "sync_directory"} <= steps.keys()


def test_any_step_that_fails_is_not_answered_with_250(fast_path: Path) -> None:
    for number, step in enumerate(steps_of(fast_path / "whole")):
        root, disk, told = fast_path / str(number), WeakDisk(), Told()

        def arm(disk: WeakDisk = disk, number: int = number) -> None:
            disk.rest()
            disk.fails_at, disk.error = number, (errno.EIO, errno.ENOSPC)[number % 2]

        asyncio.run(run(root, disk, told, arm))
        assert len(told.accepted) + len(told.refused) == len(MAILS)
        assert set(told.refused.values()) == {("451", "452")[number % 2]}, step
        check_safe(root, told)
        check_repeat(root)


CUTS = [
    ("before", 0),
    *(pytest.param(side, seed, marks=pytest.mark.sweep) for side, seed in (("after", 0), ("before", 1), ("after", 2))),
]


@pytest.mark.parametrize(("side", "seed"), CUTS)
def test_a_power_cut_at_any_step_takes_nothing_that_was_acknowledged(fast_path: Path, side: str, seed: int) -> None:
    for number in range(len(steps_of(fast_path / "whole"))):
        root, left, disk, told = fast_path / str(number), fast_path / f"left{number}", WeakDisk(), Told()

        def arm(disk: WeakDisk = disk, number: int = number) -> None:
            disk.rest()
            setattr(disk, f"ends_{side}", number)

        asyncio.run(run(root, disk, told, arm))
        assert len(told.accepted) < len(MAILS)
        disk.after_power_cut(root, left, seed)
        asyncio.run(opened_and_closed(left))
        check_safe(left, told)
        check_repeat(left)


async def opened_and_closed(root: Path) -> None:
    """The next start, which puts right what it finds."""
    async with office(root):
        pass
