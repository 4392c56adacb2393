"""``results.json``: all that the tables and the report print, gathered from the finished cells."""

import math
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_diffusion.base.errors import UserError, expect, refusals_of
from recbole_diffusion.base.files import read_json
from recbole_diffusion.evaluation.metrics import metric_names
from recbole_diffusion.evaluation.per_user import PER_USER, write_frame
from recbole_diffusion.evaluation.protocol import Protocol
from recbole_diffusion.evaluation.significance import compare_to_best_baseline
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.evaluation_keys import (
    GROUPS,
    of_group,
    split_in_words,
    without_group,
)
from recbole_diffusion.settings.words import format_word, format_words
from recbole_diffusion.studies.compare.parts import COSTS, OPTIONAL_COSTS, Part, Parts
from recbole_diffusion.studies.compare.plan import Cell, Data, code_version
from recbole_diffusion.studies.compare.quoted import quoted_rows
from recbole_diffusion.studies.compare.request import Request

SCHEMA = "recbole_diffusion comparison 1"
# What the tables are made of.
KEYS = (
    *("dataset", "data", "evaluation", "seeds", "budget", "models", "best", "significance"),
    *("protocols", "quoted"),
)
# What reading raises where another kind of value stands.
MISSHAPEN = (LookupError, TypeError, ValueError, AttributeError)
ITEMS = "item_popularity"
MASKING = "items of the train and validation parts"
WARNING_ON_TEST = (
    "best epoch picked on the test part: the numbers are too high, and stand here only beside "
    "those of papers that did the same"
)


def collect(
    request: Request,
    configs: Mapping[str, Config],
    data: Data,
    cells: Sequence[Cell],
    tuning: Mapping[str, Any],
    failed_searches: Mapping[str, str],
    parts: Parts,
    folder: Path,
) -> dict[str, Any]:
    """Gather what the finished cells hold; docs/compare.md describes the result.

    Args:
        request: What was asked for.
        configs: Settings by label.
        data: That all cells share.
        cells: All of them, finished or not; none of a model whose search has not ended.
        tuning: What the search of each model found, by label; empty without one.
        failed_searches: Why the search of a model failed, by label.
        parts: Of the cells.
        folder: Of the comparison; ``per_user.parquet`` is written there.
    """
    config, settings = next(iter(configs.values())), request.settings
    valid_metric = config["valid_metric"].lower()
    frames = parts.frames([cell for cell in cells if cell.label not in failed_searches])
    per_user = _together(frames)
    if len(per_user):
        write_frame(folder / PER_USER, per_user)
    measured = [*metric_names(config), *_metrics_of_groups(config, frames, parts)]
    models = [
        _model(request, label, cells, set(frames), tuning, measured, parts)
        for label in request.models
    ]
    for model in models:
        if model["name"] in failed_searches:
            _tell_failed_search(model, failed_searches[model["name"]])
    names = [model["name"] for model in models if model["test"]]
    return {
        "schema": SCHEMA,
        "dataset": settings.dataset,
        "command": request.command(list(request.models), request.seeds),
        "code": code_version(),
        "data": data.as_dict(),
        "evaluation": {
            "metrics": measured,
            "valid_metric": valid_metric,
            "topk": list(config["topk"]),
            "eval_args": config["eval_args"],
            "split": split_in_words(config),
            "masked": MASKING,
        },
        "seeds": list(request.seeds),
        "budget": _budget(request),
        "models": models,
        "best": _best(models, measured),
        "significance": _significance(request, per_user, names, tested_metrics(request, config)),
        "protocols": [_protocol_entry(protocol) for protocol in request.protocols],
        "quoted": quoted_rows(settings.dataset) if settings.quoted else [],
    }


def _significance(
    request: Request, per_user: pd.DataFrame, names: Sequence[str], tested: Sequence[str]
) -> dict[str, Any]:
    """Tests of those that have run against the best baseline among them."""
    settings = request.settings
    baselines = [name for name in request.baselines if name in names]
    return {
        "test": settings.significance,
        "zero_method": "pratt" if settings.significance == "wilcoxon" else None,
        "correction": "holm",
        "alpha": settings.alpha,
        "metrics": list(tested),
        "comparisons": compare_to_best_baseline(
            per_user, baselines, names, tested, settings.significance, settings.alpha
        ),
    }


