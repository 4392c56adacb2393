"""What a user or the machine can cause, told on one line; everything else keeps its traceback."""

import errno
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

PACKAGE = Path(__file__).parents[1]
# What a full disk, missing rights and the machine's other limits make the system say.
SYSTEM_LIMITS = {
    getattr(errno, name)
    for name in (
        "EACCES EAGAIN EDQUOT EFBIG EIO EISDIR ELOOP EMFILE ENAMETOOLONG "
        "ENFILE ENOMEM ENOSPC ENOTDIR EPERM EROFS ESTALE"
    ).split()
    if hasattr(errno, name)
}
# Characters of a message; what was found may be a file on one line.
LONGEST = 2000
# How PyTorch says that memory ran out, as a RuntimeError.
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc")


def printable(text: str) -> str:
    """A text on one line, with what a terminal does not show, or obeys, escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class UserError(ValueError):
    """Bad input: the message names the file, field or key, what was found and what was expected.

    The command line prints it as one paragraph and exits with code 2; line breaks and other
    characters that a terminal does not show are escaped, whatever a user's text holds.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class UnreadKey(UserError):
    """A key that the model does not read, which another one may.

    Args:
        message: As of every ``UserError``.
        key: Its name.
    """

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


class DamagedFile(UserError):
    """A file that this package wrote does not hold what was written."""


class RunsFailed(Exception):
    """Some runs of a comparison failed, which has told of them; the exit code is 1."""


def exit_code(command: Callable[[], object]) -> int:
    """Run what a command line asks for.

    Returns:
        0 on success, 1 if runs failed, 2 on bad input or where the machine refuses (one paragraph
        on stderr), 130 on Ctrl-C.
    """
    try:
        command()
    except RunsFailed:
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if _follows_interrupt(error):
            return 130
        message = str(error) if isinstance(error, UserError) else system_limit(error)
        if message is None:
            raise
        line = "; ".join([message, *getattr(error, "__notes__", ())])
        cut = line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
        sys.stderr.write(f"error: {cut}\n")
        return 2
    return 0


def _follows_interrupt(error: BaseException) -> bool:
    """Whether code failed on its way out after Ctrl-C, as some libraries do."""
    before = error.__context__
    return before is not None and (
        isinstance(before, KeyboardInterrupt) or _follows_interrupt(before)
    )


def system_limit(error: BaseException) -> str | None:
    """What the machine refused, on one line with the path if it is known; None for another error.

    Args:
        error: Such as of a full disk, a folder that may not be written to, or no memory.
    """
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"out of memory: {text}" if text else "out of memory"
    if isinstance(error, RuntimeError) and any(word in text.lower() for word in NO_MEMORY):
        return f"out of memory: {text}"
    if isinstance(error, RuntimeError) and text.startswith("Symlink loop"):
        return f"{text}: expected a path that leads somewhere"
    if isinstance(error, OSError) and error.errno in SYSTEM_LIMITS:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return None


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Name the file in what the system says of it: of a full disk it names none.

    Raises:
        OSError: The same, with the path.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Put what the user can do behind whatever the machine refuses.

    Args:
        advice: Such as "to go on: --resume=RUN".
    """
    try:
        yield
    except Exception as error:
        if system_limit(error) is not None:
            error.add_note(advice)
        raise


def expect(is_met: Any, key: str, found: Any, expected: str) -> None:
    """Refuse a key's value unless a condition is met.

    Raises:
        UserError: It is not.
    """
    if not is_met:
        raise UserError(f"key `{key}`: found {found!r}, expected {expected}")


@contextmanager
def refusals_of(part: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn what is said of bad input into a complaint that names the part.

    For a few statements that read the input themselves; ``host_refusals`` is for whole stages.

    Args:
        part: What is read, such as "property file a.yaml".
        *kinds: Exceptions that bad input raises there.

    Raises:
        UserError: In place of an exception of these kinds, its text on one line.
    """
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        raise _refusal(part, error) from error


@contextmanager
def host_refusals(part: str, *kinds: type[Exception]) -> Iterator[None]:
    """As ``refusals_of`` for a stage that runs RecBole's code or a user's: our own errors pass.

    Args:
        part: What complains, such as "model EASE".
        *kinds: Its exceptions that a user can cause.

    Raises:
        UserError: In place of an exception of these kinds that other code than ours raised.
    """
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        if not _is_of_data(error) and _is_ours(error.__traceback__):
            raise
        raise _refusal(part, error) from error


def _is_of_data(error: Exception) -> bool:
    """Whether an error is one of files and their texts, whoever reads them."""
    is_parsing = type(error).__module__.startswith("pandas.errors")
    return is_parsing or isinstance(error, (OSError, UnicodeError))


def _is_ours(trace: TracebackType | None) -> bool:
    """Whether this package called what failed, rather than RecBole or a module of the user's."""
    frames = [Path(frame.filename) for frame in traceback.extract_tb(trace)]
    callers = [path for path in frames if not _is_library(path)]
    return bool(callers) and callers[-1].is_relative_to(PACKAGE)


def _is_library(path: Path) -> bool:
    """Whether code lies in a package that is neither ours nor RecBole, or in no file at all."""
    if path.is_relative_to(PACKAGE):
        return False
    is_installed = "site-packages" in path.parts and "recbole" not in path.parts
    return (
        is_installed or not path.is_file() or path.is_relative_to(Path(traceback.__file__).parent)
    )


def _refusal(part: str, error: Exception) -> UserError:
    return UserError(f"{part}: {' '.join(str(error).split()) or _asserted(error)}")


def _asserted(error: Exception) -> str:
    """The line that raised an error without a text, as a bare assert does."""
    return traceback.extract_tb(error.__traceback__)[-1].line or type(error).__name__
