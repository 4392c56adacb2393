"""FAISS indices of items' vectors, by inner product."""

import time
from logging import WARNING, getLogger
from pathlib import Path
from typing import Any

import numpy as np

from recbole_diffusion.base.arguments import needed_package

KINDS = ("flat", "hnsw", "ivf")
# Neighbours of a node, and lengths of the lists while the graph is built and searched.
NEIGHBOURS, BUILT, SEARCHED = 32, 200, 128
# Cells of an inverted file for n vectors: 4 sqrt(n), each of 39 vectors at least, as FAISS advises;
# an eighth of them are searched.
CELLS, LEAST_OF_CELL, SEARCHED_SHARE = 4, 39, 8
# Lengths of lists whose recall is measured.
RECALLS = (10, 100)


def write_index(path: Path, kind: str, items: np.ndarray, users: np.ndarray) -> dict[str, Any]:
    """Write an index, and measure it against exact search.

    Args:
        path: The file.
        kind: flat, hnsw or ivf.
        items: Vectors float32 [n_items, d].
        users: Vectors float32 [n, d] to search with.

    Returns:
        What the card tells: kind, parameters, recall by length of list, queries a second.

    Raises:
        UserError: faiss is not installed.
    """
    getLogger("faiss.loader").setLevel(WARNING)  # it tells which of its builds it tries
    faiss: Any = needed_package("faiss", "faiss", "--index")
    index, parameters = _made(faiss, kind, items)
    index.add(items)
    faiss.write_index(index, str(path))
    lengths = [k for k in RECALLS if k <= len(items)] or [len(items)]
    start = time.perf_counter()
    found = index.search(users, lengths[-1])[1]
    seconds = time.perf_counter() - start
    exact = faiss.IndexFlatIP(items.shape[1])
    exact.add(items)
    best = exact.search(users, lengths[-1])[1]
    return {
        "kind": kind,
        "parameters": parameters,
        "recall": {str(k): recall(found[:, :k], best[:, :k]) for k in lengths},
        "queries_per_second": len(users) / max(seconds, 1e-9),
        "n_queries": len(users),
    }


def recall(found: np.ndarray, best: np.ndarray) -> float:
    """Share of the best items [n, k] that are among those found [n, k]; -1 is none."""
    stride = max(found.max(), best.max()) + 2
    rows = np.arange(len(best))[:, None] * stride
    return float(np.isin((rows + best).ravel(), (rows + found).ravel()).mean())


def _made(faiss: Any, kind: str, items: np.ndarray) -> tuple[Any, str]:
    """An index without the items, trained where need be, and its parameters in words."""
    width, metric = items.shape[1], faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        return faiss.IndexFlatIP(width), "exact"
    if kind == "hnsw":
        graph = faiss.IndexHNSWFlat(width, NEIGHBOURS, metric)
        graph.hnsw.efConstruction, graph.hnsw.efSearch = BUILT, SEARCHED
        return graph, f"M {NEIGHBOURS}, efConstruction {BUILT}, efSearch {SEARCHED}"
    n_cells = max(1, min(int(CELLS * len(items) ** 0.5), len(items) // LEAST_OF_CELL))
    cells = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, n_cells, metric)
    cells.train(items)
    cells.nprobe = max(1, n_cells // SEARCHED_SHARE)
    return cells, f"nlist {n_cells}, nprobe {cells.nprobe}"
