"""Feature vectors of a user's own, joined to items (or users) by original id.

Files are read by ``data.feature_files``, texts encoded by ``data.encode``.
"""

from collections.abc import Iterator
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.data.atomic import read_item_texts
from recbole_diffusion.data.feature_files import check_finite, check_unique, examples, read_table
from recbole_diffusion.data.feature_table import Block, FeatureTable, block_length
from recbole_diffusion.data.numbers import is_number
from recbole_diffusion.settings.item_features import (
    DEFAULT_ENCODER,
    EMBEDDING_FILES,
    PLAIN_ENCODERS,
    TFIDF,
    Declaration,
    declarations,
)

# Deviation of a column, in its largest value, up to which it tells nothing but rounding.
CONSTANT = 1e-6
# Of a feature; products of two of these stay finite, summed over any width.
LARGEST = 1e15


def load_item_features(config: Any, dataset: Any, name: str) -> np.ndarray:
    """Read, or encode, the vectors of one name, and tell in the log how many items have one.

    Args:
        config: Settings.
        dataset: RecBole's dataset, whose items are used.
        name: Of those declared under ``item_features``.

    Returns:
        [n_items, width], float32 or as the option ``dtype`` says, on the CPU; rows in the order of
        internal ids, row 0 (padding) zero. An item without a vector has what ``missing`` says.

    Raises:
        UserError: A malformed declaration or file, NaN or infinite values, repeated ids, no id of
            the data set, another width than ``width``, or more than ``max_missing`` of all items
            without a vector.
    """
    declared, field = declarations(config)[name], config["ITEM_ID_FIELD"]
    table = _open(config, declared)
    if declared.width not in (None, table.width):
        raise UserError(
            f"{table.source}: found width {table.width}, expected {declared.width} "
            f"(item_features.{name}.width)"
        )
    tokens = dataset.field2id_token[field].astype(str)
    places = _places(table, tokens)
    if not places.any():
        raise UserError(
            f"{table.source}: none of its {examples(table.ids)} is a `{field}` of the data set, "
            f"whose ids look like {_some(tokens)}"
        )
    is_absent = np.ones(len(tokens), dtype=bool)
    is_absent[0] = is_absent[places] = False
    _refuse_gaps(name, declared, table, tokens, is_absent)
    joined = _joined(table, places, tokens, declared.dtype)
    _scale(joined, ~is_absent, declared.scale)
    if declared.missing == "mean" and is_absent.any():
        n_present = len(tokens) - 1 - is_absent.sum()
        joined[is_absent] = joined.sum(axis=0, dtype=np.float64) / n_present
    is_numbered = np.array_equal(table.ids, np.arange(len(table.ids)).astype(str))
    if is_numbered and is_absent.any():
        getLogger().warning(
            f"item_features.{name}: the ids of {table.source} are 0 to {len(table.ids) - 1}, and "
            f"items have no row: if they are row numbers, save the ids of the `.inter` file instead"
        )
    getLogger().info(
        f"item_features.{name}: {np.count_nonzero(places)} items with features, "
        f"{is_absent.sum()} without ({declared.missing}), {np.count_nonzero(places == 0)} further "
        f"rows left out; width {table.width}, {table.dtype} read as {declared.dtype}, "
        f"{table.source}{table.remark}"
    )
    return joined


def load_unit_vectors(config: Any, dataset: Any, name: str) -> np.ndarray | sp.csr_matrix:
    """Read, or make, the vectors of one name at length 1, so that products are cosines.

    Texts are TF-IDF vectors unless an encoder is declared. Dense vectors are centred first: what
    all items share tells none apart.

    Args:
        config: Settings.
        dataset: RecBole's dataset, whose items are used.
        name: Of those declared under ``item_features``.

    Returns:
        float32 [n_items, width], sparse for TF-IDF; rows in the order of internal ids, row 0
        (padding) and items without a vector zero.

    Raises:
        UserError: As ``load_item_features``.
    """
    declared = declarations(config)[name]
    if declared.fields and declared.encoder in (None, TFIDF):
        return _tfidf_vectors(config, dataset, name, declared)
    vectors = load_item_features(config, dataset, name).astype(np.float32, copy=False)
    vectors[1:] -= vectors[1:].mean(axis=0, dtype=np.float64)
    _scale(vectors, np.ones(len(vectors), dtype=bool), "unit")
    return vectors


