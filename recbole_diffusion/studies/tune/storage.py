"""Where a study is kept: a file that processes of one folder share, or a database by its URL."""

import logging
import os
import re
import secrets
import socket
import time
import warnings
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from recbole_diffusion.base.errors import DamagedFile, UserError, naming
from recbole_diffusion.base.files import (
    drop_cut_line,
    is_file_or_absent,
    make_folder,
    one_at_a_time,
    sealed,
    sole_writer,
    unsealed,
)

# Seconds between two signs of life in a database, and after which their absence means death.
HEARTBEAT = 15
GRACE = 60
# Seconds after which a trial that no worker has signed was left by one that was killed.
UNSIGNED_GRACE = 30.0
# How long another worker may hold the file of one whom it takes for dead.
BURIAL_SECONDS = 2.0
WORKER_NAME = re.compile(r"[\w.-]+-\d+-[0-9a-f]{6}")


def open_storage(folder: Path, url: str | None) -> BaseStorage:
    """The database of a URL, else the journal in the folder.

    Args:
        folder: Of the study; made for a journal.
        url: As SQLAlchemy takes it, such as ``postgresql+psycopg://user@host/name``.

    Raises:
        UserError: No URL, no driver, no connection, or no study's tables.
    """
    check_url("storage", url)
    if url is None:
        make_folder(folder)
        path = folder / "study.journal"
        is_file_or_absent(path)
        return JournalStorage(_Journal(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return _database(url)
    except ImportError as error:
        raise UserError(
            f"key `storage`: {shown_url(url)}: {error}; install the database's driver, such as "
            "pip install 'psycopg[binary]' for postgresql+psycopg://"
        ) from error
    except (SQLAlchemyError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"key `storage`: {shown_url(url)}: {reason}") from error


class _Journal(JournalFileBackend):
    """Optuna's, whose lines hold a digest each, and which names its file in complaints."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with naming(path):
            super().__init__(str(path), _JournalLock(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines."""
        with naming(self._path):
            super().append_logs([sealed(log) for log in logs])

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Lines from a number on; those without a digest are taken as they are.

        Raises:
            DamagedFile: A line holds something else than was written.
        """
        logs = super().read_logs(log_number_from)
        for number, log in enumerate(logs, start=log_number_from + 1):
            content = unsealed(log)
            if content is None:
                raise DamagedFile(
                    f"{self._path}, line {number}: found a changed or damaged line, expected what "
                    "was written"
                )
            yield content


class _JournalLock(JournalFileOpenLock):
    """Held while lines are added, behind whole ones; free where a process dies.

    Optuna's own would be held for half a minute, and a line that a full disk had cut would make
    the next one unreadable, and with it the study.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal
        self._held = ExitStack()

    def acquire(self) -> bool:
        """Wait for it."""
        self._held.enter_context(one_at_a_time(self._journal.with_suffix(".lock")))
        n_bytes = drop_cut_line(self._journal)
        if n_bytes:
            logging.getLogger().warning(
                f"{self._journal}: dropped a last line that was cut ({n_bytes} bytes)"
            )
        return True

    def release(self) -> None:
        """Let go of it."""
        self._held.close()


def _database(url: str) -> RDBStorage:
    settings: dict[str, Any] = {"heartbeat_interval": HEARTBEAT, "grace_period": GRACE}
    try:
        return RDBStorage(url, **settings)
    except SQLAlchemyError:  # two processes may make its tables at once
        time.sleep(1)
        return RDBStorage(url, **settings)


def check_url(key: str, url: str | None) -> None:
    """Refuse a storage that no other process can share, and that is gone with this one.

    Args:
        key: That names it.
        url: None for a journal.

    Raises:
        UserError: It is one, or no URL.
    """
    if url is None:
        return
    try:
        parts = make_url(url)
    except ArgumentError as error:
        raise UserError(f"key `{key}`: {shown_url(url)}, expected a URL of SQLAlchemy's") from error
    if parts.get_backend_name() == "sqlite" and parts.database in (None, "", ":memory:"):
        raise UserError(
            f"key `{key}`: found {shown_url(url)}, a database in memory, expected one on disk, "
            "such as sqlite:///studies.db"
        )


def shown_url(url: str) -> str:
    """A URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return f"found {url.partition(':')[0]!r}"


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's own lines on each trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


class Worker:
    """One process of a study, whose death the others can tell by a lock that it held.

    Args:
        folder: Of the study; for a study in a file, shared by all its workers.
        has_heartbeat: Whether the storage tells the dead by Optuna's heartbeat, as databases do.
    """

    def __init__(self, folder: Path, has_heartbeat: bool) -> None:
        self._folder = folder / "workers"
        self._has_heartbeat = has_heartbeat
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._unsigned: dict[int, float] = {}

    @contextmanager
    def alive(self) -> Iterator[None]:
        """While it works."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / self.name
        with sole_writer(path, BURIAL_SECONDS):
            yield

    def fail_dead(self, study: optuna.Study) -> None:
        """Fail the trials of workers that are dead; their slots are free again."""
        for path in self._folder.glob(f"{socket.gethostname()}-*"):  # killed between trials
            if WORKER_NAME.fullmatch(path.name) and path.name != self.name:
                self._buries(path)
        if self._has_heartbeat:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                optuna.storages.fail_stale_trials(study)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self._is_dead(trial):
                with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another was first
                    study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _is_dead(self, trial: FrozenTrial) -> bool:
        name = trial.user_attrs.get("worker")
        if name is None:
            since = self._unsigned.setdefault(trial.number, time.monotonic())
            return time.monotonic() - since > UNSIGNED_GRACE
        if self._has_heartbeat:
            return False
        return not WORKER_NAME.fullmatch(str(name)) or self._buries(self._folder / name)

    def _buries(self, path: Path) -> bool:
        """Whether a worker's lock is free; its file goes."""
        try:
            with sole_writer(path):
                pass
        except UserError:
            return False
        return True
