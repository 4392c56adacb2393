"""DiffRec's clean, noisy and temporal splits (Section 4.1.1) of a rated, timestamped data set.

The paper gives the order (time), the threshold, the ratio and that the noisy test part is the clean
one. What it leaves open follows the ML-1M split that its authors released: each user's interactions
are split on their own, and every user and item has ten clean ones.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import is_file_or_absent
from recbole_diffusion.convert.sources import look_through
from recbole_diffusion.convert.writing import (
    SPLITS,
    check_name,
    check_stale,
    check_targets,
    write_files,
)
from recbole_diffusion.settings.folders import find_dataset

KINDS = {
    "clean": "ratings of at least the threshold",
    "noisy": "the same, and lower ratings added at random to train and valid",
    "temporal": "the clean split, its times loaded for models that use them",
}
COLUMNS = {
    "user_id:token": "user",
    "item_id:token": "item",
    "rating:float": "rating",
    "timestamp:float": "time",
}
FEATURES = ("item", "user")
MAX_SHARE = 10**6  # a share times the rows of a user fits int64


@dataclass(frozen=True)
class SplitRule:
    """How a rated data set is split.

    Attributes:
        kind: One of ``KINDS``.
        threshold: Ratings from here on are clean.
        core: Clean interactions that every user and every item keeps at least.
        ratio: Shares of train, validation and test in each user's clean interactions.
        noise_ratio: Low ratings that a noisy train or validation part gets, in its clean
            interactions.
        seed: Draws the low ratings.
    """

    kind: str = "clean"
    threshold: float = 4.0
    core: int = 10
    ratio: tuple[int, int, int] = (7, 1, 2)
    noise_ratio: float = 0.1
    seed: int = 2020


@dataclass(frozen=True)
class RatingSplitReport:
    """What a split of ratings wrote.

    Attributes:
        users: Number of distinct users in all parts together.
        items: Number of distinct items in all parts together.
        interactions: Rows written, by part.
        low: Of them ratings below the threshold, by part.
        repeated: Rows left out because their user had rated their item before.
        below: Other rows left out because of a rating below the threshold.
        cored: Other rows left out because their user or item has too few.
    """

    users: int
    items: int
    interactions: dict[str, int]
    low: dict[str, int]
    repeated: int
    below: int
    cored: int


def convert_rating_split(
    source: str | Path, output: Path, name: str, rule: SplitRule, overwrite: bool = False
) -> RatingSplitReport:
    """Splits a data set with ratings and times.

    Writes ``<output>/<name>/<name>.{train,valid,test}.inter`` with users, items and times in order
    of time, the property file ``<name>.yaml``, and the source's ``.item`` and ``.user`` if there
    are such. All input is checked before the first file is written.

    Args:
        source: Folder of the data set, or its name as in ``--dataset``.
        output: Folder of data sets; created if missing.
        name: Name of the new data set.
        rule: How to split.
        overwrite: Whether existing files may be replaced.

    Returns:
        The counts of what was written and left out.

    Raises:
        UserError: The name is no file name, one of RecBole's data sets or that of the source, a
            value of the rule is out of range, the source is missing or malformed, a part is empty,
            low ratings are too few, or an output file exists.
    """
    check_name(name, output)
    _check_rule(rule)
    source = Path(source)
    folder = _named_folder(source) if source.is_dir() else find_dataset(str(source), None, None)
    target = output / name
    if target.resolve() == folder.resolve():
        raise UserError(f"name: found {name!r}, the source itself, expected a new data set.")
    targets = {part: target / f"{name}.{part}.inter" for part in SPLITS}
    features = {suffix: target / f"{name}.{suffix}" for suffix in FEATURES}
    properties = target / f"{name}.yaml"
    check_targets([*targets.values(), *features.values(), properties], overwrite)

    path = folder / f"{folder.name}.inter"
    parts, report = split_ratings(path, read_ratings(path), rule)
    contents = {targets[part]: _inter_lines(rows) for part, rows in parts.items()}
    copies = _read_features(folder, features)
    write_files({**contents, **copies, properties: _property_lines(name, rule)})
    return report


def _named_folder(source: Path) -> Path:
    """A folder under the name that its files have, which is the link's or what it leads to."""
    folders = (Path(os.path.abspath(source)), source.resolve())
    named = (folder for folder in folders if (folder / f"{folder.name}.inter").is_file())
    return next(named, folders[-1])


def _check_rule(rule: SplitRule) -> None:
    for option, found, is_met, expected in (
        ("--threshold", rule.threshold, math.isfinite(rule.threshold), "a number"),
        ("--core", rule.core, 1 <= rule.core < 2**31, "from 1 to 2^31 - 1"),
        (
            "--ratio",
            rule.ratio,
            1 <= min(rule.ratio) <= max(rule.ratio) <= MAX_SHARE,
            f"three whole numbers from 1 to {MAX_SHARE}",
        ),
        ("--noise-ratio", rule.noise_ratio, 0 < rule.noise_ratio <= 1, "above 0, at most 1"),
        ("--seed", rule.seed, 0 <= rule.seed < 2**32, "from 0 to 2^32 - 1"),
    ):
        if not is_met:
            raise UserError(f"option {option}: found {found}, expected {expected}.")


