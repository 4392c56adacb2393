"""The command ``score``: scores of pairs of users and items, by a saved run or an export."""

from collections.abc import Iterator, Mapping
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recbole_diffusion.base.arguments import checked, described_keys
from recbole_diffusion.base.errors import expect
from recbole_diffusion.base.files import written_whole
from recbole_diffusion.base.log import answering
from recbole_diffusion.serving.recommend import printed
from recbole_diffusion.serving.recommender import Recommender, load
from recbole_diffusion.serving.tables import new_file, read_blocks, write_blocks
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``score RUN --pairs=FILE [--out=FILE]``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: No run, another key, or what ``score`` refuses.
    """
    with answering() as answer:
        found = score(**checked(keys, score, "score", KEYS_OF_PLACE))
        answer(f"scores: {found}" if isinstance(found, Path) else printed(found))


def keys_text() -> str:
    """The command's own keys, for ``score --help``."""
    return described_keys(score, run="RUN", pairs="--pairs=FILE")


def score(
    run: str | Path,
    pairs: str | Path,
    unknown: str = "skip",
    out: str | Path | None = None,
    **places: Any,
) -> pd.DataFrame | Path:
    """Put a score beside each pair of a file, as the model ranks by them.

    Args:
        run: Folder of a run that has a best epoch, or of an export.
        pairs: File with columns user and item: .csv, .tsv, .parquet, or .jsonl with an object a
            line; other columns stay.
        unknown: skip or error, for ids that are not in the data; a pair that has one has no score.
        out: File to write: .parquet, .csv or .jsonl; without one the rows are printed.
        **places: As ``load`` takes them.

    Returns:
        The rows with a column score, or ``out``.

    Raises:
        UserError: No such run, a file that is malformed or would be overwritten, or with error an
            id that is not in the data.
    """
    expect(unknown in ("skip", "error"), "unknown", unknown, "skip or error")
    target = None if out is None else new_file(out)
    scored = _scored(load(run, **places), Path(pairs), unknown)
    if target is None:
        return pd.concat([block.to_pandas() for block in scored], ignore_index=True)
    with written_whole(target) as stream:
        write_blocks(scored, target.suffix, stream)
    return target


def _scored(recommender: Recommender, path: Path, unknown: str) -> Iterator[pa.Table]:
    """Blocks of the file's rows with their scores."""
    catalogue, n_unknown = recommender.source.catalogue, 0
    for block in read_blocks(path, "pairs"):
        users, items = (block.column(name).to_pylist() for name in ("user", "item"))
        if unknown == "error":
            catalogue.users.known(f"{path}: users", users, unknown)
            catalogue.items.known(f"{path}: items", items, unknown)
        is_known = (catalogue.users.numbers(users) > 0) & (catalogue.items.scorable(items) > 0)
        scores = np.full(len(block), np.nan, dtype=np.float32)
        places = np.flatnonzero(is_known)
        scores[places] = recommender.score([users[n] for n in places], [items[n] for n in places])
        n_unknown += len(block) - len(places)
        without = [name for name in block.column_names if name != "score"]
        values = pa.array(scores, mask=~is_known)
        yield block.select(without).append_column("score", values)
    if n_unknown:
        getLogger().warning(
            f"{path}: {n_unknown} pairs have an id that is not in the data, or a cold item that "
            "this model cannot score"
        )
