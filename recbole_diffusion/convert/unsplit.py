"""What is written of interactions without a split of their own."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.interactions import (
    Interactions,
    Table,
    distinct,
    write_lines,
)
from recbole_diffusion.convert.selection import Selection
from recbole_diffusion.convert.writing import (
    Content,
    check_name,
    check_stale,
    check_targets,
    declared,
    property_lines,
    write_files,
)

EVERYTHING = Selection()


@dataclass(frozen=True)
class InteractionsReport:
    """What a conversion wrote.

    Attributes:
        users: Number of distinct users.
        items: Number of distinct items.
        interactions: Rows written.
        repeated: Rows left out because another one has their user and item.
        counts: Other counts, by what they count.
        notes: What else there is to tell.
        kept: A property file that was there, and was left as it was.
        kept_row: Which row was kept of those with the same user and item, in words.
    """

    users: int
    items: int
    interactions: int
    repeated: int
    counts: dict[str, int]
    notes: tuple[str, ...] = ()
    kept: Path | None = None
    kept_row: str = ""


def convert_interactions(
    log: Interactions,
    output: Path,
    name: str,
    overwrite: bool = False,
    is_own: bool = False,
    selection: Selection = EVERYTHING,
) -> InteractionsReport:
    """Writes interactions as ``<output>/<name>/<name>.inter``, and ``.item`` and ``.user`` beside.

    Of rows with the same user and item one is kept, as ``selection`` says. All is written to
    temporary files first: nothing appears under these names before all has been checked. The
    property file ``<name>.yaml`` declares what was written.

    Args:
        log: The interactions.
        output: Folder of data sets; created if missing.
        name: Name of the data set.
        overwrite: Whether existing files may be replaced; a property file only if nobody edited it.
        is_own: Whether the data are of the user's own, not a release that a shipped property file
            of the name describes.
        selection: Of rows and ids.

    Returns:
        The counts of what was written and left out.

    Raises:
        UserError: The name is no file name, one of RecBole's data sets or that of a shipped one
            whose split is given, there is no interaction or none is left, a table is of other
            ids, or an output file exists.
    """
    check_name(name, output)
    folder = output / name
    inter, yaml = folder / f"{name}.inter", folder / f"{name}.yaml"
    targets = folder / f"{name}.item", folder / f"{name}.user"
    check_targets([inter, *targets, *([yaml] if is_own else [])], overwrite)
    if not len(log):
        raise UserError(f"{log.path}: found no interaction, expected at least one.")
    chosen = selection.rows(log)
    distinct_pairs, kept_row = selection.distinct(chosen)
    n_repeated = len(chosen) - len(distinct_pairs)
    kept = selection.anonymous(selection.core(distinct_pairs))
    if not len(kept):
        raise UserError(f"{log.path}: no interaction is left of {len(log)} by these options.")
    counts = Counter(log.counts)
    contents: dict[Path, Content] = {inter: kept.write}
    tables = (kept.item_table, kept.items), (kept.user_table, kept.users)
    for target, (table, ids) in zip(targets, tables, strict=True):
        if table is None:
            check_stale(target, f"no table of {target.suffix[1:]}s is converted")
        else:
            contents[target] = _checked(table, ids, counts)
    lines = _property_lines(log)
    properties, notes = declared(yaml, list(lines), contents, is_own=is_own)
    contents |= properties
    write_files(contents)
    return InteractionsReport(
        users=len(pc.unique(kept.users.indices)),
        items=len(pc.unique(kept.items.indices)),
        interactions=len(kept),
        repeated=n_repeated,
        counts=dict(counts),
        notes=(*log.notes, *notes),
        kept=None if properties or not yaml.exists() else yaml,
        kept_row=kept_row if n_repeated else "",
    )


def _property_lines(log: Interactions) -> Iterator[str]:
    """What declares the fields of all files, and the texts of items as features."""
    item_types = log.item_table.types if log.item_table else {}
    user_types = log.user_table.types if log.user_table else {}
    numbers = log.item_table.numbers if log.item_table else ()
    texts = [n for n, kind in item_types.items() if kind == "token_seq" and n not in numbers]
    return property_lines(
        log.path.name,
        {"inter": list(log.numbers), "item": list(item_types), "user": list(user_types)},
        {"text": {"fields": texts}} if texts else {},
    )


def _checked(
    table: Table, ids: pa.DictionaryArray, counts: Counter[str]
) -> Callable[[BinaryIO], None]:
    """What writes a table that has some of the interactions' ids; counts those it lacks."""
    what = next(iter(table.columns)).split("_id:")[0]
    wanted = distinct(ids)
    n_known = pc.sum(pc.is_in(wanted, next(iter(table.columns.values())).cast(wanted.type)))
    if not n_known.as_py():
        raise UserError(
            f"{table.path}: found no {what} of the interactions, whose {what}s look like "
            f"{', '.join(map(repr, wanted[:3].to_pylist()))}, expected at least one."
        )
    lacking = f"{what}s of the interactions that {table.path.name} lacks"
    counts[lacking] = len(wanted) - n_known.as_py()
    return lambda stream: write_lines(stream, table.columns)


def format_report(report: InteractionsReport) -> str:
    """Formats a report, one count a line."""
    kept_row = f" (kept: {report.kept_row})" if report.kept_row else ""
    lines = [
        f"{report.users} users, {report.items} items, {report.interactions} interactions",
        f"left out, their pair repeated: {report.repeated}{kept_row}",
        *(f"{what}: {count}" for what, count in report.counts.items()),
        *report.notes,
    ]
    if report.kept is not None:
        lines.append(f"left as it was: {report.kept}; delete it to have it written anew")
    return "\n".join(lines) + "\n"
