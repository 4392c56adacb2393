"""Reverse chains by shortcuts that equal the chain step by step to rounding.

``HiddenChain`` is for a denoiser whose first and last layers are linear, ``out = V h(W x, t) + b``.
A reverse mean is ``x_{t-1} = A_t out + B_t x_t``, so ``u_t = W x_t`` obeys
``u_{t-1} = A_t (M h_t + W b) + B_t u_t`` with ``M = W V``: the chain needs one product with the
wide dimension in and one out, whatever the number of steps.

``compose_affine_chain`` is for a denoiser that is affine as a whole: then so is its chain.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from recbole_diffusion.diffusion.process import GaussianDiffusion, MeanType


class TwoSidedLinear(Protocol):
    """A denoiser that is linear at both ends."""

    @property
    def input_weight(self) -> Tensor:
        """W [h_first, n]."""

    @property
    def output_weight(self) -> Tensor:
        """V [n, h_last]."""

    @property
    def output_bias(self) -> Tensor:
        """Bias b [n]."""

    def hidden(self, projected: Tensor, timesteps: Tensor) -> Tensor:
        """Last hidden layer [B, h_last] from ``projected`` = W x [B, h_first], steps [B] or [1]."""


class ReverseCoefficients(NamedTuple):
    """Of ``x_{t-1} = output[t] * out + carry[t] * x_t`` for each step of a chain.

    Attributes:
        output: A [k].
        carry: B [k].
        timesteps: Step that the denoiser is told [k], int64.
    """

    output: Tensor
    carry: Tensor
    timesteps: Tensor


def reverse_coefficients(
    diffusion: GaussianDiffusion, mean_type: MeanType, timesteps: Tensor | None = None
) -> ReverseCoefficients:
    """Coefficients of the reverse means in terms of the denoiser's output.

    Args:
        diffusion: The process, of k steps.
        mean_type: What the denoiser predicts, `x0` or `eps`.
        timesteps: Steps of the training process that its k steps are [k]; default 0..k-1.

    Source: Wang et al. 2023, Eq. 8 and 10.
    """
    c1, c2 = diffusion.posterior_mean_coef1, diffusion.posterior_mean_coef2
    if timesteps is None:
        timesteps = torch.arange(diffusion.num_timesteps, device=c1.device)
    if mean_type == "x0":
        return ReverseCoefficients(c1, c2, timesteps)
    output = -c1 * diffusion.sqrt_recipm1_alphas_cumprod
    carry = c1 * diffusion.sqrt_recip_alphas_cumprod + c2
    return ReverseCoefficients(output, carry, timesteps)


class HiddenChain:
    """Runs the chain of one denoiser; made once for its weights, used for any number of batches.

    O(n * h^2) to make; a batch costs O(steps * B * h^2) beside its two products with n.

    Args:
        denoiser: Linear at both ends, in evaluation mode.
        coefficients: Of the chain.
    """

    def __init__(self, denoiser: TwoSidedLinear, coefficients: ReverseCoefficients) -> None:
        self._denoiser, self._timesteps = denoiser, coefficients.timesteps
        self._output, self._carry = coefficients.output.tolist(), coefficients.carry.tolist()
        self.input_weight = denoiser.input_weight.T.contiguous()  # [n, h_first], for sparse rows
        feedback = denoiser.input_weight @ denoiser.output_weight  # M [h_first, h_last]
        self._feedback = feedback.T.contiguous()
        self._bias = denoiser.input_weight @ denoiser.output_bias  # [h_first]

    def run(self, projected: Tensor) -> tuple[Tensor, float, float]:
        """The end of the chain, as ``x_0 = V s + bias_scale * b + input_scale * x_T``.

        Args:
            projected: W x_T [B, h_first].

        Returns:
            s [B, h_last], ``bias_scale`` and ``input_scale``.
        """
        hidden_scales, input_scale = self._scales()
        total, projected = None, projected.clone()  # the steps write to it
        for step in reversed(range(len(hidden_scales))):
            timesteps = self._timesteps[step : step + 1]  # the same for all rows
            hidden = self._denoiser.hidden(projected, timesteps)
            if hidden_scales[step] != 0:
                share = hidden_scales[step]
                total = share * hidden if total is None else total.add_(hidden, alpha=share)
            if step > 0:
                a, b = self._output[step], self._carry[step]
                projected.addmm_(hidden, self._feedback, beta=b, alpha=a).add_(self._bias, alpha=a)
        assert total is not None  # a process has a step
        return total, sum(hidden_scales), input_scale

    def _scales(self) -> tuple[list[float], float]:
        """Shares of x_0 that each step's hidden layer and x_T have; 0 above a carry of 0."""
        hidden_scales, carried = [], 1.0
        for a, b in zip(self._output, self._carry, strict=True):
            hidden_scales.append(carried * a)
            carried *= b
        return hidden_scales, carried

    def scores(
        self, projected: Tensor, x_t: Tensor | None = None, out: Tensor | None = None
    ) -> Tensor:
        """The end x_0 of the chain [B, n].

        Args:
            projected: W x_T [B, h_first].
            x_t: Its start x_T [B, n]; may be left out unless ``needs_input``.
            out: Memory for it [B, n], without gradients; fresh pages would cost a fifth more.
        """
        hidden, bias_scale, input_scale = self.run(projected)
        bias = bias_scale * self._denoiser.output_bias
        scores = torch.addmm(bias, hidden, self._denoiser.output_weight.T, out=out)
        return scores if x_t is None or input_scale == 0 else scores.add_(x_t, alpha=input_scale)

    @property
    def needs_input(self) -> bool:
        """Whether x_0 holds a share of x_T, as a prediction of noise leaves it."""
        return all(b != 0 for b in self._carry)


class AffineChain(NamedTuple):
    """A chain as ``x_0 = input x_T + guide g + bias`` for each row.

    Attributes:
        input: [d, d].
        guide: [d, d].
        bias: [d].
    """

    input: Tensor
    guide: Tensor
    bias: Tensor


def compose_affine_chain(
    input_weight: Tensor, guide_weight: Tensor, step_bias: Tensor, coefficients: ReverseCoefficients
) -> AffineChain:
    """The reverse chain of the denoiser ``input_weight x_t + guide_weight g + step_bias[t]``.

    O(k d^3) for k steps, whatever the number of rows; in double precision.

    Args:
        input_weight: [d, d].
        guide_weight: [d, d].
        step_bias: [T, d].
        coefficients: Of the chain's k steps.

    Returns:
        The composed map, in the type of the weights.
    """
    size = len(input_weight)
    weight, bias = input_weight.double(), step_bias.double()[coefficients.timesteps]
    added = torch.cat([torch.zeros_like(weight), guide_weight.double(), bias.new_zeros(size, 1)], 1)
    total = torch.cat([torch.eye(size).to(weight), torch.zeros_like(added[:, size:])], 1)
    steps = zip(coefficients.output.tolist(), coefficients.carry.tolist(), bias, strict=True)
    for output, carry, step in reversed(list(steps)):
        added[:, -1] = step
        total = output * (weight @ total + added) + carry * total
    parts = total.to(input_weight.dtype).split([size, size, 1], dim=1)
    return AffineChain(parts[0], parts[1], parts[2][:, 0])
