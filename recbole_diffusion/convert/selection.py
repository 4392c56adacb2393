"""Which interactions are kept: by rating and time, of some users, in a core; anonymous ids."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recbole_diffusion.base.errors import UserError, expect
from recbole_diffusion.convert.interactions import Interactions, Table, is_chosen
from recbole_diffusion.data.cores import rows_in_core

SIDES = ("users", "items")
KEPT = ("first", "last")
YEAR = re.compile(r"\d{4}", re.ASCII)


@dataclass(frozen=True)
class Selection:
    """Of rows and ids.

    Attributes:
        min_rating: Interactions with lower ratings, or without one, are left out.
        since: Earlier ones are left out; a date, or seconds since 1970.
        until: Those at that time or later are left out.
        sample_users: So many users are drawn.
        sample_seed: Draws them.
        k_core: Users and items with fewer interactions are left out until there are none.
        repeated: Which row is kept of those with the same user and item: the ``first`` or ``last``
            by time, without times by row.
        anonymise: ``users``, ``items`` or both get numbers in a random order that nothing tells.
    """

    min_rating: float | None = None
    since: str | None = None
    until: str | None = None
    sample_users: int | None = None
    sample_seed: int = 2020
    k_core: int | None = None
    repeated: str = "first"
    anonymise: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            UserError: Such as no time, or no user.
        """
        for name in ("sample_users", "k_core"):
            value = getattr(self, name)
            is_fitting = value is None or value >= 1
            expect(is_fitting, name.replace("_", "-"), value, "a whole number from 1 on")
        is_number = self.min_rating is None or isfinite(self.min_rating)
        expect(is_number, "min-rating", self.min_rating, "a finite number")
        expect(0 <= self.sample_seed < 2**32, "sample-seed", self.sample_seed, "from 0 to 2^32 - 1")
        expect(self.repeated in KEPT, "repeated", self.repeated, f"one of {', '.join(KEPT)}")
        for side in self.anonymise:
            expect(side in SIDES, "anonymise", side, f"some of {', '.join(SIDES)}")
        for name in ("since", "until"):
            _seconds(name, getattr(self, name))

    def rows(self, log: Interactions) -> Interactions:
        """Those that rating and time leave.

        Args:
            log: All rows; its counts are added to.

        Raises:
            UserError: There is no rating or time to choose by.
        """
        is_kept = np.ones(len(log), bool)
        for what, chosen in self._conditions(log):
            log.counts[f"left out by {what}"] += int((is_kept & ~chosen).sum())
            is_kept &= chosen
        return log if is_kept.all() else log.take(is_kept)

    def _conditions(self, log: Interactions) -> Iterator[tuple[str, np.ndarray]]:
        if self.min_rating is not None:
            yield "--min-rating", _number(log, "min-rating", "rating") >= self.min_rating
        if self.since is not None:
            yield "--since", _number(log, "since", "timestamp") >= _seconds("since", self.since)
        if self.until is not None:
            yield "--until", _number(log, "until", "timestamp") < _seconds("until", self.until)

    def distinct(self, log: Interactions) -> tuple[Interactions, str]:
        """One row of each pair, and in words which one.

        Args:
            log: The rows that are left.
        """
        words = {"first": "earliest", "last": "latest"}
        is_timed = "timestamp" in log.numbers
        word = words[self.repeated] if is_timed else f"{self.repeated} row"
        return log.take(is_chosen(log, self.repeated)), f"each pair's {word}"

    def core(self, log: Interactions) -> Interactions:
        """Those of drawn users, within the core.

        Args:
            log: Distinct pairs; its counts are added to.
        """
        n = len(log)
        if self.sample_users is not None:
            users = log.users.indices.to_numpy()
            known = pd.unique(users)
            draw = np.random.default_rng(self.sample_seed)
            size = min(self.sample_users, len(known))
            log = log.take(np.isin(users, draw.choice(known, size, replace=False)))
            log.counts["left out by --sample-users"] += n - len(log)
            n = len(log)
        if self.k_core is not None:
            ids = [of_rows.indices.to_numpy() for of_rows in (log.users, log.items)]
            least = self.k_core
            log = log.take(rows_in_core([(column, lambda n: n >= least) for column in ids]))
            log.counts["left out by --k-core"] += n - len(log)
        return log

    def anonymous(self, log: Interactions) -> Interactions:
        """Numbers for ids, in the tables too, which then hold those of the interactions alone.

        Args:
            log: What is to be written.
        """
        for side in self.anonymise:
            ids: pa.DictionaryArray = getattr(log, side)
            present = pc.unique(ids.indices).to_numpy()
            numbers = np.zeros(len(ids.dictionary), np.int64)
            numbers[present] = np.random.default_rng().permutation(len(present)) + 1
            texts = pa.array(numbers.astype(str), pa.string())
            table: Table | None = getattr(log, f"{side[:-1]}_table")
            if table is not None:
                places = pa.array(present)
                table = _renamed(table, ids.dictionary.take(places), texts.take(places))
            hidden = pa.DictionaryArray.from_arrays(ids.indices, texts)
            log = replace(log, **{side: hidden, f"{side[:-1]}_table": table})
        return log


def _renamed(table: Table, old: pa.Array, new: pa.Array) -> Table:
    name, *others = table.columns
    column = table.columns[name].cast(pa.string())
    places = pc.index_in(column, old.cast(pa.string()))
    rows = pa.array(np.flatnonzero(places.is_valid().to_numpy(zero_copy_only=False)))
    kept = {other: table.columns[other].take(rows) for other in others}
    return replace(table, columns={name: new.take(places.drop_null()), **kept})


def _number(log: Interactions, option: str, name: str) -> np.ndarray:
    if name not in log.numbers:
        raise UserError(
            f"option --{option}: found no {name} in {log.path}, expected a column of them (option "
            f"--{name})"
        )
    return log.numbers[name]


def _seconds(name: str, text: str | None) -> float:
    """Seconds since 1970 of a date or number; four digits are a year."""
    if text is None:
        return 0.0
    try:
        seconds = _seconds_of_date(text) if YEAR.fullmatch(text) else float(text)
    except ValueError:
        seconds = _seconds_of_date(text)
    if not isfinite(seconds):
        raise UserError(
            f"option --{name}: found {text!r}, expected a date such as 2020-12-31, or seconds "
            "since 1970"
        )
    return seconds


def _seconds_of_date(text: str) -> float:
    """Seconds since 1970; NaN for what is no date."""
    try:
        time = np.datetime64(text, "s")
    except ValueError:
        return np.nan
    return np.nan if np.isnat(time) else float(time.astype(np.int64))
