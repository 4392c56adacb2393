"""MovieLens-1M: ratings with times, movies and users."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from recbole_diffusion.convert.reading import (
    line_error,
    on_one_line,
    parse_id,
    parse_number,
    shown,
    spaced_genres,
    text_lines,
)
from recbole_diffusion.convert.unsplit import RATING_HEADER, Interactions, Table, distinct_ids


def read_movielens(source: Path) -> Interactions:
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
    return Interactions(
        paths[0],
        RATING_HEADER,
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