def _tfidf_vectors(config: Any, dataset: Any, name: str, declared: Declaration) -> sp.csr_matrix:
    # Late, as is the encoder.
    from recbole_diffusion.data.tfidf import tfidf_table

    table, vectors = tfidf_table(config, declared.fields)
    tokens = dataset.field2id_token[config["ITEM_ID_FIELD"]].astype(str)
    places = _places(table, tokens)
    is_absent = np.ones(len(tokens), dtype=bool)
    is_absent[0] = is_absent[places] = False
    _refuse_gaps(name, declared, table, tokens, is_absent)
    getLogger().info(
        f"item_features.{name}: {np.count_nonzero(places)} items with features, {is_absent.sum()} "
        f"without; {table.width} words and pairs, {table.source}{table.remark}"
    )
    join = sp.csr_matrix(
        (np.ones(len(places), np.float32), (places, np.arange(len(places)))),
        shape=(len(tokens), len(places)),
    )
    join = sp.diags_array((np.arange(len(tokens)) > 0).astype(np.float32)) @ join  # no padding
    return sp.csr_matrix(join @ vectors)


def load_matrix(path: str | Path, dataset: Any, field: str) -> np.ndarray:
    """Read vectors of all ids of a field, none missing and none more.

    Args:
        path: A file that ``feature_files.read_table`` reads.
        dataset: RecBole's dataset, whose ids are used.
        field: Name of the id field, such as ``item_id``.

    Returns:
        float32 [n_ids, d]; rows in the order of internal ids, row 0 (padding) zero.

    Raises:
        UserError: File missing or of another kind, wrong shape, NaN or infinite values, repeated
            ids, ids that the data set lacks, or ids of the data set without a row.
    """
    table = read_table(path, id_column=field)
    tokens = dataset.field2id_token[field].astype(str)
    places = _places(table, tokens)
    unknown = table.ids[places == 0]
    if len(unknown):
        raise UserError(
            f"{path}: {examples(unknown)} match no `{field}` of the data set, "
            f"whose ids look like {_some(tokens)}"
        )
    if len(places) < len(tokens) - 1:
        missing = np.sort(np.delete(tokens, [0, *places]))
        raise UserError(f"{path}: no row for {examples(missing)} of field `{field}`")
    return _joined(table, places, tokens, "float32")


def load_named_matrix(config: Any, key: str, dataset: Any) -> np.ndarray:
    """As ``load_matrix`` for the file that a key names.

    Args:
        config: Settings.
        key: Of ``EMBEDDING_FILES``.
        dataset: RecBole's dataset, whose ids are used.

    Raises:
        UserError: A file that ``load_matrix`` refuses.
    """
    try:
        return load_matrix(config[key], dataset, config[EMBEDDING_FILES[key]])
    except UserError as error:
        raise UserError(f"key `{key}`: {error}") from error


def _open(config: Any, declared: Declaration) -> FeatureTable:
    if declared.fields:
        # Late: sentence encoders load PyTorch models.
        from recbole_diffusion.data.text_vectors import encoded_table

        if declared.encoder == TFIDF:
            raise UserError(
                f"key `item_features`: found encoder {TFIDF}, whose vectors are sparse and as wide "
                f"as the vocabulary, which {config['model']} does not take; expected a sentence "
                f"encoder such as {DEFAULT_ENCODER}"
            )
        return encoded_table(config, declared.fields, declared.encoder or DEFAULT_ENCODER)
    for kind in PLAIN_ENCODERS:
        if place := getattr(declared, kind):
            # Late: it imports what reads pictures and sounds.
            from recbole_diffusion.data.media_vectors import media_vectors

            return media_vectors(config, kind, place, declared.encoder).table
    if declared.field:
        return _item_column(config, declared.field)
    path = _find_file(config, declared.file)
    for option, suffixes in (("ids", (".npy", ".parquet")), ("columns", (".parquet",))):
        if getattr(declared, option) and path.suffix not in suffixes:
            raise UserError(
                f"key `item_features`: {path}: found the option `{option}`, expected it with "
                f"{' or '.join(suffixes)} only"
            )
    if path.suffix == ".parquet":
        return read_table(path, declared.ids or config["ITEM_ID_FIELD"], None, declared.columns)
    return read_table(path, ids=_find_file(config, declared.ids) if declared.ids else None)


def _find_file(config: Any, name: str | None) -> Path:
    """A path from the data set's folder, else from the working directory."""
    places = [Path(folder or "", str(name)).resolve() for folder in (config["data_path"], ".")]
    for path in places:
        if path.is_file():
            return path
    missing = " and no ".join(str(path) for path in dict.fromkeys(places))
    raise UserError(f"key `item_features`: file {name!r}: found no {missing}, expected it there")


