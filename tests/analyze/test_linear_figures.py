"""LinDiffRec's figures: against NumPy, and against runs that leave a part out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract import DATASETS

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.models.lindiffrec import figures as lindiffrec
from recbole_diffusion.runs.quick_start import saved_run


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Any]:
    return {
        "data_path": str(DATASETS), "output_dir": str(tmp_path), "show_progress": False,
        "item_features": {"text": {"fields": ["title", "genre"]}},
        "eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO"},
    }  # fmt: skip


def saved(keys: dict[str, Any], **changes: Any) -> Any:
    result = run_recbole_diffusion("LinDiffRec", "planted", config_dict={**keys, **changes})
    run, _ = saved_run(result["run_folder"])
    return run


@pytest.mark.parametrize("local", [{}, {"local_items": 20, "kept_weights": 10}], ids=str)
def test_spectrum_is_that_of_the_matrix(keys: dict[str, Any], local: dict[str, Any]) -> None:
    model = saved(keys, **local).network
    matrix = model.score_histories([[item] for item in range(1, model.n_items)]).numpy()
    expected = np.linalg.svd(matrix, compute_uv=False)[: lindiffrec.N_VALUES]
    found = lindiffrec.spectrum(model)
    np.testing.assert_allclose(found[:30], expected[:30], rtol=1e-3)


def test_a_matrix_of_zeros_has_a_spectrum(keys: dict[str, Any]) -> None:
    model = saved(keys, local_items=1).network
    assert (lindiffrec.spectrum(model) == np.zeros(lindiffrec.N_VALUES)).all()


def test_a_part_that_is_left_out_has_the_score_of_a_run_without_it(keys: dict[str, Any]) -> None:
    run = saved(keys)
    table = lindiffrec.part_table(run).set_index("left out")["Recall@20"]
    assert list(table.index) == [
        *("nothing", "chain", "features", "recency", "lengths of histories")
    ]
    metric = run.config["valid_metric"].lower()
    for part, changes in {"nothing": {}, **lindiffrec.PARTS}.items():
        if part != "popularity":
            result = run_recbole_diffusion("LinDiffRec", "planted", config_dict={**keys, **changes})
            assert table[part] == pytest.approx(result["valid"][metric]), part
