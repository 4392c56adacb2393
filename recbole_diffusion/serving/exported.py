"""An export as a source of lists; it needs neither the run nor its data."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
import torch
from safetensors.numpy import load_file
from torch import Tensor

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.data.full_sort import users_per_batch
from recbole_diffusion.data.recency import Recency
from recbole_diffusion.nn.rows import InteractionRows, RowBatch, history_rows
from recbole_diffusion.serving.card import CARD, read_card
from recbole_diffusion.serving.catalogue import Catalogue, Ids
from recbole_diffusion.serving.graphs import Graph
from recbole_diffusion.serving.source import PARTS, Histories
from recbole_diffusion.serving.strangers import HistoryVectors, MatrixScores, scaled_by_length

PADDING = "[PAD]"
ITEM_COLUMNS = "item_columns.parquet"
UNREADABLE = (LookupError, TypeError, ValueError, OSError)


def open_export(folder: str | Path) -> "ExportSource":
    """The export in a folder, its files checked.

    Raises:
        UserError: A damaged file, or another version.
    """
    path = Path(folder)
    card = read_card(path)
    with refusals_of(f"{path / CARD}: not the card of an export", *UNREADABLE):
        return ExportSource(path, card)


class Scores:
    """Scores of rows by what an export holds; a subclass gives ``of_rows``.

    Attributes:
        item_vectors: As of a ``Source``.
    """

    item_vectors: Tensor | None = None

    def of_rows(self, rows: RowBatch) -> Tensor:
        """Scores [B, n_items] of users outside the data; each row holds an item."""
        raise TypeError(f"{type(self).__name__} does not define of_rows")

    def of_users(self, users: Tensor, rows: RowBatch) -> Tensor:
        """Scores [B, n_items] of users of the data, int64 [B], by their train items."""
        return self.of_rows(rows)

    def contributions(self, row: RowBatch, item: int) -> Tensor | None:
        """As of a ``Source``, of one row."""
        return None


class ExportSource:
    """Scores on the CPU by the files of an export; see ``Source``.

    Args:
        folder: Of the export.
        card: Its card.
    """

    def __init__(self, folder: Path, card: Mapping[str, Any]) -> None:
        self.model: str = card["model"]
        self._folder, self._card = folder, card
        self._has_users: bool = card["with_users"]
        items = Ids(_tokens(folder / "item_ids.txt"))
        users = Ids(_tokens(folder / "user_ids.txt")) if self._has_users else Ids(
            np.array([PADDING], dtype=object), self._without_users()
        )  # fmt: skip
        self.catalogue = Catalogue(users, items, self._read_column, card["seq_separator"])
        self.block_size = users_per_batch(card["evaluation"], len(items))
        self._recency = Recency(**card["recency"])
        self._scores = _scores(folder, card)
        self._parts = _read_parts(folder) if self._has_users else {}
        self.rows = cache(self._make_rows)
        self.read_rows = cache(self._make_read_rows)

    @property
    def digest(self) -> str:
        """Equal for equal files."""
        files = json.dumps(self._card["files"], sort_keys=True)
        return hashlib.sha256(files.encode()).hexdigest()

    @property
    def item_vectors(self) -> Tensor | None:
        """Vectors of items [n_items, d], where the scores are products with such."""
        return self._scores.item_vectors

    def _without_users(self) -> str:
        # By its name alone: a service tells nobody where its folders are.
        return (
            f"{self._folder.resolve().name}: found an export without people's data, expected "
            "histories in place of users, or an export with users"
        )

    @property
    def item_columns(self) -> list[str]:
        """Columns of the items beside the ids."""
        path = self._folder / ITEM_COLUMNS
        return pq.read_schema(path).names[1:] if path.is_file() else []

    def _read_column(self, name: str) -> np.ndarray:
        path, found = self._folder / ITEM_COLUMNS, self.item_columns
        if name not in found:
            columns = f"the columns {', '.join(found)}" if found else "no columns of items"
            raise UserError(f"{path}: found {columns}, expected {name} among them")
        texts = pq.read_table(path, columns=[name]).column(0).to_numpy(zero_copy_only=False)
        return np.concatenate([np.array([""], dtype=object), texts.astype(object)])

    def _make_rows(self, parts: tuple[str, ...]) -> InteractionRows:
        return self._joined(parts, Recency())

    def _make_read_rows(self) -> InteractionRows:
        return self._joined(("train",), self._recency)

    def _joined(self, parts: tuple[str, ...], recency: Recency) -> InteractionRows:
        if not self._has_users:
            raise UserError(self._without_users())
        nothing = np.empty(0, np.int64)
        users, items = (
            np.concatenate([nothing, *(self._parts[part][place] for part in parts)])
            for place in (0, 1)
        )
        return InteractionRows(users, items, len(self.catalogue.users), recency=recency)

    @torch.no_grad()
    def score(self, users: Tensor) -> Tensor:
        """Scores [b, n_items] of users [b]."""
        return self._scores.of_users(users, self.read_rows().batch(users))

    @torch.no_grad()
    def score_histories(self, histories: Histories) -> Tensor:
        """Scores [b, n_items] of users outside the data."""
        return self._scores.of_rows(self._history_rows(histories))

    def contributions(self, history: Sequence[int], item: int) -> Tensor | None:
        """Of a matrix of items [n]; None for other models."""
        return self._scores.contributions(self._history_rows([history]), item)

    def generated_edges(self, user: int) -> dict[str, list[int]]:
        """None: an export holds vectors, not the graphs that they come from."""
        return {}

    def _history_rows(self, histories: Histories) -> RowBatch:
        return history_rows(histories, len(self.catalogue.items), self._recency)


class VectorScores(Scores):
    """Products of vectors; see ``Scores``.

    Args:
        users: Vectors [n_users, d]; None without people's data.
        history: What makes vectors of histories; has those of the items.
        graph: Makes the products; None: PyTorch does.
    """

    def __init__(self, users: Tensor | None, history: HistoryVectors, graph: Graph | None) -> None:
        self._users, self._history, self._graph = users, history, graph
        self.item_vectors = history.items

    def of_users(self, users: Tensor, rows: RowBatch) -> Tensor:
        """Scores [B, n_items] of users of the data."""
        assert self._users is not None  # their rows are refused before
        return self._products(self._users[users])

    def of_rows(self, rows: RowBatch) -> Tensor:
        """Scores [B, n_items] of users outside the data."""
        return self._products(self._history.vectors(rows))

    def _products(self, vectors: Tensor) -> Tensor:
        if self._graph is not None:
            return self._graph(vector=vectors)
        return vectors @ self._history.items.T


class MatrixOfExport(Scores):
    """Products of rows and a matrix; see ``Scores``.

    Args:
        linear: The matrix and what rows weigh.
    """

    def __init__(self, linear: MatrixScores) -> None:
        self._linear = linear

    def of_rows(self, rows: RowBatch) -> Tensor:
        """Scores [B, n_items] of users outside the data."""
        return self._linear.of_rows(rows)

    def contributions(self, row: RowBatch, item: int) -> Tensor | None:
        """What each item adds [nnz]."""
        return self._linear.contributions(row, item)


class GraphScores(Scores):
    """Scores of rows by an ONNX graph; see ``Scores``.

    Args:
        graph: Reads ``row`` or ``items``, and ``vector`` beside them where there are such.
        n_items: With the padding.
        length_power: As of ``MatrixScores``.
        empty: Likewise.
        users: What the graph is told of each user [n_users, d]; None: nothing, or no such data.
        stranger: What it is told of users outside the data [d]; None: nothing.
    """

    def __init__(
        self,
        graph: Graph,
        n_items: int,
        length_power: float,
        empty: np.ndarray | None,
        users: Tensor | None,
        stranger: Tensor | None,
    ) -> None:
        self._graph, self._n_items = graph, n_items
        self._length_power, self._empty = length_power, empty
        self._users, self._stranger = users, stranger

    def of_users(self, users: Tensor, rows: RowBatch) -> Tensor:
        """Scores [B, n_items] of users of the data."""
        return self._of(rows, None if self._users is None else self._users[users])

    def of_rows(self, rows: RowBatch) -> Tensor:
        """Scores [B, n_items] of users outside the data."""
        stranger = self._stranger
        return self._of(rows, None if stranger is None else stranger.expand(len(rows.lengths), -1))

    def _of(self, rows: RowBatch, vectors: Tensor | None) -> Tensor:
        told = {} if vectors is None else {"vector": vectors}
        if "items" in self._graph.inputs:
            scores = self._graph(items=rows.padded(), **told)
        else:
            scaled = scaled_by_length(rows, self._length_power)
            scores = self._graph(row=scaled.dense(self._n_items)[:, 1:], **told)
        if self._empty is not None:
            scores[rows.lengths == 0] = torch.from_numpy(self._empty)
        return scores


def _scores(folder: Path, card: Mapping[str, Any]) -> Scores:
    kind, graph = card["kind"], None
    if kind == "onnx":
        graph = Graph(folder / "model.onnx")
    if (folder / "history_map.npy").is_file():
        vectors = read_vectors(folder, card["array_format"], card["with_users"])
        history = HistoryVectors(vectors["items"], torch.from_numpy(_array(folder, "history_map")))
        return VectorScores(vectors.get("users"), history, graph)
    has_empty = (folder / "empty_history.npy").is_file()
    empty = _with_padding(_array(folder, "empty_history")) if has_empty else None
    if graph is not None:
        has_stranger = (folder / "stranger.npy").is_file()
        stranger = torch.from_numpy(_array(folder, "stranger")) if has_stranger else None
        users = None
        if has_stranger and card["with_users"]:
            users = torch.from_numpy(_with_padding(_array(folder, "users")))
        n_items = card["n_items"] + 1
        return GraphScores(graph, n_items, card["length_power"], empty, users, stranger)
    matrix = sp.load_npz(folder / "item_item.npz").tocsr()
    content = matrix.data, matrix.indices + 1, np.concatenate([[0], matrix.indptr])
    padded = sp.csr_matrix(content, shape=(matrix.shape[0] + 1, matrix.shape[1] + 1))
    recency = Recency(**card["recency"])
    linear = MatrixScores(padded, recency, card["length_power"], empty)
    return MatrixOfExport(linear)


def read_vectors(folder: Path, form: str, with_users: bool) -> dict[str, Tensor]:
    """Vectors of ``items`` and ``users`` [n, d] by internal ids, the padding's of zeros."""
    names = ["items", *(["users"] if with_users else [])]
    if form == "safetensors":
        found = load_file(folder / "vectors.safetensors")
    elif form == "parquet":
        found = {name: _parquet_vectors(folder / f"{name}.parquet") for name in names}
    else:
        found = {name: _array(folder, name) for name in names}
    return {name: torch.from_numpy(_with_padding(found[name])) for name in names}