def _metrics_of_groups(
    config: Config, frames: Mapping[Cell, pd.DataFrame], parts: Parts
) -> list[str]:
    """Metrics among warm and cold items that cells have; as they share the data, all or none."""
    found = next((part for cell in frames if (part := parts.of(cell))), None)
    names = [of_group(metric, group) for group in GROUPS for metric in metric_names(config)]
    return [] if found is None else [name for name in names if name in found.result["test"]]


def read_results(path: Path, *keys: str) -> dict[str, Any]:
    """Read the ``results.json`` of a comparison.

    Args:
        path: The file.
        *keys: That it must have beside those of the tables.

    Raises:
        UserError: No such file, a damaged one, or another.
    """
    found = read_json(path, "schema")
    if found["schema"] != SCHEMA:
        raise UserError(f"{path}: found schema {found['schema']!r}, expected {SCHEMA!r}")
    found = read_json(path, *KEYS, *keys)
    with refusals_of(f"{path}: no results of a comparison", *MISSHAPEN):
        _check_models(found["models"], found["evaluation"]["valid_metric"])
    return found


def _check_models(models: Sequence[Mapping[str, Any]], metric: str) -> None:
    """Refuse rows that no table can be made of, as somebody's own hand or program leaves them.

    Raises:
        ValueError: A metric is absent, or a number is none.
    """
    for model in models:
        if model["test"] and metric not in model["test"]:
            raise ValueError(f"found no {metric} of {model['name']}")
        for name, value in model["test"].items():
            if value["mean"] is not None and not math.isfinite(value["mean"]):
                raise ValueError(f"found {value['mean']}, {name} of {model['name']}")


def _together(frames: Mapping[Cell, pd.DataFrame]) -> pd.DataFrame:
    """The per-user tables of all cells that select on validation, with model and seed in front."""
    parts = []
    for cell, frame in frames.items():
        if not cell.selects_on_test:
            part = frame.copy()
            part.insert(0, "seed", cell.seed)
            part.insert(0, "model", cell.label)
            parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def tested_metrics(request: Request, config: Config) -> list[str]:
    """Names of the metrics to test.

    Raises:
        UserError: One that is not measured for each user, or picks the epoch and is not.
    """
    names, measured = request.settings.tested_metrics, metric_names(config)
    metric = without_group(config["valid_metric"])[0]  # groups of items are not tested
    expected = (
        f"one of those that each user has: {', '.join(measured) or 'none is asked for'}; type "
        f"{_metric_words(config, measured)}"
    )
    expect(metric.lower() in measured, "valid_metric", metric, expected)
    if names is None:
        cutoff = metric.rpartition("@")[2]
        return [name for name in measured if name.rpartition("@")[2] == cutoff]
    for name in names:
        expect(name.lower() in measured, "tested_metrics", name, f"some of {', '.join(measured)}")
    return [name.lower() for name in names]


def _metric_words(config: Config, measured: Sequence[str]) -> str:
    """Words of the command line that pick the epoch by a metric of each user."""
    if measured:
        return format_word("valid_metric", measured[0])
    keys = {
        "metrics": ["Recall", *config["metrics"]],
        "valid_metric": f"Recall@{config['topk'][0]}",
    }
    return " ".join(format_words(keys))


def _budget(request: Request) -> dict[str, Any] | None:
    if not request.settings.tune:
        return None
    keys = ("tune", "tune_minutes", "trial_minutes")
    return {key: getattr(request.settings, key) for key in keys}


def _protocol_entry(protocol: Protocol) -> dict[str, Any]:
    return {
        "name": protocol.name,
        "masked": "items of the train part" if protocol.masks_train_only else MASKING,
        "average": protocol.average,
        "batch_users": protocol.batch_users or None,
        "selects_on_test": protocol.selects_on_test,
        "warning": WARNING_ON_TEST if protocol.selects_on_test else None,
    }


