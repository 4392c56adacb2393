"""Amazon reviews of 2014, 2018 and 2023, and what is known of the products."""

import ast
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from recbole_diffusion.convert.interactions import Interactions, Table, distinct
from recbole_diffusion.convert.reading import line_error, shown
from recbole_diffusion.convert.sources import look_through
from recbole_diffusion.convert.user_columns import CsvOptions
from recbole_diffusion.convert.user_tables import read_own
from recbole_diffusion.convert.values import texts_of

TEXTS = ("title", "category", "brand", "description")
# Names of 2014 and 2023, where a product has none of the name in use.
OTHER_NAMES = {"category": "categories", "brand": "store"}
MAX_LITERAL = 2**20  # characters of a line in Python's form; parsing takes some hundred times that


def read_amazon(source: Path, meta: Path | None = None) -> Interactions:
    """Amazon reviews: one JSON object a line.

    Args:
        source: Reviews with user, product, rating and time, plain or packed.
        meta: Products with ``asin``, or ``parent_asin`` in 2023, and texts, as JSON or as Python
            prints a dict. Those without a review are left out, and of a repeated product the first
            is kept.

    Returns:
        The interactions with ratings and times, and title, category, brand and description.

    Raises:
        UserError: A line is malformed; it is named.
    """
    log = read_own(source, CsvOptions(), is_amazon=True)
    if meta is None:
        return log
    counts: Counter[str] = Counter()
    products = list(_products(meta, set(distinct(log.items).to_pylist()), counts))
    columns = {"item_id:token": pa.chunked_array([[row[0] for row in products]], pa.string())}
    for n, column in enumerate(TEXTS, start=1):
        found = pa.chunked_array([[row[n] for row in products]], pa.string())
        columns[f"{column}:token_seq"] = texts_of(found, counts)
    return replace(log, item_table=Table(meta, columns), counts=counts)


def _products(path: Path, wanted: set[str], counts: Counter[str]) -> Iterator[list[str]]:
    """Id and texts of products that have a review: one line at a time, as their forms differ."""
    seen = set()
    for number, line in enumerate(look_through(path).lines(), start=1):
        if not line.strip():
            continue
        product = _parse_object(path, number, line.rstrip("\n"))
        item = product.get("parent_asin", product.get("asin"))
        if not isinstance(item, str):
            raise line_error(path, number, f"asin {shown(str(item))}", "a text")
        if item not in wanted:
            counts["products left out, without a review"] += 1
        elif item in seen:
            counts["products left out, repeated"] += 1
        else:
            seen.add(item)
            texts = [product.get(c, product.get(OTHER_NAMES.get(c, c))) for c in TEXTS]
            yield [
                item,
                *(_joined(path, number, *named) for named in zip(TEXTS, texts, strict=True)),
            ]


def _parse_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = _parse_json_or_literal(line)
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
