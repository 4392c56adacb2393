"""What every recommender keeps, ours or registered: each check takes a ``Subject``.

A package that brings a model can run them too:

    subject = Subject("MyRecommender", {"epochs": 10}, folder, {"learning_rate": 0.0})
    for check in CHECKS:
        check(subject)

The data are the planted set, five groups of users and items, which a model must solve.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_diffusion import evaluate_run, load, load_run, resume_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.runs.quick_start import saved_run
from recbole_diffusion.settings.kinds import GREATEST, Kind
from recbole_diffusion.settings.layers import read_layers
from recbole_diffusion.settings.registry import find_model
from recbole_diffusion.training.checkpoint import read_checkpoint

DATASETS = Path(__file__).resolve().parents[1] / "dataset_atomic"
USERS = torch.arange(1, 21)
# Recall@20 of test: .13 by popularity, .15 by chance, .85 or more where the groups are found.
SOLVED, UNSOLVED = 0.75, 0.3
# Of a run of a few steps.
SHORT = {"epochs": 2, "eval_step": 1}


@dataclass
class Subject:
    """A model with settings by which it solves the planted set in seconds.

    Attributes:
        name: As ``--model`` takes it.
        keys: Its settings.
        folder: Where runs go.
        frozen: Settings with which nothing is learned; None for a model that is solved.
    """

    name: str
    keys: dict[str, Any]
    folder: Path
    frozen: dict[str, Any] | None = None

    def run(self, place: str, **changes: Any) -> dict[str, Any]:
        """The result of a run whose folder lies in ``place``."""
        return run_recbole_diffusion(
            self.name, "planted", config_dict=self.settings(place, **changes)
        )

    def settings(self, place: str, **changes: Any) -> dict[str, Any]:
        shared = {"data_path": str(DATASETS), "show_progress": False, "state": "WARNING"}
        return {**shared, **self.keys, **changes, "output_dir": str(self.folder / place)}

    @cached_property
    def result(self) -> dict[str, Any]:
        """Of a whole run."""
        return self.run("whole")

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """Model and train data of that run."""
        return load_run(self.result["run_folder"])

    @cached_property
    def short_result(self) -> dict[str, Any]:
        """Of a run of a few steps."""
        return self.run("short", **SHORT)

    @property
    def is_solved(self) -> bool:
        """Whether the model is computed at once, without updates."""
        return self.frozen is None


def solves_the_planted_set(subject: Subject) -> None:
    assert subject.result["test"]["recall@20"] > SOLVED


def learns_by_its_updates(subject: Subject) -> None:
    if subject.is_solved:
        pytest.skip("the model is solved, without updates")
    still = subject.run("frozen", **(subject.frozen or {}))
    assert still["test"]["recall@20"] < UNSOLVED


@torch.no_grad()
def scores_all_items_of_users(subject: Subject) -> None:
    """A number for each user and unknown item, the same in every call, and for a pair alone."""
    model, data = subject.loaded
    users = Interaction({"user_id": USERS})
    scores = model.full_sort_predict(users).view(len(USERS), -1)
    assert scores.shape == (len(USERS), data.item_num)
    assert scores.dtype == torch.float32
    inter = data.inter_feat
    is_known = torch.zeros(data.user_num, data.item_num, dtype=torch.bool)
    is_known[inter["user_id"], inter["item_id"]] = True
    assert not scores.isnan().any()
    assert (scores.isfinite() | is_known[USERS])[:, 1:].all()
    assert torch.equal(model.full_sort_predict(users).view(len(USERS), -1), scores)
    items = torch.arange(1, 1 + len(USERS))
    pairs = model.predict(Interaction({"user_id": USERS, "item_id": items}))
    torch.testing.assert_close(pairs, scores[torch.arange(len(USERS)), items], atol=1e-5, rtol=1e-4)


def recommends_nothing_known_and_no_padding(subject: Subject) -> None:
    run, trainer = saved_run(subject.result["run_folder"])
    with trainer.eval_collector.keeping_rankings() as kept:
        trainer.evaluate(run.split.test, load_best_model=False)
    known = [set() for _ in range(run.split.dataset.user_num)]  # type: ignore[var-annotated]
    for part in (run.split.train, run.split.valid):
        inter = part._dataset.inter_feat
        for user, item in zip(inter["user_id"].tolist(), inter["item_id"].tolist(), strict=True):
            known[user].add(item)
    ranked = kept[-1].get("rec.items").tolist()
    for user, items in zip(run.split.test.uid_list.tolist(), ranked, strict=True):
        assert 0 not in items[:20]
        assert not known[user] & set(items[:20])


def same_seed_same_bits(subject: Subject) -> None:
    one, again = subject.short_result, subject.run("again", **SHORT)
    assert (one["valid"], one["test"]) == (again["valid"], again["test"])
    first, second = (state_of(result) for result in (one, again))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    if not subject.is_solved:
        other = state_of(subject.run("other", **SHORT, seed=7))
        assert any(not torch.equal(value, other[name]) for name, value in first.items())


def state_of(result: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Parameters and buffers at the end of a run."""
    state: dict[str, torch.Tensor] = read_checkpoint(Path(result["run_folder"], "last.pth"))[
        "state_dict"
    ]
    return state


