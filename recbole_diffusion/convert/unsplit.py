"""Released interactions without a given split: MicroLens, MovieLens-1M and Amazon reviews."""

import ast
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.common import (
    INTER_HEADER,
    TIMED_HEADER,
    Content,
    DistinctPairs,
    check_name,
    check_stale,
    check_targets,
    line_error,
    on_one_line,
    parse_id,
    parse_number,
    read_lines,
    shown,
    spaced_genres,
    text_lines,
    write_files,
)
from recbole_diffusion.convert.csv_table import parse_token, read_csv

RATED_HEADER = f"{INTER_HEADER}\trating:float\ttimestamp:float"
MICROLENS_PAIRS, MICROLENS_TITLES = "MicroLens-50k_pairs.tsv", "MicroLens-50k_titles.csv"
AMAZON_TEXTS = ("title", "category", "brand", "description")
MAX_LITERAL = 2**20  # characters of a line in Python's form; parsing takes some hundred times that


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
class Log:
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
class LogReport:
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


def convert_log(
    log: Log,
    output: Path,
    name: str,
    overwrite: bool = False,
    properties: Iterable[str] | None = None,
) -> LogReport:
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
    return LogReport(
        users=len(log.pairs.users),
        items=len(log.pairs.items),
        interactions=len(log.pairs),
        repeated=log.pairs.repeated,
        counts=dict(log.counts),
        kept=kept,
    )


def _inter_lines(log: Log) -> Iterator[str]:
    yield log.header
    for row in log.rows:
        if log.pairs.add(row[0], row[1]):
            yield "\t".join(row)
    if not len(log.pairs):
        raise UserError(f"{log.path}: found no interaction, expected at least one.")


def _table_lines(log: Log, table: Table, ids: dict[str, int]) -> Iterator[str]:
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


def format_report(report: LogReport) -> str:
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


def read_microlens(source: Path) -> Log:
    """MicroLens-50k: a line of items for each user, in order of time, and a title for each item.

    Args:
        source: Folder with ``MicroLens-50k_pairs.tsv`` and ``MicroLens-50k_titles.csv``.

    Returns:
        The interactions; ``timestamp`` is the place among the user's own, from 0.
    """
    pairs, titles = source / MICROLENS_PAIRS, source / MICROLENS_TITLES
    counts: Counter[str] = Counter()
    items = Table(titles, "item_id:token\ttitle:token_seq", _microlens_titles(titles, counts))
    return Log(pairs, TIMED_HEADER, _microlens_rows(pairs), items, counts=counts)


def _microlens_rows(path: Path) -> Iterator[list[str]]:
    seen = set()
    for number, line in read_lines(path):
        user, tab, items = line.partition("\t")
        if not tab or not items.strip():
            raise line_error(path, number, shown(line), "`user<TAB>items`, separated by spaces")
        user = str(parse_id(path, number, user))
        if user in seen:
            raise line_error(path, number, f"user {user} again", "one line per user")
        seen.add(user)
        for place, item in enumerate(items.split()):
            yield [user, str(parse_id(path, number, item)), str(place)]


def _microlens_titles(path: Path, counts: Counter[str]) -> Iterator[list[str]]:
    table = read_csv(path)
    if table.columns != ["item", "title"]:
        raise line_error(path, 1, f"the columns {table.columns}", "item, title")
    return distinct_ids(
        path,
        (
            (number, [str(parse_id(path, number, row["item"])), count_breaks(counts, row["title"])])
            for number, row in table.rows
        ),
    )


def read_movielens(source: Path) -> Log:
    """MovieLens-1M as GroupLens publishes it: fields separated by ``::``.

    Lines are UTF-8, or else latin-1 as in the published files, which the report counts.

    Args:
        source: Folder with ``ratings.dat``, ``movies.dat`` and ``users.dat``.

    Returns:
        The interactions with ratings and times, and both tables.
    """
    counts: Counter[str] = Counter()

    def ratings(path: Path) -> Iterator[list[str]]:
        for number, (user, movie, *numbers) in _movielens_fields(path, 4, counts):
            ids = [str(parse_id(path, number, text)) for text in (user, movie)]
            named = zip(("rating", "timestamp"), numbers, strict=True)
            yield ids + [parse_number(path, number, column, text) for column, text in named]

    def movies(path: Path) -> Iterator[tuple[int, list[str]]]:
        for number, (movie, title, genres) in _movielens_fields(path, 3, counts):
            yield number, [str(parse_id(path, number, movie)), title, spaced_genres(genres)]

    def users(path: Path) -> Iterator[tuple[int, list[str]]]:
        for number, (user, *fields) in _movielens_fields(path, 5, counts):
            yield number, [str(parse_id(path, number, user)), *fields]

    paths = [source / f"{part}.dat" for part in ("ratings", "movies", "users")]
    item_header = "item_id:token\ttitle:token_seq\tgenre:token_seq"
    user_header = "user_id:token\tgender:token\tage:token\toccupation:token\tzip_code:token"
    return Log(
        paths[0],
        RATED_HEADER,
        ratings(paths[0]),
        Table(paths[1], item_header, distinct_ids(paths[1], movies(paths[1]))),
        Table(paths[2], user_header, distinct_ids(paths[2], users(paths[2]))),
        counts=counts,
    )


