"""What an epoch chosen on test would claim, beside what the one that validation picks has there.

    python benchmarks/chosen_on_test.py
    python benchmarks/chosen_on_test.py --write   # keep it for docs/study.md

Each model trains with its defaults and stops by validation; test is evaluated beside it after each
epoch that is validated. The claim is the best of these.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffrec_inference import make_trainer

from recbole_diffusion.base.files import write_json
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.base.randomness import own_randomness
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config

RESULTS = Path(__file__).with_name("results") / "chosen_on_test"
METRIC = "recall@20"


def main() -> None:
    """Train, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--models", nargs="+", default=["DiffRec", "LD4MRec", "SimDiff", "InfoDCL"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data_path")
    parser.add_argument("--write", action="store_true", help="keep what was found")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for model in arguments.models:
        for seed in arguments.seeds:
            rows.append({"model": model, "seed": seed, **trained(model, seed, arguments)})
            print(rows[-1], flush=True)
    if arguments.write:
        RESULTS.mkdir(parents=True, exist_ok=True)
        found = {"dataset": arguments.dataset, "metric": METRIC, "rows": rows}
        write_json(RESULTS / f"{arguments.dataset}.json", found)


def trained(model: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Test metric by the epoch that validation picks, and the best of all epochs."""
    with tempfile.TemporaryDirectory() as folder, run_logger(None, "ERROR"):
        keys = {"seed": seed, "output_dir": folder, "show_progress": False, "use_gpu": False}
        if arguments.data_path:
            keys["data_path"] = arguments.data_path
        config = Config(model, arguments.dataset, (), keys)
        split = load_split(config)
        trainer = make_trainer(config, split, Path(folder))
        found = watched(trainer, split.test)
        trainer.fit(split.train, split.valid, verbose=False, saved=False)
    best = max(range(len(found)), key=lambda epoch: found[epoch][0])
    return {
        "epochs": len(found),
        "by_validation": found[best][1],
        "by_test": max(on_test for _, on_test in found),
    }


def watched(trainer: Any, test: Any) -> list[tuple[float, float]]:
    """Validation score and test metric of each epoch that is validated, as it trains."""
    found: list[tuple[float, float]] = []
    validate = trainer._validate

    def also_test(valid: Any, epoch: int, show_progress: bool) -> float:
        score: float = validate(valid, epoch, show_progress)
        with own_randomness(trainer.config["seed"], trainer.device):
            result = trainer.evaluate(test, load_best_model=False)
        found.append((score, result[METRIC]))
        return score

    trainer._validate = also_test
    return found


if __name__ == "__main__":
    main()
