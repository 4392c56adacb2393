"""Blocks that models share."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

# Relative gap of eigenvalues below which a gradient is damped, and relative floor of eigenvalues.
GAP_BROADENING = 1e-4
EIGENVALUE_FLOOR = 1e-6


def thin_svd(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Singular value decomposition of a tall matrix through its d x d Gram matrix.

    O(B d^2 + d^3) in two products and one small eigenvalue problem. Signs are fixed: the entry of
    largest size in each right singular vector is positive. Gradients stay finite where singular
    values coincide or vanish (fewer rows than columns, or repeated columns).

    Args:
        matrix: [B, d].

    Returns:
        U [B, d], singular values [d] in falling order, V [d, d], with matrix = U diag(s) V^T.
        Singular values below 1e-3 of the largest are given as that, with shorter columns of U.
    """
    with torch.autocast(matrix.device.type, enabled=False):  # no eigenvalues in half precision
        return _thin_svd(matrix if matrix.dtype == torch.float64 else matrix.float())


def _thin_svd(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    eigenvalues, v = _SymmetricEigen.apply(matrix.T @ matrix)
    eigenvalues, v = eigenvalues.flip(0), v.flip(1)
    with torch.no_grad():
        sign = v.gather(0, v.abs().argmax(dim=0, keepdim=True)).sign()
        tiny = torch.finfo(matrix.dtype).tiny ** 0.5  # a matrix of zeros has no largest value
        floor = EIGENVALUE_FLOOR * eigenvalues[0].clamp_min(tiny)
    v = v * sign
    singular_values = torch.maximum(eigenvalues, floor).sqrt()
    return matrix @ v / singular_values, singular_values, v


class _SymmetricEigen(torch.autograd.Function):
    """``torch.linalg.eigh`` with gradients that stay finite between equal eigenvalues.

    The exact gradient holds 1 / gap for each pair of eigenvalues; gap / (gap^2 + width^2) agrees
    with it where the gap is well above the width, and is zero at a gap of zero.
    """

    @staticmethod
    def forward(ctx: Any, matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        eigenvalues, vectors = torch.linalg.eigh(matrix)
        ctx.save_for_backward(eigenvalues, vectors)
        return eigenvalues, vectors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, value_grad: torch.Tensor, vector_grad: torch.Tensor) -> torch.Tensor:
        eigenvalues, vectors = ctx.saved_tensors
        gap = eigenvalues[None, :] - eigenvalues[:, None]
        width = GAP_BROADENING * eigenvalues[-1].abs()
        inverse_gap = gap / (gap.square() + width.square()).clamp_min(torch.finfo(gap.dtype).tiny)
        inner = inverse_gap * (vectors.T @ vector_grad) + torch.diag(value_grad)
        grad = vectors @ inner @ vectors.T
        return 0.5 * (grad + grad.T)
