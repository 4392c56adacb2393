"""Runs that differ in one thing, as tables and pictures: what the scripts ``*_studies.py`` share.

Runs that have a result in ``results.json`` of the output folder are not made again, so that an
interrupted sweep goes on; settings that studies share are run once. ``studies.md`` and a picture a
study are written anew after each run (pictures by matplotlib, where it is installed). The best
epoch of a run, and the setting that a table marks, are picked on validation.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recbole_diffusion import run_recbole_diffusion

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


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


def run_studies(
    arguments: argparse.Namespace,
    dataset: str,
    studies: Mapping[str, Study],
    keys_of: Mapping[str, Mapping[str, Any]],
) -> None:
    """Run what has not been run, and write tables and pictures.

    Args:
        arguments: Of ``parse_arguments``.
        dataset: Name.
        studies: By the names that ``--only`` takes.
        keys_of: By model, keys of all its runs; those of ``all`` are every model's.
    """
    torch.set_num_threads(arguments.threads)
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    place = {"output_dir": str(folder / "runs"), "seed": arguments.seed}
    if arguments.epochs:
        place["epochs"] = arguments.epochs
    if arguments.data_path:
        place["data_path"] = arguments.data_path
    for setting in wanted(arguments, studies):
        if setting.name not in results:
            print(f"runs: {setting.name}", flush=True)
            common = {**keys_of.get("all", {}), **keys_of.get(setting.model, {}), **place}
            keys = {"show_progress": False, "state": "warning", **common, **setting.keys}
            results[setting.name] = run_recbole_diffusion(setting.model, dataset, config_dict=keys)
            path.write_text(json.dumps(results, indent=2) + "\n")
            report(studies, results, folder)
    report(studies, results, folder)
    print((folder / "studies.md").read_text())


def argument_parser(doc: str, output: str, studies: Mapping[str, Study]) -> argparse.ArgumentParser:
    """Arguments that every script of studies takes."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--data_path")
    parser.add_argument("--output", default=output)
    parser.add_argument("--only", nargs="*", choices=studies, default=list(studies))
    parser.add_argument("--models", nargs="*", help="runs of these alone; default: all")
    parser.add_argument("--epochs", type=int, help="at most; default: the models'")
    parser.add_argument("--seed", type=int, default=2020)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def wanted(arguments: argparse.Namespace, studies: Mapping[str, Study]) -> list[Setting]:
    """Runs of the studies and models asked for."""
    settings = [setting for name in arguments.only for setting in studies[name].settings]
    if arguments.models:
        settings = [setting for setting in settings if setting.model in arguments.models]
    return settings


def report(studies: Mapping[str, Study], results: dict[str, Any], folder: Path) -> None:
    """Write ``studies.md`` and the pictures of what has been run."""
    parts = []
    for name, study in studies.items():
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
