"""The command ``explain``: what a user's items have to do with a score, by a saved run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_diffusion.base.arguments import checked, described_keys
from recbole_diffusion.base.log import answering
from recbole_diffusion.serving.recommend import listed, printed
from recbole_diffusion.serving.recommender import load
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE

KINDS = {
    "contribution": "what each item adds to the score, which is their sum",
    "loss": "what the score loses without each item",
    "cosine": "how near each item is to it, as the cosine of their vectors",
}


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``explain RUN --user=ID --item=ID``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: No run, another key, or what ``Recommender.explain`` refuses.
    """
    with answering() as answer:
        frame = explain(**checked(keys, explain, "explain", KEYS_OF_PLACE))
        answer(f"{KINDS[frame.attrs['kind']]}:\n{printed(frame)}")
        for name, place in frame.attrs["edges"].items():
            answer(f"generated graph of {name}: {_edge(place)}")


def _edge(place: int | None) -> str:
    return "no edge to it" if place is None else f"an edge to it, at place {place} of the user's"


def keys_text() -> str:
    """The command's own keys, for ``explain --help``."""
    return described_keys(explain, run="RUN", columns="--with")


def explain(
    run: str | Path, user: str, item: str, columns: str | Sequence[str] = (), **places: Any
) -> pd.DataFrame:
    """What each item of a user's history has to do with an item's score.

    Args:
        run: Folder of a run that has a best epoch, or of an export.
        user: Id of a user of the data.
        item: Id of an item that is not in the user's train part.
        columns: Of the .item file, to stand beside each item.
        **places: As ``load`` takes them.
    """
    recommender = load(run, **places)
    recommender.source.catalogue.users.expect_some("user", [user])
    recommender.source.catalogue.items.expect_some("item", [item])
    return recommender.explain(str(user), str(item), columns=listed(columns))
