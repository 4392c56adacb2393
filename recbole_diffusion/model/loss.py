"""Losses that several models share."""

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

# Similarities held at a time: 2^18 floats stay in a processor's cache.
BLOCK_ENTRIES = 2**18
# Fewer rows would spend more on adding up the anchors' gradients [N, d] than on the products.
MIN_BLOCK_ROWS = 64
# Cosines over a temperature of this or more stay below 40, whose exp is far from overflow.
SHARP_TEMPERATURE = 1 / 40


def bpr_loss(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Mean Bayesian personalised ranking loss of pairs of scores, each [B].

    Source: Rendle et al. 2009; Liang et al. 2026, Eq. 12.
    """
    return F.softplus(negative - positive).mean()


def square_error(output: torch.Tensor, target: torch.Tensor, reduction: str) -> torch.Tensor:
    """Mean over rows [B, d] of their squared distance; ``element``: over dimensions too.

    Source: Liang et al. 2026, Eq. 10; SimDiff, Eq. 6 (``row``), and their authors' code.
    """
    squares = (output - target).square()
    return squares.mean() if reduction == "element" else squares.sum(1).mean()


def info_nce(
    views: torch.Tensor, anchors: torch.Tensor, targets: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Contrast each view with its anchor against all anchors, by cosine similarity.

    Three products of B * N * d operations with their gradients, in blocks of bounded memory:
    no [B, N] array is kept.

    Args:
        views: Generated embeddings [B, d].
        anchors: Embeddings of all N candidates [N, d].
        targets: int64 [B], the anchor of each view.
        temperature: Above 0.

    Returns:
        Scalar, the sum over the views.

    Source: Liang et al. 2026, Eq. 11.
    """
    with torch.autocast(views.device.type, enabled=False):  # exp needs single precision
        normalized = F.normalize(_single(views), dim=1), F.normalize(_single(anchors), dim=1)
        loss: torch.Tensor = _BlockedInfoNCE.apply(*normalized, targets, temperature)
    return loss


def _single(x: torch.Tensor) -> torch.Tensor:
    """A lower precision raised to single; double stays."""
    return x if x.dtype == torch.float64 else x.float()


class _BlockedInfoNCE(torch.autograd.Function):
    """Sum of log-softmax losses of ``views @ anchors.T / temperature``, gradients made in forward.

    With p = exp(similarities) of a block and s its row sums, let q be p less s at the target; the
    gradients are q @ anchors / s and q.T @ (views / s) over the temperature. A block costs three
    products, one pass for exp and one for the sums.
    """

    @staticmethod
    def forward(
        ctx: Any,
        views: torch.Tensor,
        anchors: torch.Tensor,
        targets: torch.Tensor,
        temperature: float,
    ) -> torch.Tensor:
        loss = views.new_zeros(())
        view_grad, anchor_grad = torch.empty_like(views), torch.zeros_like(anchors)
        n_rows = max(BLOCK_ENTRIES // len(anchors), MIN_BLOCK_ROWS)
        for start in range(0, len(views), n_rows):
            rows = slice(start, start + n_rows)
            block, target = views[rows], targets[rows, None]
            p = (block / temperature) @ anchors.T  # [rows, d] @ [d, N]
            loss -= p.gather(1, target).sum()
            if temperature < SHARP_TEMPERATURE:
                largest = p.amax(dim=1, keepdim=True)
                loss += largest.sum()
                p.sub_(largest)
            total = p.exp_().sum(dim=1, keepdim=True)
            loss += total.log().sum()
            p.scatter_add_(1, target, -total)
            view_grad[rows] = p @ anchors / total
            anchor_grad += p.T @ (block / total)
        ctx.save_for_backward(view_grad.div_(temperature), anchor_grad.div_(temperature))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        view_grad, anchor_grad = ctx.saved_tensors
        return grad_output * view_grad, grad_output * anchor_grad, None, None
