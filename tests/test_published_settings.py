"""The property files hold what the papers' authors used."""

from typing import Any

import pytest

from recbole_diffusion.settings.property_files import properties_folder, read_properties

# The tables of DiffRec's authors, column by column.
ROW_COLUMNS = (
    *("learning_rate", "hidden_sizes", "steps", "noise_scale", "noise_min", "noise_max"),
    "reweight",
)
ROWS = {
    "DiffRec/ml-1m_clean": (1e-3, [200, 600], 40, 0.005, 0.005, 0.01, True),
    "DiffRec/ml-1m_noisy": (1e-3, [200, 600], 5, 0.5, 0.001, 0.01, False),
    "DiffRec/yelp_clean": (1e-5, [1000], 5, 0.01, 0.001, 0.01, True),
    "DiffRec/yelp_noisy": (1e-5, [1000], 5, 0.001, 0.0005, 0.01, False),
    "DiffRec/amazon-book_clean": (5e-5, [1000], 5, 0.0001, 0.0005, 0.005, True),
    "DiffRec/amazon-book_noisy": (5e-5, [1000], 10, 0.005, 0.0001, 0.0005, True),
    "LDiffRec/ml-1m_clean": (1e-3, [300], 40, 0.005, 0.005, 0.02, True),
    "LDiffRec/ml-1m_noisy": (1e-3, [300], 100, 0.005, 0.005, 0.02, True),
    "LDiffRec/yelp_clean": (5e-4, [300], 5, 0.01, 0.005, 0.01, False),
    "LDiffRec/yelp_noisy": (5e-4, [300], 5, 0.01, 0.005, 0.01, False),
    "LDiffRec/amazon-book_clean": (5e-4, [300], 5, 0.5, 0.001, 0.005, True),
    "LDiffRec/amazon-book_noisy": (5e-4, [300], 5, 0.5, 0.001, 0.005, True),
    "TDiffRec/amazon-book_clean": (1e-5, [1000], 10, 0.0005, 0.001, 0.005, True),
    "TDiffRec/yelp_clean": (1e-5, [1000], 5, 0.005, 0.001, 0.01, True),
    "LTDiffRec/amazon-book_clean": (5e-4, [300], 5, 0.7, 0.001, 0.005, True),
    "LTDiffRec/yelp_clean": (5e-4, [300], 5, 0.01, 0.005, 0.01, True),
}
LATENT = {"n_clusters": 2, "encoder_sizes": [300], "decoder_sizes": [], "encoder_dropout": 0.1}
MORE: dict[str, dict[str, Any]] = {
    "LDiffRec/ml-1m_clean": {"denoiser_learning_rate": 5e-4, "lamda": 0.03, **LATENT},
    "LDiffRec/ml-1m_noisy": {"denoiser_learning_rate": 5e-4, "lamda": 0.03, **LATENT},
    "LDiffRec/yelp_clean": {"denoiser_learning_rate": 1e-4, "lamda": 0.03, **LATENT},
    "LDiffRec/yelp_noisy": {"denoiser_learning_rate": 1e-4, "lamda": 0.03, **LATENT},
    "LDiffRec/amazon-book_clean": {"denoiser_learning_rate": 1e-4, "lamda": 0.05, **LATENT},
    "LDiffRec/amazon-book_noisy": {"denoiser_learning_rate": 1e-4, "lamda": 0.07, **LATENT},
    "TDiffRec/amazon-book_clean": {"w_min": 0.1, "w_max": 1.0},
    "TDiffRec/yelp_clean": {"w_min": 0.5, "w_max": 1.0},
    "LTDiffRec/amazon-book_clean": {"denoiser_learning_rate": 1e-4, "lamda": 0.03, "w_min": 0.1},
    "LTDiffRec/yelp_clean": {
        **{"denoiser_learning_rate": 5e-5, "lamda": 0.03, "w_min": 0.5, "train_batch_size": 200},
    },
}
# What the authors' code does and their arguments say, in the keys of this package. Their L2 is of
# half the squares.
CODE = {
    "InfoDCL/office-authors": {
        **{"learner": "adam", "learning_rate": 0.005, "train_batch_size": 2000, "n_layers": 2},
        **{"steps": 200, "noise_schedule": "exp", "beta_start": 0.1, "beta_end": 10.0},
        **{"embedding_size": 64, "embedding_std": 0.1, "temperature": 0.5, "n_neighbors": 20},
        **{"reconstruction_weight": 0.4, "bpr_weight": 0.6, "reg_weight": 0.003 / 2},
        **{"balance_weight": 5e-5, "balance_form": "squared", "contrastive_weight": 5e-6},
        **{"contrastive_reduction": "sum", "reconstruction_reduction": "element"},
        **{"use_embedded_metadata": True, "use_vector_mlps": False},
    },
    "SimDiff/office-authors": {
        **{"learner": "adam", "learning_rate": 0.03, "weight_decay": 0.0, "n_layers": 2},
        **{"train_batch_size": 2000, "steps": 200, "bpr_weight": 0.9, "reg_weight": 0.003 / 2},
    },
    "SimDiff/taobao-authors": {
        **{"learner": "adamw", "learning_rate": 0.0059, "weight_decay": 0.00098, "n_layers": 2},
        **{"train_batch_size": 1024, "steps": 350, "bpr_weight": 0.609, "reg_weight": 0.0085 / 2},
    },
}
SIMDIFF = {
    **{"balance_weight": 1.0, "balance_form": "squared", "reconstruction_reduction": "element"},
    **{"embedding_std": 0.1, "noise_schedule": "exp", "reverse_step": "posterior"},
    **{"denoiser_hidden_size": None, "alignment_hidden_size": None, "channels": ["social"]},
}


def settings(name: str) -> dict[str, Any]:
    """A model's defaults under its settings on a data set."""
    folder = properties_folder()
    defaults = read_properties(folder / "model" / f"{name.split('/')[0]}.yaml")
    return {**defaults, **read_properties(folder / "model_on_dataset" / f"{name}.yaml")}


@pytest.mark.parametrize("name", ROWS)
def test_diffrec_family(name: str) -> None:
    """And what all of these share: batch, widths, and inference from the clean row."""
    shared = {
        **{"learner": "adamw", "weight_decay": 0.0, "train_batch_size": 400, "mean_type": "x0"},
        **{"step_embedding_size": 10, "sampling_steps": 0, "dropout": 0.5},
        **{"noise_schedule": "linear-var", "use_half_snr": False, "importance_sampling": True},
        "first_beta": None if name.startswith("L") else 1e-5,
    }
    own = dict(zip(ROW_COLUMNS, ROWS[name], strict=True))
    expected = {**shared, **own, **MORE.get(name, {})}
    found = settings(name)
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("name", CODE)
def test_infodcl_and_simdiff(name: str) -> None:
    expected = {**CODE[name], **(SIMDIFF if name.startswith("SimDiff") else {})}
    found = settings(name)
    assert {key: found[key] for key in expected} == expected


def test_ld4mrec() -> None:
    """Section 6.4 of the paper; there is no code."""
    expected = {
        **{"learner": "adam", "train_batch_size": 400, "epochs": 1000, "stopping_step": 20},
        **{"hidden_size": 1000, "svd_rank": 100, "step_embedding_size": 10, "eval_step": 1},
        **{"noise_scale": 0.1, "noise_min": 1e-4, "soft_label_prob": 0.01},
        **{"soft_label_shift": 0.01, "sampling_steps": 0, "importance_sampling": True},
    }
    found = read_properties(properties_folder() / "model" / "LD4MRec.yaml")
    assert {key: found[key] for key in expected} == expected
