"""Who may make network namespaces here; everybody else is told why a test was skipped."""

import subprocess

import pytest

from rudp_smtp.drivers.hosts import remove_leftovers, require_root
from rudp_smtp.errors import DriverError


def reason_to_skip() -> str:
    try:
        require_root()
        remove_leftovers()
    except DriverError as error:
        return str(error)
    return ""


SKIP = reason_to_skip()
live = pytest.mark.skipif(bool(SKIP), reason=f"SKIPPED: no live network: {SKIP}")


def namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
