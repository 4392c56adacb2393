"""The papers' averages, against numbers worked out by hand, and re-scored runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.evaluation.per_user import TRAIN_MASKED, recorded_rankings
from recbole_diffusion.evaluation.protocol import PROTOCOLS, Protocol, check_modes, find_protocols
from recbole_diffusion.runs.quick_start import run_in_folder, saved_run
from recbole_diffusion.settings.config import Config
from recbole_diffusion.studies.compare import worker

USERS = pd.DataFrame(
    {
        "user_id": ["10", "2", "1", "0", "11"],
        "recall@20": [0.0, 1.0, 0.33333333, 0.5, 0.25],
    }
)


def test_rounded_batches_by_hand() -> None:
    """By number: .5 .33333333 | 1 0 | .25; means .4167 (rounded) .5 .25, of the same weight."""
    protocol = Protocol("p", True, "rounded batches", batch_users=2)
    found = protocol.means(USERS, ["recall@20"], 9)
    assert found["recall@20"] == pytest.approx((0.4167 + 0.5 + 0.25) / 3, abs=1e-12)
    whole = Protocol("p", True, "rounded batches", batch_users=5)
    assert whole.means(USERS, ["recall@20"], 9)["recall@20"] == pytest.approx(0.4167, abs=1e-12)


def test_ids_that_are_no_numbers_stay_in_order() -> None:
    protocol = Protocol("p", True, "rounded batches", batch_users=2)
    named = USERS.assign(user_id=["b", "a", "9", "1", "c"])
    # 0 1 | .33333333 .5 | .25
    expected = (0.5 + 0.4167 + 0.25) / 3
    assert protocol.means(named, ["recall@20"], 9)["recall@20"] == pytest.approx(expected)


def test_all_users_count() -> None:
    mean = USERS["recall@20"].mean()
    assert PROTOCOLS["paper:diffmm"].means(USERS, ["recall@20"], 9)["recall@20"] == mean
    found = PROTOCOLS["paper:diffrec"].means(USERS, ["recall@20"], 10)["recall@20"]
    assert found == pytest.approx(mean / 2)


def test_only_named_protocols_select_on_test() -> None:
    names = [*PROTOCOLS, "paper:infodcl+test-selection"]
    *plain, selecting = find_protocols(names)
    assert [protocol.name for protocol in (*plain, selecting)] == names
    assert not any(protocol.selects_on_test for protocol in plain)
    assert selecting.selects_on_test
    assert (selecting.average, selecting.batch_users) == ("rounded batches", 2000)


def test_sampled_candidates_are_refused() -> None:
    check_modes(find_protocols(["paper:diffmm"]), {"mode": {"valid": "full", "test": "full"}})
    check_modes((), {"mode": "uni20"})
    with pytest.raises(UserError, match="mode full beside key `protocol`"):
        check_modes(find_protocols(["paper:diffmm"]), {"mode": "uni20"})


def test_masks_of_train_alone(planted: dict[str, Any], tmp_path: Path) -> None:
    """Recall of a re-scored run, against a loop over users that masks by itself."""
    config = Config("BPR", "planted", (), planted)
    folder = tmp_path / "cell"
    task = {
        "model": "BPR",
        "dataset": "planted",
        "settings": config.settable(),
        "selects_on_test": False,
        "with_train_masked": True,
    }
    worker.run_cell(folder, task)
    frame = pd.read_parquet(folder / TRAIN_MASKED)
    run, _ = saved_run(folder)
    train, test = run.split.train._dataset, run.split.test._dataset
    users = train.token2id(train.uid_field, frame["user_id"].to_numpy())
    with torch.no_grad():
        scores = run.network.eval().full_sort_predict({run.network.USER_ID: torch.tensor(users)})
    scores = scores.view(len(users), -1).numpy()
    pairs = {part: part.inter_feat[part.iid_field].numpy() for part in (train, test)}
    owner = {part: part.inter_feat[part.uid_field].numpy() for part in (train, test)}
    for row, user in enumerate(users):
        own = scores[row].copy()
        own[0] = own[pairs[train][owner[train] == user]] = -np.inf
        wanted = set(pairs[test][owner[test] == user])
        best = set(np.argsort(-own)[:20])
        assert frame["recall@20"][row] == pytest.approx(len(wanted & best) / len(wanted))
    plain = pd.read_parquet(folder / "per_user.parquet")
    assert (plain["recall@20"] >= frame["recall@20"] - 1e-12).all()  # fewer rivals
    assert plain["recall@20"].mean() > frame["recall@20"].mean()


def test_selection_on_test(planted: dict[str, Any], tmp_path: Path) -> None:
    """The score that picks the epoch is that of the test part with masks of train alone."""
    settings = Config("BPR", "planted", (), {**planted, "epochs": 4}).settable()
    picked = {}
    for on_test in (False, True):
        folder = tmp_path / str(on_test)
        picked[on_test] = run_in_folder(
            folder, "BPR", "planted", settings, recorded_rankings, on_test
        )
        worker._evaluate_masking_train_only(folder)
    masked = {name: pd.read_parquet(tmp_path / name / TRAIN_MASKED) for name in ("False", "True")}
    score = picked[True]["valid"]["recall@20"]
    assert score == pytest.approx(masked["True"]["recall@20"].mean(), abs=1e-9)
    assert score >= masked["False"]["recall@20"].mean() - 1e-12