def _item_column(config: Any, column: str) -> FeatureTable:
    """A column of numbers of the ``.item`` file, whatever the run loads of it."""
    path, table = read_item_texts(config, [column], "float_seq")
    texts = table[column].str.strip()
    is_given = (texts != "").to_numpy()
    if not is_given.any():
        raise UserError(f"{path}: column {column}: found no numbers, expected some")
    ids = table[config["ITEM_ID_FIELD"]].to_numpy(dtype=str)[is_given]
    rows = texts[is_given].str.split(config["seq_separator"])
    width = len(rows.iloc[0])
    blocks = _column_blocks(f"{path}: column {column}", ids, rows, width)
    return FeatureTable(f"{path}: column {column}", ids, width, "float_seq", blocks)


def _column_blocks(source: str, ids: np.ndarray, rows: pd.Series, width: int) -> Iterator[Block]:
    lengths = rows.str.len().to_numpy()
    other = np.flatnonzero(lengths != width)
    if len(other):
        raise UserError(
            f"{source}: found a vector of {lengths[other[0]]} numbers for "
            f"{str(ids[other[0]])!r}, expected {width}, as for the first id"
        )
    step = block_length(width)
    for start in range(0, len(rows), step):
        part = slice(start, min(start + step, len(rows)))
        texts = np.array(rows.iloc[part].tolist(), dtype=str)
        try:
            values = texts.astype(np.float64)
        except ValueError as error:
            row, column = next(p for p in np.ndindex(*texts.shape) if not is_number(str(texts[p])))
            raise UserError(
                f"{source}: found {str(texts[row, column])!r:.200} for "
                f"{str(ids[start + row])!r}, expected numbers"
            ) from error
        yield part, slice(0, width), values


def _places(table: FeatureTable, tokens: np.ndarray) -> np.ndarray:
    """Internal id of each row of a table; 0 for an id that the data set lacks."""
    check_unique(table.source, table.ids)
    known = pd.Index(tokens[1:].astype(object))
    return np.asarray(known.get_indexer(table.ids.astype(object))) + 1


def _joined(table: FeatureTable, places: np.ndarray, tokens: np.ndarray, dtype: str) -> np.ndarray:
    """The matrix in the order of internal ids, filled block by block."""
    # An archive can claim any width; its values are not read yet.
    with refusals_of(f"{table.source}: width {table.width}", MemoryError, ValueError):
        joined = np.zeros((len(tokens), table.width), dtype)
    for rows, columns, values in table.blocks:
        is_known = places[rows] > 0
        with np.errstate(over="ignore"):  # infinity is refused below
            joined[places[rows][is_known], columns] = values[is_known]
    check_finite(table.source, tokens, joined)
    largest = max(joined.max(initial=0), -joined.min(initial=0))  # without a second matrix
    if largest > LARGEST:
        raise UserError(
            f"{table.source}: found {largest:.3g}, whose square single precision cannot hold, "
            f"expected at most {LARGEST:g}: scale the vectors"
        )
    return joined


def _scale(matrix: np.ndarray, is_present: np.ndarray, scale: str) -> None:
    """Scale vectors in place, in double precision: each to length 1, or columns to N(0, 1)."""
    is_present[0] = False  # the padding
    rows = np.flatnonzero(is_present)
    if scale == "standard":
        for column in range(matrix.shape[1]):
            values = matrix[rows, column].astype(np.float64)
            deviation = values.std()
            is_constant = deviation <= CONSTANT * np.abs(values).max()
            matrix[rows, column] = 0 if is_constant else (values - values.mean()) / deviation
    if scale == "unit":
        step = block_length(matrix.shape[1])
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            values = matrix[part].astype(np.float64)
            length = np.linalg.norm(values, axis=1, keepdims=True)
            matrix[part] = values / np.where(length > 0, length, 1)


def _refuse_gaps(
    name: str,
    declared: Declaration,
    table: FeatureTable,
    tokens: np.ndarray,
    is_absent: np.ndarray,
) -> None:
    """Refuse more items without features than are allowed."""
    n_items, absent = len(tokens) - 1, tokens[is_absent]
    allowed = 0.0 if declared.missing == "error" else declared.max_missing
    if len(absent) <= allowed * n_items:
        return
    raise UserError(
        f"{table.source}: no features for {examples(absent)} of {n_items} items "
        f"({len(absent) / n_items:.1%}), expected at most {allowed:.1%} "
        f"(item_features.{name}: options `missing` and `max_missing`; the ids of the file look "
        f"like {', '.join(map(repr, table.ids[:3].tolist()))}){table.remark}"
    )


def _some(tokens: np.ndarray) -> str:
    return ", ".join(map(repr, tokens[1:4].tolist()))