def _parquet_vectors(path: Path) -> np.ndarray:
    column = pq.read_table(path, columns=["vector"]).column("vector").combine_chunks()
    width = column.type.list_size
    values: np.ndarray = column.values.to_numpy(zero_copy_only=False).reshape(-1, width)
    return values


def _array(folder: Path, name: str) -> np.ndarray:
    array: np.ndarray = np.load(folder / f"{name}.npy", allow_pickle=False)
    return array


def _with_padding(values: np.ndarray) -> np.ndarray:
    """One row of zeros, or one zero, in front."""
    return np.concatenate([np.zeros_like(values[:1]), values])


def _tokens(path: Path) -> np.ndarray:
    """Ids of a file, that of the padding first; a line may hold any character but a line feed."""
    lines = path.read_bytes().decode("utf-8").split("\n")[:-1]
    return np.array([PADDING, *lines], dtype=object)


def _read_parts(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Users and items of each part's interactions, by internal ids, int64."""
    with np.load(folder / "interactions.npz", allow_pickle=False) as arrays:
        found = {}
        for part in PARTS:
            offsets, items = arrays[f"{part}_offsets"], arrays[f"{part}_items"]
            users = np.repeat(np.arange(1, len(offsets)), np.diff(offsets))
            found[part] = users, items.astype(np.int64) + 1
    return found
