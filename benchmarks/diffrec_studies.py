"""The studies of DiffRec's paper on ML-1M, drawn again: a run a setting, as tables and pictures.

    python benchmarks/diffrec_studies.py --output=runs/diffrec_studies

Runs that have a result in ``results.json`` of the output folder are not made again, so that an
interrupted sweep goes on; settings that studies share are run once. ``studies.md`` and a picture a
study are written anew after each run (pictures by matplotlib, where it is installed). The best
epoch of a run, and the setting that a table marks, are picked on validation.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recbole_diffusion import run_recbole_diffusion

DATASET = "ml-1m_clean"
# Of the settings published for it, those that a study varies.
PUBLISHED = {"sampling_steps": 0, "noise_scale": 0.005, "steps": 40, "mean_type": "x0"}
METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
# The same stopping rule for all: no better validation for 20 epochs, evaluated every 5.
FIXED = {"eval_step": 5, "stopping_step": 3, "show_progress": False, "state": "warning"}
BASELINES = {
    "MultiVAE": {"mlp_hidden_size": [600], "latent_dimension": 200, "train_batch_size": 400},
    "LightGCN": {"train_batch_size": 16384},  # a step costs a pass over the whole graph
}


@dataclass(frozen=True)
class Setting:
    """One run.

    Attributes:
        label: Of its row, or place on the picture's axis.
        model: Name.
        keys: Beside the model's settings on the data set.
    """

    label: Any
    model: str
    keys: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the result; equal for equal runs."""
        return " ".join([self.model, *(f"{k}={v}" for k, v in sorted(self.keys.items()))])


@dataclass(frozen=True)
class Study:
    """Some runs that differ in one thing.

    Attributes:
        title: With its place in the paper.
        axis: What the runs differ in.
        settings: The runs.
        has_picture: Whether labels are numbers to be drawn.
    """

    title: str
    axis: str
    settings: Sequence[Setting]
    has_picture: bool = True


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
    """Run what has not been run, and write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_path")
    parser.add_argument("--output", default="runs/diffrec_studies")
    parser.add_argument("--item_embedding", help="file for L-DiffRec's clusters; else LightGCN")
    parser.add_argument("--only", nargs="*", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--models", nargs="*", help="runs of these alone; default: all")
    parser.add_argument("--epochs", type=int, help="at most; default: 1000")
    parser.add_argument("--seed", type=int, default=2020)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for setting in wanted(arguments):
        if setting.name not in results:
            print(f"runs: {setting.name}", flush=True)
            results[setting.name] = run(setting, arguments, folder)
            path.write_text(json.dumps(results, indent=2) + "\n")
            report(results, folder)
    report(results, folder)
    print((folder / "studies.md").read_text())


def wanted(arguments: argparse.Namespace) -> list[Setting]:
    """Runs of the studies and models asked for."""
    settings = [setting for name in arguments.only for setting in STUDIES[name].settings]
    if arguments.models:
        settings = [setting for setting in settings if setting.model in arguments.models]
    return settings


def run(setting: Setting, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Result of one run."""
    keys = {**FIXED, "epochs": arguments.epochs or 1000, "seed": arguments.seed, **setting.keys}
    keys["output_dir"] = str(folder / "runs")
    if arguments.data_path:
        keys["data_path"] = arguments.data_path
    if arguments.item_embedding and setting.model == "LDiffRec":
        keys["pretrained_item_embedding"] = arguments.item_embedding
    return run_recbole_diffusion(setting.model, DATASET, config_dict=keys)


def report(results: dict[str, Any], folder: Path) -> None:
    """Write ``studies.md`` and the pictures of what has been run."""
    parts = []
    for name, study in STUDIES.items():
        found = [(s, results[s.name]) for s in study.settings if s.name in results]
        if found:
            parts.append(table(study, found))
            if study.has_picture and len(found) > 1:
                draw(study, found, folder / f"{name}.svg")
    (folder / "studies.md").write_text("\n".join(parts))


def table(study: Study, found: list[tuple[Setting, dict]]) -> str:
    """In markdown; in bold the best of each model by validation."""
    models = {setting.model for setting, _ in found}
    best = {
        model: max(r["valid"]["recall@20"] for s, r in found if s.model == model)
        for model in models
    }
    head = [study.axis, "model", "valid recall@20", *(f"test {m}" for m in METRICS)]
    head += ["best epoch", "parameters", "s an epoch"]
    lines = [f"## {study.title}\n", row(head), row(["---"] * len(head))]
    for setting, result in found:
        is_best = result["valid"]["recall@20"] == best[setting.model]
        values = [f"{result['valid']['recall@20']:.4f}"]
        values += [f"{result['test'][metric]:.4f}" for metric in METRICS]
        if is_best:
            values = [f"**{value}**" for value in values]
        costs = [f"{result['best_epoch']}", f"{result['parameters']:,}"]
        costs.append(f"{result['train_seconds_per_epoch']:.2f}")
        lines.append(row([f"{setting.label}", setting.model, *values, *costs]))
    return "\n".join(lines) + "\n"


def row(cells: Sequence[str]) -> str:
    """Of a table in markdown."""
    return f"| {' | '.join(cells)} |"


def draw(study: Study, found: list[tuple[Setting, dict]], path: Path) -> None:
    """Test metrics over what the runs differ in, evenly spaced; a line a model."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    labels = sorted({setting.label for setting, _ in found})
    for axes, metric in zip(figure.subplots(1, 2), ("recall@20", "ndcg@20"), strict=True):
        for model in dict.fromkeys(setting.model for setting, _ in found):
            points = sorted((s.label, r["test"][metric]) for s, r in found if s.model == model)
            places = [labels.index(label) for label, _ in points]
            axes.plot(places, [value for _, value in points], marker="o", label=model)
        axes.set_xticks(range(len(labels)), [f"{label:g}" for label in labels])
        axes.set(xlabel=study.axis, ylabel=f"test {metric}")
        axes.set_ylim(bottom=0)  # small differences look small
        axes.legend()
    figure.suptitle(study.title)
    figure.savefig(path)


if __name__ == "__main__":
    main()
