"""The training interactions: as one sparse matrix, and as rows that a batch makes dense."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.recency import ALIKE, Recency


def interaction_matrix(dataset: Any) -> sp.csr_matrix:
    """Training interactions as a binary matrix; repeated pairs count once.

    Args:
        dataset: RecBole's dataset of the train split.

    Returns:
        float32 CSR matrix [n_users, n_items]; row 0 and column 0 are padding and empty.
    """
    matrix = dataset.inter_matrix(form="csr").astype(np.float32)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


class RowBatch(NamedTuple):
    """Sparse rows of a batch, one a user.

    Attributes:
        items: int64 [nnz], row after row.
        offsets: Where each row starts, and the end: int64 [B + 1].
        values: float32 [nnz].
    """

    items: Tensor
    offsets: Tensor
    values: Tensor

    def to(self, device: torch.device) -> "RowBatch":
        """The same rows on a device."""
        return RowBatch(*(tensor.to(device) for tensor in self))

    @property
    def lengths(self) -> Tensor:
        """Interactions of each row [B]."""
        return self.offsets.diff()

    @property
    def rows(self) -> Tensor:
        """Row of each interaction [nnz]."""
        rows = torch.arange(len(self.lengths), device=self.items.device)
        return rows.repeat_interleave(self.lengths)

    @property
    def row_lengths(self) -> Tensor:
        """Interactions in the row of each [nnz]."""
        return self.lengths.repeat_interleave(self.lengths)

    @property
    def places(self) -> Tensor:
        """Number of earlier interactions in the row of each [nnz]."""
        place = torch.arange(len(self.items), device=self.items.device)
        return place - self.offsets[:-1].repeat_interleave(self.lengths)

    @property
    def ages(self) -> Tensor:
        """Number of later interactions in the row of each [nnz]."""
        return self.row_lengths - 1 - self.places

    def take(self, rows: Tensor) -> "RowBatch":
        """Some of the rows.

        Args:
            rows: int64 [B]; a row may occur any number of times.
        """
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        offsets = functional.pad(lengths.cumsum(0), (1, 0))
        # Place in the batch, less its row's start there, plus the row's start here.
        shift = (starts - offsets[:-1]).repeat_interleave(lengths)
        places = torch.arange(len(shift), device=rows.device) + shift
        return RowBatch(self.items[places], offsets, self.values[places])

    def keep(self, is_kept: Tensor) -> "RowBatch":
        """The rows with some of their interactions.

        Args:
            is_kept: bool [nnz].
        """
        n_before = functional.pad(is_kept.cumsum(0), (1, 0))
        return RowBatch(self.items[is_kept], n_before[self.offsets], self.values[is_kept])

    def dense(self, n_items: int) -> Tensor:
        """The rows as [B, n_items], float32; O(B * n_items)."""
        dense = self.values.new_zeros(len(self.lengths), n_items)
        dense[self.rows, self.items] = self.values
        return dense

    def padded(self) -> Tensor:
        """Items of each row, 0 behind the last: int64 [B, longest], at least one column."""
        longest = max(int(self.lengths.max()), 1)
        items = self.items.new_zeros(len(self.lengths), longest)
        items[self.rows, self.places] = self.items
        return items

    def matrix(self, n_items: int) -> sp.csr_matrix:
        """The rows as a sparse matrix float32 [B, n_items] on the CPU."""
        content = (self.values, self.items, self.offsets)
        arrays = tuple(tensor.cpu().numpy() for tensor in content)
        return sp.csr_matrix(arrays, shape=(len(self.lengths), n_items))

    def columns(self, place: Tensor) -> "RowBatch":
        """The rows over some of the items, in another order.

        Args:
            place: New column of each item [n_items], int64; below 0 for an item that is left out.
        """
        columns = place[self.items]
        return self._replace(items=columns).keep(columns >= 0)

    def normalized(self, item_degrees: Tensor) -> "RowBatch":
        """The rows with 1 / sqrt(|N_u| |N_i|) for values.

        Args:
            item_degrees: |N_i| float32 [n_items]; an item of nobody counts as one of one user.
        """
        degrees = item_degrees[self.items].clamp_min(1) * self.lengths[self.rows]
        return self._replace(values=degrees.rsqrt())

    def product(self, weight: Tensor) -> Tensor:
        """The rows times a matrix; O(nnz * d).

        Args:
            weight: [n_items, d].

        Returns:
            [B, d].
        """
        return functional.embedding_bag(
            self.items,
            weight,
            self.offsets,
            mode="sum",
            per_sample_weights=self.values.to(weight.dtype),
            include_last_offset=True,
        )


class DenseRows:
    """Rows as a dense matrix with what a model does with a ``RowBatch``, for traces of it.

    Args:
        content: float32 [B, n_items]; an entry of 0 is no interaction.
    """

    def __init__(self, content: Tensor) -> None:
        self.content = content

    @property
    def lengths(self) -> Tensor:
        """Interactions of each row [B]."""
        return (self.content != 0).sum(dim=1)

    def dense(self, n_items: int) -> Tensor:
        """The rows [B, n_items]."""
        return self.content

    def columns(self, place: Tensor) -> "DenseRows":
        """The rows over some of the items in another order; as ``RowBatch.columns``."""
        chosen = (place >= 0).nonzero()[:, 0]
        return DenseRows(self.content[:, chosen[place[chosen].argsort()]])

    def normalized(self, item_degrees: Tensor) -> "DenseRows":
        """The rows with 1 / sqrt(|N_u| |N_i|) for values; as ``RowBatch.normalized``."""
        degrees = item_degrees.clamp_min(1) * self.lengths.clamp_min(1)[:, None]
        return DenseRows((self.content != 0) * degrees.rsqrt())

    def product(self, weight: Tensor) -> Tensor:
        """The rows times a matrix [n_items, d]: [B, d]."""
        return self.content @ weight


class InteractionRows(nn.Module):
    """Rows of a sparse matrix on the model's device; 16 bytes an interaction, no padding.

    Args:
        rows: int64 [nnz], such as users.
        items: int64 [nnz].
        n_rows: Number of rows.
        times: Order within each row [nnz]; equal times keep the order given. Default: as given.
        recency: Values by age.
        values: Other values [nnz], in the order given.
    """

    items: Tensor
    offsets: Tensor
    values: Tensor

    def __init__(
        self,
        rows: np.ndarray,
        items: np.ndarray,
        n_rows: int,
        times: np.ndarray | None = None,
        recency: Recency = ALIKE,
        values: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        order = np.lexsort((rows,) if times is None else (times, rows))  # stable
        lengths = np.bincount(rows, minlength=n_rows)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        batch = weighted_rows(torch.from_numpy(items[order]), torch.from_numpy(offsets), recency)
        if values is not None:
            batch = batch._replace(values=torch.from_numpy(values[order]))
        for name, tensor in batch._asdict().items():
            self.register_buffer(name, tensor, persistent=False)

    @property
    def all(self) -> RowBatch:
        """All rows, without a copy."""
        return RowBatch(self.items, self.offsets, self.values)

    def non_empty(self, rows: Tensor) -> Tensor:
        """Those of some rows [B] that hold an item."""
        return rows[self.lengths_of(rows) > 0]

    def lengths_of(self, rows: Tensor) -> Tensor:
        """Number of items of some rows [B], int64."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def batch(self, rows: Tensor) -> RowBatch:
        """Some of the rows.

        Args:
            rows: int64 [B]; a row may occur any number of times.
        """
        return self.all.take(rows)


