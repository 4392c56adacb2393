"""The command ``similar``: the nearest items of some items, by a saved run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_diffusion.base.arguments import checked, described_keys
from recbole_diffusion.base.log import answering
from recbole_diffusion.serving.recommend import listed, listed_ids, printed
from recbole_diffusion.serving.recommender import load
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``similar RUN --items=ID,...``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: No run, another key, or an id that is unknown.
    """
    with answering() as answer:
        answer(printed(similar(**checked(keys, similar, "similar", KEYS_OF_PLACE))))


def keys_text() -> str:
    """The command's own keys, for ``similar --help``."""
    return described_keys(similar, run="RUN", columns="--with")


def similar(
    run: str | Path,
    items: str | Sequence[str],
    k: int = 10,
    columns: str | Sequence[str] = (),
    **places: Any,
) -> pd.DataFrame:
    """The items that are nearest to each item; see ``Recommender.similar``.

    Args:
        run: Folder of a run that has a best epoch, or of an export.
        items: Ids with commas between, or a file with an id a line.
        k: Items beside each.
        columns: Of the .item file, to stand beside each similar item.
        **places: As ``load`` takes them.
    """
    recommender, ids = load(run, **places), listed_ids(items)
    recommender.source.catalogue.items.expect_some("items", ids)
    return recommender.similar(ids, k, columns=listed(columns))