def _model(
    request: Request,
    label: str,
    cells: Sequence[Cell],
    finished: Set[Cell],
    tuning: Mapping[str, Any],
    measured: Sequence[str],
    parts: Parts,
) -> dict[str, Any]:
    """One row of the tables."""
    registration = request.models[label].registration
    cells = [cell for cell in cells if cell.label == label]
    plain = [cell for cell in cells if not cell.selects_on_test]
    found = {cell: parts.of(cell) for cell in cells if cell in finished}
    done = [part for cell, part in found.items() if part and not cell.selects_on_test]
    results = [part.result for part in done]
    means = [parts.means(cell) for cell in found]
    return {
        "name": label,
        "model": registration.key,
        "is_host": registration.is_host,
        "role": "baseline" if label in request.baselines else "candidate",
        "status": _status(plain, len(done), parts),
        "settings": request.models[label].keys,
        "tuning": tuning.get(label),
        "command": request.command([label], request.seeds),
        "test": spread([result["test"] for result in results], measured),
        "valid": spread([result["valid"] for result in results], measured),
        "costs": spread(results, (*COSTS, *OPTIONAL_COSTS)),
        "diversity": spread([part.beyond["diversity"] for part in done]),
        "groups": {
            **_group_spreads([part.activity for part in done]),
            **_group_spreads([{ITEMS: part.beyond[ITEMS]} for part in done]),
        },
        "protocols": {
            protocol.name: spread([m[protocol.name] for m in means if protocol.name in m])
            for protocol in request.protocols
        },
        "cells": [_cell_entry(request, cell, found.get(cell), parts) for cell in cells],
    }


def _status(cells: Sequence[Cell], n_done: int, parts: Parts) -> str:
    if cells and n_done == len(cells):
        return "finished"
    if n_done:
        return "partial"
    return "failed" if any(parts.trouble(cell) for cell in cells) else "not run"


def spread(
    values: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation and number of seeds by name; nothing for none.

    Args:
        values: One mapping for each seed.
        names: To take; None takes all of the first.
    """
    if not values:
        return {}
    return {
        name: _spread([value[name] for value in values])
        for name in (values[0] if names is None else names)
        if name in values[0]
    }


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    """The deviation is that of a sample (n - 1), and null for one seed."""
    known = [float(value) for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "n": len(known),
    }


def _group_spreads(kinds: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Groups of all seeds, metric by metric."""
    if not kinds:
        return {}
    return {
        kind: [
            {**groups[0], "metrics": spread([group["metrics"] for group in groups])}
            for groups in zip(*(seed[kind] for seed in kinds), strict=True)
        ]
        for kind in kinds[0]
    }


def _cell_entry(request: Request, cell: Cell, part: Part | None, parts: Parts) -> dict[str, Any]:
    error = parts.trouble(cell)
    entry: dict[str, Any] = {
        "seed": cell.seed,
        "key": cell.key,
        "folder": f"runs/{cell.folder.name}",
        "selects_on_test": cell.selects_on_test,
        "status": "finished" if part else "failed" if error else "not run",
        "error": error,
        "command": request.command([cell.label], [cell.seed]),
    }
    if part:
        kept = ("best_epoch", "split_hash", "valid", "test", *COSTS, "environment")
        entry.update({name: part.result[name] for name in kept})
        entry.update({name: part.result[name] for name in OPTIONAL_COSTS if name in part.result})
    return entry


def _tell_failed_search(model: dict[str, Any], reason: str) -> None:
    """No number stands for a model that has no settings."""
    model["status"] = "failed"
    for cell in model["cells"]:
        cell["error"] = f"its search failed: {reason}"


def _best(models: Sequence[Mapping[str, Any]], measured: Sequence[str]) -> dict[str, str]:
    """The model with the highest mean, by metric."""
    known = [model for model in models if model["test"]]
    if not known:
        return {}
    return {
        metric: max(known, key=lambda model: model["test"][metric]["mean"])["name"]
        for metric in measured
    }
