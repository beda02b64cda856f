"""Files that appear whole or not at all, whenever the process or the machine stops."""

import os
from pathlib import Path

from rudp_smtp.errors import ConfigError, DriverError


def prepare_folder(folder: Path) -> None:
    """Make the results folder and its `runs`, and prove that files can be written, before any run starts."""
    probe = folder / "runs" / f".probe.{os.getpid()}.tmp"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"cannot write to the output folder {folder}: {reason}; expected a folder that can be written"
        raise ConfigError(message, key="output") from error


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
