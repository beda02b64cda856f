"""Postfix as its makers shipped it, with a configuration and a queue of its own; /etc/postfix is left alone."""

import os
import pwd
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port
from tests.programs.needs import SYSTEM_PATH

HOST = "127.0.0.1"
DOMAIN = "example.org"  # of which the last Postfix keeps every mailbox, in one Maildir
READER = pwd.getpwnam("nobody")  # it refuses to deliver as root
PATIENCE = 120.0
MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file_prefixes = {folder}
maillog_file = {folder}/log
myhostname = {name}.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
alias_database =
disable_dns_lookups = yes
minimal_backoff_time = 2s
maximal_backoff_time = 4s
queue_run_delay = 2s
"""
KEEPS = """
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {folder}
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{reader.pw_uid}
virtual_gid_maps = static:{reader.pw_gid}
"""
RELAYS = "relayhost = [127.0.0.1]:{next_port}\n"
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """One that runs; `wait_for` what its log says."""

    folder: Path
    port: int

    def said(self) -> str:
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""

    def wait_for(self, text: str, count: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE
        while (found := self.said().count(text)) < count:
            assert time.monotonic() < deadline, f"{text!r} {found} times of {count}: {self.said()[-4000:]}"
            time.sleep(0.05)

    def queued(self) -> int:
        """How many messages it has not got rid of."""
        return sum(path.is_file() for name in ("incoming", "active", "deferred") for path in self._queue(name))

    def _queue(self, name: str) -> list[Path]:
        return list((self.folder / "queue" / name).rglob("*"))

    def mails(self) -> list[bytes]:
        """What is in the Maildir."""
        new = self.folder / "box" / "new"
        return [path.read_bytes() for path in sorted(new.iterdir())] if new.exists() else []


@contextmanager
def postfix(name: str, *, next_port: int | None = None) -> Iterator[Postfix]:
    """One that hands all mail on to `next_port`, or keeps DOMAIN's if there is none."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as root:  # where its users may enter, unlike tmp_path
        folder = Path(root)
        running = Postfix(folder, free_port())
        _write(running, name, next_port)
        command = ["postfix", "-c", str(folder / "etc")]
        _control(*command, "start")
        try:
            yield running
        finally:
            _control(*command, "stop")


def _write(running: Postfix, name: str, next_port: int | None) -> None:
    folder = running.folder
    folder.chmod(0o755)
    for part, owner in (("etc", "root"), ("queue", "root"), ("data", "postfix"), ("box", READER.pw_name)):
        (folder / part).mkdir()
        user = pwd.getpwnam(owner)
        os.chown(folder / part, user.pw_uid, user.pw_gid)
    main = MAIN + (KEEPS if next_port is None else RELAYS)
    words = {"folder": folder, "name": name, "domain": DOMAIN, "reader": READER, "next_port": next_port}
    (folder / "etc" / "main.cf").write_text(main.format(**words))
    (folder / "etc" / "master.cf").write_text(MASTER.format(port=running.port))


def _control(*command: str) -> None:
    environment = os.environ | {"PATH": SYSTEM_PATH}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