def weighted_rows(items: Tensor, offsets: Tensor, recency: Recency = ALIKE) -> RowBatch:
    """Rows whose values tell how recent an item is.

    Args:
        items: int64 [nnz], row after row, each in the order of time.
        offsets: int64 [B + 1].
        recency: Values by age.
    """
    rows = RowBatch(items, offsets, items)
    return rows._replace(values=recency.weights(rows.ages, rows.row_lengths))


def unit_length(rows: RowBatch, weights: Tensor, length: float = 1.0) -> RowBatch:
    """Rows whose values times weights [nnz] have one Euclidean length; a row of 0 stays."""
    values = rows.values * weights
    square = values.new_zeros(len(rows.lengths)).index_add_(0, rows.rows, values.square())
    scale = length * square.clamp_min(torch.finfo(square.dtype).tiny).rsqrt()
    return rows._replace(values=values * scale.repeat_interleave(rows.lengths))


def history_rows(
    histories: Sequence[Sequence[int] | Tensor],
    n_items: int,
    recency: Recency = ALIKE,
) -> RowBatch:
    """Rows of users outside the data, from their items.

    Args:
        histories: Internal item ids of each user, in the order of time.
        n_items: Number of internal ids, of which 0 is the padding.
        recency: Values by age.

    Raises:
        UserError: What is no list of whole numbers, an item that is not in 1..n_items-1, or is in a
            history twice.
    """
    parts = [_history(history) for history in histories]
    lengths = torch.tensor([len(part) for part in parts], dtype=torch.int64)
    offsets = functional.pad(lengths.cumsum(0), (1, 0))
    items = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)
    unknown = items[(items < 1) | (items >= n_items)]
    if len(unknown):
        raise UserError(
            f"histories: found item {unknown[0].item()}, expected internal ids 1..{n_items - 1}"
        )
    rows = weighted_rows(items, offsets, recency)
    pairs, counts = torch.stack([rows.rows, items]).unique(dim=1, return_counts=True)
    if (counts > 1).any():
        row, item = pairs[:, counts > 1][:, 0].tolist()
        raise UserError(f"histories: found item {item} twice in the one at place {row}")
    return rows


def _history(history: Sequence[int] | Tensor) -> Tensor:
    """One user's items as int64 [n]."""
    try:
        items = torch.as_tensor(history, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        items = None
    if items is None or items.dim() != 1 or (len(items) and items.is_floating_point()):
        raise UserError(
            f"histories: found {history!r} for one, expected a list of internal ids (whole numbers)"
        )
    return items.long()