def saved_run_scores_the_same(subject: Subject) -> None:
    again = evaluate_run(subject.result["run_folder"])
    for key in ("valid", "test", "best_epoch"):
        assert again[key] == subject.result[key]


def resume_equals_uninterrupted(subject: Subject) -> None:
    """Stopped after the first validation of a short run."""
    if subject.is_solved:
        pytest.skip("the model is solved, without updates")
    whole = subject.short_result

    def stop(epoch: int, score: float) -> None:
        raise KeyboardInterrupt

    keys = subject.settings("interrupted", **SHORT)
    with pytest.raises(KeyboardInterrupt):
        run_recbole_diffusion(subject.name, "planted", config_dict=keys, on_validation=stop)
    (folder,) = (subject.folder / "interrupted").glob(f"{subject.name}-*")
    resumed = resume_run(folder)
    assert resumed["test"] == whole["test"]
    first, second = state_of(whole), state_of(resumed)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@torch.no_grad()
def folds_in_as_users_of_the_data(subject: Subject) -> None:
    """A model that offers it scores a history as it scores the user who has it."""
    model, data = subject.loaded
    if not hasattr(model, "score_histories"):
        pytest.skip("the model has no score_histories")
    inter = data.inter_feat
    has_times = "timestamp" in inter.columns
    times = inter["timestamp"] if has_times else torch.zeros(len(inter))
    histories = []
    for user in USERS:
        mine = inter["user_id"] == user
        order = torch.argsort(times[mine], stable=True)
        histories.append(inter["item_id"][mine][order].tolist())
    expected = model.full_sort_predict(Interaction({"user_id": USERS})).view(len(USERS), -1)
    found = model.score_histories(histories)
    top = [scores.topk(20).indices.sort().values for scores in (expected, found)]
    shared = torch.stack([torch.isin(a, b).float().mean() for a, b in zip(*top, strict=True)])
    assert shared.mean() > 0.8
    with pytest.raises(UserError, match="histories: found"):
        model.score_histories([[data.item_num]])


def recommends_by_its_scores(subject: Subject) -> None:
    """Lists of users of the data, and of strangers with the same items where it takes such."""
    recommender = load(subject.result["run_folder"])
    users = recommender.users[:20]
    lists = recommender.recommend(users, k=10, exclude=("train",))
    pairs = recommender.score(lists["user"].tolist(), lists["item"].tolist())
    assert abs(pairs - lists["score"].to_numpy()).max() <= 1e-4 * abs(pairs).max()
    histories = {
        user: [recommender.items[item - 1] for item in recommender._train_history(number)]
        for number, user in enumerate(users, start=1)
    }
    for user, rows in lists.groupby("user", sort=False):
        others = sorted(set(recommender.items) - set(histories[str(user)]) - set(rows["item"]))
        beaten = recommender.score([str(user)] * len(others), others)
        assert beaten.max() <= rows["score"].min() + 1e-4 * abs(pairs).max()
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
    strangers = recommender.recommend(histories=histories, k=10)
    found = strangers.groupby("user")["item"].agg(set)
    shared = lists.groupby("user")["item"].agg(set).combine(found, lambda a, b: len(a & b))
    assert shared.mean() >= 6, "of ten items, as many are recommended to a stranger alike"


def refuses_what_is_out_of_range(subject: Subject) -> None:
    """Every number just beyond the ends of its range, and every key that nothing reads."""
    registration = find_model(subject.name)
    settings = registration.settings_class
    for name, key in ({} if settings is None else settings.keys()).items():
        for value in beyond(key.kind):
            with pytest.raises(UserError, match=f"key `{name}`: found "):
                read_layers(registration, "planted", (), {**subject.keys, name: value})
    with pytest.raises(UserError, match="unknown key `no_such_key`"):
        read_layers(registration, "planted", (), {"no_such_key": 1})


def beyond(kind: Kind) -> list[Any]:
    """Values that a kind of one number does not take."""
    if not {int, float} & set(kind.types) or {str, list, dict} & set(kind.types):
        return []
    step = 1 if float not in kind.types else 1e-3
    ends = []
    if kind.least != -GREATEST:
        ends.append(kind.least if kind.is_open_at_least else kind.least - step)
    if kind.most != GREATEST:
        ends.append(kind.most if kind.is_open_at_most else kind.most * 2)
    return [*ends, float("nan"), "a text"]


CHECKS: tuple[Callable[[Subject], None], ...] = (
    solves_the_planted_set,
    learns_by_its_updates,
    scores_all_items_of_users,
    recommends_nothing_known_and_no_padding,
    same_seed_same_bits,
    saved_run_scores_the_same,
    resume_equals_uninterrupted,
    folds_in_as_users_of_the_data,
    recommends_by_its_scores,
    refuses_what_is_out_of_range,
)