def read_ratings(path: Path) -> pd.DataFrame:
    """Reads users, items, ratings and times, ordered by time and at equal times by row.

    Args:
        path: An ``.inter`` file.

    Returns:
        Columns ``user``, ``item`` and ``text`` (the time as it stands) of texts, ``rating`` and
        ``time`` of numbers; the index counts the rows from 0.

    Raises:
        UserError: The file cannot be read, lacks a column or a row, or has a row without an id or
            with no finite number for rating or time.
    """
    found = next(look_through(path, "utf-8").lines()).rstrip("\n").split("\t")
    missing = [column for column in COLUMNS if column not in found]
    if missing:
        raise UserError(f"{path}, line 1: found {found}, expected the columns {missing} too.")
    from recbole_diffusion.data.atomic import read_atomic_file  # imports PyTorch

    try:
        texts = read_atomic_file(path, list(COLUMNS), "\t", "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: found {error}, expected UTF-8 text.") from error
    rows = texts.rename(columns=COLUMNS)
    if rows.empty:
        raise UserError(f"{path}: found a header only, expected at least one interaction.")
    for column in ("user", "item"):
        _refuse(path, texts, rows[column].isna(), column, "an id")
    rows["text"] = rows["time"]
    for column in ("rating", "time"):
        rows[column] = pd.to_numeric(rows[column], errors="coerce")
        is_bad = ~np.isfinite(rows[column].astype(np.float64))
        _refuse(path, texts, is_bad, column, "a finite number")
    return rows.sort_values("time", kind="stable", ignore_index=True)


def _refuse(path: Path, texts: pd.DataFrame, is_bad: pd.Series, column: str, expected: str) -> None:
    """Name the first bad text of a column, if there is one."""
    name = next(name for name, short in COLUMNS.items() if short == column)
    bad = texts.loc[is_bad, name].fillna("")
    if len(bad):
        raise UserError(
            f"{path}: column {name}: found {bad.iloc[0]!r} ({len(bad)} such rows), "
            f"expected {expected}."
        )


def split_ratings(
    path: Path, rows: pd.DataFrame, rule: SplitRule
) -> tuple[dict[str, pd.DataFrame], RatingSplitReport]:
    """Splits ratings into three parts.

    Of a pair that is rated several times the first rating counts. A user's ``n`` clean interactions
    go to train up to the ``floor(0.7 n)``-th, to validation up to the ``floor(0.8 n)``-th, and to
    test behind it, for a ratio of 7:1:2.

    Args:
        path: Where the rows come from, for messages.
        rows: What ``read_ratings`` gives.
        rule: How to split.

    Returns:
        The rows of each part, in their order, and the counts.

    Raises:
        UserError: A part is empty, or low ratings are too few.
    """
    distinct = rows[~rows.duplicated(["user", "item"])]
    is_clean = distinct["rating"] >= rule.threshold
    clean, low = distinct[is_clean], distinct[~is_clean]
    cored = keep_core(clean, rule.core)
    number = _part_numbers(cored, rule.ratio)
    parts = {part: cored[number == i] for i, part in enumerate(SPLITS)}
    empty = [part for part, kept in parts.items() if kept.empty]
    if empty:
        raise UserError(
            f"{path}: found {len(cored)} interactions of rating {rule.threshold:g} or more after "
            f"the filter, too few for {' and '.join(empty)}; expected more ratings, or a lower "
            "--threshold or --core."
        )
    if rule.kind == "noisy":
        parts = _add_low_ratings(path, parts, low, rule)
    n_low = {part: int((kept["rating"] < rule.threshold).sum()) for part, kept in parts.items()}
    whole = pd.concat(parts.values())
    return parts, RatingSplitReport(
        users=whole["user"].nunique(),
        items=whole["item"].nunique(),
        interactions={part: len(kept) for part, kept in parts.items()},
        low=n_low,
        repeated=len(rows) - len(distinct),
        below=len(low) - sum(n_low.values()),
        cored=len(clean) - len(cored),
    )


def keep_core(rows: pd.DataFrame, least: int) -> pd.DataFrame:
    """The largest set of rows in which every user and every item has ``least`` rows."""
    while True:
        kept = rows
        for field in ("user", "item"):
            kept = kept[kept.groupby(field)[field].transform("size") >= least]
        if len(kept) == len(rows):
            return rows
        rows = kept


