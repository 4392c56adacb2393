"""The log of a run or a study: the console, and a file."""

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from recbole_diffusion.base.files import is_file_or_absent
from recbole_diffusion.base.ranks import current_ranks

HANDLER_NAME = "recbole_diffusion"
# Records that the log and `verbose: true` show, and those that the console shows in their place.
KIND, DETAIL, SUMMARY = "recbole_diffusion_kind", "detail", "summary"
AS_DETAIL, AS_SUMMARY = {KIND: DETAIL}, {KIND: SUMMARY}
# Where messages go; the last counts.
_streams = ["stdout"]
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class _Console(logging.Handler):
    """Writes around a progress bar instead of through it; details only where they are asked for.

    Args:
        is_verbose: Whether details are shown, in place of what sums them up.
    """

    def __init__(self, is_verbose: bool) -> None:
        super().__init__()
        hidden = SUMMARY if is_verbose else DETAIL
        self.addFilter(lambda record: getattr(record, KIND, None) != hidden)

    def emit(self, record: logging.LogRecord) -> None:
        _write(self.format(record), _streams[-1])


def _write(text: str, stream: str) -> None:
    file = getattr(sys, stream)
    if file is None:  # closed by the shell
        return
    try:
        tqdm.write(text, file=file)
    except BrokenPipeError:  # who read it has gone, as `head` does; the work goes on
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


@contextmanager
def answering() -> Iterator[Callable[[str], None]]:
    """A command whose answer alone goes to stdout, and its messages to stderr.

    Yields:
        What writes the answer.
    """
    _streams.append("stderr")
    try:
        with run_logger(None, "info"):
            yield lambda text: _write(text, "stdout")
    finally:
        _streams.pop()


class _PlainFormatter(logging.Formatter):
    """Without the colours that RecBole puts into its messages."""

    def format(self, record: logging.LogRecord) -> str:
        return _COLOUR.sub("", super().format(record))


class _Kept(logging.Handler):
    """Keeps messages."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def kept_messages(level: str) -> Iterator[list[logging.LogRecord]]:
    """Messages of a stage before the run's folder is made: told now, and kept for its log.

    Args:
        level: Of the messages that are told.
    """
    kept = _Kept()
    with run_logger(None, level) as logger:
        logger.addHandler(kept)
        try:
            yield kept.records
        finally:
            logger.removeHandler(kept)


@contextmanager
def run_logger(
    folder: Path | None,
    level: str,
    earlier: Sequence[logging.LogRecord] = (),
    is_verbose: bool = False,
) -> Iterator[logging.Logger]:
    """The root logger, which RecBole uses, writing to the console and to ``folder/run.log``.

    Handlers are removed at the end, so that a second run in the process has a log of its own.
    Of several that are open, in whichever threads, the last to be opened alone writes: a run that a
    comparison loads is no part of its log.
    Of several ranks those behind the first tell warnings and errors alone, on the console.

    Args:
        folder: The run's; None writes no file.
        level: Of the messages that are told.
        earlier: Messages that only the file still lacks.
        is_verbose: Whether the console shows all that the file gets.
    """
    ranks = current_ranks()
    console = _Console(is_verbose)
    who = "" if ranks.is_first else f"rank {ranks.rank}: "
    console.setFormatter(_PlainFormatter(f"{who}%(message)s"))
    file = None if folder is None or not ranks.is_first else _log_file(folder)
    handlers: list[logging.Handler] = [console] if file is None else [file, console]
    for handler in handlers:
        # RecBole finds the run's folder through the one of its file.
        handler.set_name(HANDLER_NAME)
    least = getattr(logging, level.upper())
    log = _Log(handlers, least if ranks.is_first else max(least, logging.WARNING))
    logger = logging.getLogger()
    with _opened(log):
        for record in earlier if file is not None else ():
            handlers[0].handle(record)
        yield logger


class _Log(NamedTuple):
    """What one log sets of the root logger."""

    handlers: list[logging.Handler]
    level: int


# Those that are open, after what the root logger had without them.
_logs: list[_Log] = []
_logs_lock = threading.RLock()


@contextmanager
def _opened(log: _Log) -> Iterator[None]:
    """Let a log write until it is closed, or another one is opened."""
    root = logging.getLogger()
    with _logs_lock:
        if not _logs:
            _logs.append(_Log([], root.level))
        _replace(_logs[-1], log)
        _logs.append(log)
    try:
        yield
    finally:
        with _logs_lock:
            if log is _logs[-1]:
                _replace(log, _logs[-2])
            _logs.remove(log)
            if len(_logs) == 1:
                _logs.clear()
        for handler in log.handlers:
            handler.close()


def _replace(earlier: _Log, later: _Log) -> None:
    root = logging.getLogger()
    for handler in earlier.handlers:
        root.removeHandler(handler)
    for handler in later.handlers:
        root.addHandler(handler)
    root.setLevel(later.level)


class _LogFile(logging.FileHandler):
    """A log that a full disk ends, with one line on stderr, and not the run."""

    is_told = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.is_told:
            self.is_told = True
            sys.stderr.write(f"{self.baseFilename}: no more lines: {error.strerror}\n")

    def close(self) -> None:
        with suppress(OSError):  # what it could not write it has told of
            super().close()


def _log_file(folder: Path) -> logging.Handler:
    is_file_or_absent(folder / "run.log")
    handler = _LogFile(folder / "run.log", encoding="utf-8")
    handler.addFilter(lambda record: getattr(record, KIND, None) != SUMMARY)
    handler.setFormatter(_PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
    return handler
