"""Files that are whole or absent, known again as ours, checked when read, and locked."""

import glob
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from errno import ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP
from pathlib import Path
from typing import Any, BinaryIO

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from recbole_diffusion.base.errors import DamagedFile, UserError, naming, system_limit

# Names that nobody else gives; what a killed process leaves is known by them.
UNFINISHED = re.compile(r"\.recbole-diffusion-.+-(\d+)\.tmp", re.DOTALL)
SCRATCH_MARK = ".recbole-diffusion-scratch"
LOCK = ".recbole-diffusion.lock"
DIGEST = "digest"
DIGEST_CHARACTERS = 16
# What file systems without locks say.
NO_LOCKS = (ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP)
LOCK_POLL_SECONDS = 0.02
_SYSTEMS_TOLD_OF: set[int] = set()


def unfinished_path(path: Path) -> Path:
    """Where this process writes a file before it is whole."""
    return path.with_name(f".recbole-diffusion-{path.name}-{os.getpid()}.tmp")


@contextmanager
def written_whole(path: str | Path) -> Iterator[BinaryIO]:
    """A stream whose content appears under ``path`` at the end; until then the old file stands.

    Args:
        path: Target file; its folder exists.

    Raises:
        OSError: The file cannot be written; the error names it.
    """
    path = Path(path)
    temporary = unfinished_path(path)
    remove_unfinished(path.parent, path.name)
    try:
        with naming(path):
            with temporary.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename2 is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def remove_unfinished(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left half written in a folder; nothing below it, nobody else's.

    Args:
        folder: Of our files; may be missing.
        name: Of the file that was to be written; any by default.
    """
    for path in _unfinished(folder, name):
        path.unlink(missing_ok=True)


def archive_fault(path: Path) -> str | None:
    """What is wrong with a zip archive, such as a checkpoint or ``.npz``; None if nothing is.

    Each part is held against the sum that was written with it.

    Raises:
        OSError: The machine refuses to read it.
    """
    try:
        with naming(path), zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # whatever zipfile makes of damaged bytes
        if system_limit(error) is not None:
            raise
        return f"cannot be read: found {error}"
    return None if damaged is None else f"found a changed or damaged {damaged}"


def has_unfinished(folder: Path) -> bool:
    """Whether a killed process left something half written in a folder."""
    return any(_unfinished(folder, "*"))


def _unfinished(folder: Path, name: str) -> Iterator[Path]:
    wanted = name if name == "*" else glob.escape(name)
    for path in folder.glob(f".recbole-diffusion-{wanted}-*.tmp"):
        match = UNFINISHED.fullmatch(path.name)
        if match and path.is_file() and not path.is_symlink() and not _is_alive(int(match[1])):
            yield path


def _is_zombie(process: int) -> bool:
    """Whether a process has ended, and its parent has not asked how; known on Linux alone."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] == ["Z"]


def _is_alive(process: int) -> bool:
    if process == os.getpid() or sys.platform == "win32":  # where asking would end it
        return True
    if _is_zombie(process):
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def scratch_folder(path: Path) -> Iterator[None]:
    """A folder that is there meanwhile, and is removed afterwards with all that is in it.

    Args:
        path: Made with its parents.

    Raises:
        UserError: It holds something already.
    """
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise UserError(f"{path}: found files there, expected none: they would be removed")
    (path / SCRATCH_MARK).touch()
    try:
        yield
    finally:
        _remove_scratch(path)


def remove_scratch(folders: Iterable[Path]) -> None:
    """Remove scratch folders that killed processes left, and no folder that is none.

    Args:
        folders: Whatever lies where they lie.
    """
    for folder in folders:
        if (folder / SCRATCH_MARK).is_file() and not folder.is_symlink():
            _remove_scratch(folder)


def _remove_scratch(folder: Path) -> None:
    """The mark goes last: a folder whose removal is killed is still known for one."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != SCRATCH_MARK:
                path.unlink()
        shutil.rmtree(folder, ignore_errors=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with its digest, whole or not at all.

    Args:
        path: Target file; its folder exists.
        content: Values that are none of JSON's are written as texts.
    """
    text = json.dumps(sealed(content), indent=2)
    with written_whole(path) as stream:
        stream.write(f"{text}\n".encode())


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """Read a JSON object that ``write_json`` wrote; one without a digest is taken as it is.

    Args:
        path: The file.
        *keys: That it must have.

    Returns:
        The content, without the digest.

    Raises:
        DamagedFile: No such file, no JSON object, another content than was written, or no such key.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedFile(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise DamagedFile(f"{path}: found a folder, expected a file") from error
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path}: found no JSON ({error}), expected what was written") from error
    content = unsealed(found)
    if content is None:
        raise DamagedFile(f"{path}: found a changed or damaged file, expected what was written")
    missing = [key for key in keys if key not in content]
    if missing:
        raise DamagedFile(f"{path}: found no `{missing[0]}`, which this version writes")
    return content


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its digest as the last key."""
    plain = json.loads(json.dumps(content, default=str))
    return {**plain, DIGEST: _digest(plain)}


def unsealed(found: Any) -> dict[str, Any] | None:
    """What ``sealed`` was given; None where it is another object, or none."""
    if not isinstance(found, dict):
        return None
    content = {key: value for key, value in found.items() if key != DIGEST}
    is_same = DIGEST not in found or found[DIGEST] == _digest(content)
    return content if is_same else None


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARACTERS]


