"""Studies of several processes, and of processes that are killed."""

import getpass
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import optuna
import pytest
from tune_tools import FakeRun, results_of, search, trials_of, work

from recbole_diffusion.base.files import sole_writer
from recbole_diffusion.studies.tune import storage, trial
from recbole_diffusion.studies.tune.storage import Worker, shown_url

SECONDS = 60  # more than any of these needs


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ForkProcess]]:
    """Starts workers of a study; those that are left are killed."""
    workers: list[ForkProcess] = []

    def start_worker(
        folder: Path, n_trials: int, url: str | None = None, seconds: float = 0.0
    ) -> ForkProcess:
        # A fork has imported what takes a fresh process longer than its search.
        worker = ForkProcess(target=work, args=(folder, n_trials, url, tmp_path / "log", seconds))
        worker.start()
        workers.append(worker)
        return worker

    yield start_worker
    for worker in workers:
        kill(worker)


def kill(worker: ForkProcess) -> None:
    worker.kill()
    worker.join()


def exit_code(worker: ForkProcess) -> int | None:
    worker.join(SECONDS)
    return worker.exitcode


def noted(tmp_path: Path, word: str) -> list[float]:
    """The runs that workers began, or ended."""
    path = tmp_path / "log"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [value for what, value in map(json.loads, lines) if what == word]


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """URL of a server of our own, by a socket; skipped where Debian's package cannot start."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(programs[-1]) if programs else shutil.which("initdb")
    if found is None:
        pytest.skip("no initdb: install Debian's package postgresql")
    pytest.importorskip("psycopg")
    user = getpass.getuser()
    if os.geteuid() == 0:  # it does not run as root
        names = {entry.pw_name for entry in pwd.getpwall()} & {"postgres", "nobody"}
        if not names:
            pytest.skip("PostgreSQL does not run as root, and no other user is here")
        user = max(names)
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    shutil.chown(folder, user)
    try:
        yield from _served(Path(found).resolve().parent, folder, user)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database(postgresql: str) -> str:
    """URL of an empty database."""
    import psycopg

    name = f"study_{secrets.token_hex(4)}"
    with psycopg.connect(postgresql.replace("+psycopg", ""), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    return postgresql.replace("/postgres?", f"/{name}?")


def _served(programs: Path, folder: Path, user: str) -> Iterator[str]:
    as_user: dict[str, Any] = {"user": user} if os.geteuid() == 0 else {}
    quiet: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, **as_user}
    made = subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", "tune", "-N"],
        stderr=subprocess.PIPE,
        **quiet,
    )
    if made.returncode:
        pytest.skip(f"initdb: {made.stderr.decode().strip()}")
    settings = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", *settings], stderr=log, **quiet
        )
    ready = [programs / "pg_isready", "-q", "-h", folder]
    try:
        for _ in range(100):
            if subprocess.run(ready).returncode == 0:
                break
            if server.poll() is not None:
                pytest.skip(f"postgres: {(folder / 'log').read_text()}")
            time.sleep(0.1)
        yield f"postgresql+psycopg://tune@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


# Two processes


def assert_shared(tmp_path: Path, folders: list[Path], n_trials: int) -> None:
    """Every slot once, every run that began is one of them, and both workers say the same."""
    trials = trials_of(folders[0])
    assert [t["trial"] for t in trials] == list(range(n_trials))
    assert {t["outcome"] for t in trials} == {"complete"}
    weights = sorted(t["settings"]["reg_weight"] for t in trials)
    assert len(set(weights)) == n_trials
    assert sorted(noted(tmp_path, "begin")) == sorted(noted(tmp_path, "end")) == weights
    assert results_of(folders[0]) == results_of(folders[-1])


@pytest.mark.slow
def test_two_processes_share_a_file(tmp_path: Path, start: Callable[..., ForkProcess]) -> None:
    folder = tmp_path / "study"
    workers = [start(folder, 14, seconds=0.15) for _ in range(2)]
    assert [exit_code(worker) for worker in workers] == [0, 0]
    assert_shared(tmp_path, [folder], 14)
    assert len(list((folder / "workers").iterdir())) == 0


@pytest.mark.slow
def test_two_processes_share_a_database(
    tmp_path: Path, start: Callable[..., ForkProcess], database: str
) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    workers = [start(folder, 14, database, 0.15) for folder in folders]
    assert [exit_code(worker) for worker in workers] == [0, 0]
    assert_shared(tmp_path, folders, 14)
    found = optuna.load_study(study_name=None, storage=database)
    assert len({t.user_attrs["worker"] for t in found.trials if "slot" in t.user_attrs}) == 2


# Kills


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [1, 4])
def test_killed_search_ends_as_one_left_alone(
    tmp_path: Path,
    start: Callable[..., ForkProcess],
    monkeypatch: pytest.MonkeyPatch,
    killed_at: int,
) -> None:
    """The trial that was killed is done again with the same settings, and counted once."""
    worker = start(tmp_path / "study", 10, seconds=0.3)
    wait_for(lambda: len(noted(tmp_path, "begin")) == killed_at)
    kill(worker)
    assert len(noted(tmp_path, "end")) == killed_at - 1
    assert (tmp_path / "study" / "trials" / str(killed_at - 1) / "best.pth").is_file()
    run = FakeRun()
    monkeypatch.setattr(trial, "run_recbole_diffusion", run)
    assert search(tmp_path / "study", 10).trials == 10
    assert run.seen[0]["reg_weight"] == noted(tmp_path, "begin")[-1]
    assert len(run.seen) == 10 - (killed_at - 1)
    search(tmp_path / "whole", 10)
    assert results_of(tmp_path / "study") == results_of(tmp_path / "whole")
    assert not list((tmp_path / "study" / "trials").iterdir())


@pytest.mark.slow
def test_trial_of_a_killed_process_is_done_by_another(
    tmp_path: Path, start: Callable[..., ForkProcess]
) -> None:
    folder = tmp_path / "study"
    doomed, other = (start(folder, 8, seconds=0.3) for _ in range(2))
    wait_for(lambda: len(noted(tmp_path, "end")) >= 3)
    kill(doomed)
    assert exit_code(other) == 0
    trials = trials_of(folder)
    assert [t["trial"] for t in trials] == list(range(8))
    weights = {t["settings"]["reg_weight"] for t in trials}
    assert len(weights) == 8
    assert weights <= set(noted(tmp_path, "end"))


@pytest.mark.slow
def test_heartbeat_tells_the_dead_of_a_database(
    tmp_path: Path,
    start: Callable[..., ForkProcess],
    monkeypatch: pytest.MonkeyPatch,
    database: str,
) -> None:
    worker = start(tmp_path / "a", 5, database, 1.0)
    monkeypatch.setattr(storage, "HEARTBEAT", 1)
    monkeypatch.setattr(storage, "GRACE", 2)
    wait_for(lambda: len(noted(tmp_path, "begin")) == 2)
    kill(worker)
    run = FakeRun()
    monkeypatch.setattr(trial, "run_recbole_diffusion", run)
    assert search(tmp_path / "b", 5, storage=database).trials == 5
    assert [t["trial"] for t in trials_of(tmp_path / "b")] == list(range(5))
    assert len(run.seen) == 4
    assert noted(tmp_path, "begin")[-1] in {seen["reg_weight"] for seen in run.seen}


def test_files_of_dead_workers_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that was killed between two trials too; those of living ones and others stay."""
    monkeypatch.setattr(trial, "run_recbole_diffusion", FakeRun())
    folder = tmp_path / "study" / "workers"
    folder.mkdir(parents=True)
    host = socket.gethostname()
    dead, alive = folder / f"{host}-1-abcdef", folder / f"{host}-2-abcdef"
    for path in (dead, alive, folder / "elsewhere-3-abcdef", folder / f"{host}-notes"):
        path.touch()
    with sole_writer(alive):
        search(tmp_path / "study", 2)
        kept = {path.name for path in folder.iterdir()}
    assert kept == {alive.name, "elsewhere-3-abcdef", f"{host}-notes"}


