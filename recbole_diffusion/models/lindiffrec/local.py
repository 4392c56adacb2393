"""Linear denoisers of large catalogues: items are solved in blocks, each among the items near it.

A column of a denoiser says which items predict one item. Here it may be other than zero only for
the items nearest to it, and is the best one under that constraint: the same objective, the same
solution (``linear.solve_chain``), on a small second moment. The second moment of all items is
never made.
"""

from collections.abc import Callable, Iterator, Sequence
from logging import getLogger
from math import isqrt
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from recbole_diffusion.models.lindiffrec.linear import BLOCK_BYTES
from recbole_diffusion.nn.rows import RowBatch

# Items of a block for each item that it is solved among.
BLOCK_SHARE = 1 / 32
# Of the vectors that say which items lie together, and steps of the iteration that makes them.
WIDTH, ITERATIONS = 32, 4

# What the second moment is made of: C = sum of R' R, each R [m, n].
Observations = Sequence[sp.csr_matrix | np.ndarray]


class LocalWeights(nn.Module):
    """A matrix whose columns have few entries, and what is made of it.

    Attributes:
        neighbours: Rows of the entries of each column, int32 [n, kept]; [0, 0] before it is set.
        values: The entries, float32 [n, kept].
    """

    neighbours: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._set(torch.zeros(0, 0, dtype=torch.int32), torch.zeros(0, 0))

    def _set(self, neighbours: Tensor, values: Tensor) -> None:
        self.register_buffer("neighbours", neighbours)
        self.register_buffer("values", values)
        self._matrix: sp.csr_matrix | None = None

    def set(self, neighbours: np.ndarray, values: np.ndarray) -> None:
        """Take the columns of ``solve_local``."""
        device = self.values.device
        self._set(torch.from_numpy(neighbours).to(device), torch.from_numpy(values).to(device))

    @property
    def is_set(self) -> bool:
        """Whether there is a matrix."""
        return len(self.values) > 0

    def column(self, item: int) -> Tensor:
        """One column [n]."""
        column = self.values.new_zeros(len(self.values))
        column[self.neighbours[item].long()] = self.values[item]
        return column

    def product(self, rows: RowBatch, items: Tensor | None = None) -> Tensor:
        """Rows times the matrix, or times some of its columns: [B, n], or [B, len(items)].

        Made on the CPU, for only the entries that a row meets.
        """
        scores = rows.matrix(len(self.values)) @ self.matrix()
        if items is not None:
            scores = scores[:, items.cpu().numpy()]
        return torch.from_numpy(scores.toarray()).to(self.values.device)

    def matrix(self) -> sp.csr_matrix:
        """The matrix on the CPU, made once."""
        if self._matrix is None:
            n, kept = self.values.shape
            neighbours, values = self.neighbours.cpu().numpy(), self.values.cpu().numpy()
            content = values.ravel(), neighbours.ravel(), np.arange(0, n * kept + 1, kept)
            self._matrix = sp.csc_matrix(content, shape=(n, n)).tocsr()
        return self._matrix

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """A checkpoint brings the sizes."""
        found = [state_dict.get(f"{prefix}{name}") for name in ("neighbours", "values")]
        if all(isinstance(tensor, Tensor) and tensor.dim() == 2 for tensor in found):
            device = self.values.device
            self._set(*(torch.empty_like(tensor, device=device) for tensor in found))  # type: ignore[arg-type]
        super()._load_from_state_dict(state_dict, prefix, *others)


def block_size(n_local: int) -> int:
    """Items of a block at most; halves of halves of the items have half as many at least."""
    return max(1, round(n_local * BLOCK_SHARE))