def _part_numbers(rows: pd.DataFrame, ratio: tuple[int, int, int]) -> np.ndarray:
    """0, 1 or 2 for train, validation or test of each row, by its place among its user's."""
    by_user = rows.groupby("user")["user"]
    place, count = by_user.cumcount().to_numpy(), by_user.transform("size").to_numpy(np.int64)
    # In whole numbers: 0.7 * 10 need not be 7.
    ends = [count * sum(ratio[:n]) // sum(ratio) for n in (1, 2)]
    return (place >= ends[0]).astype(np.int64) + (place >= ends[1])


def _add_low_ratings(
    path: Path, parts: dict[str, pd.DataFrame], low: pd.DataFrame, rule: SplitRule
) -> dict[str, pd.DataFrame]:
    """Low ratings of the same users, for any item, each drawn into the part of its time.

    The paper's item counts grow from clean to noisy and its user counts do not. A low rating from
    before a user's first validation row may go to train, one from before the first test row to
    validation, so that no part holds what happened after the next.
    """
    low = low[low["user"].isin(parts["test"]["user"])]  # every user has a test row
    first_test = _first_rows(parts["test"])
    # A user without a validation row goes from train to test.
    first_valid = _first_rows(pd.concat([parts["valid"], parts["test"]]))
    # Of no row at all, pandas' map would give texts.
    is_before_valid = low.index < low["user"].map(first_valid).to_numpy(np.int64)
    is_before_test = low.index < low["user"].map(first_test).to_numpy(np.int64)
    pools = {"train": low[is_before_valid], "valid": low[is_before_test & ~is_before_valid]}
    generator = np.random.default_rng(rule.seed)
    noisy = dict(parts)
    for part, pool in pools.items():
        wanted = math.floor(rule.noise_ratio * len(parts[part]) + 0.5)
        if wanted > len(pool):
            raise UserError(
                f"{path}: found {len(pool)} ratings below {rule.threshold:g} from the time of the "
                f"{part} part, expected {wanted} for --noise-ratio {rule.noise_ratio:g}."
            )
        chosen = pool.iloc[generator.choice(len(pool), wanted, replace=False)]
        noisy[part] = pd.concat([parts[part], chosen]).sort_index()
    return noisy


def _first_rows(rows: pd.DataFrame) -> pd.Series:
    """Number of each user's first row."""
    return rows.index.to_series().groupby(rows["user"]).min()


def _inter_lines(rows: pd.DataFrame) -> Iterator[str]:
    yield "user_id:token\titem_id:token\ttimestamp:float"
    for values in zip(rows["user"], rows["item"], rows["text"], strict=True):
        yield "\t".join(values)


def _read_features(folder: Path, targets: dict[str, Path]) -> dict[Path, bytes]:
    """The source's feature files by their new paths."""
    copies = {}
    for suffix, target in targets.items():
        path = folder / f"{folder.name}.{suffix}"
        if is_file_or_absent(path):
            try:
                copies[target] = path.read_bytes()
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
            head = copies[target].partition(b"\n")[0]
            if not all(b":" in column for column in head.split(b"\t")):
                raise UserError(
                    f"{path}, line 1: found {head[:60]!r}, expected columns field:type, such as "
                    "item_id:token"
                )
        else:
            check_stale(target, f"{path.parent} has no {path.name}")
    return copies


def _property_lines(name: str, rule: SplitRule) -> Iterator[str]:
    ratio = ":".join(map(str, rule.ratio))
    yield f"# Split for {rule.kind} training as in DiffRec: ratings of {rule.threshold:g} or more,"
    yield f"# users and items with at least {rule.core}, each user's in order of time {ratio}."
    if rule.kind == "noisy":
        yield f"# Low ratings are added, {rule.noise_ratio:g} of train and validation each,"
        yield f"# drawn from seed {rule.seed}."
    fields = "user_id, item_id" + (", timestamp" if rule.kind == "temporal" else "")
    yield "USER_ID_FIELD: user_id  # str; column of the users"
    yield "ITEM_ID_FIELD: item_id  # str; column of the items"
    yield "TIME_FIELD: timestamp  # str; column of the times"
    yield "load_col:  # dict; columns to read, by file suffix"
    yield f"  inter: [{fields}]"
    yield f"benchmark_filename: [train, valid, test]  # list of str; as {name}.<part>.inter"


def format_report(report: RatingSplitReport, rule: SplitRule) -> str:
    """Formats a report as a short table, one line per part."""
    row = "{:<6}{:>14}{:>20}".format
    lines = [
        f"{report.users} users, {report.items} items",
        row("split", "interactions", f"rated below {rule.threshold:g}"),
    ]
    lines += [row(part, count, report.low[part]) for part, count in report.interactions.items()]
    lines.append(
        f"left out: {report.repeated} repeated, {report.below} rated below {rule.threshold:g}, "
        f"{report.cored} of users or items with fewer than {rule.core}"
    )
    return "\n".join(lines) + "\n"
