"""Models on growing shares of a train part, the smaller within the larger; the rest stays.

    python benchmarks/subsets.py --folder=runs/subsets
    python benchmarks/subsets.py --folder=runs/subsets --write

The train rows are drawn at random, so that users and items have fewer. Each share is a data set of
its own, and a comparison with the defaults; an interrupted one goes on. ``--write`` keeps the
results for docs/study.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from synthetic import HEADER, PROPERTIES

from recbole_diffusion import compare
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config

RESULTS = Path(__file__).with_name("results") / "study"
MODELS = "EASE,LinDiffRec,DiffRec,DiffRec-none=DiffRec,LD4MRec,LD4MRec-none=LD4MRec"
# As in the study's pairs on the whole train part.
CONTROLS = {
    **{"DiffRec-none.noise_scale": 0, "DiffRec-none.reweight": False, "DiffRec-none.steps": 1},
    **{"LD4MRec-none.noise_scale": 1e-6, "LD4MRec-none.steps": 1},
    "LD4MRec-none.importance_sampling": False,
}


def main() -> None:
    """Write each data set, and compare the models there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.2, 0.4, 0.7])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--folder", type=Path, default=Path("runs/subsets"))
    parser.add_argument("--write", action="store_true", help="keep the results")
    arguments = parser.parse_args()
    parts = read_parts(arguments.dataset)
    for share in arguments.shares:
        name = f"{arguments.dataset}-{share:.0%}".rstrip("%")
        write_share(arguments.folder / "data" / name, parts, share)
        keys = {
            "seeds": arguments.seeds,
            "metrics": ["Recall", "NDCG"],
            "data_path": str(arguments.folder / "data"),
            "output_dir": str(arguments.folder),
            "show_progress": False,
            **CONTROLS,
        }
        results = compare(MODELS, name, config_dict=keys)
        if arguments.write:
            kept = {**results, "dataset": arguments.dataset, "train_share": share, "command": ""}
            path = RESULTS / f"{arguments.dataset}_share_{share:.0%}".rstrip("%")
            path.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")


def read_parts(dataset: str) -> dict[str, pd.DataFrame]:
    """Users and items of each part, by their ids; the train rows in a random order."""
    split = load_split(Config("Pop", dataset, (), {"state": "WARNING"}))
    loaders: dict[str, Any] = {"train": split.train, "valid": split.valid, "test": split.test}
    parts = {name: tokens_of(loader._dataset) for name, loader in loaders.items()}
    order = np.random.default_rng(0).permutation(len(parts["train"]))
    return {**parts, "train": parts["train"].iloc[order]}


def tokens_of(part: Any) -> pd.DataFrame:
    """Its interactions, with the ids of the files."""
    fields = (part.uid_field, part.iid_field)
    columns = [part.id2token(field, part.inter_feat[field].numpy()) for field in fields]
    return pd.DataFrame(dict(zip(HEADER, columns, strict=True)))


def write_share(folder: Path, parts: dict[str, pd.DataFrame], share: float) -> None:
    """A data set with the first share of the train rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{folder.name}.yaml").write_text(PROPERTIES)
    n_kept = round(share * len(parts["train"]))
    for name, rows in {**parts, "train": parts["train"][:n_kept]}.items():
        rows.to_csv(folder / f"{folder.name}.{name}.inter", sep="\t", index=False)


if __name__ == "__main__":
    main()
