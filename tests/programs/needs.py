"""Which of others' programs are here; everybody else is told why a test was skipped."""

import os
import shutil

import pytest

SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))  # daemons are not in a user's


def needs(*programs: str, is_root_needed: bool = False) -> pytest.MarkDecorator:
    missing = [name for name in programs if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        return pytest.mark.skip(reason=f"SKIPPED: no {' and no '.join(missing)}: apt-get install them")
    is_refused = is_root_needed and os.getuid() != 0
    return pytest.mark.skipif(is_refused, reason=f"SKIPPED: {' and '.join(programs)} must be started by root")
