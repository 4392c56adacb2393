"""Original ids of a run's users and items, by which a later run on newer data finds them again."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_diffusion.base.errors import DamagedFile, UserError, refusals_of
from recbole_diffusion.base.files import archive_fault, read_json, written_whole
from recbole_diffusion.training.carry import Matches

FILE, FACTS = "ids.npz", "refresh.json"


def write_ids(folder: str | Path, dataset: Any) -> None:
    """Write the ids of RecBole's dataset to ``ids.npz``, once, in the order of internal ones."""
    path = Path(folder) / FILE
    if path.exists():
        return
    users, items = (dataset.field2id_token[f] for f in (dataset.uid_field, dataset.iid_field))
    with written_whole(path) as stream:
        np.savez_compressed(stream, users=_lines(users), items=_lines(items))


def _lines(tokens: np.ndarray) -> np.ndarray:
    """Ids without the padding as bytes: texts of one width would each take as much as the longest.

    No id holds the end of a line.
    """
    return np.frombuffer("\n".join(map(str, tokens[1:])).encode(), np.uint8)


def _read_ids(folder: Path) -> dict[str, list[str]]:
    path = folder / FILE
    if not path.is_file():
        raise UserError(
            f"refresh: {folder} holds no {FILE}, in which runs keep the ids of users and items: an "
            "earlier version wrote it; train it anew"
        )
    fault = archive_fault(path)
    if fault is not None:
        raise DamagedFile(f"{path}: {fault}, expected what was written")
    with (
        refusals_of(f"{path}: broken", LookupError, ValueError),
        np.load(path, allow_pickle=False) as file,
    ):
        return {name: file[name].tobytes().decode().split("\n") for name in ("users", "items")}


def match_ids(folder: Path, dataset: Any) -> Matches:
    """Which users and items of a finished run those of a dataset are.

    Args:
        folder: Of the finished run.
        dataset: RecBole's, of the newer data.

    Raises:
        UserError: The run keeps no ids, or none is among the newer data's.
    """
    older = _read_ids(folder)
    found = {}
    for name, field in (("users", dataset.uid_field), ("items", dataset.iid_field)):
        newer = dataset.field2id_token[field][1:].astype(str)
        places = pd.Index(older[name], dtype=object).get_indexer(pd.Index(newer, dtype=object))
        if (places < 0).all():
            raise UserError(
                f"refresh: none of the {len(newer)} {name}, such as {str(newer[0])!r}, is among "
                f"the {len(older[name])} of {folder}, such as {older[name][0]!r}"
            )
        found[name] = torch.from_numpy(np.concatenate([[0], np.where(places < 0, -1, places + 1)]))
    return Matches(found["users"], found["items"], len(older["users"]) + 1, len(older["items"]) + 1)


def refresh_facts(folder: Path) -> dict[str, Any]:
    """What a refreshed run's result says of the older run; nothing for another run."""
    path = folder / FACTS
    return read_json(path, "refreshed_from", "refreshed") if path.is_file() else {}
