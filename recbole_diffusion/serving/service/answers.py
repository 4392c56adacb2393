"""From requests to answers, by a model that is served."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.serving.recommender import OWN_COLUMNS
from recbole_diffusion.serving.service.messages import (
    Entry,
    ExplainAnswer,
    ExplainRequest,
    ItemList,
    RecommendAnswer,
    RecommendRequest,
    Share,
    SimilarAnswer,
    SimilarRequest,
    Unknown,
    UserList,
)
from recbole_diffusion.serving.service.models import Served


def recommended(served: Served, request: RecommendRequest) -> RecommendAnswer:
    """Lists of users or histories.

    Raises:
        UserError: What ``Recommender.recommend`` refuses.
    """
    _check_columns(served, [*request.columns, *(request.where or {})])
    items = None if request.items is None else _known(request.items, served.items)
    told = {} if items is None else dict.fromkeys(_unknown(request.items or (), served.items))
    options: dict[str, Any] = {
        "k": request.k,
        "items": items,
        "where": request.where,
        "columns": request.columns,
        "exclude": request.exclude,
    }
    if request.histories is not None:
        rows = {name: _known(row, served.items) for name, row in request.histories.items()}
        for row in request.histories.values():
            told |= dict.fromkeys(_unknown(row, served.items))
        histories = {name: row for name, row in rows.items() if row}
        names, unknown_users = list(histories), []
        frame = served.recommender.recommend(histories=histories, **options)
    else:
        wanted = request.users or []
        names, unknown_users = _known(wanted, served.users), _unknown(wanted, served.users)
        frame = served.recommender.recommend(names, **options)
    lists = _lists(frame, "user", "item", names)
    return RecommendAnswer(
        **_origin(served),
        lists=[UserList(user=user, items=entries) for user, entries in lists.items()],
        unknown_users=_told(unknown_users),
        unknown_items=_told([*told]),
    )


def similar(served: Served, request: SimilarRequest) -> SimilarAnswer:
    """The nearest items of each item.

    Raises:
        UserError: What ``Recommender.similar`` refuses.
    """
    _check_columns(served, request.columns)
    names = _known(request.items, served.items)
    frame = served.recommender.similar(names, request.k, columns=request.columns)
    lists = _lists(frame, "item", "similar", names)
    return SimilarAnswer(
        **_origin(served),
        lists=[ItemList(item=item, items=entries) for item, entries in lists.items()],
        unknown_items=_told(_unknown(request.items, served.items)),
    )


def explained(served: Served, request: ExplainRequest) -> ExplainAnswer:
    """What a user's items have to do with a score.

    Raises:
        UserError: What ``Recommender.explain`` refuses, such as an unknown id.
    """
    frame = served.recommender.explain(request.user, request.item)
    pairs = zip(frame["item"], frame["value"].tolist(), strict=True)
    shares = [Share(item=item, value=value) for item, value in pairs]
    return ExplainAnswer(**_origin(served), kind=frame.attrs["kind"], shares=shares)


def _origin(served: Served) -> dict[str, str]:
    return {"model": served.name, "digest": served.digest}


def _check_columns(served: Served, names: Iterable[str]) -> None:
    """Refuse a name before a file is looked at, whose path is nobody's business."""
    for name in names:
        if name not in served.columns:
            known = ", ".join(served.columns) or "none"
            raise UserError(f"columns, where: found {name!r:.200}, expected one of {known}")


def _known(ids: Sequence[str], known: frozenset[str]) -> list[str]:
    """Each id of the data once, in the order given."""
    return [one for one in dict.fromkeys(ids) if one in known]


def _unknown(ids: Sequence[str], known: frozenset[str]) -> list[str]:
    return [one for one in dict.fromkeys(ids) if one not in known]


def _told(ids: list[str]) -> Unknown:
    return Unknown(count=len(ids), ids=ids)


def _lists(
    frame: pd.DataFrame, of: str, listed: str, names: Sequence[str]
) -> Mapping[str, list[Entry]]:
    """Entries of each name in the order of names; none where nothing is left."""
    beside = [name for name in frame if name not in OWN_COLUMNS]
    lists: dict[str, list[Entry]] = {name: [] for name in names}
    columns = [frame[name].tolist() for name in (of, listed, "score", *beside)]
    for name, item, score, *texts in zip(*columns, strict=True):
        beside_it = dict(zip(beside, texts, strict=True))
        lists[name].append(Entry(item=item, score=score, columns=beside_it))
    return lists