def append_line(path: Path, line: str) -> None:
    """Add a line to a file; a line that an earlier write left cut is dropped first.

    Args:
        path: Made if missing.
        line: Without its end.

    Raises:
        OSError: The line cannot be written, and the file is as it was.
    """
    drop_cut_line(path)
    with naming(path), path.open("ab", buffering=0) as stream:
        size = stream.tell()
        content = f"{line}\n".encode()
        try:
            written = stream.write(content)
            if written != len(content):  # a full disk takes a part; the rest tells why
                stream.write(content[written:])
        except OSError:
            stream.truncate(size)
            raise


def drop_cut_line(path: Path) -> int:
    """Drop what stands behind the last line's end, as a kill or a full disk leaves it.

    Args:
        path: A file of lines that no other process is writing to; may be missing.

    Returns:
        Number of bytes dropped.
    """
    if not path.is_file():
        return 0
    with path.open("rb+") as stream:
        size = kept = stream.seek(0, os.SEEK_END)
        while kept:
            start = max(kept - 2**16, 0)
            stream.seek(start)
            end = stream.read(kept - start).rfind(b"\n")
            kept = start + end + 1
            if end >= 0:
                break
        if kept < size:
            stream.truncate(kept)
    return size - kept


@contextmanager
def sole_writer(path: Path, seconds: float = 0.0) -> Iterator[None]:
    """Hold a lock that other processes ask for so; a dead one's is free.

    Args:
        path: The lock's file, made if missing, and removed afterwards.
        seconds: How long to wait for another process.

    Raises:
        UserError: Another process holds it.
    """
    try:
        lock = _acquired(path, seconds)
    except Timeout as error:
        raise UserError(f"{path.parent}: another process is running there") from error
    with _released_at_the_end(lock, path):
        yield


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait for a lock that other processes hold so; a dead one's is free.

    Args:
        path: The lock's file, made if missing, and removed afterwards.
    """
    with _released_at_the_end(_acquired(path, -1), path):
        yield


@contextmanager
def _released_at_the_end(lock: BaseFileLock, path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(OSError):  # held still: who has it open sees that it is gone
            path.unlink()
        lock.release()


def _acquired(path: Path, seconds: float) -> BaseFileLock:
    lock: BaseFileLock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(seconds, LOCK_POLL_SECONDS)
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", ENOSYS) not in NO_LOCKS:
            raise
        _tell_no_locks(path.parent)
        lock = SoftFileLock(path.with_name(f"{path.name}.soft"))
        lock.acquire(seconds, LOCK_POLL_SECONDS)
    return lock


def _tell_no_locks(folder: Path) -> None:
    """Once for each file system."""
    device = folder.stat().st_dev
    if device not in _SYSTEMS_TOLD_OF:
        _SYSTEMS_TOLD_OF.add(device)
        logging.getLogger().warning(
            f"{folder}: its file system has no locks; a file {LOCK}.soft marks that a process is "
            "at work there, and stays if the machine goes down: remove it then"
        )


def is_file_or_absent(path: Path) -> bool:
    """Whether an optional file is there.

    Raises:
        UserError: A folder or a link to nothing stands in its place.
    """
    if not path.is_file() and (path.exists() or path.is_symlink()):
        raise UserError(f"{path}: found a folder or a link to nothing, expected a file")
    return path.is_file()


def make_folder(path: Path) -> None:
    """Make a folder of the user's choice, and those above it.

    Raises:
        UserError: A file stands there, or the system has no folder there, as below /proc.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"{path}: found a file, expected a folder or nothing") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: found no place for a folder, expected another path") from error