def _movielens_fields(
    path: Path, n_fields: int, counts: Counter[str]
) -> Iterator[tuple[int, list[str]]]:
    for number, text in text_lines(path, "latin-1"):
        line = _as_utf8(path, counts, text).rstrip("\r\n")
        fields = on_one_line(line).split("::")
        if len(fields) != n_fields:
            found = f"{len(fields)} fields in {shown(line)}"
            raise line_error(path, number, found, f"{n_fields}, separated by `::`")
        yield number, fields


def _as_utf8(path: Path, counts: Counter[str], text: str) -> str:
    """What a line read as latin-1 is in UTF-8; the line, and counted, if it is not UTF-8."""
    try:
        return text if text.isascii() else text.encode("latin-1").decode("utf-8-sig")
    except UnicodeDecodeError:
        counts[f"lines of {path.name} that are not UTF-8, read as latin-1"] += 1
        return text


def read_amazon(source: Path, meta: Path | None = None) -> Log:
    """Amazon reviews of 2014 or 2018: one JSON object a line.

    Args:
        source: Reviews with ``reviewerID``, ``asin``, ``overall`` and ``unixReviewTime``; gzip if
            its name ends in ``.gz``.
        meta: Products with ``asin`` and texts, as JSON or as Python prints a dict; likewise. Those
            without a review are left out, and of a repeated product the first is kept.

    Returns:
        The interactions with ratings and times, and title, category, brand and description.
    """
    log = Log(source, RATED_HEADER, _reviews(source))
    if meta is None:
        return log
    header = "\t".join(["item_id:token", *(f"{column}:token_seq" for column in AMAZON_TEXTS)])
    items = Table(meta, header, _products(meta, log.pairs, log.counts))
    return Log(source, RATED_HEADER, log.rows, items, pairs=log.pairs, counts=log.counts)


def _reviews(path: Path) -> Iterator[list[str]]:
    for number, line in read_lines(path):
        review = _parse_object(path, number, line, json.loads)
        ids = [_amazon_id(path, number, review, key) for key in ("reviewerID", "asin")]
        numbers = []
        for key in ("overall", "unixReviewTime"):
            value = review.get(key)
            if type(value) not in (int, float):  # a bool is an int to Python
                raise line_error(path, number, f"{key} {shown(str(value))}", "a finite number")
            numbers.append(parse_number(path, number, key, str(value)))
        yield ids + numbers


def _products(path: Path, pairs: DistinctPairs, counts: Counter[str]) -> Iterator[list[str]]:
    seen = set()
    for number, line in read_lines(path):
        product = _parse_object(path, number, line, _parse_json_or_literal)
        item = _amazon_id(path, number, product, "asin")
        if item not in pairs.items:
            counts["products left out, without a review"] += 1
        elif item in seen:
            counts["products left out, repeated"] += 1
        else:
            seen.add(item)
            # The field is called `categories` in 2014.
            texts = {**product, "category": product.get("category", product.get("categories"))}
            yield [
                item,
                *(
                    count_breaks(counts, _joined(path, number, column, texts.get(column)))
                    for column in AMAZON_TEXTS
                ),
            ]


def _parse_object(
    path: Path, number: int, line: str, parse: Callable[[str], Any]
) -> dict[str, Any]:
    try:
        found = parse(line)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise line_error(path, number, shown(line), "one object with fields")
    return found


def _parse_json_or_literal(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return ast.literal_eval(line) if len(line) <= MAX_LITERAL else None


def _amazon_id(path: Path, number: int, record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or value != _encodable(value):
        raise line_error(path, number, f"{key} {shown(str(value))}", "a text")
    return parse_token(path, number, value)


def _encodable(text: str) -> str:
    """JSON and Python can name halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _joined(path: Path, number: int, column: str, value: Any) -> str:
    """A text, or the texts of lists within lists; nothing where it is missing."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, list):
        return " ".join(_joined(path, number, column, part) for part in value)
    raise line_error(path, number, f"{column} {shown(str(value))}", "a text or a list of texts")


@dataclass(frozen=True)
class LogFormat:
    """How released interactions are stored.

    Attributes:
        read: Gives the interactions from the source.
        source: What the source is, for the command line.
        help: What it is, likewise.
    """

    read: Callable[..., Log]
    source: str
    help: str


FORMATS = {
    "microlens": LogFormat(
        read_microlens,
        "folder with MicroLens-50k's pairs and titles",
        "MicroLens-50k: each user's items in order of time, and titles",
    ),
    "movielens-1m": LogFormat(
        read_movielens,
        "folder with ratings.dat, movies.dat and users.dat",
        "MovieLens-1M: ratings with times, titles and genres, and users",
    ),
    "amazon": LogFormat(
        read_amazon,
        "reviews, one JSON object a line; .gz or plain",
        "Amazon reviews of 2014 or 2018, with titles, categories, brands and descriptions",
    ),
}
