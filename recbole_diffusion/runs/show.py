"""The command ``show``: what a run was and what it gave."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_diffusion.base.arguments import checked, described_keys
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.runs.ids import refresh_facts
from recbole_diffusion.runs.report import format_result
from recbole_diffusion.runs.saved import saved_config, saved_result
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.property_files import default_layers, run_command
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE
from recbole_diffusion.settings.words import format_word
from recbole_diffusion.training.history import read_history


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``show RUN``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: Another key, or no run with a best epoch.
    """
    with run_logger(None, "info") as log:
        log.info(show(**checked(keys, show, "show", KEYS_OF_PLACE)))


def keys_text() -> str:
    """The command's own keys, for ``show --help``."""
    return described_keys(show, run="RUN")


def show(run: str | Path, **places: Any) -> str:
    """A run's metrics and costs, the settings that are not the defaults, and how to have it again.

    Args:
        run: Folder of a run that has a best epoch.
        **places: As ``load_run`` takes them.

    Raises:
        UserError: No run with a best epoch, or a damaged result.
    """
    folder = Path(run).resolve()
    config = saved_config("show", folder, "best.pth", places)
    lines = []
    if (folder / "result.json").is_file():
        result = {**saved_result(folder), "run_folder": str(folder)}
        lines.append(format_result(result, config["metric_decimal_place"]))
    else:
        again = format_word("resume", folder)
        lines.append(f"{config.model} on {config.dataset}: stopped; to go on: {again}")
    epochs = read_history(folder)
    if len(epochs) > 1:
        first, last = epochs[0]["loss"], epochs[-1]["loss"]
        lines.append(
            f"loss {first:.4f} in the first epoch, {last:.4f} in the last of {len(epochs)}"
        )
    changed = _changed_settings(config)
    lines.append(
        "settings other than the defaults:" if changed else "all settings are the defaults"
    )
    lines += [f"  {key}: {value!r} (default {default!r})" for key, value, default in changed]
    again = run_command(config.registration, config.dataset, folder / "config.yaml")
    older = refresh_facts(folder).get("refreshed_from")
    kind = f"the same settings without the start from {older}" if older else "the same as a new run"
    return "\n".join([*lines, f"{kind}: {again}"])


def _changed_settings(config: Config) -> list[tuple[str, Any, Any]]:
    """Key, value and default of what is not the default."""
    defaults: dict[str, Any] = {}
    for _, layer in default_layers(config.registration, config.dataset):
        defaults |= layer
    settings = config.settable()
    modes = set(settings["eval_args"]["mode"].values())
    if len(modes) == 1:  # RecBole gives each part its own
        settings["eval_args"] = {**settings["eval_args"], "mode": modes.pop()}
    return [
        (key, value, defaults.get(key))
        for key, value in settings.items()
        if key not in KEYS_OF_PLACE and value != defaults.get(key)
    ]
