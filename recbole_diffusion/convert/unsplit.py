"""Released interactions without a split: one table of them, and tables of items and users."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.common import INTER_HEADER, Content
from recbole_diffusion.convert.pairs import DistinctPairs
from recbole_diffusion.convert.reading import line_error, on_one_line, shown
from recbole_diffusion.convert.writing import check_name, check_stale, check_targets, write_files

RATING_HEADER = f"{INTER_HEADER}\trating:float\ttimestamp:float"


@dataclass(frozen=True)
class Table:
    """Rows of an ``.item`` or ``.user`` file.

    Attributes:
        path: The source; it need not exist.
        header: First line to write.
        rows: Fields of each row, the id first; read when they are iterated.
    """

    path: Path
    header: str
    rows: Iterable[list[str]]


@dataclass(frozen=True)
class Interactions:
    """Interactions in the order of their source.

    Attributes:
        path: The source.
        header: First line to write.
        rows: User, item and further columns of each row; read when they are iterated.
        items: What is known of items.
        users: What is known of users.
        pairs: The distinct pairs of the rows that have been read.
        counts: What else the report says.
    """

    path: Path
    header: str
    rows: Iterable[list[str]]
    items: Table | None = None
    users: Table | None = None
    pairs: DistinctPairs = field(default_factory=DistinctPairs)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class InteractionsReport:
    """What a conversion wrote.

    Attributes:
        users: Number of distinct users.
        items: Number of distinct items.
        interactions: Rows written.
        repeated: Rows left out because an earlier one has their user and item.
        counts: Other counts, by what they count.
        kept: A property file that was there, and was left as it was.
    """

    users: int
    items: int
    interactions: int
    repeated: int
    counts: dict[str, int]
    kept: Path | None = None


def convert_interactions(
    log: Interactions,
    output: Path,
    name: str,
    overwrite: bool = False,
    properties: Iterable[str] | None = None,
) -> InteractionsReport:
    """Writes interactions as ``<output>/<name>/<name>.inter``, and ``.item`` and ``.user`` beside.

    Of rows with the same user and item the first is kept. Rows are read while they are written, to
    temporary files: nothing appears under these names before all has been checked.

    Args:
        log: The interactions.
        output: Folder of data sets; created if missing.
        name: Name of the data set.
        overwrite: Whether existing files may be replaced; a property file never is.
        properties: Lines of the property file ``<name>.yaml``, if there is to be one.

    Returns:
        The counts of what was written and left out.

    Raises:
        UserError: The name is no file name or one of RecBole's data sets, the source is missing,
            empty or malformed, or an output file exists.
    """
    check_name(name, output)
    folder = output / name
    inter, yaml = folder / f"{name}.inter", folder / f"{name}.yaml"
    tables = {folder / f"{name}.item": log.items, folder / f"{name}.user": log.users}
    written = [inter, *tables, *([yaml] if properties is not None else [])]
    check_targets(written, overwrite)
    contents: dict[Path, Content] = {inter: _inter_lines(log)}
    for (target, table), ids in zip(
        tables.items(), (log.pairs.items, log.pairs.users), strict=True
    ):
        if table is not None:
            contents[target] = _table_lines(log, table, ids)
        else:
            check_stale(target, f"no table of {target.suffix[1:]}s is converted")
    kept = yaml if properties is not None and yaml.exists() else None
    if properties is not None and kept is None:
        contents[yaml] = properties
    write_files(contents)
    return InteractionsReport(
        users=len(log.pairs.users),
        items=len(log.pairs.items),
        interactions=len(log.pairs),
        repeated=log.pairs.repeated,
        counts=dict(log.counts),
        kept=kept,
    )


def _inter_lines(log: Interactions) -> Iterator[str]:
    yield log.header
    for row in log.rows:
        if log.pairs.add(row[0], row[1]):
            yield "\t".join(row)
    if not len(log.pairs):
        raise UserError(f"{log.path}: found no interaction, expected at least one.")


def _table_lines(log: Interactions, table: Table, ids: dict[str, int]) -> Iterator[str]:
    """Written after the interactions, whose ids are known by then."""
    yield table.header
    n_known = 0
    for row in table.rows:
        n_known += row[0] in ids
        yield "\t".join(row)
    what = table.header.split("_id:")[0]
    if not n_known:
        raise UserError(
            f"{table.path}: found no {what} of the interactions, whose {what}s look like "
            f"{', '.join(map(repr, list(ids)[:3]))}, expected at least one."
        )
    log.counts[f"{what}s of the interactions that {table.path.name} lacks"] = len(ids) - n_known


def format_report(report: InteractionsReport) -> str:
    """Formats a report, one count a line."""
    lines = [
        f"{report.users} users, {report.items} items, {report.interactions} interactions",
        f"left out, their pair repeated: {report.repeated}",
        *(f"{what}: {count}" for what, count in report.counts.items()),
    ]
    if report.kept is not None:
        lines.append(f"left as it was: {report.kept}; delete it to have it written anew")
    return "\n".join(lines) + "\n"


def distinct_ids(path: Path, rows: Iterable[tuple[int, list[str]]]) -> Iterator[list[str]]:
    """Passes rows on, and refuses an id that occurs twice.

    Args:
        path: Where they come from, for the message.
        rows: Line number and fields of each row, the id first.

    Yields:
        The fields.

    Raises:
        UserError: An id again, with file and line.
    """
    seen = set()
    for number, row in rows:
        if row[0] in seen:
            raise line_error(path, number, f"the id {shown(row[0])} again", "one row per id")
        seen.add(row[0])
        yield row


def count_breaks(counts: Counter[str], text: str) -> str:
    """A text on one line; counts it if that changed it."""
    line = on_one_line(text)
    counts["texts whose tabs or line breaks became spaces"] += line != text
    return line
