"""Amazon reviews of 2014 and 2018, and what is known of the products."""

import ast
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from recbole_diffusion.convert.csv_table import parse_token
from recbole_diffusion.convert.pairs import DistinctPairs
from recbole_diffusion.convert.reading import (
    line_error,
    parse_number,
    read_lines,
    shown,
)
from recbole_diffusion.convert.unsplit import (
    RATING_HEADER,
    Interactions,
    Table,
    count_breaks,
)

TEXTS = ("title", "category", "brand", "description")
MAX_LITERAL = 2**20  # characters of a line in Python's form; parsing takes some hundred times that


def read_amazon(source: Path, meta: Path | None = None) -> Interactions:
    """Amazon reviews of 2014 or 2018: one JSON object a line.

    Args:
        source: Reviews with ``reviewerID``, ``asin``, ``overall`` and ``unixReviewTime``; gzip if
            its name ends in ``.gz``.
        meta: Products with ``asin`` and texts, as JSON or as Python prints a dict; likewise. Those
            without a review are left out, and of a repeated product the first is kept.

    Returns:
        The interactions with ratings and times, and title, category, brand and description.
    """
    log = Interactions(source, RATING_HEADER, _reviews(source))
    if meta is None:
        return log
    header = "\t".join(["item_id:token", *(f"{column}:token_seq" for column in TEXTS)])
    items = Table(meta, header, _products(meta, log.pairs, log.counts))
    return Interactions(source, RATING_HEADER, log.rows, items, pairs=log.pairs, counts=log.counts)


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
                    for column in TEXTS
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
