"""A comparison made by hand, with names that would be markup on a page that did not escape them."""

import json
from pathlib import Path
from typing import Any

from recbole_diffusion.studies.compare.results import SCHEMA
from recbole_diffusion.training.history import append_epoch

HOSTILE = "<img src=x onerror=alert(1)> & 'co'"
MODELS = ("InfoDCL", HOSTILE, "EASE")
METRICS = ("recall@20", "ndcg@20")
SEEDS = (1, 2)


def spread(mean: float | None, std: float | None = 0.01) -> dict[str, Any]:
    return {"mean": mean, "std": std, "n": 2}


def epoch(number: int, level: float, **diagnostics: float) -> dict[str, Any]:
    """The terms of the loss halve; validation rises by a hundredth."""
    terms = {"BPR": 0.4 * 0.5**number, "reconstruction": 0.1 * 0.5**number}
    return {
        "epoch": number,
        "loss": sum(terms.values()),
        "terms": terms,
        "train_seconds": 2.0,
        "valid": {"recall@20": level + 0.01 * number, "ndcg@20": 0.05},
        "valid_seconds": 0.5,
        "diagnostics": diagnostics,
    }


def groups(level: float) -> list[dict[str, Any]]:
    """The last has no users."""
    names = (("0-5", 30), ("6-10", 20), (">10", 0))
    return [
        {
            "group": name,
            "users": users,
            "metrics": {"recall@20": spread(level if users else None)},
        }
        for name, users in names
    ]


def model_entry(number: int, name: str) -> dict[str, Any]:
    level = 0.1 * (number + 1)
    cells = [
        {
            "seed": seed,
            "key": "0",
            "folder": f"runs/{number}-{seed}",
            "selects_on_test": False,
            "status": "finished",
            "error": None,
            "command": "python",
            "best_epoch": 2,
        }
        for seed in SEEDS
    ]
    return {
        "name": name,
        "model": "InfoDCL" if name == "InfoDCL" else "EASE",
        "is_host": name != "InfoDCL",
        "role": "candidate" if name == "InfoDCL" else "baseline",
        "status": "finished",
        "settings": {},
        "tuning": None,
        "command": f"python run_recbole_diffusion.py compare --models={name}",
        "test": {metric: spread(level) for metric in METRICS},
        "valid": {metric: spread(level) for metric in METRICS},
        "costs": {"train_seconds_per_epoch": spread(10.0 ** (number - 1))},
        "diversity": {},
        "groups": {"at_most": groups(level), "between": groups(level), "item_popularity": []},
        "protocols": {},
        "cells": cells,
    }


def results() -> dict[str, Any]:
    test = {
        "metric": "recall@20",
        "candidate": "InfoDCL",
        "baseline": "EASE",
        "users": 50,
        "mean_difference": -0.2,
        "statistic": 1.0,
        "p": 0.01,
        "p_holm": 0.02,
        "is_significant": True,
    }
    return {
        "schema": SCHEMA,
        "dataset": "toys & games",
        "command": "python run_recbole_diffusion.py compare --models=A,B --dataset=toys",
        "code": "recbole_diffusion 0",
        "data": {
            "users": 50,
            "items": 40,
            "train_interactions": 1234,
            "validation_interactions": 100,
            "test_interactions": 100,
            "split_hash": "0123abcd",
            "data_hash": "0",
        },
        "evaluation": {
            "metrics": list(METRICS),
            "valid_metric": "recall@20",
            "topk": [20],
            "eval_args": {},
            "masked": "items of train",
        },
        "seeds": list(SEEDS),
        "budget": None,
        "models": [model_entry(number, name) for number, name in enumerate(MODELS)],
        "best": dict.fromkeys(METRICS, "EASE"),
        "significance": {
            "test": "wilcoxon",
            "zero_method": "pratt",
            "correction": "holm",
            "alpha": 0.05,
            "metrics": list(METRICS),
            "comparisons": [test],
        },
        "protocols": [],
        "quoted": [
            {
                "name": "InfoDCL",
                "model": "InfoDCL",
                "source": "InfoDCL, Table 9",
                "metrics": {"recall@20": 0.15, "ndcg@20": 0.08},
            }
        ],
    }


def write_comparison(folder: Path, ratio: float | None = None, tune: int = 0) -> Path:
    """Results, plan and histories; no checkpoints. The last model has one epoch."""
    for number, name in enumerate(MODELS):
        for seed in SEEDS:
            run = folder / "runs" / f"{number}-{seed}"
            run.mkdir(parents=True)
            for k in range(1 if name == "EASE" else 3):
                level = 0.1 * (number + 1)
                append_epoch(run, epoch(k, level, change_of_scores=0.5, change=0.2))
    shared = {} if ratio is None else {"train_noise_ratio": ratio}
    options = {"tune": tune, "tune_minutes": 240.0, "trial_minutes": 8.0}
    plan = {
        "dataset": "toys", "config_files": [], "shared": shared, "own": {}, "seeds": list(SEEDS),
        "options": options,
    }  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "results.json").write_text(json.dumps(results()))
    return folder
