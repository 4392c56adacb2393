"""Blocks that models share."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recbole_diffusion.diffusion.embedding import sinusoidal_embedding

# Numbers of single precision in a cache line.
CACHE_LINE = 16
# Relative gap of eigenvalues below which a gradient is damped, and relative floor of eigenvalues.
GAP_BROADENING = 1e-4
EIGENVALUE_FLOOR = 1e-6


def right_singular_vectors(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Singular values and right vectors of a tall matrix through its d x d Gram matrix.

    O(B d^2 + d^3) in one product and one small eigenvalue problem. Signs are fixed: the entry of
    largest size in each right singular vector is positive. Gradients stay finite where singular
    values coincide or vanish (fewer rows than columns, or repeated columns).

    Args:
        matrix: [B, d].

    Returns:
        Singular values s [d] in falling order and V [d, d], with matrix = U diag(s) V^T and
        U = matrix V diag(1 / s). Singular values below 1e-3 of the largest are given as that, with
        shorter columns of U.
    """
    with torch.autocast(matrix.device.type, enabled=False):  # no eigenvalues in half precision
        return _right_singular_vectors(matrix if matrix.dtype == torch.float64 else matrix.float())


def _right_singular_vectors(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    eigenvalues, v = _SymmetricEigen.apply(matrix.T @ matrix)
    eigenvalues, v = eigenvalues.flip(0), v.flip(1)
    with torch.no_grad():
        sign = v.gather(0, v.abs().argmax(dim=0, keepdim=True)).sign()
        tiny = torch.finfo(matrix.dtype).tiny ** 0.5  # a matrix of zeros has no largest value
        floor = EIGENVALUE_FLOOR * eigenvalues[0].clamp_min(tiny)
    v = v * sign
    return torch.maximum(eigenvalues, floor).sqrt(), v


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


def unit_rows(x: Tensor) -> Tensor:
    """Rows [B, d] over their lengths; one of no length becomes zero, and has no gradient.

    As ``functional.normalize`` in a fifth of the time: its gradient is one formula.
    """
    unit: Tensor = _UnitRows.apply(x)
    return unit


class _UnitRows(torch.autograd.Function):
    """y = x / |x|, and the gradient (g - y (g y)) / |x|."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        # Of a length below the normal numbers the inverse is infinite.
        scale = torch.where(length >= torch.finfo(x.dtype).tiny, 1 / length, 0.0)
        unit = x * scale
        ctx.save_for_backward(unit, scale)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        unit, scale = ctx.saved_tensors
        along = torch.linalg.vecdot(grad_output, unit).unsqueeze(1)
        return torch.addcmul(grad_output, unit, along, value=-1).mul_(scale)


def aligned_rows(memory: Tensor, n_rows: int, width: int) -> Tensor:
    """View [n_rows, width] of memory that grows as needed; each row starts on a cache line.

    Dense products fill such rows in two thirds of the time that rows of any width take.
    """
    padded = -(-width // CACHE_LINE) * CACHE_LINE
    return memory.resize_(n_rows, padded)[:, :width]  # never gives memory back


class StepEmbedding(nn.Sequential):
    """A learned map of the steps' sinusoidal embeddings, made for the T steps at once.

    Args:
        steps: T.
        size: Width d.

    Raises:
        ValueError: A width below 2.
    """

    def __init__(self, steps: int, size: int) -> None:
        super().__init__(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
        step_table = sinusoidal_embedding(torch.arange(steps), size)
        self.register_buffer("step_table", step_table, persistent=False)

    def forward(self) -> Tensor:  # type: ignore[override]
        """Embeddings [T, d] of all steps."""
        embedded: Tensor = super().forward(self.step_table)
        return embedded


class RowDropout(nn.Dropout):
    """``nn.Dropout`` with a draw that costs a fifth on the CPU; for rows as wide as the items."""

    def forward(self, x: Tensor) -> Tensor:
        """Training: entries times 0 or 1 / (1 - p). Else ``x``."""
        if not self.training or self.p == 0:
            return x
        kept = torch.rand_like(x).lt_(1 - self.p).div_(1 - self.p)
        return x * kept if x.requires_grad else kept.mul_(x)  # autograd needs the mask as it was


class MirroredMLP(nn.Module):
    """Denoiser of a row and its step: sizes ``[200, 600]`` make n -> 600 -> 200 -> 600 -> n.

    The row is followed by a learned linear map of the step's sinusoidal embedding; tanh follows
    every layer but the last. Linear at both ends, as ``diffusion.inference`` needs it.

    Args:
        n_inputs: Width n of a row.
        hidden_sizes: Widths of the hidden layers from the middle outwards, one or more.
        step_embedding_size: Width of the step's embedding.
        dropout: Share of a row's entries that training drops.
        normalize: Whether a row is divided by its length first.

    Source: Wang et al. 2023, section 3.2; sizes and initialisation as in the authors' experiments.
    """

    def __init__(
        self,
        n_inputs: int,
        hidden_sizes: Sequence[int],
        step_embedding_size: int,
        dropout: float = 0.0,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.n_inputs, self.normalize = n_inputs, normalize
        self.step_embedding_size = step_embedding_size
        self.dropout = RowDropout(dropout)
        self.step_layer = nn.Linear(step_embedding_size, step_embedding_size)
        inner = [*reversed(hidden_sizes), *hidden_sizes[1:]]
        widths = [n_inputs + step_embedding_size, *inner, n_inputs]
        first, *between, last = (nn.Linear(*pair) for pair in itertools.pairwise(widths))
        self.first_layer, self.last_layer = first, last
        self.layers_between = nn.ModuleList(between)
        self.apply(_initialize_linear)

    @property
    def input_weight(self) -> Tensor:
        """W [h_first, n]: the first layer's columns of the row."""
        return self._first_weights()[0]

    @property
    def output_weight(self) -> Tensor:
        """V [n, h_last]."""
        return self.last_layer.weight

    @property
    def output_bias(self) -> Tensor:
        """Bias b [n]."""
        return self.last_layer.bias

    def forward(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        """Prediction [B, n] from noisy rows [B, n] and their steps [B]."""
        output: Tensor = self.last_layer(self.last_hidden(x_t, timesteps))
        return output

    def last_hidden(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        """Last hidden layer [B, h_last] from noisy rows [B, n] and their steps [B]."""
        if self.normalize:
            x_t = functional.normalize(x_t)
        row_weight, step_weight = self._first_weights()
        projected = functional.linear(self.dropout(x_t), row_weight)
        return self._hidden(projected, timesteps, step_weight)

    def hidden(self, projected: Tensor, timesteps: Tensor) -> Tensor:
        """Last hidden layer [B, h_last] from W x [B, h_first] and the steps [B], or [1] for all."""
        return self._hidden(projected, timesteps, self._first_weights()[1])

    def _first_weights(self) -> tuple[Tensor, ...]:
        """Columns of the row and of the step; slices would each have a gradient of the whole."""
        return self.first_layer.weight.split([self.n_inputs, self.step_embedding_size], dim=1)

    def _hidden(self, projected: Tensor, timesteps: Tensor, step_weight: Tensor) -> Tensor:
        step = self.step_layer(sinusoidal_embedding(timesteps, self.step_embedding_size))
        of_step = functional.linear(step, step_weight, self.first_layer.bias)
        hidden = torch.tanh_(projected + of_step)
        for layer in self.layers_between:
            hidden = torch.tanh_(layer(hidden))
        return hidden


def _initialize_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        nn.init.normal_(module.bias, std=0.001)
