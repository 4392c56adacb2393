"""The pairs of a split in arrays, and what is counted of them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.atomic import read_item_texts
from recbole_diffusion.data.split import PARTS, Split
from recbole_diffusion.evaluation.groups import gini

SECONDS_A_DAY = 86400
QUANTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Pairs:
    """Users, items and, where they are known, times of the three parts.

    Attributes:
        users: int64 [n] by part.
        items: int64 [n] by part.
        times: float64 [n] by part, in seconds; none without a time field.
        n_users: Number of users.
        n_items: Number of items.
        n_silent: Rows of the ``.item`` file whose item has no interaction; None without the file.
        n_unknown: Items with interactions that the file lacks; likewise.
        columns: Of the ``.item`` file.
    """

    users: Mapping[str, np.ndarray]
    items: Mapping[str, np.ndarray]
    times: Mapping[str, np.ndarray]
    n_users: int
    n_items: int
    n_silent: int | None
    n_unknown: int | None
    columns: tuple[str, ...] = ()

    def counts(self, whose: str, part: str | None = None) -> np.ndarray:
        """Interactions of each user or item, of one part or of all, int64 [n].

        Args:
            whose: "users" or "items".
            part: Of PARTS; None for all.
        """
        arrays, n = (self.users, self.n_users) if whose == "users" else (self.items, self.n_items)
        rows = np.concatenate([arrays[name] for name in ([part] if part else PARTS)])
        return np.bincount(rows, minlength=n + 1)[1:]  # less the padding


def pairs_of(config: Any, split: Split) -> Pairs:
    """The pairs of a split, the loaders' own rows.

    Args:
        config: Settings of the data.
        split: Read by them.
    """
    loaders = dict(zip(PARTS, (split.train, split.valid, split.test), strict=True))
    parts = {name: loader._dataset for name, loader in loaders.items()}
    data = parts[PARTS[0]]

    def column(field: str) -> dict[str, np.ndarray]:
        return {name: part.inter_feat[field].numpy() for name, part in parts.items()}

    n_silent = n_unknown = None
    columns: tuple[str, ...] = ()
    with suppress(UserError):  # no such file
        ids = read_item_texts(config, [])[1].iloc[:, 0]
        is_known = ids.isin(data.field2id_token[data.iid_field][1:])
        n_silent = int((~is_known).sum())
        n_unknown = data.item_num - 1 - int(is_known.sum())
        columns = tuple(field for field in (data.item_feat or ()) if field != data.iid_field)
    return Pairs(
        column(data.uid_field),
        column(data.iid_field),
        column(data.time_field) if data.time_field in data.inter_feat else {},
        data.user_num - 1,
        data.item_num - 1,
        n_silent,
        n_unknown,
        columns,
    )


def sizes(pairs: Pairs) -> list[tuple[str, str]]:
    """Name and value of what is counted of the whole data."""
    n = sum(map(len, pairs.users.values()))
    found = [
        ("Users", f"{pairs.n_users:,}"),
        ("Items", f"{pairs.n_items:,}"),
        ("Interactions", f"{n:,}"),
        ("Density", f"{n / (pairs.n_users * pairs.n_items):.3%}"),
    ]
    for whose in ("users", "items"):
        counts = pairs.counts(whose)
        quartiles = "; ".join(f"{value:g}" for value in np.quantile(counts, QUANTILES))
        found += [
            (f"Interactions of {whose}, quartiles", quartiles),
            (f"Interactions of {whose}, least and most", f"{counts.min():,}; {counts.max():,}"),
            (f"Gini index of {whose}", f"{gini(counts):.3f}"),
        ]
    counts = np.sort(pairs.counts("items"))[::-1]
    for share in (0.01, 0.1):
        top = counts[: max(1, round(share * pairs.n_items))].sum() / n
        found.append(
            (f"Share of interactions with the {share:.0%} most popular items", f"{top:.1%}")
        )
    if pairs.n_silent is not None:
        found += [
            ("Items of the .item file without an interaction", f"{pairs.n_silent:,}"),
            ("Items with interactions that the .item file lacks", f"{pairs.n_unknown:,}"),
        ]
    return found + _span(pairs)


def _span(pairs: Pairs) -> list[tuple[str, str]]:
    if not pairs.times:
        return [("Times", "none (key TIME_FIELD)")]
    times = np.concatenate(list(pairs.times.values()))
    first, last = times.min(), times.max()
    if last < len(times):
        span = ("Times, which look like places in an order", f"{first:g} to {last:g}")
    else:
        begin, end = (np.datetime64(int(time), "s") for time in (first, last))
        days = (last - first) / SECONDS_A_DAY
        span = ("Times, if they are seconds since 1970", f"{begin} to {end}, {days:,.0f} days")
    users = np.concatenate(list(pairs.users.values()))
    order = np.lexsort((times, users))
    is_tie = (np.diff(users[order]) == 0) & (np.diff(times[order]) == 0)
    return [
        span,
        ("Interactions at the same time as another of the same user", f"{is_tie.mean():.1%}"),
    ]


def part_rows(pairs: Pairs) -> list[list[str]]:
    """Of each part: interactions, users, items, what is cold, and what is later than train.

    Cold are users and items that train lacks. "later" is the share of interactions after all of
    train's of the same user, "after the cut" of those after all of train.
    """
    train = PARTS[0]
    seen = {whose: pairs.counts(whose, train) > 0 for whose in ("users", "items")}
    rows = []
    for name in PARTS:
        users, items = pairs.users[name], pairs.items[name]
        row = [name, f"{len(users):,}", f"{len(np.unique(users)):,}", f"{len(np.unique(items)):,}"]
        row.append(f"{(~seen['users'][users - 1]).mean():.1%}")
        row.append(f"{(~seen['items'][items - 1]).mean():.1%}")
        if pairs.times:
            latest = np.full(pairs.n_users + 1, -np.inf)
            np.maximum.at(latest, pairs.users[train], pairs.times[train])
            is_later = pairs.times[name] > latest[users]
            is_after = pairs.times[name] > pairs.times[train].max()
            row += (
                ["-"] * 2 if name == train else [f"{is_later.mean():.1%}", f"{is_after.mean():.1%}"]
            )
        rows.append(row)
    return rows
