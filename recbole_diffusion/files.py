"""Files that are whole or absent, however the process ends."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from recbole_diffusion.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, where two processes of one run go unnoticed
    fcntl = None  # type: ignore[assignment]
CAN_LOCK = fcntl is not None


@contextmanager
def written_whole(path: str | Path) -> Iterator[BinaryIO]:
    """A stream whose content appears under ``path`` at the end; until then the old file stands.

    Args:
        path: Target file; its folder exists.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A folder whose files appear under ``path`` at the end, in place of the folder that is there.

    Args:
        path: Target folder; its parent exists.
    """
    new, old = (path.with_name(f".{path.name}-{part}-{os.getpid()}") for part in ("new", "old"))
    try:
        new.mkdir()
        yield new
        if path.exists():
            path.rename(old)
        new.rename(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold a file against other processes that ask for it so; the system lets go of a dead one's.

    Args:
        path: Made if missing.

    Raises:
        UserError: Another process holds it.
    """
    with path.open("ab") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(f"{path.parent}: another process is running there") from error
        yield


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait for a file that other processes hold so; the system lets go of a dead one's.

    Args:
        path: Made if missing.
    """
    with path.open("ab") as stream:
        if fcntl is not None:
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds a file by ``sole_writer``; one that is missing is held by none."""
    try:
        with nullcontext() if not path.is_file() else sole_writer(path):
            return False
    except UserError:
        return True


def wait_until_free(path: Path, seconds: float) -> None:
    """Wait, at most so long, until no other process holds a file by ``sole_writer``."""
    end = time.monotonic() + seconds
    while is_held(path) and time.monotonic() < end:
        time.sleep(0.1)


def remove_unfinished(folder: Path) -> None:
    """Remove what writes that were killed left in a run's folder; no other process writes there."""
    for temporary in folder.rglob(".*.tmp"):
        temporary.unlink()
