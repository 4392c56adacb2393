"""PrefixDiff's figures: against the model, one history at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract import DATASETS

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.models.prefixdiff import figures as prefixdiff
from recbole_diffusion.runs.quick_start import saved_run


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Any]:
    return {
        "data_path": str(DATASETS), "output_dir": str(tmp_path), "show_progress": False,
        "eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO"}, "epochs": 8,
        "hidden_sizes": [8], "embedding_size": 8, "learning_rate": 0.02, "weight_average": 0.5,
    }  # fmt: skip


def saved(keys: dict[str, Any], **changes: Any) -> Any:
    result = run_recbole_diffusion("PrefixDiff", "planted", config_dict={**keys, **changes})
    run, _ = saved_run(result["run_folder"])
    run.network.eval()
    return run


def test_loss_by_level_is_that_of_what_vanished(keys: dict[str, Any]) -> None:
    changes = {"absorbed_share": 0.0, "horizon": 100, "horizon_decay": 0.0, "prefix_share": 0.5}
    model = saved(keys, **changes).network
    table = prefixdiff.loss_table(model, 1).set_index("level")
    for level in (0.3, 0.7):
        losses = []
        for user in range(1, model.n_users):
            items = model.rows.batch(torch.tensor([user])).items
            n_left = max(1, len(items) - int(np.ceil(np.float32(level) * len(items))))
            if len(items) > 1:
                scores = model.score_prefix(user, n_left)
                losses.append(-scores[items[n_left:]].mean().item())
        found = table["PrefixDiff"].iloc[round(level * 10) - 1]
        assert found == pytest.approx(np.mean(losses), rel=1e-4)


def test_one_history_tells_what_is_given_back(keys: dict[str, Any]) -> None:
    model = saved(keys).network
    table = prefixdiff.history_table(model)
    items = table[table["level"] == table["level"].min()].sort_values("place")["item"].to_numpy()
    assert len(items) == min(model.rows.offsets.diff().max().item(), prefixdiff.LONGEST)
    for level, part in table.groupby("level"):
        n_left = len(items) - int(np.ceil(np.float32(level) * len(items)))
        assert (part["state"] == "remains").sum() == n_left
        scores = model.score_histories([items[:n_left]])[0]
        likeliest = scores.argsort(descending=True)[: prefixdiff.N_LIKELIEST].tolist()
        gone = part[part["place"] > n_left]
        assert ((gone["state"] == "given back") == gone["item"].isin(likeliest)).all()


def test_a_view_that_is_left_out_is_back_afterwards(keys: dict[str, Any]) -> None:
    run = saved(keys, denoiser="views")
    before = {k: v.clone() for k, v in run.network.state_dict().items()}
    table = prefixdiff.view_table(run)
    assert len(table) == 1 + len(run.config["views"])
    assert all(torch.equal(v, before[k]) for k, v in run.network.state_dict().items())
    with torch.no_grad():
        run.network.averaged.denoiser.tables[0].zero_()
    trainer = run.make_trainer(Path(run.config["checkpoint_dir"]))
    trainer.model = run.network
    result = trainer.evaluate(run.split.valid, load_best_model=False)
    assert table["Recall@20"][1] == result["recall@20"]


@pytest.mark.parametrize("changes", [{"denoiser": "views"}, {}, {"skip": False}], ids=str)
def test_all_figures_are_drawn(keys: dict[str, Any], changes: dict[str, Any]) -> None:
    gallery = prefixdiff.draw(saved(keys, **changes), 1, "", "", "")
    assert len(gallery.missing) == ("denoiser" not in changes)
    assert len(gallery.figures) + len(gallery.missing) == 3