def test_trial_that_nobody_signed_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker was killed between two writes to the storage."""
    study = optuna.create_study(storage=storage.open_storage(tmp_path, None))
    left = study.ask().number
    worker = Worker(tmp_path, has_heartbeat=False)
    worker.fail_dead(study)
    assert study.trials[left].state.name == "RUNNING"
    monkeypatch.setattr(storage, "UNSIGNED_GRACE", 0.0)
    worker.fail_dead(study)
    assert study.trials[left].state.name == "FAIL"


def test_trial_of_a_living_worker_is_left_alone(tmp_path: Path) -> None:
    study = optuna.create_study(storage=storage.open_storage(tmp_path, None))
    mine, other = (Worker(tmp_path, has_heartbeat=False) for _ in range(2))
    held = study.ask()
    held.set_user_attr("worker", other.name)
    with mine.alive(), other.alive():
        mine.fail_dead(study)
        assert study.trials[0].state.name == "RUNNING"
    mine.fail_dead(study)
    assert study.trials[0].state.name == "FAIL"


def test_a_study_names_no_file_outside_its_folder(tmp_path: Path) -> None:
    """What a shared database says of its workers is no path to a file to remove."""
    victim = tmp_path / "precious"
    victim.write_text("kept")
    worker = Worker(tmp_path / "study", has_heartbeat=False)
    with worker.alive():
        study = optuna.create_study()
        study.ask().set_user_attr("worker", "../../precious")
        worker.fail_dead(study)
    assert study.trials[0].state == optuna.trial.TrialState.FAIL
    assert victim.read_text() == "kept"


def test_password_is_not_shown() -> None:
    assert shown_url("postgresql+psycopg://me:secret@host/db") == (
        "postgresql+psycopg://me:***@host/db"
    )
    assert "secret" not in shown_url("no url:secret")
