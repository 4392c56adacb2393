"""The command ``runs``: what runs lie below a folder."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_diffusion.base.errors import DamagedFile, UserError
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.pages.tables import metric_name
from recbole_diffusion.runs.saved import saved_result

SETTINGS, RESULT = "config.yaml", "result.json"
# How far below a folder runs are looked for: those of comparisons and searches lie deeper.
PATTERNS = ("*", "*/*", "*/*/*", "*/*/*/*")


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``runs [FOLDER]``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: Another key, or no such folder.
    """
    if set(keys) - {"folder"}:
        raise UserError(f"runs: found {', '.join(keys)}, expected at most a folder")
    folder = Path(str(keys.get("folder", "runs")))
    frame = list_runs(folder)
    with run_logger(None, "info") as log:
        log.info(f"no run in {folder}" if frame.empty else frame.to_string(index=False))


def keys_text() -> str:
    """The command's own keys, for ``runs --help``."""
    return "  FOLDER  Where runs are looked for, folders of studies too (default: runs).\n"


def list_runs(folder: str | Path = "runs") -> pd.DataFrame:
    """Runs below a folder, the newest first.

    Args:
        folder: Such as ``output_dir`` of runs, or the folder of a comparison.

    Returns:
        Columns run (its folder), model, dataset, metric (the one that chose the best epoch), valid,
        test, begun, MB and state ("done", "stopped", or why its result cannot be read).

    Raises:
        UserError: No such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"runs: found no folder {folder}")
    found = [path.parent for pattern in PATTERNS for path in root.glob(f"{pattern}/{SETTINGS}")]
    rows = [_described(path) for path in found]
    columns = ["run", "model", "dataset", "metric", "valid", "test", "begun", "MB", "state"]
    frame = pd.DataFrame(rows, columns=columns).fillna("")
    return frame.sort_values(["begun", "run"], ascending=[False, True], ignore_index=True)


def _described(folder: Path) -> dict[str, Any]:
    files = [path for path in folder.iterdir() if path.is_file()]
    begun = datetime.fromtimestamp((folder / SETTINGS).stat().st_mtime)
    row: dict[str, Any] = {
        "run": str(folder),
        "begun": f"{begun:%Y-%m-%d %H:%M}",
        "MB": round(sum(path.stat().st_size for path in files) / 1e6, 1),
        "state": "stopped",
    }
    if not (folder / RESULT).is_file():
        return row
    try:
        result = saved_result(folder)
    except DamagedFile as error:
        return {**row, "state": str(error)}
    metric = str(result.get("valid_metric", "")).lower()
    scores = {part: f"{result[part].get(metric, float('nan')):.4f}" for part in ("valid", "test")}
    names = {"model": result["model"], "dataset": result["dataset"], "metric": metric_name(metric)}
    return {**row, **names, **scores, "state": "done"}
