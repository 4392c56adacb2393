"""The studies of DiffRec's paper on ML-1M, drawn again: a run a setting, as tables and pictures.

    python benchmarks/diffrec_studies.py --output=runs/diffrec_studies

``studies.py`` tells how runs are kept and what is written.
"""

from collections.abc import Sequence
from typing import Any

from studies import Setting, Study, argument_parser, run_studies

DATASET = "ml-1m_clean"
# Of the settings published for it, those that a study varies.
PUBLISHED = {"sampling_steps": 0, "noise_scale": 0.005, "steps": 40, "mean_type": "x0"}
# The same stopping rule for all: no better validation for 20 epochs, evaluated every 5.
FIXED = {"eval_step": 5, "stopping_step": 3, "epochs": 1000}
BASELINES = {
    "MultiVAE": {"mlp_hidden_size": [600], "latent_dimension": 200, "train_batch_size": 400},
    "LightGCN": {"train_batch_size": 16384},  # a step costs a pass over the whole graph
}


def varied(key: str, values: Sequence[Any]) -> list[Setting]:
    """DiffRec's runs over the values of a key; the published one is the run without it."""
    return [Setting(v, "DiffRec", {} if v == PUBLISHED[key] else {key: v}) for v in values]


def noisy(model: str) -> list[Setting]:
    """Runs with random interactions in the train part."""
    ratios = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    return [
        Setting(ratio, model, {**BASELINES.get(model, {}), **added})
        for ratio in ratios
        for added in [{"train_noise_ratio": ratio} if ratio else {}]
    ]


without_noise = Setting(0.0, "DiffRec", {"noise_scale": 0.0, "reweight": False})
STUDIES = {
    "inference_steps": Study(
        "Inference steps (Figure 5b)", "T'", varied("sampling_steps", (0, 10, 20, 30, 40))
    ),
    "sampling": Study(
        "Importance sampling of steps (Figure 5a)",
        "sampling",
        [
            Setting("importance", "DiffRec", {}),
            Setting("uniform", "DiffRec", {"importance_sampling": False}),
        ],
        has_picture=False,
    ),
    "noise_scale": Study(
        "Noise scale (Figure 6)",
        "s",
        [without_noise, *varied("noise_scale", (1e-5, 1e-4, 5e-3, 1e-2, 1e-1, 1.0))],
    ),
    "steps": Study("Steps (Figure 6)", "T", varied("steps", (2, 5, 10, 40, 100))),
    "mean_type": Study(
        "What the denoiser predicts (Table 5)",
        "prediction",
        varied("mean_type", ("x0", "eps")),
        has_picture=False,
    ),
    "clusters": Study(
        "Clusters of L-DiffRec (Figure 7)",
        "C",
        [Setting(n, "LDiffRec", {"n_clusters": n}) for n in (1, 2, 3, 4, 5)],
    ),
    "parameters": Study(
        "Parameters (Table 6)",
        "method",
        [
            Setting("MultiVAE", "MultiVAE", BASELINES["MultiVAE"]),
            Setting("DiffRec", "DiffRec", {}),
            Setting("LDiffRec", "LDiffRec", {"n_clusters": 2}),
        ],
        has_picture=False,
    ),
    "random_noise": Study(
        "Random interactions in train (Figure 4)",
        "share added",
        [setting for model in ("DiffRec", "MultiVAE", "LightGCN") for setting in noisy(model)],
    ),
}


def main() -> None:
    """Run the studies asked for."""
    parser = argument_parser(__doc__, "runs/diffrec_studies", STUDIES)
    parser.add_argument("--item_embedding", help="file for L-DiffRec's clusters; else LightGCN")
    arguments = parser.parse_args()
    keys: dict[str, dict[str, Any]] = {"all": FIXED}
    if arguments.item_embedding:
        keys["LDiffRec"] = {"pretrained_item_embedding": arguments.item_embedding}
    run_studies(arguments, DATASET, STUDIES, keys)


if __name__ == "__main__":
    main()
