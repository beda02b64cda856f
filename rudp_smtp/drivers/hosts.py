"""Hosts: two network namespaces whose only way to each other is a TUN device each, held by this process.

They are named after this process, so that what a run leaves behind that was killed is found by the next one and
removed. Needs root, iproute2 and /dev/net/tun.

A socket belongs for ever to the namespace it was made in, whoever uses it: `Host.inside` makes them there, by a thread.
"""

import ctypes
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rudp_smtp.errors import DriverError

PREFIX = "rudp"
ADDRESSES = ("10.77.0.1", "10.77.0.2")
NETWORK = "10.77.0.0/24"  # of all addresses either host may have
SPARE_ADDRESSES = tuple(f"10.77.0.{number}" for number in range(3, 255))  # that the first may change to, in turn
DEVICE = "tun0"
MTU = 1500
TX_QUEUE_PACKETS = 10_000  # what the kernel keeps for us while we are late: no loss that nobody asked for

_TUN_PATH = "/dev/net/tun"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_NAMESPACE = re.compile(rf"{PREFIX}-(\d+)-[ab]")
_FOLDER = Path("/run/netns")  # where `ip netns` keeps them
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_TX_DROP = 12  # the place of its column in /proc/net/dev
_SIOCSIFADDR, _SIOCSIFDSTADDR = 0x8916, 0x8918  # linux/sockios.h
_IFREQ = struct.Struct("=16sH2x4s16x")  # struct ifreq with a struct sockaddr_in
_LIBC = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Host:
    """One namespace. `device` is our end of its TUN device: whole IPv4 packets, never blocking."""

    namespace: str
    address: str
    peer: str
    device: int
    control: socket.socket  # lives inside: what is asked of it is asked of the namespace

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The same command, run inside."""
        return ["ip", "netns", "exec", self.namespace, *arguments]

    def environment(self) -> dict[str, str]:
        """What a command inside is told: RUDP_HOST, its own address, and RUDP_PEER, the other one's."""
        return {**os.environ, "RUDP_HOST": self.address, "RUDP_PEER": self.peer}

    def start(self, arguments: Sequence[str], **options: int) -> subprocess.Popen[bytes]:
        """Start a command inside, in a process group of its own unless `options` say otherwise."""
        return subprocess.Popen(self.command(arguments), env=self.environment(), **options)  # type: ignore[call-overload,no-any-return]

    def set_kernel(self, settings: Mapping[str, str]) -> None:
        """Write sysctl keys inside. Raises DriverError for one the kernel refuses."""
        for key, value in settings.items():
            path = "/proc/sys/" + key.replace(".", "/")
            _run(self.command(["sh", "-c", f'printf %s "$1" > {path}', "sh", value]))

    def set_tcp_congestion(self, name: str) -> None:
        """Let TCP inside use this congestion control. Raises DriverError, with the remedy, where there is none."""
        available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
        if name not in available:
            raise DriverError(f"the kernel has no congestion control {name!r}, but {', '.join(available)}")
        # The default of a namespace may only be what the first one allows to everybody. A route may say what it likes.
        route = [self.peer, "dev", DEVICE, "src", self.address, "congctl", name]
        _run(["ip", "-netns", self.namespace, "route", "replace", *route])

    def change_address(self, address: str) -> None:
        """Have this address and no longer the one before, at once: `ip` would take as long as a run may be late."""
        name = DEVICE.encode()
        for request, told in ((_SIOCSIFADDR, address), (_SIOCSIFDSTADDR, self.peer)):
            fcntl.ioctl(self.control, request, _IFREQ.pack(name, socket.AF_INET, socket.inet_aton(told)))

    def inside(self, make: Callable[[], T]) -> T:
        """Call `make` in the host's namespace."""
        return _inside(self.namespace, make)

    def counters(self) -> dict[str, int]:
        """The kernel's own counts inside, as /proc/net/snmp and netstat name them: "Udp RcvbufErrors"."""

        def read() -> str:
            folder = Path("/proc/thread-self/net")
            return (folder / "snmp").read_text() + (folder / "netstat").read_text()

        lines = [line.split() for line in self.inside(read).splitlines()]
        pairs = zip(lines[::2], lines[1::2], strict=True)
        return {
            f"{names[0].rstrip(':')} {name}": int(value)
            for names, values in pairs
            for name, value in zip(names[1:], values[1:], strict=True)
        }

    def dropped(self) -> int:
        """Packets the kernel dropped on the way to us, which no link decided."""
        table = self.inside(lambda: Path("/proc/thread-self/net/dev").read_text())
        (line,) = (line for line in table.splitlines() if line.strip().startswith(f"{DEVICE}:"))
        return int(line.split()[_TX_DROP])


