"""Dense linear algebra of item-item models: second moments, and a chain of solved denoisers.

On the CPU everything is float32, in place where LAPACK can be: ``solve_chain`` keeps three n x n
arrays at most, its input among them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
import torch
from scipy.linalg import blas, lapack
from torch import Tensor

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.nn.rows import RowBatch

# Rows of a second moment that are made at a time, in bytes of its dense block.
BLOCK_BYTES = 2**26


def second_moment(rows: sp.csr_matrix | np.ndarray) -> np.ndarray:
    """R' R of sparse or dense rows, block by block; O(sum of squared row lengths) for sparse ones.

    Args:
        rows: R float32 [m, n].

    Returns:
        float32 [n, n].
    """
    total = np.zeros((rows.shape[1], rows.shape[1]), np.float32)
    add_second_moment(total, rows, 1.0)
    return total


def add_second_moment(total: np.ndarray, rows: sp.csr_matrix | np.ndarray, weight: float) -> None:
    """Add ``weight`` times R' R, block by block.

    Args:
        total: float32 [n, n].
        rows: R float32 [m, n], sparse or dense.
        weight: Of what is added.
    """
    if isinstance(rows, np.ndarray):
        for part in _blocks(len(total), len(total)):
            total[part] += weight * (rows[:, part].T @ rows)
        return
    columns = sp.csc_matrix(rows)
    for part in _blocks(len(total), len(total)):
        products = (columns[:, part].T @ rows).toarray()
        products *= weight
        total[part] += products


def _blocks(n_rows: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // (4 * max(width, 1)))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def solve_chain(
    moment: np.ndarray,
    penalties: Sequence[np.ndarray],
    ratios: Sequence[float],
    device: torch.device,
) -> Tensor:
    """The matrix of all reverse steps of linear denoisers that do not see what they predict.

    With P_t = (C + diag(penalty_t))^-1 the denoiser is B_t = I - P_t diag(P_t)^-1, and the matrix
    M_t = [(1 - r_t) B_t + r_t I] M_{t-1}, from M_0 = I, which is
    M_{t-1} - (1 - r_t) P_t diag(P_t)^-1 M_{t-1}; for t = 1, r is 0.

    Args:
        moment: C float32 [n, n], symmetric; overwritten on the CPU where it lies row by row.
        penalties: For t = 1..T, what is added to the diagonal [n]; the same object for a step whose
            penalty is that of the step before.
        ratios: r_2..r_T.
        device: Where it is solved.

    Returns:
        M float32 [n, n] on the device.

    Raises:
        UserError: C + diag(penalty) is not positive definite.
    """
    if device.type == "cpu":
        ordered = np.ascontiguousarray(moment)  # of another order LAPACK would overwrite a copy
        return torch.from_numpy(_solve_chain_cpu(ordered, penalties, ratios))
    return _solve_chain_gpu(torch.from_numpy(moment).to(device), penalties, ratios)


def _solve_chain_cpu(
    moment: np.ndarray, penalties: Sequence[np.ndarray], ratios: Sequence[float]
) -> np.ndarray:
    """All in transposed views: what is column by column for LAPACK is row by row for NumPy."""
    diagonal = moment.diagonal().copy()
    _invert(moment, diagonal + penalties[0])
    scale = 1 / moment.diagonal()
    if len(penalties) == 1:
        _mirror(moment)
        return _denoiser(moment, scale)
    chain = moment.copy()
    _mirror(chain)
    _denoiser(chain, scale)
    for t in range(1, len(penalties)):
        if penalties[t] is not penalties[t - 1]:
            _restore(moment)
            _invert(moment, diagonal + penalties[t])
            scale = 1 / moment.diagonal()
        chain = _next_in_chain(chain, moment, scale, 1 - ratios[t - 1])
    return chain


def invert(moment: np.ndarray, diagonal: np.ndarray) -> None:
    """Invert a symmetric matrix with another diagonal, in its place.

    Args:
        moment: float32 [n, n], row by row.
        diagonal: [n].

    Raises:
        UserError: The matrix is not positive definite.
    """
    _invert(moment, diagonal)
    _mirror(moment)


def _next_in_chain(
    chain: np.ndarray, inverse: np.ndarray, scale: np.ndarray, share: float
) -> np.ndarray:
    """M - share P diag(P)^-1 M, in the place of M."""
    scaled = chain * scale[:, None]
    # In C order chain' is what BLAS sees: chain' - share scaled' P.
    return blas.ssymm(-share, inverse.T, scaled.T, 1.0, chain.T, side=1, lower=1, overwrite_c=1).T


def _invert(moment: np.ndarray, diagonal: np.ndarray) -> None:
    """Put the inverse of C, with this diagonal, into the triangle that LAPACK calls the lower.

    The other triangle keeps C.
    """
    np.fill_diagonal(moment, diagonal)
    factor, info = lapack.spotrf(moment.T, lower=1, clean=0, overwrite_a=1)
    if info == 0:
        _, info = lapack.spotri(factor, lower=1, overwrite_c=1)
    if info:
        raise not_positive_definite(info)


def not_positive_definite(place: int) -> UserError:
    """What a failed factorisation means for the user."""
    return UserError(
        "the second moment of the items is not positive definite with this penalty (at item "
        f"{place}): raise key `reg_weight`"
    )


def _mirror(square: np.ndarray) -> None:
    """Copy NumPy's upper triangle, LAPACK's lower of the transpose, to the other side."""
    for part in _blocks(len(square), len(square)):
        square[part, : part.stop] = _lower_of(square, part)


def _lower_of(square: np.ndarray, part: slice) -> np.ndarray:
    """Rows of the symmetric matrix whose upper triangle is given, up to their diagonal block."""
    rows = square[: part.stop, part].T.copy()
    inner = rows[:, part]
    upper = np.triu(square[part, part])
    inner[:] = upper + np.triu(upper, 1).T
    return rows


def _restore(moment: np.ndarray) -> None:
    """Bring C back from NumPy's lower triangle to the upper."""
    for part in _blocks(len(moment), len(moment)):
        rows = moment[part.start :, part].T.copy()
        inner = rows[:, : part.stop - part.start]
        lower = np.tril(moment[part, part])
        inner[:] = lower + np.tril(lower, -1).T
        moment[part, part.start :] = rows


