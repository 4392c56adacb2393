"""What one rank does in a launch: ``shared_runs.py OUT STEP...``; finds go to ``OUT/rank<r>.json``.

Each step is a function of this file.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

import recbole_diffusion
from recbole_diffusion.base.ranks import current_ranks, sharing
from recbole_diffusion.models import host_models
from recbole_diffusion.models.sequential.model import SASRec
from recbole_diffusion.runs.run import Run, StopRun
from recbole_diffusion.settings.config import Config
from recbole_diffusion.training.shared import SharedTraining

DATASETS = Path(__file__).resolve().parents[2] / "dataset_atomic"
COMMON = {
    "data_path": str(DATASETS),
    "show_progress": False,
    "eval_batch_users": 90,
    "train_batch_size": 128,
    "state": "INFO",
}
TIMES = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
COLD = {
    "eval_args": {"split": {"CI": [0.6, 0.2, 0.2]}},
    "item_features": {"text": {"fields": ["genre"]}},
    "valid_metric": "Recall@10 (cold)",
    "eval_batch_users": 17,
}
# Without draws, so that a run of one process learns the same.
SASREC_SETTINGS = {**COMMON, **TIMES, "train_batch_size": 64, "epochs": 3, "dropout": 0.0}
# A row of LightGCN's penalty has a weight that shows.
GRAPH = {"reg_weight": 0.1}
IN_ORDER = {"eval_args": {"order": "TO", "split": {"RS": [0.8, 0.1, 0.1]}}}
PREFIXES = {**TIMES, **IN_ORDER, "dropout": 0.0}
CONTRAST = {"contrastive_weight": 1.0}
# By model: settings with which its loss draws nothing but by dropout layers, and what
# ``constant_draws`` makes the same for all rows. Means and sums over pairs, labels and users, with
# penalties of batches and of all weights, and contrasts among what a batch holds.
WITHOUT_DRAWS: dict[str, dict[str, Any]] = {
    "BPR": {},
    "CFDiff": {"dropout": 0.0},
    "CDAE": {"corruption_ratio": 0.0, "reg_weight_1": 0.01, "reg_weight_2": 0.1},
    "ConvNCF": {"reg_weights": [0.1, 0.1]},
    "DDRM": {"reweight_power": 0.5},
    "ENMF": {"reg_weight": 0.1},
    "FlowCF": {},
    "GRU4Rec": {**TIMES, "dropout": 0.0},
    "GiffCF": {"dropout": 0.0, "noise_scale": 0.1, "svd_rank": 20},
    "LightGCN": GRAPH,
    "MultiDAE": {"dropout_prob": 0.0},
    "NeuMF": {},
    "PrefixDiff": PREFIXES,
    "SASRec": {**TIMES, "dropout": 0.0},
    "SGL": GRAPH,
    "SimpleX": {"reg_weight": 0.1},
    "XSimGCL": {**CONTRAST, "noise": 0.0},
}
# Likewise, of models that read features of items.
OF_FEATURES: dict[str, dict[str, Any]] = {
    "BM3": {"dropout": 0.0},
    "DiffMM": {"hidden_sizes": [16]},
    "FREEDOM": {"prune_ratio": 0.0, "modal_weight": 0.1},
    "LGMRec": {**CONTRAST, "hyper_dropout": 0.0},
    "MGCN": CONTRAST,
    "VBPR": {"reg_weight": 0.1},
}


def gradients(folder: Path) -> dict[str, Any]:
    """Loss and gradients of a batch whole, and of the ranks' shares of it, by model.

    Of a batch of few rows too, of which a rank has none.
    """
    found = {}
    with sharing() as ranks:
        features = {
            name: settings | with_features(folder) for name, settings in OF_FEATURES.items()
        }
        for name, settings in {**WITHOUT_DRAWS, **features}.items():
            run = Run(Config(name, "planted", (), {**COMMON, **settings}))
            batch = next(iter(run.split.train))
            times = getattr(run.split.train, "times", 1)
            n = len(batch) // times
            few = batch[(np.arange(ranks.size - 1) + 1 + n * np.arange(times)[:, None]).ravel()]
            if hasattr(run.network, "prepare"):
                run.network.prepare()
            with constant_draws():
                found[name] = compared(run.network, run.config, (batch, few), times)
    return found


@contextmanager
def constant_draws() -> Iterator[None]:
    """Inside, draws of steps and noise are the same for each row, whichever batch it is in."""
    constants = {
        "randint": lambda *numbers, **kwargs: torch.ones(numbers[-1], dtype=torch.int64),
        "randn": lambda *sizes, **kwargs: torch.full(sizes, 0.3),
        "rand_like": lambda x, **kwargs: torch.full_like(x, 0.4, **kwargs),
        "randn_like": lambda x, **kwargs: torch.full_like(x, 0.3, **kwargs),
    }
    with ExitStack() as stack:
        for name, constant in constants.items():
            stack.enter_context(patch.object(torch, name, constant))
        yield


def cold(folder: Path) -> dict[str, float]:
    """Test metrics of a run whose held-out items are cold."""
    settings = {**COMMON, **COLD, "output_dir": str(folder / "runs")}
    result = recbole_diffusion.run_recbole_diffusion("LinDiffRec", "planted", config_dict=settings)
    return dict(result["test"])


def ncl(folder: Path) -> list[Any]:
    """As ``gradients``, of NCL, whose clusters need a package that may not be there."""
    with sharing():
        run = Run(Config("LightGCN", "planted", (), {**COMMON, **GRAPH}))
        settings = {"ssl_temp": 0.1, "ssl_reg": 0.1, "hyper_layers": 1, "alpha": 1.0}
        settings |= {"proto_reg": 0.1, "num_clusters": 3, "model": "NCL"}
        config = run.config.derive(**settings)
        model = host_models.NCL(config, run.split.train._dataset)
        draws = torch.Generator().manual_seed(1)
        for side, n in (("user", model.n_users), ("item", model.n_items)):
            centroids = torch.randn(3, model.latent_dim, generator=draws)
            setattr(model, f"{side}_centroids", torch.nn.functional.normalize(centroids))
            setattr(model, f"{side}_2cluster", torch.randint(3, (n,), generator=draws))
        return compared(model, config, (next(iter(run.split.train)),), 1)


def compared(model: Any, config: Any, batches: Any, times: int) -> list[list[float]]:
    """Largest differences of loss and gradients, relative to the largest value, by batch."""
    optimizer = torch.optim.SGD(model.parameters())
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    wholes = [learned(model, optimizer, batch) for batch in batches]
    shared = SharedTraining(current_ranks(), model, config)
    errors = []
    for batch, (whole, expected) in zip(batches, wholes, strict=True):
        with shared.sharing_loss(times, lambda: optimizer):
            part, found = learned(model, optimizer, batch)
        error = abs(shared.total(part) - whole) / abs(whole)
        assert found.keys() == expected.keys()
        largest = max(gradient.abs().max() for gradient in expected.values())
        differences = [(found[n] - expected[n]).abs().max() / largest for n in found]
        errors.append([error, float(max(differences))])
    return errors


def learned(model: Any, optimizer: Any, batch: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss of a batch, and its gradients by parameter; of one without there is none."""
    optimizer.zero_grad()
    losses = model.calculate_loss(batch)
    loss = sum(losses).sum() if isinstance(losses, tuple) else losses.sum()
    loss.backward()
    return loss.item(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def sasrec(folder: Path) -> dict[str, Any]:
    return recbole_diffusion.run_recbole_diffusion(
        "SASRec", "planted", config_dict={**SASREC_SETTINGS, "output_dir": str(folder)}
    )


def sasrec_killed(folder: Path) -> None:
    """Rank 1 is killed in the third epoch."""
    loss, n_calls = SASRec.calculate_loss, 0

    def killing(model: Any, batch: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls > 2 * 4 and current_ranks().rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(model, batch)

    SASRec.calculate_loss = killing  # type: ignore[method-assign]
    recbole_diffusion.run_recbole_diffusion(
        "SASRec", "planted", config_dict=SASREC_SETTINGS, run_folder=folder / "killed"
    )


def resumed(folder: Path) -> dict[str, Any]:
    return recbole_diffusion.resume_run(folder / "killed")


def stopped_and_resumed(folder: Path) -> dict[str, Any]:
    """Of models that draw: a run, and one that was stopped after an epoch and went on."""
    found = {}
    for model in ("BPR", "DiffRec"):
        settings = {**COMMON, "epochs": 3, "eval_step": 1, "output_dir": str(folder)}
        run = recbole_diffusion.run_recbole_diffusion
        whole = run(model, "planted", config_dict=settings)
        stopped = run(model, "planted", config_dict=settings, on_validation=stop)
        result = Path(stopped["run_folder"]) / "result.json"
        with sharing() as ranks:
            if ranks.is_first:
                result.unlink()
        found[model] = [stopped, whole, recbole_diffusion.resume_run(result.parent)]
    return found


def stop(epoch: int, score: float) -> None:
    """On rank 0 alone, whose word counts for all."""
    if current_ranks().is_first:
        raise StopRun(f"after epoch {epoch}")
    raise AssertionError("called on another rank")


def diffusion(folder: Path) -> dict[str, Any]:
    """Runs of models that draw, learn what is no parameter, or have phases."""
    settings = {**COMMON, "epochs": 2, "output_dir": str(folder)}
    of_model = {
        "DiffRec": {"sampling_steps": 2},
        "recbole.DiffRec": {},
        "DiffMM": OF_FEATURES["DiffMM"] | with_features(folder),
        "InfoDCL": {"channels": ["knowledge"], "pretrain_epochs": 1, "train_batch_size": 2048},
        "LDiffRec": {"n_clusters": 2, "pretrain_epochs": 1},
    }
    run = recbole_diffusion.run_recbole_diffusion
    return {
        name: run(name, "planted", config_dict={**settings, **own})
        for name, own in of_model.items()
    }


def with_features(folder: Path) -> dict[str, Any]:
    features = {name: {"file": str(folder / f"{name}.npz")} for name in ("genre", "look")}
    return {"item_features": features, "train_batch_size": 512}


def exchanges(folder: Path) -> dict[str, Any]:
    """What ranks tell each other."""
    with sharing() as ranks:
        own = torch.arange(2 * ranks.rank, dtype=torch.float64).view(ranks.rank, 2)
        return {
            "gathered": [part.tolist() for part in ranks.gathered(own)],
            "sum": ranks.sum_(torch.tensor([1.0 + ranks.rank])).tolist(),
            "of_first": ranks.of_first(lambda: f"é of {ranks.rank}"),
            "any": [ranks.any(ranks.rank == 1), ranks.any(False)],
            "threads": torch.get_num_threads(),
        }


def main() -> None:
    folder, *steps = sys.argv[1:]
    found = {step: globals()[step](Path(folder)) for step in steps}
    path = Path(folder) / f"rank{os.environ['RANK']}.json"
    path.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