@contextmanager
def two_hosts(mtu: int = MTU) -> Iterator[tuple[Host, Host]]:
    """Both hosts for the length of a `with`: they are gone after it, whatever happens, and what ran inside as well."""
    require_root()
    remove_leftovers()
    one, other = ADDRESSES
    with _host("a", one, other, mtu) as first, _host("b", other, one, mtu) as second:
        yield first, second


def require_root() -> None:
    """Raise DriverError, with the remedy, where namespaces cannot be made."""
    if os.geteuid() != 0:
        raise DriverError("network namespaces need root: run the same command with sudo, or use driver udp or sim")
    if shutil.which("ip") is None:
        raise DriverError("the command `ip` is missing: install iproute2, or use driver udp or sim")
    if not Path(_TUN_PATH).exists():
        raise DriverError(f"{_TUN_PATH} is missing: load the kernel's module `tun`, or use driver udp or sim")


def remove_leftovers() -> list[str]:
    """Remove the namespaces of runs that no longer live, and what still runs inside; their names."""
    removed = []
    for line in _run(["ip", "netns", "list"]).splitlines():
        found = _NAMESPACE.fullmatch(line.split()[0]) if line.strip() else None
        if found is not None and not Path(f"/proc/{found[1]}").exists():
            remove_namespace(found[0])
            removed.append(found[0])
    return removed


@contextmanager
def _signals_held() -> Iterator[None]:
    """Put off what would end us, until there is nothing left to remove."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _inside(name: str, make: Callable[[], T]) -> T:
    """Call `make` in a namespace, in a thread that nothing else ever runs in."""
    made: list[T] = []
    failed: list[OSError] = []

    def enter() -> None:
        try:
            with (_FOLDER / name).open("rb") as file:
                if _LIBC.setns(file.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made.append(make())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=enter, name=name)
    thread.start()
    thread.join()
    if failed:
        raise DriverError(f"in {name}: {failed[0]}") from failed[0]
    assert made, "what went wrong in the thread was no OSError, and was told by it"
    return made[0]


def remove_namespace(namespace: str) -> None:
    """End what runs inside, and forget the namespace."""
    try:
        for pid in _run(["ip", "netns", "pids", namespace]).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _run(["ip", "netns", "delete", namespace])
    except DriverError:
        if (_FOLDER / namespace).exists():  # or another run found the same leftovers and was first
            raise


@contextmanager
def _host(name: str, address: str, peer: str, mtu: int) -> Iterator[Host]:
    namespace = f"{PREFIX}-{os.getpid()}-{name}"
    try:
        _run(["ip", "netns", "add", namespace])
        device = os.open(_TUN_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            with _inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as control:
                host = Host(namespace, address, peer, device, control)
                _configure(host, f"{PREFIX}{os.getpid()}{name}", mtu)
                yield host
        finally:
            os.close(device)
    finally:
        with _signals_held():  # here and in the commands that remove it, whoever else they are sent to
            remove_namespace(namespace)


def _configure(host: Host, name: str, mtu: int) -> None:
    """Move the device inside. Without TUNSETOFFLOAD it has no segmentation and no checksum left to others."""
    fcntl.ioctl(host.device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    _run(["ip", "link", "set", name, "netns", host.namespace, "name", DEVICE])
    inside = ["ip", "-netns", host.namespace]
    _run([*inside, "link", "set", "lo", "up"])
    host.set_kernel({"net.ipv6.conf.all.disable_ipv6": "1"})  # or its router solicitations use up the links' indexes
    host.set_kernel({"net.ipv4.ip_forward": "0"})  # or what comes for an address it had before goes back
    _run([*inside, "address", "add", host.address, "peer", host.peer, "dev", DEVICE])
    _run([*inside, "link", "set", DEVICE, "mtu", str(mtu), "txqueuelen", str(TX_QUEUE_PACKETS), "up"])
    _run([*inside, "route", "add", NETWORK, "dev", DEVICE])  # for the day the other one changes its address


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DriverError(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.returncode}")
    return done.stdout
