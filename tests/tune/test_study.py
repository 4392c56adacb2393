"""A search in one process: what it finds, what it spends, and what it refuses."""

import csv
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from tune_tools import (
    DATASETS,
    SPACE,
    FakeRun,
    results_of,
    score_of,
    search,
    trials_of,
)

import recbole_diffusion
from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import SCRATCH_MARK
from recbole_diffusion.commands.cli import main
from recbole_diffusion.data.split import load_split
from recbole_diffusion.runs import quick_start
from recbole_diffusion.runs import run as run_module
from recbole_diffusion.settings.config import Config
from recbole_diffusion.studies.tune import search as searching
from recbole_diffusion.studies.tune import storage, trial
from recbole_diffusion.studies.tune.task import hashes_of
from recbole_diffusion.studies.tune.trial import run_trial


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRun]:
    """Replaces runs by ones that cost nothing."""

    def install(**options: Any) -> FakeRun:
        run = FakeRun(**options)
        monkeypatch.setattr(trial, "run_recbole_diffusion", run)
        return run

    return install


DEFAULTS = {"reg_weight": 1e-5, "learning_rate": 0.001}


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> Callable[[Any], None]:
        def pass_time(keys: Any) -> None:
            self.now += seconds

        return pass_time


# What it finds


@pytest.mark.compat
def test_finds_what_brute_force_finds(tmp_path: Path) -> None:
    """EASE on the planted set, from a default that is far off: .645, where the best is .92."""
    keys = {"data_path": str(DATASETS), "output_dir": str(tmp_path / "runs")}

    def valid(reg_weight: float) -> float:
        settings = {**keys, "reg_weight": reg_weight, "show_progress": False}
        result = run_recbole_diffusion("EASE", "planted", config_dict=settings)
        return float(result["valid"]["recall@20"])

    brute = {reg_weight: valid(reg_weight) for reg_weight in np.geomspace(1, 1000, 7).tolist()}
    (tmp_path / "space.yaml").write_text("reg_weight: {log: [1.0, 1000.0]}")
    (tmp_path / "bad.yaml").write_text("reg_weight: 1.0")
    found = recbole_diffusion.tune(
        "EASE",
        "planted",
        str(tmp_path / "bad.yaml"),
        {**keys, "show_progress": False},
        trials=12,
        folder=tmp_path / "study",
        space=str(tmp_path / "space.yaml"),
    )
    first = trials_of(tmp_path / "study")[0]
    assert (first["settings"], first["score"]) == ({"reg_weight": 1.0}, brute[1.0])
    assert brute[1.0] < max(brute.values()) - 0.2
    assert found.best_valid >= max(brute.values()) - 0.005
    assert (found.trials, found.best_valid) == (12, valid(found.settings["reg_weight"]))
    best = str(tmp_path / "study" / "best.yaml")
    again = run_recbole_diffusion("EASE", "planted", best, {**keys, "show_progress": False})
    assert again["valid"]["recall@20"] == found.best_valid
    assert not list((tmp_path / "study" / "trials").iterdir())


