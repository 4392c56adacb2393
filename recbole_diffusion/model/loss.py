"""Losses that several models share."""

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

# Similarities held at a time: 2^20 floats stay in a processor's cache.
BLOCK_ENTRIES = 2**20


def bpr_loss(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Mean Bayesian personalised ranking loss of pairs of scores, each [B].

    Source: Rendle et al. 2009; Liang et al. 2026, Eq. 12.
    """
    return F.softplus(negative - positive).mean()


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
    normalized = F.normalize(views, dim=1), F.normalize(anchors, dim=1)
    loss: torch.Tensor = _BlockedInfoNCE.apply(*normalized, targets, temperature)
    return loss


class _BlockedInfoNCE(torch.autograd.Function):
    """Sum of log-softmax losses of ``views @ anchors.T / temperature``, gradients made in forward.

    With p the softmax of a row less the one-hot target, the gradients are p @ anchors and
    p.T @ views over the temperature, so that each block of p serves both and is then dropped.
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
        n_rows = max(BLOCK_ENTRIES // len(anchors), 1)
        for start in range(0, len(views), n_rows):
            rows = slice(start, start + n_rows)
            block, target = views[rows], targets[rows, None]
            p = block @ anchors.T / temperature  # [rows, d] @ [d, N]
            own = p.gather(1, target)
            largest = p.amax(dim=1, keepdim=True)
            total = p.sub_(largest).exp_().sum(dim=1, keepdim=True)
            loss += (largest + total.log() - own).sum()
            p.div_(total).scatter_add_(1, target, -torch.ones_like(own))
            view_grad[rows] = p @ anchors
            anchor_grad += p.T @ block
        ctx.save_for_backward(view_grad.div_(temperature), anchor_grad.div_(temperature))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        view_grad, anchor_grad = ctx.saved_tensors
        return grad_output * view_grad, grad_output * anchor_grad, None, None
