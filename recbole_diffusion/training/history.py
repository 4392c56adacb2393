"""What each epoch of a run gave: ``history.jsonl`` in the run's folder, one JSON line an epoch."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import (
    append_line,
    is_file_or_absent,
    sealed,
    unsealed,
    written_whole,
)

FILE = "history.jsonl"
# What a record holds at least, and of which types.
KINDS: dict[str, tuple[type, ...]] = {
    "epoch": (int,),
    "loss": (int, float),
    "terms": (dict,),
    "train_seconds": (int, float),
    "valid": (dict, NoneType),
}


def append_epoch(folder: str | Path, record: Mapping[str, Any]) -> None:
    """Add one epoch to a run's history.

    Args:
        folder: Of the run.
        record: ``epoch`` from 0, ``loss`` (mean over batches) and its weighted ``terms`` by name,
            ``train_seconds`` of this epoch; ``valid`` metrics by name and ``valid_seconds``, both
            None without a validation; ``diagnostics`` of the model by name.
    """
    append_line(Path(folder) / FILE, _line(record))


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(sealed(record))


def read_history(folder: str | Path) -> list[dict[str, Any]]:
    """The epochs of a run in order, each once: of an epoch that was repeated, the last counts.

    Args:
        folder: Of the run.

    Returns:
        Records as ``append_epoch`` takes them; none for a run that has no history.

    Raises:
        UserError: A line that is no record, but for a last one that a kill cut off.
    """
    path = Path(folder) / FILE
    if not is_file_or_absent(path):
        return []
    lines = path.read_bytes().split(b"\n")
    records = [_record(path, number, line) for number, line in enumerate(lines[:-1], start=1)]
    return list({record["epoch"]: record for record in sorted(records, key=_epoch)}.values())


def _epoch(record: Mapping[str, Any]) -> int:
    return int(record["epoch"])


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = unsealed(json.loads(line))
    except (ValueError, RecursionError):
        record = None
    has_all = record is not None and all(
        isinstance(record.get(key), kinds) and key in record for key, kinds in KINDS.items()
    )
    if record is None or not has_all or type(record.get("epoch")) is not int:
        raise UserError(
            f"{path}, line {number}: found {line[:60]!r}, expected the record of an epoch; "
            "without this file the run has no learning curves, and all else"
        )
    return record


def keep_epochs(folder: str | Path, n_epochs: int) -> None:
    """Forget the epochs that a resumed run repeats, and tell of those that are missing.

    Args:
        folder: Of the run.
        n_epochs: Epochs before this one stay.
    """
    path = Path(folder) / FILE
    kept = [record for record in read_history(folder) if record["epoch"] < n_epochs]
    if path.is_file():
        with written_whole(path) as stream:
            stream.write("".join(f"{_line(record)}\n" for record in kept).encode())
    lost = lost_epochs(folder, kept, n_epochs)
    if lost is not None:
        logging.getLogger().warning(lost)


def lost_epochs(
    folder: str | Path, records: Sequence[Mapping[str, Any]], n_epochs: int
) -> str | None:
    """Which of a run's epochs its history lacks, on one line; None for none."""
    lost = sorted(set(range(n_epochs)) - {record["epoch"] for record in records})
    if not lost:
        return None
    first = ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
    return f"{Path(folder) / FILE}: lacks {len(lost)} of {n_epochs} epochs ({first})"
