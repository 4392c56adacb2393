"""The studies of DiffMM's paper on TikTok with images and sounds: a run a setting, as tables.

    python benchmarks/diffmm_studies.py

``studies.py`` tells how runs are kept and what is written. The settings are the authors' but for
what a study varies and for the patience.
"""

from typing import Any

import yaml
from studies import Setting, Study, argument_parser, run_studies

from recbole_diffusion.settings.property_files import find_property_file

DATASET = "tiktok"
AUTHORS = "model_on_dataset/DiffMM/tiktok-authors.yaml"
PATIENCE = {"stopping_step": 8}


def varied(label: Any, **keys: Any) -> Setting:
    """A run of DiffMM; the one with the authors' settings is the run without keys."""
    return Setting(label, "DiffMM", keys)


STUDIES = {
    "modules": Study(
        "Parts of the model (Table 2)",
        "model",
        [
            varied("DiffMM"),
            varied("w/o CL", contrastive_weight=0.0),
            varied("w/o DM", generator="vgae"),
            varied("w/o MSI", msi_weight=0.0),
        ],
        has_picture=False,
    ),
    "anchors": Study(
        "Anchor of the contrast (Table 4)",
        "anchor",
        [varied("main view"), varied("modality views", contrastive_anchor="modality")],
        has_picture=False,
    ),
    "signal": Study(
        "Weight of the modality's signal (Figure 3)",
        "msi_weight",
        [varied(0.01, msi_weight=0.01), varied(0.1), varied(0.5, msi_weight=0.5)],
        has_picture=False,
    ),
    "edges": Study(
        "Share of generated edges that an epoch keeps",
        "edge_keep_rate",
        [varied(0.25, edge_keep_rate=0.25), varied(0.5), varied(1.0, edge_keep_rate=1.0)],
        has_picture=False,
    ),
}


def main() -> None:
    """Run the studies asked for."""
    arguments = argument_parser(__doc__, "runs/diffmm_studies", STUDIES).parse_args()
    authors = yaml.safe_load(find_property_file(AUTHORS).read_text(encoding="utf-8"))
    run_studies(arguments, DATASET, STUDIES, {"DiffMM": {**authors, **PATIENCE}})


if __name__ == "__main__":
    main()
