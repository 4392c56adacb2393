"""A released split, in any of its formats, as a data set."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import is_file_or_absent
from recbole_diffusion.convert.interactions import (
    Interactions,
    Table,
    distinct,
    distinct_rows,
    is_repeated,
    write_lines,
)
from recbole_diffusion.convert.reading import line_error, open_matrix, shown
from recbole_diffusion.convert.split_formats import FORMATS, SplitFormat
from recbole_diffusion.convert.tables import ID, TEXT, TableOptions, TextTable
from recbole_diffusion.convert.values import ids_of, texts_of
from recbole_diffusion.convert.writing import (
    SPLITS,
    Content,
    check_name,
    check_stale,
    check_targets,
    declared,
    feature_writer,
    property_lines,
    write_files,
)


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion wrote.

    Attributes:
        users: Number of distinct users in all splits together.
        items: Number of distinct items in all splits together.
        interactions: Pairs written, by split.
        duplicates: Repeated pairs within a split that were removed, by split.
        cross_duplicates: Pairs removed because an earlier split holds them, by split.
        features: Width of each feature matrix written, by modality.
        notes: What else there is to tell.
    """

    users: int
    items: int
    interactions: Mapping[str, int]
    duplicates: Mapping[str, int]
    cross_duplicates: Mapping[str, int]
    features: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ValidRule:
    """How a validation part is drawn from train, where a release has none.

    Attributes:
        ratio: Share of train.
        seed: Draws it.
    """

    ratio: float = 0.1
    seed: int = 2020

    def __post_init__(self) -> None:
        """Refuse shares and seeds that are none.

        Raises:
            UserError: A value is out of range.
        """
        if not 0 < self.ratio < 1:
            raise UserError(f"option --valid-ratio: found {self.ratio}, expected above 0, below 1.")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"option --seed: found {self.seed}, expected from 0 to 2^32 - 1.")


def convert_split(
    source: Path,
    output: Path,
    name: str,
    kind: str = "text-split",
    overwrite: bool = False,
    drop_cross_duplicates: bool = False,
    valid: ValidRule = ValidRule(),
) -> ConversionReport:
    """Converts a folder with a released split.

    Writes ``<output>/<name>/<name>.{train,valid,test}.inter``, ``<name>.item`` if the folder has
    the format's table of items, ``<name>.<modality>.npz`` for each of its
    ``<modality>_feat.npy``, with a row for every item of the interactions, and a property file. A
    pair that a split repeats is kept once. Nothing appears under these names before all is checked
    and written.

    Args:
        source: Folder with the split.
        output: Folder of data sets; created if missing.
        name: Name of the data set.
        kind: Name of its format in ``FORMATS``.
        overwrite: Whether existing files may be replaced.
        drop_cross_duplicates: Whether a pair of several splits stays in train, else in valid,
            instead of being refused.
        valid: How validation is drawn from train where the release has none.

    Returns:
        The counts of what was written and left out.

    Raises:
        UserError: The name is no file name or one of RecBole's data sets, an input file is
            missing, empty or malformed, splits share pairs, or an output file exists.
    """
    form = FORMATS[kind]
    check_name(name, output)
    folder = output / name
    targets = {split: folder / f"{name}.{split}.inter" for split in SPLITS}
    item_target = folder / f"{name}.item"
    features = {modality: folder / f"{name}.{modality}.npz" for modality in form.modalities}
    check_targets([*targets.values(), item_target, *features.values()], overwrite)

    found = form.read(source, name)
    order = np.argsort(found.parts, kind="stable")
    log, parts = found.log.take(order), found.parts[order]
    log, parts, duplicates = _without_duplicates(log, parts)
    log, parts, crossed = _separated(source, log, parts, drop_cross_duplicates)
    notes = list(found.log.notes)
    if not (parts == 1).any() and form.may_lack_valid:
        parts = _with_valid(source, parts, valid)
        n_valid = int((parts == 1).sum())
        notes.append(f"validation: {n_valid} pairs drawn from train, seed {valid.seed}")
    splits = {split: log.take(parts == n) for n, split in enumerate(SPLITS)}
    if found.is_ordered:
        splits = {split: _in_order(part) for split, part in splits.items()}

    contents: dict[Path, Content] = {targets[s]: part.write for s, part in splits.items()}
    table = _item_table(source, form, item_target, kind)
    if table is not None:
        contents[item_target] = lambda stream: write_lines(stream, table.columns)
    matrices = _feature_matrices(source, features, log, found.n_items)
    contents |= {target: content for target, content, _ in matrices.values()}
    fields = list(table.types) if table is not None else []
    lines = property_lines(
        source.name,
        {"inter": list(splits["train"].numbers), "item": fields},
        {modality: {"file": target.name} for modality, (target, *_) in matrices.items()}
        | ({"text": {"fields": fields}} if fields else {}),
        SPLITS,
    )
    yaml = folder / f"{name}.yaml"
    properties, told = declared(yaml, list(lines), contents, is_own=False, is_split=True)
    write_files({**contents, **properties})
    return ConversionReport(
        users=len(pc.unique(log.users.indices)),
        items=len(pc.unique(log.items.indices)),
        interactions={split: len(part) for split, part in splits.items()},
        duplicates=duplicates,
        cross_duplicates=crossed,
        features={modality: width for modality, (*_, width) in matrices.items()},
        notes=(*notes, *told),
    )


def _feature_matrices(
    source: Path, targets: Mapping[str, Path], log: Interactions, n_items: int | None
) -> dict[str, tuple[Path, Content, int]]:
    """Target, content and width of each feature matrix of a release, by modality."""
    found: dict[str, tuple[Path, Content, int]] = {}
    for modality, target in targets.items():
        path = source / f"{modality}_feat.npy"
        if not is_file_or_absent(path):
            check_stale(target, f"{path.parent} has no {path.name}")
            continue
        matrix = open_matrix(path)
        items = np.sort(distinct(log.items).cast(pa.int64()).to_numpy())
        _check_rows(path, matrix, items[-1], n_items)
        found[modality] = (target, feature_writer(path, matrix, items), matrix.shape[1])
    return found


