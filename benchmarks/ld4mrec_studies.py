"""The studies of LD4MRec's paper on ML-1M with titles: a run a setting, as tables and pictures.

    python benchmarks/ld4mrec_studies.py --features=ml-1m_clean.text.npz

``studies.py`` tells how runs are kept and what is written. The features are encoded titles
(``python -m recbole_diffusion.data.encode``); without ``--features`` the model has no modalities.
"""

import itertools
from typing import Any

from studies import Setting, Study, argument_parser, run_studies

DATASET = "ml-1m_clean"
# As good on test as the settings of the data set's property file, in a third of the time.
QUICK = {
    "learning_rate": 1e-3,
    "steps": 10,
    "preference_hidden_size": 64,
    "stopping_step": 8,
}
# Of the settings on the data set, those that a study varies.
OURS = {"sampling_steps": 0, "soft_label_prob": 0.01, "soft_label_shift": 0.01}
LIGHTGCN = {
    "learning_rate": 0.005,
    "n_layers": 3,
    "train_batch_size": 16384,  # a step costs a pass over the whole graph
    "eval_step": 5,
    "stopping_step": 5,
    "epochs": 60,  # 95 % of the validation score that it has in the end
}


def varied(label: Any, **keys: Any) -> Setting:
    """A run of LD4MRec; the one with our settings is the run without keys."""
    return Setting(label, "LD4MRec", {k: v for k, v in keys.items() if OURS.get(k) != v})


def noisy(model: str) -> list[Setting]:
    """Runs with random interactions in the train part."""
    ratios = (0.0, 0.1, 0.3, 0.5)
    return [Setting(r, model, {"train_noise_ratio": r} if r else {}) for r in ratios]


STUDIES = {
    "modules": Study(
        "Parts of the model (Figure 5)",
        "model",
        [
            varied("LD4MRec"),
            varied("w/o PG", modalities=[]),
            varied("w/o CG", use_collaboration=False),
            varied("w/o SR", soft_label_prob=0.0),
        ],
        has_picture=False,
    ),
    "forward_steps": Study(
        "Forward steps before the scores (Figure 3)",
        "t",
        [varied(t, sampling_steps=t) for t in (0, 1, 2, 5, 10)],
    ),
    "soft_labels": Study(
        "Soft labels (Figure 6)",
        "p, gamma",
        [
            varied(f"{p}, {gamma}", soft_label_prob=p, soft_label_shift=gamma)
            for p, gamma in itertools.product((0.005, 0.01, 0.02), repeat=2)
        ],
        has_picture=False,
    ),
    "random_noise": Study(
        "Random interactions in train (Figure 4)",
        "share added",
        [setting for model in ("LD4MRec", "DiffRec", "LightGCN") for setting in noisy(model)],
    ),
}


def main() -> None:
    """Run the studies asked for."""
    parser = argument_parser(__doc__, "runs/ld4mrec_studies", STUDIES)
    parser.add_argument("--features", help="file of item features beside the data set's files")
    arguments = parser.parse_args()
    features = {"text": {"file": arguments.features}} if arguments.features else {}
    keys = {"LD4MRec": {**QUICK, "item_features": features}, "LightGCN": LIGHTGCN}
    run_studies(arguments, DATASET, STUDIES, keys)


if __name__ == "__main__":
    main()
