"""What the tests of the DiffRec family share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_diffusion import run_recbole_diffusion


def share_denoiser(ours: Any, host: Any) -> None:
    """Give our denoiser the weights of RecBole's."""
    network = ours.denoiser
    linear = [layer for layer in host.mlp.mlp_layers.mlp_layers if hasattr(layer, "weight")]
    pairs = [(network.step_layer, host.mlp.emb_layer)]
    own = [network.first_layer, *network.layers_between, network.last_layer]
    for mine, theirs in [*pairs, *zip(own, linear, strict=True)]:
        mine.load_state_dict(theirs.state_dict())


def same_ranking(one: torch.Tensor, other: torch.Tensor, k: int) -> float:
    """Share of the first k items that both lists have."""
    lists = [scores.topk(k, dim=1).indices for scores in (one, other)]
    return (lists[0][:, :, None] == lists[1][:, None, :]).any(dim=2).float().mean().item()


def drift(write_dataset: Callable[..., Path], is_shuffled: bool) -> Path:
    """Users move from one group of items to another, of which the held-out items are."""
    draw = np.random.default_rng(4)
    rows = [("user_id:token", "item_id:token", "timestamp:float")]
    for user in range(800):
        early, late = draw.choice(8, size=2, replace=False)
        items = [*draw.choice(20, 12, replace=False) + 20 * early]
        items += [*draw.choice(20, 7, replace=False) + 20 * late]
        times = np.concatenate([draw.permutation(17) if is_shuffled else np.arange(17), [17, 18]])
        rows += [(f"u{user}", f"i{i}", str(t)) for i, t in zip(items, times, strict=True)]
    return write_dataset("drift", inter=rows)


def drift_recall(data_path: Path, tmp_path: Path, model: str, seed: int, **own: Any) -> float:
    """Recall@10 of the last of 19 interactions, after training on the first 17."""
    keys = {
        "data_path": str(data_path), "output_dir": str(tmp_path / "runs"), "seed": seed,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "show_progress": False,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user",
                      "mode": "full"},
        "topk": [10], "valid_metric": "Recall@10", "dropout": 0.2, "learning_rate": 3e-3,
        "train_batch_size": 100, "epochs": 30, **own,
    }  # fmt: skip
    return run_recbole_diffusion(model, "drift", config_dict=keys)["test"]["recall@10"]