def _without_duplicates(
    log: Interactions, parts: np.ndarray
) -> tuple[Interactions, np.ndarray, dict[str, int]]:
    """The first of equal pairs of each part, and how many others there were by part."""
    keys = log.keys()
    again = np.zeros(len(log), bool)
    for n in range(len(SPLITS)):
        again[parts == n] = is_repeated(keys[parts == n])
    return log.take(~again), parts[~again], _by_part(parts[again])


def _by_part(parts: np.ndarray) -> dict[str, int]:
    counts = np.bincount(parts, minlength=len(SPLITS)).tolist()
    return dict(zip(SPLITS, counts, strict=True))


def _separated(
    source: Path, log: Interactions, parts: np.ndarray, drop: bool
) -> tuple[Interactions, np.ndarray, dict[str, int]]:
    """Disjoint parts, and the pairs that an earlier part holds by part; else refuses these."""
    keys = log.keys()
    again = is_repeated(keys)
    if again.any() and not drop:
        row = int(again.argmax())
        first = int((keys == keys[row]).argmax())
        user, item = (ids[row].as_py() for ids in (log.users, log.items))
        raise UserError(
            f"{source}: found {len(np.unique(keys[again]))} pair(s) in more than one split, for "
            f"example user {user} with item {item} in {SPLITS[parts[first]]} and "
            f"{SPLITS[parts[row]]}, expected disjoint splits "
            "(--drop-cross-duplicates keeps such a pair in its first split only)."
        )
    for n in np.unique(parts):
        if again[parts == n].all():
            raise UserError(
                f"{source}: found every pair of the {SPLITS[n]} split in an earlier split, "
                "expected at least one new pair."
            )
    return log.take(~again), parts[~again], _by_part(parts[again])


def _with_valid(source: Path, parts: np.ndarray, rule: ValidRule) -> np.ndarray:
    """Parts with some of train in validation."""
    train = np.flatnonzero(parts == 0)
    n_valid = int(rule.ratio * len(train))
    if not n_valid:
        raise UserError(
            f"{source}: found {len(train)} pairs of train, too few for a validation part of "
            f"{rule.ratio:g}; expected more, or a higher --valid-ratio."
        )
    drawn = np.random.default_rng(rule.seed).choice(train, n_valid, replace=False)
    chosen = parts.copy()
    chosen[drawn] = 1
    return chosen


def _in_order(log: Interactions) -> Interactions:
    times = {"timestamp": np.arange(len(log), dtype=np.float64)}
    return Interactions(log.path, log.users, log.items, times)


def _check_rows(path: Path, matrix: np.ndarray, last_item: int, n_items: int | None) -> None:
    """A row's number is its item."""
    if n_items is not None and len(matrix) != n_items:
        raise UserError(f"{path}: found {len(matrix)} rows, expected {n_items}, one for each item.")
    if len(matrix) <= last_item:
        raise UserError(
            f"{path}: found {len(matrix)} rows, expected one for each item up to {last_item}."
        )


def _item_table(source: Path, form: SplitFormat, target: Path, kind: str) -> Table | None:
    """The release's table of items, if it has one."""
    if form.items is None:
        check_stale(target, f"{kind} has no table of items")
        return None
    path = source / form.items[0]
    if not is_file_or_absent(path):
        check_stale(target, f"{path.parent} has no {path.name}")
        return None
    return read_item_texts(path, form.items[1])


def read_item_texts(path: Path, fields: Mapping[str, str | None]) -> Table:
    """Reads a released table of items.

    Args:
        path: Tab-separated UTF-8 file.
        fields: Its columns, the items first, and the field that each becomes, if it does.

    Returns:
        The texts; genres as MovieLens writes them, ``A|B``, are sequences of tokens.

    Raises:
        UserError: The file cannot be read, has another header, a malformed line, or an item twice;
            the message names file and line.
    """
    table = TextTable(path, TableOptions("\t", header=True, encoding="utf-8", quotes=False))
    if table.columns != list(fields):
        expected = "\t".join(fields)
        raise line_error(path, 1, shown("\t".join(table.columns)), f"the header {expected!r}")
    key, *_ = fields
    kept: dict[str, str] = {column: name for column, name in fields.items() if name is not None}
    rows = table.read({key: ID, **dict.fromkeys(kept, TEXT)})
    if not len(rows):
        raise UserError(f"{path}: found a header only, expected at least one item.")
    ids = ids_of(table, rows[key], counting=True)
    distinct_rows(table, ids)
    columns: dict[str, Any] = {"item_id:token": ids}
    for column, name in kept.items():
        texts = texts_of(rows[column], Counter())
        genres = pc.replace_substring(texts, "|", " ") if name == "genre" else texts
        columns[f"{name}:token_seq"] = genres
    return Table(path, columns)


def format_report(report: ConversionReport) -> str:
    """Formats a report as a short table, one line per split."""
    row = "{:<6}{:>14}{:>20}{:>27}".format
    lines = [
        f"{report.users} users, {report.items} items",
        row("split", "interactions", "duplicates removed", "also in an earlier split"),
    ]
    lines += [
        row(split, count, report.duplicates[split], report.cross_duplicates[split])
        for split, count in report.interactions.items()
    ]
    lines += [
        f"{modality} features: {report.items} x {width}"
        for modality, width in report.features.items()
    ]
    return "\n".join([*lines, *report.notes]) + "\n"
