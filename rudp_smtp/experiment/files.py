"""Files that appear whole or not at all, whenever the process or the machine stops."""

import os
from pathlib import Path

from rudp_smtp.errors import ConfigError, DriverError


def prepare_folder(folder: Path, *, key: str = "output", inner: str = "runs") -> None:
    """Make a folder and `inner` in it, and prove that files can be written, before any run starts.

    As it is for the results; `key` is the option that named it, and "" as `inner` is the folder itself.
    """
    probe = folder / inner / f".probe.{os.getpid()}.tmp"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        kind = key.removeprefix("--")
        message = f"cannot write to the {kind} folder {folder}: {reason}; expected a folder that can be written"
        raise ConfigError(message, key=key) from error


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by `content` so that a reader, or the next start after a crash, sees the old or the new whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except FileNotFoundError:
        if not path.exists():  # another process stored the same run meanwhile and tidied our temporary away
            raise DriverError(f"cannot write {path}: the folder is gone") from None
    except OSError as error:
        raise DriverError(f"cannot write {path}: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
