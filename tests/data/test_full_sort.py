"""What is masked and what is to be found in a full-sort evaluation, against RecBole's loader."""

from typing import Any

import pytest
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.sampler import Sampler

from recbole_diffusion.data.full_sort import FullSortLoader
from recbole_diffusion.data.split import load_split, masking_train_only
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat

PHASES = ["train", "valid", "test"]


def by_user(loader: Any) -> dict[int, tuple[list[int], list[int]]]:
    """Masked items and those to be found, of users in their order."""
    found = {}
    for users, history, rows, items in loader:
        for place, user in enumerate(users["user_id"].tolist()):
            masked = history[1][history[0] == place].tolist()
            found[user] = sorted(masked), sorted(items[rows == place].tolist())
    return found


@pytest.mark.parametrize("users", [1, 7, 1000])
def test_users_and_items_are_those_of_recbole(planted: dict[str, Any], users: int) -> None:
    config = Config("BPR", "planted", (), {**planted, "eval_batch_users": users})
    split = load_split(config)
    parts = [loader._dataset for loader in (split.train, split.valid, split.test)]
    for phase, loader in (("valid", split.valid), ("test", split.test)):
        sampler = Sampler(PHASES, parts).set_phase(phase)
        host = FullSortEvalDataLoader(config, loader._dataset, sampler)
        found, expected = by_user(loader), by_user(host)
        assert found == expected
        assert list(found) == list(expected) == loader.uid_list.tolist()
        assert torch.equal(loader.uid_list, host.uid_list)
    sampler = Sampler(PHASES[::2], parts[::2]).set_phase("train")
    host = FullSortEvalDataLoader(config, parts[2], sampler)
    assert by_user(masking_train_only(config, split)) == by_user(host)


def test_what_is_to_be_found_is_never_masked(planted: dict[str, Any]) -> None:
    """Nor does a user need to have met anything."""
    config = Config("BPR", "planted", (), planted)
    split = load_split(config)
    test = split.test._dataset
    found = by_user(FullSortLoader(config, test, [split.train._dataset, test]))
    assert found == by_user(masking_train_only(config, split))
    assert all(items and not masked for masked, items in by_user(
        FullSortLoader(config, test, [test])
    ).values())  # fmt: skip


def test_nothing_is_drawn_where_all_items_are_ranked(planted: dict[str, Any]) -> None:
    split = load_split(Config("EASE", "planted", (), planted))
    assert split.valid._sampler is split.test._sampler is None