def _denoiser(inverse: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """I - P diag(P)^-1, in the place of P."""
    inverse *= -scale
    np.fill_diagonal(inverse, 0)
    return inverse


def _solve_chain_gpu(
    moment: Tensor, penalties: Sequence[np.ndarray], ratios: Sequence[float]
) -> Tensor:
    chain = inverse = None
    for t, penalty in enumerate(penalties):
        if inverse is None or penalty is not penalties[t - 1]:
            shifted = moment.clone()
            shifted.diagonal().add_(torch.from_numpy(penalty).to(moment))
            factor, info = torch.linalg.cholesky_ex(shifted)
            del shifted
            if int(info):
                raise not_positive_definite(int(info))
            inverse = torch.cholesky_inverse(factor)
            del factor
        scale = 1 / inverse.diagonal()
        if chain is None:
            chain = inverse * -scale
            chain.fill_diagonal_(0)
        else:
            step = scale[:, None] * chain
            chain = torch.addmm(chain, inverse, step, alpha=-(1 - ratios[t - 1]))
    assert chain is not None
    return chain


def causal_moments(
    rows: RowBatch, n_items: int, weights: np.ndarray, row_scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """S'S and S'T of all prefixes of all rows that something follows.

    A row of S holds a prefix, its items weighted by age; the row of T what comes after, each 1.
    Both sums over the prefixes have closed forms, so that no prefix is made: for items at places
    p <= q of N, S'S gains the sum over k = 0..N-2-q of w(k) w(k + q - p), and S'T the sum over
    k = 0..q-1-p of w(k). O(sum of squared row lengths).

    Args:
        rows: Items in the order of time.
        n_items: n.
        weights: w(age) float64, up to the greatest length of a row.
        row_scale: Of both, for each row [m].

    Returns:
        float32 [n, n] each.
    """
    seen, after = (np.zeros((n_items, n_items), np.float32) for _ in range(2))
    items, offsets = rows.items.numpy(), rows.offsets.numpy()
    lengths = np.diff(offsets)
    for length in np.unique(lengths[lengths > 1]).tolist():
        own_seen, own_after = _prefix_sums(weights[:length])
        for users in _parts(np.flatnonzero(lengths == length), length):
            history = items[offsets[users][:, None] + np.arange(length)]  # [users, length]
            places = (history[:, :, None] * n_items + history[:, None, :]).ravel()
            scale = row_scale[users, None, None].astype(np.float32)
            np.add.at(seen.reshape(-1), places, (scale * own_seen).ravel())
            np.add.at(after.reshape(-1), places, (scale * own_after).ravel())
    return seen, after


def _parts(users: np.ndarray, length: int) -> Iterator[np.ndarray]:
    step = max(1, BLOCK_BYTES // (32 * length**2))
    for start in range(0, len(users), step):
        yield users[start : start + step]


def _prefix_sums(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For one row of N items, what each pair of places adds: float32 [N, N] each."""
    n = len(weights)
    place = np.arange(n)
    gap = place[None, :] - place[:, None]
    seen = np.zeros((n, n))
    for distance in range(n - 1):
        products = np.cumsum(weights[: n - 1 - distance] * weights[distance : n - 1])
        # The later place q of the pair runs from distance to n - 2; the sum ends at n - 2 - q.
        later = np.arange(distance, n - 1)
        seen[later, later - distance] = seen[later - distance, later] = products[n - 2 - later]
    after = np.where(gap > 0, np.cumsum(weights)[np.maximum(gap - 1, 0)], 0.0)
    return seen.astype(np.float32), after.astype(np.float32)


def solve_causal_chain(
    seen: np.ndarray, after: np.ndarray, penalty: np.ndarray, ratios: Sequence[float]
) -> Tensor:
    """As ``solve_chain`` with one penalty, for denoisers whose target is another than their input.

    B = P (S'T - diag(mu)) with P = (S'S + diag(penalty))^-1; mu makes the diagonal of B zero.

    Args:
        seen: S'S float32 [n, n]; overwritten.
        after: S'T float32 [n, n]; overwritten.
        penalty: [n].
        ratios: r_2..r_T.

    Returns:
        M float32 [n, n], on the CPU.

    Raises:
        UserError: S'S + diag(penalty) is not positive definite.
    """
    _invert(seen, seen.diagonal() + penalty)
    _mirror(seen)
    after[:] = seen @ after
    after -= seen * (after.diagonal() / seen.diagonal())
    np.fill_diagonal(after, 0)
    chain, free = after, seen  # three arrays at most: B, the chain before and after a step
    for ratio in ratios:
        free[:] = chain
        made = blas.sgemm(1 - ratio, chain.T, after.T, ratio, free.T, overwrite_c=1).T
        chain, free = made, np.empty_like(made) if chain is after else chain
    return torch.from_numpy(chain)
