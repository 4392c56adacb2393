"""A new run on newer data, which starts from what a finished run learned."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole.utils import ModelType

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import write_json
from recbole_diffusion.base.randomness import repeatable_operations
from recbole_diffusion.base.ranks import current_ranks, sharing
from recbole_diffusion.host.patch import host_arguments
from recbole_diffusion.runs import report
from recbole_diffusion.runs.ids import FACTS, match_ids, refresh_facts
from recbole_diffusion.runs.run import Hooks, Run, train
from recbole_diffusion.runs.saved import refreshed_config
from recbole_diffusion.settings.run_settings import RunSettings
from recbole_diffusion.settings.unread import told_unread
from recbole_diffusion.training.callbacks import Callback
from recbole_diffusion.training.carry import Carried, Matches, carry_over
from recbole_diffusion.training.checkpoint import read_checkpoint

# Names of parameters that a line of the log holds.
N_NAMED = 5


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``refresh RUN [--dataset=newer] [--key=value ...]``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: No run, or what ``refresh_run`` refuses.
    """
    changes = dict(keys)
    if "run" not in changes:
        raise UserError("refresh: found no run, expected refresh RUN [--dataset=newer]")
    folder, dataset = str(changes.pop("run")), changes.pop("dataset", None)
    refresh_run(folder, None if dataset is None else str(dataset), changes)


def keys_text() -> str:
    """The command's own keys, for ``refresh --help``."""
    return (
        "  RUN          Folder of a run that has a best epoch; it is not touched.\n"
        "  --dataset    Name of the newer data (default: the run's, whose files have changed).\n"
        "  --key=value  Any key of the run's model; all others are the run's.\n"
    )


def refresh_run(
    folder: str | Path,
    dataset: str | None = None,
    config_dict: Mapping[str, Any] | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    run_folder: str | Path | None = None,
) -> dict[str, Any]:
    """Train on newer data from what a run's best epoch learned, in a new folder.

    Users and items are matched by their original ids: their rows of parameters are carried over,
    new ones have those of a fresh model. Other parameters are carried over whole, and the optimiser
    is fresh. Validation comes before training too: the start is kept if no epoch is better. A model
    that is solved is solved anew.

    Args:
        folder: Of a run with a best epoch.
        dataset: Name of the newer data; None for the run's, whose files have changed.
        config_dict: Keys and values above the run's settings.
        callbacks: Told of the run as it goes; see ``Callback``.
        run_folder: As ``run_recbole_diffusion`` takes it.

    Returns:
        As ``run_recbole_diffusion``, with ``refreshed_from``, the older folder, and ``refreshed``:
        numbers of ``users`` and ``items`` (matched, new and gone) and of ``parameters`` (carried
        and fresh).

    Raises:
        UserError: No run with a best epoch that keeps its ids, bad settings or data, none of whose
            users or items the run knows, or parameters of which nothing tells whose rows they hold.
        KeyboardInterrupt: After saying how to go on.
    """
    with sharing():
        older = Path(folder).resolve()
        config = refreshed_config(older, dataset, config_dict)
        with repeatable_operations(config["device"]):
            keys = config_dict or {}
            run = Run(config, warnings=told_unread(config.model, config.registration, keys))
            warm_start = _warm_start(run, older)
            new_folder = report.new_run_folder(config, run_folder)
            if current_ranks().is_first:
                _write_facts(new_folder, older, {})
            return train(run, new_folder, hooks=Hooks(callbacks=callbacks), warm_start=warm_start)


def warm_start_of(run: Run, folder: Path) -> Callable[[Any], None] | None:
    """The start of a refreshed run that goes on, if it had none yet; None for another run."""
    facts = refresh_facts(folder)
    if not facts:
        return None
    return lambda model: _warm_start(run, Path(facts["refreshed_from"]))(model)


def _warm_start(run: Run, older: Path) -> Callable[[Any], None]:
    """Reads the older run at once, so that what does not fit is refused before anything is made."""
    matches = match_ids(older, run.split.dataset)
    reason = getattr(run.network, "why_no_refresh", None)
    if reason is not None:
        raise UserError(f"refresh: model {run.config['model']}: {reason}")
    saved = read_checkpoint(older / "best.pth")

    def start(model: Any) -> None:
        is_solved = model.type == ModelType.TRADITIONAL
        carried = Carried(0, sum(p.numel() for p in model.parameters()), ())
        if not is_solved:
            carried = carry_over(model, saved, matches, set(_sizes_of_settings(run.config)))
        _tell(older, matches, carried, is_solved)
        if current_ranks().is_first:
            parameters = {"carried": carried.carried, "fresh": carried.fresh}
            facts = {**matches.counts(), "parameters": parameters}
            _write_facts(Path(run.config["checkpoint_dir"]), older, facts)

    return start


def _write_facts(folder: Path, older: Path, facts: dict[str, Any]) -> None:
    write_json(folder / FACTS, {"refreshed_from": str(older), "refreshed": facts})


def _tell(older: Path, matches: Matches, carried: Carried, is_solved: bool) -> None:
    log = logging.getLogger()
    log.info(f"refreshed from {older}")
    for name, count in matches.counts().items():
        parts = ", ".join(f"{number} {kind}" for kind, number in count.items())
        log.info(f"  {name}: {parts}")
    if is_solved:
        log.info("  the model is solved anew: nothing is carried over")
        return
    log.info(f"  parameters: {carried.carried:,} carried over, {carried.fresh:,} fresh")
    if carried.unmatched:
        shown = ", ".join(carried.unmatched[:N_NAMED])
        more = ", ..." if len(carried.unmatched) > N_NAMED else ""
        log.warning(f"  fresh, as the older run has none of their shapes: {shown}{more}")


def _sizes_of_settings(config: Any) -> Iterator[int]:
    """Whole numbers among the model's own keys: sizes of layers, and what may look like them."""
    shared = {*RunSettings.keys(), *(key for keys in host_arguments().values() for key in keys)}
    for key, value in config.plain_settings().items():
        if key not in shared:
            yield from _whole_numbers(value)


def _whole_numbers(value: Any) -> Iterator[int]:
    if type(value) is int:
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _whole_numbers(part)
