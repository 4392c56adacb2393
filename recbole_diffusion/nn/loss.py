"""Losses that several models share."""

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from recbole_diffusion.nn.layers import unit_rows
from recbole_diffusion.nn.rows import RowBatch

# Similarities held at a time: 2^18 floats stay in a processor's cache.
BLOCK_ENTRIES = 2**18
# Fewer rows would spend more on adding up the anchors' gradients [N, d] than on the products.
MIN_BLOCK_ROWS = 64
# Cosines over a temperature of this or more stay below 40, whose exp is far from overflow.
SHARP_TEMPERATURE = 1 / 40


def bpr_of_products(
    users: torch.Tensor, items: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor
) -> torch.Tensor:
    """Mean Bayesian personalised ranking loss of inner products; its gradient is one formula.

    Args:
        users: Embeddings of the users [B, d].
        items: Embeddings that the places refer to [n, d].
        positive: Place in ``items`` of each user's item, int64 [B].
        negative: Place of the item to rank below it, int64 [B].

    Returns:
        Scalar, the mean over the pairs.

    Source: Rendle et al. 2009; Liang et al. 2026, Eq. 12; SimDiff, Eq. 7; DiffMM, Eq. 25.
    """
    with torch.autocast(users.device.type, enabled=False):
        embeddings = _single(users), _single(items)
        loss: torch.Tensor = _PairwiseRanking.apply(*embeddings, positive, negative)
    return loss


class _PairwiseRanking(torch.autograd.Function):
    """Mean of log(1 + exp(-m)), m = u (p - n); with w = sigmoid(-m) / B du = -w (p - n)."""

    @staticmethod
    def forward(
        ctx: Any,
        users: torch.Tensor,
        items: torch.Tensor,
        positive: torch.Tensor,
        negative: torch.Tensor,
    ) -> torch.Tensor:
        difference = items.index_select(0, positive).sub_(items.index_select(0, negative))
        margin = torch.linalg.vecdot(users, difference)
        ctx.save_for_backward(users, difference, margin, positive, negative)
        ctx.n_items = len(items)
        return F.softplus(-margin).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        users, difference, margin, positive, negative = ctx.saved_tensors
        weight = (torch.sigmoid(-margin) * (grad_output / len(margin)))[:, None]
        push = weight * users
        item_grad = users.new_zeros(ctx.n_items, users.shape[1])
        item_grad.index_add_(0, positive, push, alpha=-1).index_add_(0, negative, push)
        return -weight * difference, item_grad, None, None


def square_error(output: torch.Tensor, target: torch.Tensor, reduction: str) -> torch.Tensor:
    """Mean over rows [B, d] of their squared distance; ``element``: over dimensions too.

    Source: Liang et al. 2026, Eq. 10; SimDiff, Eq. 6 (``row``), and their authors' code.
    """
    mean = F.mse_loss(output, target)
    return mean if reduction == "element" else mean * output.shape[1]


def sum_of_squares(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    """Of all entries of some tensors, a scalar."""
    return torch.stack([part.square().sum() for part in parts]).sum()


def info_nce(
    views: torch.Tensor,
    anchors: torch.Tensor,
    targets: torch.Tensor,
    temperature: float,
    counts: torch.Tensor | None = None,
) -> torch.Tensor:
    """Contrast each view with its anchor against all anchors, by cosine similarity.

    Three products of B * N * d operations with their gradients, in blocks of bounded memory:
    no [B, N] array is kept.

    Args:
        views: Generated embeddings [B, d].
        anchors: Embeddings of all N candidates [N, d].
        targets: int64 [B], the anchor of each view.
        temperature: Above 0.
        counts: How often each view counts [B], above 0; by default once.

    Returns:
        Scalar, the sum over the views.

    Source: Liang et al. 2026, Eq. 11; DiffMM, Eq. 18-19.
    """
    with torch.autocast(views.device.type, enabled=False):  # exp needs single precision
        normalized = unit_rows(_single(views)), unit_rows(_single(anchors))
        return unit_info_nce(*normalized, targets, temperature, counts)


def unit_info_nce(
    views: torch.Tensor,
    anchors: torch.Tensor,
    targets: torch.Tensor,
    temperature: float,
    counts: torch.Tensor | None = None,
) -> torch.Tensor:
    """``info_nce`` of embeddings in single precision that have length 1 (or 0) already."""
    if counts is None:
        counts = views.new_ones(len(views))
    with torch.autocast(views.device.type, enabled=False):
        loss: torch.Tensor = _BlockedInfoNCE.apply(views, anchors, targets, temperature, counts)
    return loss


class BatchContrast(nn.Module):
    """InfoNCE of two views of the distinct nodes that a batch holds, among these.

    Args:
        temperature: Above 0.
    """

    # The batch's nodes; a training by several processes gives those of all of them.
    of_all_processes: Callable[[torch.Tensor], torch.Tensor] = staticmethod(lambda rows: rows)

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, nodes: torch.Tensor, *views: torch.Tensor) -> torch.Tensor:
        """Mean over nodes, added up over each two of the views.

        Args:
            nodes: int64 [B].
            *views: Embeddings of all nodes [n, d]; the second of two is the anchor.

        Returns:
            Scalar.
        """
        distinct = self.of_all_processes(nodes).unique()
        places = torch.arange(len(distinct), device=nodes.device)
        total = views[0].new_zeros(())
        for view, anchors in combinations([view[distinct] for view in views], 2):
            total = total + info_nce(view, anchors, places, self.temperature)
        return total / len(distinct)


