"""The k best items of each user, in one order for equal scores whatever k, batch and device."""

import functools

import torch
from torch import Tensor

# Columns of a group, of which the largest score is taken; fewer than so many columns a rank are
# not grouped.
GROUP, COLUMNS_PER_RANK = 8, 16


def ranked_items(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest scores of each row and their columns, best first.

    Equal scores rank by a lot that each column has drawn, the same in every call for as many
    columns; so the first 5 of 20 are the 5 that are asked for alone. Column 0, the padding, is
    never ranked. NaN ranks first: a row has one if its first rank has.

    Args:
        scores: [n, n_items].
        k: At most n_items - 1.

    Returns:
        Scores [n, k] and columns int64 [n, k].
    """
    candidates = scores[:, 1:]
    values, places = _largest(candidates, min(k + 1, candidates.shape[1]))
    is_tied = (values[:, 1:] == values[:, :-1]).any(dim=1) & ~values[:, 0].isnan()
    values, places = values[:, :k], places[:, :k]
    if is_tied.any():
        order = _lots(candidates.shape[1]).to(scores.device)
        values[is_tied], by_lot = _first_of_equals(candidates[is_tied][:, order], k)
        places[is_tied] = order[by_lot]
    return values, places + 1


def _largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As ``torch.topk``; of wide rows, among the k groups of columns with the largest maxima.

    The k largest scores are in them, whatever group holds which of several equal ones.
    """
    n_columns = scores.shape[1]
    if n_columns < COLUMNS_PER_RANK * k:
        return scores.topk(k, dim=1)
    n_groups = n_columns // GROUP
    n_grouped = n_groups * GROUP
    # A group is every n_groups-th column, so that maxima are taken over whole rows of memory.
    maxima = scores[:, :n_grouped].unflatten(1, (GROUP, n_groups)).amax(dim=1)
    first = torch.arange(0, n_grouped, n_groups, device=scores.device)
    columns = (_largest(maxima, k)[1][:, None, :] + first[:, None]).flatten(1)  # [n, GROUP * k]
    rest = torch.arange(n_grouped, n_columns, device=scores.device)
    columns = torch.cat([columns, rest.expand(len(scores), -1)], dim=1)
    values, places = scores.gather(1, columns).topk(k, dim=1)
    return values, columns.gather(1, places)


@functools.lru_cache(maxsize=8)
def _lots(n_columns: int) -> Tensor:
    """Columns in the order of their lots, int64 [n_columns]."""
    return torch.randperm(n_columns, generator=torch.Generator().manual_seed(0))


def _first_of_equals(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest scores [n, k] and their columns, of equal ones the first column first."""
    least = scores.topk(k, dim=1).values[:, -1:]
    is_equal = scores == least
    n_larger = (scores > least).sum(dim=1, keepdim=True)
    is_kept = (scores > least) | (is_equal & (is_equal.cumsum(dim=1) <= k - n_larger))
    columns = is_kept.nonzero()[:, 1].view(-1, k)
    values, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)
