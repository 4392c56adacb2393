"""Negatives that are drawn at once: their distribution, seeds, and what loaders make of them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.dataloader import NegSampleEvalDataLoader, TrainDataLoader
from scipy import stats

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data import negatives
from recbole_diffusion.data.negatives import (
    NegativeSampler,
    VectorisedSampler,
    has_negatives,
)
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat

N_ITEMS = 12
# Of user 1, 2 and 3; user 2 has met all but two items, user 3 all but one, user 4 none.
MET = {1: [1, 2, 3], 2: [*range(1, 8), 9, 10], 3: [*range(1, 8), *range(9, 12)]}
N_DRAWS = 30_000


def part_of(met: dict[int, list[int]]) -> Any:
    """What a sampler reads of a dataset."""
    pairs = [(user, item) for user, items in met.items() for item in items]
    users, items = map(torch.tensor, zip(*pairs, strict=True))
    return SimpleNamespace(
        inter_feat={"user": users, "item": items},
        uid_field="user", iid_field="item", user_num=6, item_num=N_ITEMS,
    )  # fmt: skip


def weights_of(distribution: str, alpha: float) -> np.ndarray:
    counts = np.bincount([i for items in MET.values() for i in items], minlength=N_ITEMS)
    if distribution == "uniform":
        return np.array([0.0] + [1.0] * (N_ITEMS - 1))
    return np.array([float(c) ** alpha if c else 0.0 for c in counts.tolist()])


@pytest.mark.parametrize("rounds", [0, 1, 16])
@pytest.mark.parametrize(
    ("distribution", "alpha"),
    [("uniform", 1.0), ("popularity", 1.0), ("popularity", -0.5), ("popularity", 0.0)],
)
def test_what_is_not_met_is_drawn_by_its_weight(
    monkeypatch: pytest.MonkeyPatch, distribution: str, alpha: float, rounds: int
) -> None:
    """Without a round, all that is met is drawn again from what is left."""
    monkeypatch.setattr(negatives, "ROUNDS", rounds)
    monkeypatch.setattr(negatives, "MOST_WEIGHTS", 2 * N_ITEMS)  # blocks of two users
    sampler = VectorisedSampler([part_of(MET)], "train", distribution, alpha)
    weights = weights_of(distribution, alpha)
    asked = [user for user in (1, 2, 3, 4) if set(np.flatnonzero(weights)) - set(MET.get(user, []))]
    np.random.seed(11)
    drawn = sampler.draw(np.tile(asked, N_DRAWS), 2).reshape(2, N_DRAWS, len(asked))
    for place, user in enumerate(asked):
        free = weights.copy()
        free[MET.get(user, [])] = 0.0
        for row in drawn[:, :, place]:
            counts = np.bincount(row, minlength=N_ITEMS)
            assert counts[free == 0].sum() == 0
            expected = N_DRAWS * free[free > 0] / free.sum()
            if len(expected) > 1:
                assert stats.chisquare(counts[free > 0], expected).pvalue > 1e-4, user
    # Of one positive, one negative says nothing of the other.
    first, second = drawn[:, :, asked.index(4)]
    both = np.histogram2d(first, second, bins=np.arange(N_ITEMS + 1))[0]
    both = both[both.any(axis=1)][:, both.any(axis=0)]
    assert stats.chi2_contingency(both).pvalue > 1e-4


def test_a_weight_that_all_others_drown_is_drawn() -> None:
    """Whoever has met the popular items gets the others, however rarely they are proposed."""
    train = {user: [1] for user in range(2, 6)} | {1: [1, 2]}
    sampler = VectorisedSampler([part_of({**train, 5: [1, 3]})], "train", "popularity", 60.0)
    assert sampler.weights[2] < 1e-40
    assert sampler.draw(np.array([1, 1]), 1).tolist() == [[3, 3]]


def test_later_phases_have_met_more() -> None:
    train, valid = part_of({1: [1, 2, 3], 2: [1, 1]}), part_of({1: [4, 5]})
    drawn = {}
    for phase, parts in (("train", [train]), ("valid", [train, valid])):
        sampler = VectorisedSampler(parts, phase, "uniform")
        drawn[phase] = set(sampler.draw(np.ones(2000, np.int64), 1)[0].tolist())
    assert drawn == {"train": set(range(4, 12)), "valid": set(range(6, 12))}


def test_same_seed_same_negatives() -> None:
    sampler = VectorisedSampler([part_of(MET)], "train", "uniform")
    drawn = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        drawn += [sampler.draw(np.ones(50, np.int64), 1) for _ in range(2)]
    assert np.array_equal(drawn[0], drawn[2])
    assert np.array_equal(drawn[1], drawn[3])
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[4])


@pytest.mark.parametrize(("distribution", "expected"), [("uniform", {5}), ("popularity", {3, 5})])
def test_users_who_have_met_all_are_known(distribution: str, expected: set[int]) -> None:
    """Nobody has met item 8, which popularity never draws; 3 has met all others."""
    full = part_of({**MET, 5: [*range(1, N_ITEMS)]} if distribution == "uniform" else MET)
    if distribution == "popularity":
        full = part_of({**MET, 5: MET[3]})
    sampler = VectorisedSampler([full], "train", distribution)
    assert set(np.flatnonzero(~has_negatives(sampler)).tolist()) == expected
    with pytest.raises(ValueError, match="user 5 has met every item"):
        sampler.draw(np.array([5]), 1)


# Loaders


def settings(planted: dict[str, Any], **keys: Any) -> Config:
    return Config("BPR", "planted", (), {**planted, **keys})


def met_in(parts: list[Any]) -> set[tuple[int, int]]:
    return {
        pair
        for part in parts
        for pair in zip(
            part.inter_feat["user_id"].tolist(), part.inter_feat["item_id"].tolist(), strict=True
        )
    }


@pytest.mark.parametrize("most_drawn", [2**26, 0], ids=["an epoch at once", "by batch"])
def test_batches_hold_negatives_in_the_hosts_order(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, most_drawn: int
) -> None:
    monkeypatch.setattr(negatives, "MOST_DRAWN", most_drawn)
    wanted = {"distribution": "uniform", "sample_num": 3}
    split = load_split(settings(planted, train_neg_sample_args=wanted))
    train = split.train._dataset
    met = met_in([train])
    epochs = []
    for _ in range(2):
        seen: list[tuple[int, int]] = []
        drawn: list[int] = []
        for batch in split.train:
            users, items = batch["user_id"].view(3, -1), batch["item_id"].view(3, -1)
            assert (users == users[0]).all()
            assert (items == items[0]).all()
            found = zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist(), strict=True)
            assert not met & set(found)
            seen += zip(users[0].tolist(), items[0].tolist(), strict=True)
            drawn += batch["neg_item_id"].tolist()
        assert sorted(seen) == sorted(met)
        epochs.append(drawn)
    assert epochs[0] != epochs[1]


def test_key_keeps_recboles_draws(planted: dict[str, Any]) -> None:
    config = settings(planted, negative_sampler="recbole", eval_args={"mode": "uni5"})
    split = load_split(config)
    assert isinstance(split.train._sampler, NegativeSampler)
    hosts = {
        "train": TrainDataLoader(config, split.train._dataset, split.train._sampler, shuffle=True),
        "valid": NegSampleEvalDataLoader(config, split.valid._dataset, split.valid._sampler),
    }
    for name, host in hosts.items():
        found = []
        for loader in (getattr(split, name), host):
            np.random.seed(4)
            loader.generator.manual_seed(4)
            found.append([batch if name == "train" else batch[0] for batch in loader])
        field = "neg_item_id" if name == "train" else "item_id"
        for ours, hosts_own in zip(*found, strict=True):
            assert torch.equal(ours[field], hosts_own[field])


def test_unknown_sampler_is_refused(planted: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="key `negative_sampler`: found 'fast'.*recbole"):
        settings(planted, negative_sampler="fast")


@pytest.mark.parametrize("size", [1, 100, 4096])
def test_candidates_are_positives_and_what_is_not_met(planted: dict[str, Any], size: int) -> None:
    config = settings(planted, eval_args={"mode": "uni5"}, eval_batch_size=size)
    split = load_split(config)
    parts = [loader._dataset for loader in (split.train, split.valid, split.test)]
    met, wanted = met_in(parts), met_in(parts[2:])
    users = split.test.uid_list
    assert users.tolist() == sorted({user for user, _ in wanted})
    n_batches = 0
    for batch, row, positive_u, positive_i in split.test:
        n_batches += 1
        n = len(positive_u)
        user = batch["user_id"].numpy()
        assert (np.diff(row.view(6, n)[0].numpy()) >= 0).all()
        assert torch.equal(row, positive_u.repeat(6))
        first = {int(r): int(u) for r, u in zip(row, user, strict=True)}
        assert first[0] == users[0]
        assert all(first[int(r)] == u for r, u in zip(row, user, strict=True))
        found = list(zip(user.tolist(), batch["item_id"].tolist(), strict=True))
        assert set(found[:n]) <= wanted
        assert set(found[:n]) == {pair for pair in wanted if pair[0] in set(first.values())}
        assert batch["item_id"][:n].tolist() == positive_i.tolist()
        assert not set(found[n:]) & met
        assert len(batch) <= max(size, 6 * max(np.bincount([u for u, _ in wanted])))
        users = users[len(first) :]
    assert len(users) == 0
    assert n_batches == len(split.test)


def test_run_with_a_dynamic_choice_takes_both(
    write_dataset: Callable[..., Path], planted: dict[str, Any]
) -> None:
    """The model picks the best of its candidates, which are drawn by batch."""
    wanted = {"distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": 20}
    for kind in ("vectorised", "recbole"):
        config = settings(planted, train_neg_sample_args=wanted, negative_sampler=kind)
        split = load_split(config)
        model = config.model_class(config, split.train._dataset)
        split.train.get_model(model)
        met = met_in([split.train._dataset])
        batch = next(iter(split.train))
        found = zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist(), strict=True)
        assert not met & set(found)
        with torch.no_grad():
            scores = model.full_sort_predict(batch).view(len(batch), -1)
        chosen = scores.gather(1, batch["neg_item_id"][:, None])[:, 0]
        assert (chosen > scores.median(dim=1).values).float().mean() > 0.95