def solve_local(
    observations: Observations,
    penalty: Callable[[np.ndarray], np.ndarray],
    solve: Callable[[np.ndarray], np.ndarray],
    n_local: int,
    n_kept: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Columns of a matrix, each solved among the items nearest to its block.

    As many solutions of n_local items as there are blocks (``block_size``), and the products of the
    rows that hold one of these items.

    Args:
        observations: Whose sum of R' R is the second moment C of the n items.
        penalty: What is added to a diagonal [n]; here it only scales what is near.
        solve: Matrix [k, k] of the second moment [k, k] of some items.
        n_local: Items that a block is solved among.
        n_kept: Entries that are kept of each column, those of greatest magnitude.

    Returns:
        Rows of each column's entries int32 [n, n_kept], and the entries float32.
    """
    n_items = observations[0].shape[1]
    n_local = min(n_local, n_items)
    n_kept = min(n_kept, n_local)
    by_column = [sp.csc_matrix(r) if sp.issparse(r) else r for r in observations]
    diagonal = _diagonal(observations)
    scale = 1 / np.sqrt(np.maximum(diagonal + penalty(diagonal), 1e-30))
    blocks = _blocks(_vectors(observations, scale), block_size(n_local))
    neighbours = np.zeros((n_items, n_kept), np.int32)
    values = np.zeros((n_items, n_kept), np.float32)
    # As many blocks at a time as share a second moment of BLOCK_BYTES, were it dense.
    step = max(1, isqrt(BLOCK_BYTES // 4) // n_local)
    for start in range(0, len(blocks), step):
        group = blocks[start : start + step]
        strengths = _strengths(observations, by_column, scale, group)
        near = [_nearest(*pair, n_local) for pair in zip(group, strengths, strict=True)]
        union = np.unique(np.concatenate(near))
        shared = _sparse_moment(by_column, union)
        for block, items in zip(group, near, strict=True):
            places = np.searchsorted(union, items)
            moment = shared[places][:, places].toarray() + _dense_moment(observations, items)
            columns = solve(moment)[:, np.searchsorted(items, block)].T
            kept = np.argpartition(-np.abs(columns), n_kept - 1, axis=1)[:, :n_kept]
            neighbours[block] = items[kept]
            values[block] = np.take_along_axis(columns, kept, axis=1)
        _tell(start, len(group), len(blocks))
    return neighbours, values


def _tell(start: int, n_done: int, n_blocks: int) -> None:
    """A line a tenth of the way."""
    before, after = (10 * n // n_blocks for n in (start, start + n_done))
    if after > before:
        getLogger().info(f"solved {start + n_done} of {n_blocks} blocks of items")


def _sparse_moment(by_column: Observations, items: np.ndarray) -> sp.csr_matrix:
    """What sparse observations give to the second moment of some items."""
    total = sp.csr_matrix((len(items), len(items)), dtype=np.float32)
    for columns in by_column:
        if not isinstance(columns, np.ndarray):
            block = columns[:, items]
            total = total + block.T @ block.tocsr()
    return total


def _dense_moment(observations: Observations, items: np.ndarray) -> Any:
    """What dense observations give to it; 0 without them."""
    dense = [rows[:, items] for rows in observations if not sp.issparse(rows)]
    return sum(own.T @ own for own in dense)


def _diagonal(observations: Observations) -> np.ndarray:
    """Of the second moment [n]."""
    total = np.zeros(observations[0].shape[1])
    for rows in observations:
        squares = rows * rows if isinstance(rows, np.ndarray) else rows.multiply(rows)
        total += np.asarray(squares.sum(axis=0)).ravel()
    return total


def _vectors(observations: Observations, scale: np.ndarray) -> np.ndarray:
    """Unit vectors of the items [n, WIDTH] that are alike for items with many common rows.

    The leading eigenvectors of the scaled second moment, by iteration on a random subspace (Halko
    et al., SIAM Review 2011), from a fixed seed.
    """

    def moment_times(vectors: np.ndarray) -> np.ndarray:
        scaled = scale[:, None] * vectors
        return scale[:, None] * sum(r.T @ (r @ scaled) for r in observations)

    draw = np.random.default_rng(0)
    basis = draw.standard_normal((len(scale), min(WIDTH, len(scale))))
    for _ in range(ITERATIONS):
        basis = np.linalg.qr(moment_times(basis))[0]
    eigenvalues, rotation = np.linalg.eigh(basis.T @ moment_times(basis))
    vectors = basis @ rotation * np.sqrt(np.maximum(eigenvalues, 0))
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _blocks(vectors: np.ndarray, size: int) -> list[np.ndarray]:
    """Items in blocks of ``size`` at most, alike within: halved where they differ most."""
    done, left = [], [np.arange(len(vectors))]
    while left:
        items = left.pop()
        if len(items) <= size:
            done.append(items)
            continue
        centred = vectors[items] - vectors[items].mean(axis=0)
        direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        order = items[np.argsort(centred @ direction, kind="stable")]
        left += [order[len(order) // 2 :], order[: len(order) // 2]]
    return done


def _nearest(block: np.ndarray, strength: np.ndarray, n_local: int) -> np.ndarray:
    """The items of a block and those of greatest strength, sorted; the first fill up a lack."""
    strength[block] = np.inf
    found = np.flatnonzero(strength)
    if len(found) < n_local:
        return np.sort(np.argsort(strength == 0, kind="stable")[:n_local])
    return np.sort(found[np.argpartition(-strength[found], n_local - 1)[:n_local]])


def _strengths(
    observations: Observations,
    by_column: Observations,
    scale: np.ndarray,
    blocks: Sequence[np.ndarray],
) -> Iterator[np.ndarray]:
    """For each block, the sum over its items of squared correlations with every item [n]."""
    items = np.concatenate(blocks)
    sparse = sp.csr_matrix((len(items), len(scale)), dtype=np.float32)
    for rows, columns in zip(observations, by_column, strict=True):
        if sp.issparse(rows):
            sparse = sparse + columns[:, items].T @ rows
    dense = [rows for rows in observations if not sp.issparse(rows)]
    start = 0
    for block in blocks:
        part = sp.diags(scale[block]) @ sparse[start : start + len(block)]
        start += len(block)
        if dense:
            added = sum(rows[:, block].T @ rows for rows in dense)
            sums = np.square(part.toarray() + scale[block, None] * added).sum(axis=0)
        else:
            sums = np.bincount(part.indices, part.data**2, minlength=len(scale))
        yield sums * scale**2
