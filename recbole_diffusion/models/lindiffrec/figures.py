"""LinDiffRec's figures, from the checkpoint of a run: its spectrum, and what each part adds."""

from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse.linalg import svds

from recbole_diffusion.pages.figure import Figure, Gallery, Missing, Panel, Series
from recbole_diffusion.pages.tables import metric_name

N_VALUES = 100
# Above this the other settings take minutes to solve; a comparison does it once and keeps it.
MOST_ITEMS = 8000
# A part, and the settings without it.
PARTS: dict[str, dict[str, Any]] = {
    "chain": {"steps": 1},
    "features": {"feature_weights": 0},
    "recency": {"recency": "none"},
    "lengths of histories": {"history_power": 0.0},
    "popularity": {"popularity_power": 0.0},
}


def draw(run: Any, _seed: int, _projection: str, key: str, name: str) -> Gallery:
    """The figures of one run; arguments as ``infodcl.draw``."""
    gallery = Gallery()
    gallery.add(_draw_spectrum(run.network, key, name), _draw_parts(run, key, name))
    return gallery


def spectrum(model: Any) -> np.ndarray:
    """The greatest singular values of M, at most ``N_VALUES``, the greatest first."""
    matrix = model.matrix()
    n_values = min(N_VALUES, matrix.shape[0] - 1)
    if not abs(matrix).max() > 0:
        return np.zeros(n_values)
    start = np.random.default_rng(0).standard_normal(matrix.shape[0]).astype(np.float32)
    return np.sort(svds(matrix, n_values, v0=start, return_singular_vectors=False))[::-1]


def _draw_spectrum(model: Any, key: str, name: str) -> Figure:
    values = spectrum(model)
    table = pd.DataFrame({"number": np.arange(1, len(values) + 1), "singular value": values})
    series = [Series("M", 0, "line", table["number"], table["singular value"])]
    return Figure(
        f"spectrum{key}",
        f"Spectrum of the matrix of scores{name}",
        "The greatest singular values of M, which takes a history to its scores. What lies along "
        "the first ones is amplified, the rest is denoised away: the steeper, the fewer tastes.",
        "",
        [Panel("", "number", "singular value", series, is_log_x=True)],
        table,
    )


def part_table(run: Any) -> pd.DataFrame:
    """A row for the whole model and each part that is on: what is left out, and the score.

    The model is solved anew without each part; scores are of validation, by the run's metric.
    """
    network, config = run.network, run.config
    is_on = {
        "chain": network.steps > 1,
        "features": bool(network.features),
        "recency": network.recency.kind != "none",
        "lengths of histories": network.history_power != 0,
        "popularity": config["popularity_power"] != 0,
    }
    left_out = {"nothing": {}, **{part: PARTS[part] for part, on in is_on.items() if on}}
    metric = config["valid_metric"].lower()
    trainer = run.make_trainer(Path(config["checkpoint_dir"]))
    scores = []
    for keys in left_out.values():
        if keys:
            settings = copy(config)
            settings.final_config_dict = {**config.final_config_dict, **keys}
            trainer.model = type(network)(settings, run.split.train._dataset).to(network.device)
            trainer.model.solve()
        result = trainer.evaluate(run.split.valid, load_best_model=False)
        scores.append(result[metric])
    return pd.DataFrame({"left out": list(left_out), metric_name(metric): scores})


def _draw_parts(run: Any, key: str, name: str) -> Figure | Missing:
    title = f"What each part adds{name}"
    if run.network.n_items > MOST_ITEMS:
        return Missing(
            title,
            f"the model is solved once for each part, up to {MOST_ITEMS} items; a comparison with "
            "a row for each, as in docs/models/lindiffrec.md, tells the same",
        )
    table = part_table(run)
    metric = table.columns[1]
    series = [Series("without it", 0, "bars", table["left out"], table[metric])]
    return Figure(
        f"parts{key}",
        title,
        f"Validation {metric} of the model, and with one part left out and all else as it is. "
        "The other settings are not searched anew.",
        "",
        [Panel("", "left out", f"validation {metric}", series)],
        table,
    )