def _single(x: torch.Tensor) -> torch.Tensor:
    """A lower precision raised to single; double stays."""
    return x if x.dtype == torch.float64 else x.float()


class _BlockedInfoNCE(torch.autograd.Function):
    """Sum of log-softmax losses of ``views @ anchors.T / temperature``, gradients made in forward.

    With p = exp(similarities) of a block and s its row sums, let q be p less s at the target, and c
    the counts; the gradients are c q @ anchors / s and q.T @ (c views / s) over the temperature. A
    block costs three products, one pass for exp and one for the sums.
    """

    @staticmethod
    def forward(
        ctx: Any,
        views: torch.Tensor,
        anchors: torch.Tensor,
        targets: torch.Tensor,
        temperature: float,
        counts: torch.Tensor,
    ) -> torch.Tensor:
        loss = views.new_zeros(())
        counts = counts.to(views.dtype)[:, None]
        view_grad, anchor_grad = torch.empty_like(views), torch.zeros_like(anchors)
        n_rows = max(BLOCK_ENTRIES // len(anchors), MIN_BLOCK_ROWS)
        similarities = views.new_empty(min(n_rows, len(views)), len(anchors))
        for start in range(0, len(views), n_rows):
            rows = slice(start, start + n_rows)
            block, target, count = views[rows], targets[rows, None], counts[rows]
            p = similarities[: len(block)]
            torch.mm(block / temperature, anchors.T, out=p)  # [rows, d] @ [d, N]
            loss -= (count * p.gather(1, target)).sum()
            if temperature < SHARP_TEMPERATURE:
                largest = p.amax(dim=1, keepdim=True)
                loss += (count * largest).sum()
                p.sub_(largest)
            total = p.exp_().sum(dim=1, keepdim=True)
            loss += (count * total.log()).sum()
            p.scatter_add_(1, target, -total)
            share = total / count
            view_grad[rows] = p @ anchors / share
            anchor_grad.addmm_(p.T, block / share)
        ctx.save_for_backward(view_grad.div_(temperature), anchor_grad.div_(temperature))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        view_grad, anchor_grad = ctx.saved_tensors
        return grad_output * view_grad, grad_output * anchor_grad, None, None, None


def row_square_error(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, rows: RowBatch
) -> torch.Tensor:
    """Squared distances of ``hidden @ weight.T + bias`` to sparse rows; neither is made [B, n].

    By Gram matrices: (1.6 n + 3 B) h^2 operations with the gradients, where three products of the
    outputs would take 3 B n h. Exact, and the better way from batches of h rows on.

    Args:
        hidden: [B, h].
        weight: [n, h].
        bias: [n].
        rows: Targets over n items, none of them twice in a row.

    Returns:
        [B], the sums over the items.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        inputs = _single(hidden), _single(weight), _single(bias)
        losses: torch.Tensor = _RowSquareError.apply(*inputs, *rows)
    return losses


class _RowSquareError(torch.autograd.Function):
    """Of the error e = h V^T + b - x the products e V and e^T h, and |e|^2 by them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        items: torch.Tensor,
        offsets: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:
        rows = RowBatch(items, offsets, values.to(hidden.dtype))
        shift = bias @ weight - rows.product(weight)  # (b - x) V [B, h]
        error = torch.addmm(shift, hidden, _gram(weight))  # e V
        of_rows = rows.values * (rows.values - 2 * bias[items])  # |x|^2 - 2 b x, entry by entry
        losses = ((error + shift) * hidden).sum(dim=1) + bias.square().sum()
        losses.index_add_(0, rows.rows, of_rows)
        ctx.save_for_backward(hidden, weight, bias, error, items, offsets, rows.values)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, error, *places = ctx.saved_tensors
        rows = RowBatch(*places)
        scale = 2 * grad_output[:, None]
        scaled = scale * hidden
        total = scaled.sum(dim=0)
        weight_grad = (weight @ (hidden.T @ scaled)).addr_(bias, total)
        of_entries = scaled[rows.rows] * rows.values[:, None]
        weight_grad.index_add_(0, rows.items, of_entries, alpha=-1)
        bias_grad = weight @ total + bias * scale.sum()
        bias_grad.index_add_(0, rows.items, scale[rows.rows, 0] * rows.values, alpha=-1)
        return scale * error, weight_grad, bias_grad, None, None, None


def _gram(matrix: torch.Tensor, n_blocks: int = 4) -> torch.Tensor:
    """``matrix.T @ matrix`` [h, h], of which blocks above the diagonal are copied: 5/8 the cost."""
    size = matrix.shape[1]
    gram, step = matrix.new_empty(size, size), -(-size // n_blocks)
    for start in range(0, size, step):
        part = slice(start, start + step)
        torch.mm(matrix[:, part].T, matrix[:, : start + step], out=gram[part, : start + step])
        gram[:start, part] = gram[part, :start].T
    return gram
