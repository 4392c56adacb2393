"""What the folder of a run holds: its settings, its result, and how to go on from there."""

from collections.abc import Mapping
from contextlib import suppress
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole.utils import ModelType

from recbole_diffusion.base.errors import (
    DamagedFile,
    UserError,
    refusals_of,
)
from recbole_diffusion.base.files import read_json
from recbole_diffusion.settings.config import Config, settable
from recbole_diffusion.settings.item_features import check_embedding_files
from recbole_diffusion.settings.keys import HOST_CODE_KEYS, declared_keys
from recbole_diffusion.settings.property_files import default_layers, run_command
from recbole_diffusion.settings.registry import Registration, find_model
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE
from recbole_diffusion.training.checkpoint import read_checkpoint


def saved_config(
    caller: str, folder: str | Path, file: str, changes: Mapping[str, Any] | None
) -> Config:
    """The settings of a run, from one of its checkpoints."""
    other = sorted(set(changes or ()) - set(KEYS_OF_PLACE))
    if other:
        raise UserError(
            f"{caller} takes its settings from the run: found {', '.join(other)} beside it, "
            f"expected at most {', '.join(KEYS_OF_PLACE)}{_advice_on(Path(folder), changes or {})}"
        )
    model, dataset, path, kept = _saved_settings(caller, folder, file)
    return Config(model, dataset, (), changes, (f"checkpoint {path}", kept))


def refreshed_config(
    folder: str | Path, dataset: str | None, changes: Mapping[str, Any] | None
) -> Config:
    """The settings of a run's best epoch for newer data, with changes above them."""
    model, found, path, kept = _saved_settings("refresh", folder, "best.pth")
    config = Config(model, dataset or found, (), changes, (f"checkpoint {path}", kept))
    check_embedding_files(config.final_config_dict)
    return config


def _saved_settings(
    caller: str, folder: str | Path, file: str
) -> tuple[str, str, Path, dict[str, Any]]:
    """Model, data set, checkpoint and settings of a run."""
    if not Path(folder).is_dir():
        raise UserError(f"{caller}: found {str(folder)!r}, expected the folder of a run")
    if not (Path(folder) / file).is_file():
        inside = sorted(path.parent.name for path in Path(folder).glob(f"*/{file}"))
        advice = f"; it holds runs, such as {inside[-1]}" if inside else ""
        raise UserError(
            f"{caller}: {folder} holds no {file}: it is no run's folder, or the run stopped before "
            f"it had one{advice}"
        )
    path = Path(folder) / file
    saved = read_checkpoint(path)
    with refusals_of(f"checkpoint {path}: not of a run", LookupError, TypeError, AttributeError):
        model, dataset, settings = saved["registered_as"], saved["dataset"], saved["settings"]
        kept = {"negative_sampler": "recbole", **settable(settings)}  # before there was the key
    return model, dataset, path, _without_retired(path, kept, find_model(model))


def _advice_on(folder: Path, changes: Mapping[str, Any]) -> str:
    """How to start a run with other settings than those of a saved one, if it can be read."""
    files = [folder / name for name in ("last.pth", "best.pth") if (folder / name).is_file()]
    if not files or {"model", "dataset", "config_files"} & set(changes):
        return ""
    with suppress(UserError, LookupError):
        saved = read_checkpoint(files[0])
        command = _new_run(find_model(saved["registered_as"]), saved["dataset"], folder, changes)
        return f"; other settings are a new run: {command}"
    return ""


def _without_retired(
    path: Path, settings: Mapping[str, Any], registration: Registration
) -> dict[str, Any]:
    """Settings of a saved run without those that nothing reads any more; tells of these."""
    defaults = {key for _, layer in default_layers(registration, "") for key in layer}
    unread = set(settings) - defaults - declared_keys() - HOST_CODE_KEYS
    if settings.get("log_wandb"):
        unread |= {"log_wandb", "wandb_project"}
    if unread:
        getLogger().warning(
            f"checkpoint {path}: dropped key {', '.join(sorted(unread))}, which nothing reads "
            "any more"
        )
    return {key: value for key, value in settings.items() if key not in unread}


def _new_run(
    registration: Registration, dataset: str, folder: Path, changes: Mapping[str, Any]
) -> str:
    return run_command(registration, dataset, folder / "config.yaml", **changes)


def more_of(config: Config, result: Mapping[str, Any], folder: Path) -> str:
    """How to train longer than a run that has ended; nothing for a model that is solved."""
    if config.registration.type == ModelType.TRADITIONAL:
        return ""
    is_whole = result.get("epochs_trained", 0) >= config["epochs"]
    key = "epochs" if is_whole else "stopping_step"  # what ended it
    longer = {key: 2 * max(config[key], 1)}
    return (
        f"; longer, as a new run: {_new_run(config.registration, config.dataset, folder, longer)}"
    )


def saved_result(folder: Path) -> dict[str, Any]:
    """The result of a run that has ended.

    Raises:
        DamagedFile: ``result.json`` is none that a run wrote.
    """
    path = folder / "result.json"
    try:
        found = read_json(path, "model", "dataset", "best_epoch", "valid", "test")
        for part in ("valid", "test"):
            metrics = found[part]
            is_table = isinstance(metrics, dict) and all(
                type(value) in (int, float) for value in metrics.values()
            )
            if not is_table:
                raise DamagedFile(f"{path}: {part}: found {metrics!r}, expected metrics by name")
    except DamagedFile as error:
        raise DamagedFile(f"{error}; without this file --resume evaluates the run again") from error
    return found
