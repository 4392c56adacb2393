"""A run's folder, and what is told before and after training."""

import logging
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import write_json, written_whole
from recbole_diffusion.base.log import AS_DETAIL
from recbole_diffusion.base.ranks import current_ranks
from recbole_diffusion.runs.ids import refresh_facts, write_ids
from recbole_diffusion.settings.values import as_yaml
from recbole_diffusion.settings.words import format_words

# Costs in the final table: entry of the result, text, format.
COSTS = (
    ("epochs_trained", "epochs trained", ",d"),
    ("parameters", "parameters", ",d"),
    ("setup_seconds", "making the model, s", ".3f"),
    ("pretrain_seconds", "pre-training, s", ".3f"),
    ("train_seconds_per_epoch", "training, s an epoch", ".3f"),
    ("valid_seconds", "evaluation of validation, s", ".3f"),
    ("test_seconds", "evaluation of test, s", ".3f"),
    ("energy_kwh", "energy of training, kWh", ".6f"),
    ("peak_memory_mb", "peak memory, MiB", ".0f"),
)
# What a run writes into its folder, beside what starts with a dot.
RUN_FILES = (
    *("best.pth", "config.yaml", "history.jsonl", "ids.npz", "last.pth", "pretrain"),
    *("refresh.json", "result.json", "run.log", "tensorboard", "tracker.json", "wandb"),
)
_UNUSABLE = "key `output_dir`: no folder can be made in {!r}"


def new_run_folder(config: Any, given: str | Path | None = None) -> Path:
    """The given folder, made; else one under ``output_dir`` that no run started beside it has.

    Rank 0 makes it, and tells the others.

    Raises:
        UserError: No folder can be made, the given one holds files of a run's names, or another
            rank does not see it.
    """
    folder = Path(current_ranks().of_first(lambda: str(_made_folder(config, given))))
    if not folder.is_dir():
        raise UserError(
            f"run folder {folder}: found none on the machine of rank {current_ranks().rank}, "
            "expected a folder that all machines share (key `output_dir`)"
        )
    return folder


def _made_folder(config: Any, given: str | Path | None) -> Path:
    if given is not None:
        present = [name for name in RUN_FILES if (Path(given) / name).exists()]
        if present:
            raise UserError(
                f"run_folder {given}: found {', '.join(present)} there, expected a folder without; "
                "--resume (resume_run) goes on with a run"
            )
        Path(given).mkdir(parents=True, exist_ok=True)
        return Path(given).resolve()
    stamp = time.strftime("%Y%m%d-%H%M%S")
    while True:
        name = f"{config['model']}-{config['dataset']}-{stamp}-{secrets.token_hex(3)}"
        folder = Path(config["output_dir"]) / name
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise UserError(_UNUSABLE.format(config["output_dir"])) from None
            continue
        except OSError as error:
            raise UserError(_UNUSABLE.format(config["output_dir"]) + f": {error}") from error
        return folder.resolve()


def log_start(logger: logging.Logger, run: Any, trainer: Any) -> None:
    """Settings, data and model; rank 0 writes settings and ids into the run's folder.

    Args:
        logger: Of the run.
        run: Its settings, data and model.
        trainer: Its own, resumed where the run is.
    """
    config, split = run.config, run.split
    settings = config.settable()
    if current_ranks().is_first:
        _write_settings(config, settings)
        write_ids(config["checkpoint_dir"], split.dataset)
    told = "\n".join(f"  {k}: {v}" for k, v in settings.items() if v is not None)
    logger.info(f"settings:\n{told}", extra=AS_DETAIL)
    logger.info(f"model: {run.network}", extra=AS_DETAIL)
    for line in _summary(config, split, run.n_parameters, trainer.is_solved):
        logger.info(line)
    if trainer.start_epoch:
        logger.info(f"resumed: {trainer.start_epoch} epochs are trained")


