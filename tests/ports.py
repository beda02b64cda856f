"""Ports to listen on, of which no two tests get the same."""

import os
import random
import socket
from itertools import count

# Below the range that the kernel gives to outgoing connections, and a part of its own for each of xdist's workers.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_NEXT = count(10_000 + 2_000 * (_WORKER % 10) + random.randrange(1_000))


def free_port(host: str = "127.0.0.1") -> int:
    """A UDP and TCP port that nobody has, and that this process has not given before."""
    for port in _NEXT:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind((host, port))
                udp.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError("the numbers never end")