def test_learns_from_its_trials(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    """Later trials lie nearer to the optimum than draws at random, whose mean score is .81."""
    fake()
    search(tmp_path / "study", 40)
    late = [score for _, _, score, _ in results_of(tmp_path / "study")[20:]]
    assert np.mean(late) > 0.9


def test_first_trial_is_the_defaults(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    run = fake()
    search(tmp_path / "study", 2)
    assert run.seen[0] == DEFAULTS


def test_first_trial_is_the_defaults_outside_the_space_too(
    tmp_path: Path, fake: Callable[..., FakeRun]
) -> None:
    run = fake()
    (tmp_path / "space.yaml").write_text(SPACE.replace("[1e-6, 1e-1]", "[1e-3, 1e-1]"))
    search(tmp_path / "study", 8)
    assert run.seen[0] == DEFAULTS
    assert all(1e-3 <= seen["reg_weight"] <= 0.1 for seen in run.seen[1:])


def test_same_seed_gives_the_same_trials(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    fake()
    for name, options in (("a", {}), ("b", {}), ("c", {"seed": 7}), ("d", {"keys": {"seed": 7}})):
        search(tmp_path / name, 12, **options)
    first, again, other, third = (results_of(tmp_path / name) for name in "abcd")
    assert first == again
    assert len({json.dumps(settings) for *_, settings in first}) == 12
    assert first[0] == other[0]
    assert first[1:] != other[1:] == third[1:]


def test_keys_of_the_user_are_not_searched(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    run = fake()
    found = search(tmp_path / "study", 5, keys={"learning_rate": 0.5})
    assert {seen["learning_rate"] for seen in run.seen} == {0.5}
    assert list(found.settings) == ["reg_weight"]
    best = yaml.safe_load((tmp_path / "study" / "best.yaml").read_text())
    assert best == {"learning_rate": 0.5, **found.settings}


def test_lower_is_better_where_the_metric_says_so(
    tmp_path: Path, fake: Callable[..., FakeRun]
) -> None:
    fake()
    keys = {"metrics": ["AveragePopularity", "Recall"], "valid_metric": "AveragePopularity@20"}
    result = {"valid": {"averagepopularity@20": 0.0, "recall@20": 0.0}}

    def run(*args: Any, on_validation: Any, **kwargs: Any) -> dict[str, Any]:
        score = score_of(args[3])
        valid = dict.fromkeys(result["valid"], score)
        return {**FakeRun()(*args, on_validation=on_validation, **kwargs), "valid": valid}

    trial.run_recbole_diffusion = run  # type: ignore[assignment]
    found = search(tmp_path / "study", 6, keys=keys)
    assert found.best_valid == min(score for _, _, score, _ in results_of(tmp_path / "study"))


def test_model_without_a_space_has_one_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"data_path": str(DATASETS), "output_dir": str(tmp_path / "runs")}
    found = recbole_diffusion.tune("Pop", "planted", (), keys, folder=tmp_path / "study")
    assert (found.trials, found.settings, found.has_space) == (1, {}, False)
    assert "Pop has no search space: one trial at its defaults" in capsys.readouterr().out


# What it spends


class Untouchable:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of the test part was read")


def test_test_part_is_never_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        run_module, "load_split", lambda *a: replace(load_split(*a), test=Untouchable())
    )
    keys = {"output_dir": str(tmp_path / "runs"), "epochs": 2}
    found = search(tmp_path / "study", 3, keys=keys)
    assert found.trials == 3
    assert "test" not in json.dumps(trials_of(tmp_path / "study"))


def test_minutes_of_the_search(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    """Trials of two minutes: the third one is begun with one minute left, and stopped there."""
    clock = Clock()
    fake(before=clock.passes(120), epochs=3)
    found = search(tmp_path / "study", 10, minutes=5, clock=clock)
    assert (found.trials, found.minutes, found.asked_minutes) == (3, 6.0, 5)
    marks = [outcome for _, outcome, *_ in results_of(tmp_path / "study")]
    assert marks == ["complete", "complete", "stopped at 1 min"]
    with_more = search(tmp_path / "study", 10, minutes=7, clock=clock)
    assert (with_more.trials, with_more.minutes) == (4, 8.0)


def test_minutes_of_a_trial(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    """Its score is that of the validation at which it was stopped."""
    clock = Clock()
    fake(before=clock.passes(481), epochs=4)
    found = search(tmp_path / "study", 2, clock=clock)
    for number, outcome, score, settings in results_of(tmp_path / "study"):
        assert (number, outcome) == (number, "stopped at 8 min")
        assert score == score_of(settings) / 4
    assert found.best_outcome == "stopped at 8 min"
    assert trials_of(tmp_path / "study")[0]["epochs"] == 1


def test_model_that_is_solved_in_one_step_is_not_stopped(
    tmp_path: Path, fake: Callable[..., FakeRun]
) -> None:
    clock = Clock()
    fake(before=clock.passes(481))
    search(tmp_path / "study", 2, model="EASE", clock=clock, keys={"learning_rate": 0.1})
    assert {outcome for _, outcome, *_ in results_of(tmp_path / "study")} == {"complete"}


def test_trial_that_falls_behind_is_pruned(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    """Of 40 epochs those after the 20th decide; a pruned trial is never the best."""
    fake(epochs=40)
    found = search(tmp_path / "study", 20)
    trials = trials_of(tmp_path / "study")
    pruned = [t for t in trials if t["outcome"] == "pruned"]
    assert 1 <= len(pruned) < 10
    assert {t["epochs"] for t in pruned} == {21}
    assert all(t["trial"] >= 4 for t in pruned)
    assert found.trials == 20
    whole = [score_of(t["settings"]) for t in trials if t["outcome"] == "complete"]
    assert max(whole) == max(score_of(t["settings"]) for t in trials)
    assert found.best_valid == pytest.approx(max(whole))


def test_trial_that_fails_counts_and_is_told(
    tmp_path: Path, fake: Callable[..., FakeRun], capsys: pytest.CaptureFixture[str]
) -> None:
    def diverge(keys: dict[str, Any]) -> None:
        if keys["learning_rate"] > 0.01:
            raise UserError("training loss is NaN in epoch 0")

    fake(before=diverge)
    found = search(tmp_path / "study", 10)
    marks = [(o, s["learning_rate"]) for _, o, _, s in results_of(tmp_path / "study")]
    assert found.trials == len(marks) == 10
    for outcome, rate in marks:
        assert outcome == ("failed: training loss is NaN in epoch 0" if rate > 0.01 else "complete")
    assert len({outcome for outcome, _ in marks}) == 2
    assert found.settings["learning_rate"] <= 0.01
    assert not list((tmp_path / "study" / "trials").iterdir())
    assert "failed: training loss is NaN in epoch 0" in capsys.readouterr().out


def test_search_without_any_result_is_an_error(
    tmp_path: Path, fake: Callable[..., FakeRun]
) -> None:
    def fail(keys: Any) -> None:
        raise MemoryError

    fake(before=fail)
    with pytest.raises(UserError, match="none of 3 trials gave a result; the first failed: Memory"):
        search(tmp_path / "study", 3)
    assert not (tmp_path / "study" / "best.yaml").exists()


def test_faults_of_ours_are_not_hidden(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    def fail(keys: Any) -> None:
        raise AttributeError("a fault of ours")

    fake(before=fail)
    with pytest.raises(AttributeError, match="a fault of ours"):
        search(tmp_path / "study", 3)


def test_equal_settings_are_trained_once(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    run = fake()
    (tmp_path / "space.yaml").write_text("reg_weight: {choice: [0.1, 0.2]}")
    found = search(tmp_path / "study", 8, keys={"learning_rate": 0.1})
    assert found.trials == 8
    assert len(run.seen) == 3  # both, and the default
    trials = trials_of(tmp_path / "study")
    again = [t for t in trials if t["outcome"].startswith("same as ")]
    assert len(again) == 5
    for t in again:
        earlier = trials[int(t["outcome"].removeprefix("same as "))]
        assert (t["score"], t["settings"]) == (earlier["score"], earlier["settings"])
        assert t["seconds"] == 0


# Going on


@pytest.mark.parametrize("stop_at", [1, 3, 9])
def test_interrupted_search_ends_as_one_left_alone(
    tmp_path: Path,
    fake: Callable[..., FakeRun],
    capsys: pytest.CaptureFixture[str],
    stop_at: int,
) -> None:
    fake()
    search(tmp_path / "whole", 12)
    run: FakeRun

    def interrupt(keys: Any) -> None:
        if len(run.seen) == stop_at:
            raise KeyboardInterrupt

    run = fake(before=interrupt)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "study", 12)
    assert len(trials_of(tmp_path / "study")) == stop_at - 1
    assert capsys.readouterr().out.endswith("the same command goes on with the study\n")
    rest = fake()
    search(tmp_path / "study", 12)
    assert results_of(tmp_path / "study") == results_of(tmp_path / "whole")
    assert len(rest.seen) == 12 - (stop_at - 1)


def test_finished_search_is_left_as_it_is(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    run = fake()
    first = search(tmp_path / "study", 6)
    assert search(tmp_path / "study", 6) == first
    assert len(run.seen) == 6
    assert search(tmp_path / "study", 3).trials == 3  # as if no more had been asked for
    assert len(run.seen) == 6


def test_folders_of_a_lost_study_are_removed(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    """A search that was killed, and then lost its journal, begins anew."""
    fake()
    left, foreign = (tmp_path / "study" / "trials" / name for name in ("3", "mine"))
    for folder in (left, foreign):
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("x")
    (left / SCRATCH_MARK).touch()
    assert search(tmp_path / "study", 2).trials == 2
    assert not left.exists()
    assert (foreign / "notes.txt").is_file()


def test_a_folder_of_the_users_is_no_place_for_a_trial(
    tmp_path: Path, fake: Callable[..., FakeRun]
) -> None:
    fake()
    foreign = tmp_path / "study" / "trials" / "0"
    foreign.mkdir(parents=True)
    (foreign / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"trials/0: found files there, expected none"):
        search(tmp_path / "study", 2)
    assert (foreign / "notes.txt").is_file()


@pytest.mark.parametrize("name", ["best.yaml", "trials.csv"])
def test_files_of_these_names_are_not_written_over(
    tmp_path: Path, fake: Callable[..., FakeRun], name: str
) -> None:
    fake()
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"found .*{name} and no study.json beside it"):
        search(tmp_path, 2)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("cut", [1, 20, 120])
def test_a_journal_whose_last_line_was_cut_goes_on(
    tmp_path: Path, fake: Callable[..., FakeRun], cut: int
) -> None:
    fake()
    search(tmp_path / "whole", 4)
    search(tmp_path / "study", 2)
    journal = tmp_path / "study" / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    # In the middle of a trial, as a full disk leaves it.
    part = b"".join(lines[:-3]) + lines[-3][: min(cut, len(lines[-3]) - 1)]
    journal.write_bytes(part)
    assert search(tmp_path / "study", 4).trials == 4
    assert results_of(tmp_path / "study") == results_of(tmp_path / "whole")
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_a_journal_that_lost_a_line_is_one_complaint(
    tmp_path: Path, fake: Callable[..., FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake()
    monkeypatch.setattr(storage, "UNSIGNED_GRACE", 0.0)
    search(tmp_path / "whole", 2)
    journal = tmp_path / "whole" / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    for place in range(0, len(lines), 4):
        folder = tmp_path / str(place)
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "study.journal").write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
        try:
            search(folder, 3)
        except UserError as error:
            assert str(folder) in str(error)  # noqa: PT017


def test_a_journal_that_is_no_file_is_told(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    fake()
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.journal").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"study\.journal: found a folder or a link to nothing"):
        search(folder, 2)


def test_a_changed_digit_of_a_journal_is_told(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    fake()
    search(tmp_path / "study", 2)
    journal = tmp_path / "study" / "study.journal"
    lines = journal.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if '"score":0.' in line)
    lines[number] = lines[number].replace('"score":0.', '"score":9.')
    journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=rf"study\.journal, line {number + 1}: found a changed"):
        search(tmp_path / "study", 2)


def test_a_study_without_its_journal_is_told(
    tmp_path: Path, fake: Callable[..., FakeRun], capsys: pytest.CaptureFixture[str]
) -> None:
    fake()
    search(tmp_path / "study", 2)
    (tmp_path / "study" / "study.journal").unlink()
    assert search(tmp_path / "study", 2).trials == 2
    assert "study.journal: lacks 2 trials that study.json has" in capsys.readouterr().out


class Killed(BaseException):
    """What ends a process at once."""


def search_killed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, times: int, run: Callable[..., Any]
) -> None:
    """Search for a second trial, each time in a process that ``run`` kills."""
    monkeypatch.setattr(storage, "UNSIGNED_GRACE", 0.0)
    for _ in range(times):
        with monkeypatch.context() as patch:
            patch.setattr(searching, "run_trial", run)
            with pytest.raises(Killed):
                search(folder, 2)


def test_a_trial_that_kills_its_process_is_given_up(
    tmp_path: Path, fake: Callable[..., FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does when memory runs out; each call is a process that dies in trial 1."""
    fake()
    search(tmp_path / "study", 1)

    def die(*args: Any) -> None:
        raise Killed

    search_killed(monkeypatch, tmp_path / "study", 3, die)
    found = search(tmp_path / "study", 2)
    assert found.trials == 2
    assert trials_of(tmp_path / "study")[1]["outcome"] == "failed: its process was killed 3 times"


def test_a_trial_killed_when_its_score_stood_is_done_again(
    tmp_path: Path, fake: Callable[..., FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often: what killed it was not what it needs."""
    fake()
    search(tmp_path / "study", 1)

    def die_at_the_end(task: Any, trial: Any, *args: Any) -> None:
        run_trial(task, trial, *args)
        raise Killed

    search_killed(monkeypatch, tmp_path / "study", 4, die_at_the_end)
    assert search(tmp_path / "study", 2).trials == 2
    assert trials_of(tmp_path / "study")[1]["outcome"] == "complete"


def test_an_error_of_optuna_after_ctrl_c_is_ctrl_c(
    tmp_path: Path, fake: Callable[..., FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake()

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    def optimize(self: optuna.Study, objective: Callable[..., Any], **options: Any) -> None:
        with suppress(KeyboardInterrupt):
            objective(self.ask())
        raise AssertionError("Should not reach.")

    monkeypatch.setattr(searching, "run_trial", interrupted)
    monkeypatch.setattr(optuna.Study, "optimize", optimize)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "study", 2)


def test_an_empty_folder_of_a_killed_trial_goes(
    tmp_path: Path, fake: Callable[..., FakeRun]
) -> None:
    fake()
    trials = tmp_path / "study" / "trials"
    for name in ("7", "mine", "8"):
        (trials / name).mkdir(parents=True)
    (trials / "8" / "notes").touch()
    search(tmp_path / "study", 2)
    assert {path.name for path in trials.iterdir()} == {"mine", "8"}


def test_search_goes_on_with_more_trials(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    fake()
    search(tmp_path / "at_once", 12)
    search(tmp_path / "study", 7)
    search(tmp_path / "study", 12)
    assert results_of(tmp_path / "study") == results_of(tmp_path / "at_once")


# What it refuses


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"model": "SGL"}, "found model 'recbole.LightGCN', this one has 'recbole.SGL'"),
        ({"keys": {"split_seed": 5}}, "found split_hash "),
        ({"keys": {"n_layers": 1}}, "found settings.n_layers 2, this one has 1"),
        ({"keys": {"learning_rate": 0.1}}, "found space.learning_rate "),
        ({"seed": 5}, "found seed 2020, this one has 5"),
        ({"trial_minutes": 3}, "found trial_minutes 8.0, this one has 3"),
        ({"grid": {"n_layers": [1, 2]}}, "found space."),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else "",
)
@pytest.mark.parametrize("has_url", [False, True])
def test_study_of_another_search_is_refused(
    tmp_path: Path,
    fake: Callable[..., FakeRun],
    options: dict[str, Any],
    told: str,
    has_url: bool,
) -> None:
    """Under the same name in a database, or in the same folder."""
    fake()
    place, folder = {}, tmp_path / "study"
    if has_url:
        place = {"storage": f"sqlite:///{tmp_path}/studies.db", "study_name": "mine"}
    search(folder, 2, **place)
    with pytest.raises(UserError) as error:
        search(tmp_path / "elsewhere" if has_url else folder, 2, **place, **options)
    assert told in str(error.value)
    assert ("study 'mine'" if has_url else f"study in {folder}") in str(error.value)


def test_searches_of_one_database_have_names_of_their_own(
    tmp_path: Path, fake: Callable[..., FakeRun]
) -> None:
    run = fake()
    url = f"sqlite:///{tmp_path}/studies.db"
    search(tmp_path / "a", 3, storage=url)
    search(tmp_path / "b", 3, storage=url, seed=7)
    assert len(run.seen) == 6
    search(tmp_path / "c", 3, storage=url)
    assert len(run.seen) == 6
    assert results_of(tmp_path / "c") == results_of(tmp_path / "a")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"n_trials": 0}, "key `trials`: found 0"),
        ({"n_trials": True}, "key `trials`: found True"),
        ({"minutes": 0}, "key `minutes`: found 0"),
        ({"trial_minutes": None}, "key `trial_minutes`: found None"),
        ({"storage": "nonsense"}, "key `storage`: found 'nonsense'"),
        ({"storage": "oracle://me:secret@host/x"}, "key `storage`: oracle://me:***@host/x"),
        ({"storage": "sqlite:////nowhere/at/all.db"}, "key `storage`: sqlite:////nowhere/at/all"),
        ({"space": "none.yaml"}, "key `space`: 'none.yaml'"),
        ({"model": "nosuch"}, "key `model`: found 'nosuch'"),
        ({"keys": {"learning_rat": 1}}, "unknown key `learning_rat`"),
    ],
    ids=str,
)
def test_bad_input(
    tmp_path: Path, fake: Callable[..., FakeRun], options: dict[str, Any], told: str
) -> None:
    run = fake()
    with pytest.raises(UserError) as error:
        search(tmp_path / "study", **{"n_trials": 3, **options})
    assert told in str(error.value)
    assert "secret" not in str(error.value)
    assert run.seen == []
    assert not (tmp_path / "study").exists()


def test_damaged_study_file_is_refused(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").write_text("{}")
    with pytest.raises(UserError, match=r"study\.json: found no `identity`"):
        search(tmp_path / "study", 3)
    assert (tmp_path / "study" / "study.json").read_text() == "{}"


def test_damaged_journal_is_refused(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    fake()
    search(tmp_path / "study", 2)
    journal = tmp_path / "study" / "study.journal"
    damaged = journal.read_text().replace("{", "", 1)
    journal.write_text(damaged)
    with pytest.raises(UserError, match=r"study\.journal: it cannot be read: Expecting|Extra"):
        search(tmp_path / "study", 3)
    assert journal.read_text() == damaged


# Grids


def test_grid_has_every_combination_once(tmp_path: Path, fake: Callable[..., FakeRun]) -> None:
    fake(epochs=40)
    grid = {"reg_weight": [0.1, 1e-6], "learning_rate": [0.1, 0.01, 0.0001]}
    found = search(tmp_path / "study", 1, grid=grid)
    trials = trials_of(tmp_path / "study")
    points = [
        {"reg_weight": r, "learning_rate": e}
        for r in grid["reg_weight"]
        for e in grid["learning_rate"]
    ]
    assert [t["settings"] for t in trials] == points
    scores = [score_of(point) for point in points]
    assert [t["score"] for t in trials] == pytest.approx(scores)  # none pruned
    assert (found.trials, found.asked_trials) == (6, 6)
    with (tmp_path / "study" / "trials.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["recall@20"]) for row in rows] == [t["score"] for t in trials]
    assert [float(row["learning_rate"]) for row in rows] == 2 * grid["learning_rate"]
    assert [row["outcome"] for row in rows] == 6 * ["complete"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--grid", "n_layers"], "--grid n_layers: expected key=value,value"),
        (["--grid=n_layers="], "--grid n_layers=: expected key=value,value"),
        (["--grid=n_layers=1,]"], "which is not valid YAML"),
        (["--grid=n_layers=1", "--grid=n_layers=2"], "`n_layers` is given twice"),
        (["--grid=n_layers=1,two"], "key `n_layers`: found 'two'"),
        (["--grid=reg_weight=-1.0"], "key `reg_weight`: found -1.0, expected at least"),
        (["--grid=n_layer=1,2"], "unknown key `n_layer`"),
        (["--grid=output_dir=a,b"], "`output_dir` says where a run is"),
        (["--grid=n_layers=1,2", "--n_layers=3"], "`n_layers` has a value already"),
        (["extra"], "left-over argument 'extra'"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_grid_exits_with_2_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    rest = ["--model=LightGCN", "--dataset=planted", f"--data_path={DATASETS}"]
    assert main(["tune", *rest, *words]) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("epoch", "epochs", "told"),
    [
        (0, 4, ", epoch 0 of 0 to 3, the first: a lower `learning_rate` may be better"),
        (2, 4, ", epoch 2 of 0 to 3"),
        (3, 4, ", epoch 3 of 0 to 3, the last: more `epochs` or minutes may be better"),
        (0, 1, ""),  # a closed form
        (-1, 4, ""),
    ],
)
def test_the_end_tells_what_the_best_epoch_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    epoch: int, epochs: int, told: str,
) -> None:  # fmt: skip
    run = FakeRun(epochs=epochs)

    def found(*given: Any, **keys: Any) -> dict[str, Any]:
        return {**run(*given, **keys), "best_epoch": epoch}

    monkeypatch.setattr(trial, "run_recbole_diffusion", found)
    monkeypatch.chdir(tmp_path)
    rest = ["--model=LightGCN", "--dataset=planted", f"--data_path={DATASETS}", "--trials=1"]
    assert main(["tune", *rest]) == 0
    assert re.search(r"^best: trial 0, 0\.\d{4}(.*)$", capsys.readouterr().out, re.M)[1] == told


def test_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fake: Callable[..., FakeRun],
) -> None:
    fake()
    monkeypatch.chdir(tmp_path)
    words = ["--model=LightGCN", "--dataset=planted", f"--data_path={DATASETS}", "--minutes=60"]
    assert main(["tune", *words, "--trials=4"]) == 0
    out = capsys.readouterr().out
    trials = trials_of(tmp_path / "tuning" / "LightGCN-planted")
    assert len(trials) == 4
    assert f"best: trial {max(trials, key=lambda t: t['score'])['trial']}" in out
    assert "used: 4 of 4 trials, 0.0 of 60 minutes, at most 8 for a trial" in out
    assert [out.count(f"trial {slot:>3} ") for slot in range(5)] == [1, 1, 1, 1, 0]
    assert main(["tune", *words, "--trials=5"]) == 0  # lists those of the first command too
    out = capsys.readouterr().out
    assert [out.count(f"trial {slot:>3} ") for slot in range(5)] == [1, 1, 1, 1, 1]
    monkeypatch.setattr(quick_start, "run_recbole_diffusion", lambda *given: ran.append(given))
    ran: list[Any] = []
    advised = shlex.split(out.splitlines()[-1])
    assert advised[:4] == ["next:", "python", "-m", "recbole_diffusion"]
    assert main(advised[4:]) == 0
    best = str(tmp_path / "tuning" / "LightGCN-planted" / "best.yaml")
    assert ran == [("LightGCN", "planted", [best], {"data_path": str(DATASETS)})]
    assert main(["tune", *words, "--trials=5", "--folder=a b", "--state=warning"]) == 0
    out = capsys.readouterr().out
    assert [out.count(f"trial {slot:>3} ") for slot in range(5)] == [1, 1, 1, 1, 1]
    assert main(shlex.split(out.splitlines()[-1])[4:]) == 0
    assert ran[-1][2] == [str(tmp_path / "a b" / "best.yaml")]
    grid = ["--grid", "n_layers=1,2", "--grid=reg_weight=1e-3,1e-4", "--folder=my grid"]
    assert main(["tune", *words, *grid]) == 0
    points = [trial["settings"] for trial in trials_of(tmp_path / "my grid")]
    assert points == [{"n_layers": n, "reg_weight": r} for n in (1, 2) for r in (1e-3, 1e-4)]


@pytest.mark.parametrize(
    ("grid", "n_splits"),
    [("split_seed=1,2", 2), ("train_noise_ratio=0.25,0.5", 2), ("reg_weight=1.0,9.0", 1)],
)
def test_grid_names_the_split_of_each_trial(
    grid: str,
    n_splits: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With real runs: those of its settings have the split that a trial is told to have."""
    monkeypatch.chdir(tmp_path)
    words = ["--model=EASE", "--dataset=planted", f"--data_path={DATASETS}", "--folder=grid"]
    assert main(["tune", *words, f"--grid={grid}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (head,) = (line for line in lines if line.startswith("EASE on planted, validation"))
    trials = trials_of(tmp_path / "grid")
    with (tmp_path / "grid" / "trials.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    splits = []
    for found, row in zip(trials, rows, strict=True):
        keys = {"data_path": str(DATASETS), "show_progress": False, **found["settings"]}
        splits.append(hashes_of(Config("EASE", "planted", (), keys))[0])
        assert found["split_hash"] == row["split_hash"] == splits[-1]
        (told,) = (line for line in lines if line.startswith(f"trial {found['trial']:>3} "))
        assert told.endswith(f"  split {splits[-1]}") == (n_splits > 1)
    assert len(set(splits)) == n_splits
    assert head.endswith(f"split {splits[0]}" if n_splits == 1 else "2 splits")
    best = max(trials, key=lambda trial: trial["score"])
    assert f"; split {best['split_hash']}\n" in (tmp_path / "grid" / "best.yaml").read_text()


def test_optuna_is_asked_for_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "optuna"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [
        name for name in sys.modules if name.startswith("recbole_diffusion.studies.tune.")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["tune", "--model=EASE"]) == 2
    assert "tune needs `optuna`, which is not installed" in capsys.readouterr().err
