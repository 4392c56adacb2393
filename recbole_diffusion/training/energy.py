"""Energy of training, as codecarbon estimates it without a network."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from recbole_diffusion.base.ranks import current_ranks
from recbole_diffusion.training.history import read_history

JOULES_PER_KWH = 3.6e6
FIGURE = "energy_kwh"


@cache
def _meter() -> Any:
    """Of this process; writes no file, asks nobody."""
    from codecarbon import OfflineEmissionsTracker

    return OfflineEmissionsTracker(
        country_iso_code="USA",  # which it asks for, and which makes emissions of energy
        tracking_mode="process",
        save_to_file=False,
        allow_multiple_runs=True,  # else it writes a lock outside the run's folder
        log_level="error",
    )


@contextmanager
def energy_of(config: Any) -> Iterator[dict[str, float]]:
    """Measure what is done inside; on the way out the dict holds kWh, with key ``energy``.

    Of several ranks on a machine each would count the machine's memory: rank 0 alone measures.
    """
    found: dict[str, float] = {}
    if not config["energy"] or not current_ranks().is_first:
        yield found
        return
    _meter().start_task()
    try:
        yield found
    finally:
        found[FIGURE] = float(_meter().stop_task().energy_consumed)


def energy_facts(config: Any) -> dict[str, float]:
    """Of a result: kWh and joules of all epochs, and of those of the stage before; else nothing."""
    if not config["energy"]:
        return {}
    folder = Path(config["checkpoint_dir"])
    records = [*read_history(folder), *read_history(folder / "pretrain")]
    kwh = sum(record.get(FIGURE, 0.0) for record in records)
    return {FIGURE: kwh, "energy_joules": kwh * JOULES_PER_KWH}