def _summary(config: Any, split: Any, n_parameters: int | None, is_solved: bool) -> Iterator[str]:
    """What matters of a run, a line each."""
    data = split.dataset
    yield f"data: {config['dataset']} in {config['data_path']}"
    yield (
        f"  {data.user_num - 1} users, {data.item_num - 1} items, "
        f"{sum(split.sizes.values())} interactions"
    )
    sizes = ", ".join(f"{name} {size}" for name, size in split.sizes.items())
    added = f"; {split.n_added} of train added at random" if split.n_added else ""
    rule = "given"
    if not config["benchmark_filename"]:
        rules = config["eval_args"]
        order = "by time" if rules["order"] == "TO" else "at random"
        rule = f"{rules['split']}, {order}, group_by {rules['group_by']}"
    yield f"split {split.digest} ({rule}): {sizes}{added}"
    if split.cold_items is not None:
        n_cold = int(split.cold_items.sum())
        fate = "the model scores them" if config.scores_cold_items else (
            f"never ranked: {config['model']} cannot score them by these settings"
        )  # fmt: skip
        yield f"cold items, without train interactions: {n_cold}; {fate}"
    yield f"model: {config['model']}" + (f", {n_parameters:,} parameters" if n_parameters else "")
    measure = f"by {config['valid_metric']} on validation"
    if is_solved:
        yield f"training: solved once, without epochs; measured {measure}"
    else:
        yield (
            f"training: at most {config['epochs']} epochs; the best {measure}, of which "
            f"{config['stopping_step']} may pass without a better one"
        )
    threads = f", {torch.get_num_threads()} threads" if config["device"].type == "cpu" else ""
    size = current_ranks().size
    yield f"device: {config['device']}{threads}" + (f", each of {size} ranks" if size > 1 else "")
    yield f"run folder: {config['checkpoint_dir']}"
    yield "  all settings are in its config.yaml; --verbose shows them here"


def _write_settings(config: Any, settings: dict[str, Any]) -> None:
    """Once: those of a resumed run may differ in where it runs."""
    path = Path(config["checkpoint_dir"]) / "config.yaml"
    if path.exists():
        return
    words = format_words({"model": config.registration.key, "dataset": config["dataset"]})
    head = f"# {' '.join(words)} --config_files=<this file>\n"
    older = refresh_facts(path.parent).get("refreshed_from")
    head += f"# refreshed from {older}\n" if older else ""
    text = head + as_yaml(settings, sort_keys=True)
    with written_whole(path) as stream:
        stream.write(text.encode())


def write_result(result: dict[str, Any]) -> None:
    """The values of the final table, unrounded, to ``result.json``; rank 0 does."""
    if current_ranks().is_first:
        write_json(Path(result["run_folder"]) / "result.json", result)


def log_table(logger: logging.Logger, config: Any, result: dict[str, Any]) -> None:
    """Print a result, whatever the log level, on rank 0: it is what the command was given for."""
    if current_ranks().is_first:
        logger.log(logger.level, format_result(result, config["metric_decimal_place"]))


def format_result(result: dict[str, Any], places: int) -> str:
    """Metrics of validation and test side by side, then the costs."""
    epoch = "before training" if result["best_epoch"] < 0 else result["best_epoch"]
    width = max(14, *(len(name) + 2 for name in result["valid"]))
    lines = [
        f"{result['model']} on {result['dataset']}, best epoch {epoch}",
        f"{'metric':<{width}}{'validation':>12}{'test':>12}",
    ]
    for name, value in result["valid"].items():
        lines.append(f"{name:<{width}}{value:>12.{places}f}{result['test'][name]:>12.{places}f}")
    if result.get("cold_items") and not result["scores_cold_items"]:
        lines.append(f"{result['cold_items']} cold items are never ranked")
    for key, text, form in COSTS:
        value = result.get(key)
        has_none = key == "pretrain_seconds" and not value
        if value is not None and not has_none:
            lines.append(f"{text:<30}{value:>12{form}}")
    lines.append(f"results: {result['run_folder']}")
    return "\n".join(lines)
