"""The reverse chain of a denoiser whose first and last layers are linear, in its hidden layer.

Such a denoiser is ``out = V h(W x, t) + b``. A reverse mean is ``x_{t-1} = A_t out + B_t x_t``,
so ``u_t = W x_t`` obeys ``u_{t-1} = A_t (M h_t + W b) + B_t u_t`` with ``M = W V``: the chain needs
one product with the wide dimension in and one out, whatever the number of steps.
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
        """Last hidden layer [B, h_last] from ``projected`` = W x [B, h_first] and steps [B]."""


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
        self._denoiser, self._coefficients = denoiser, coefficients
        self.input_weight = denoiser.input_weight.T.contiguous()  # [n, h_first], for sparse rows
        self._feedback = denoiser.input_weight @ denoiser.output_weight  # M [h_first, h_last]
        self._bias = denoiser.input_weight @ denoiser.output_bias  # [h_first]

    def run(self, projected: Tensor) -> tuple[Tensor, float, float]:
        """The end of the chain, as ``x_0 = V s + bias_scale * b + input_scale * x_T``.

        Args:
            projected: W x_T [B, h_first].

        Returns:
            s [B, h_last], ``bias_scale`` and ``input_scale``.
        """
        total, bias_scale, input_scale = None, 0.0, 1.0
        output, carry = self._coefficients.output.tolist(), self._coefficients.carry.tolist()
        for step in reversed(range(len(output))):
            a, b = output[step], carry[step]
            timesteps = self._coefficients.timesteps[step].expand(len(projected))
            hidden = self._denoiser.hidden(projected, timesteps)
            total = a * hidden if total is None or b == 0 else a * hidden + b * total
            bias_scale, input_scale = a + b * bias_scale, b * input_scale
            if step > 0:
                projected = a * (hidden @ self._feedback.T + self._bias) + b * projected
        assert total is not None  # a process has a step
        return total, bias_scale, input_scale

    def scores(self, projected: Tensor, x_t: Tensor | None = None) -> Tensor:
        """The end x_0 of the chain [B, n].

        Args:
            projected: W x_T [B, h_first].
            x_t: Its start x_T [B, n]; may be left out unless ``needs_input``.
        """
        hidden, bias_scale, input_scale = self.run(projected)
        scores = torch.addmm(
            bias_scale * self._denoiser.output_bias, hidden, self._denoiser.output_weight.T
        )
        return scores if x_t is None or input_scale == 0 else scores.add_(x_t, alpha=input_scale)

    @property
    def needs_input(self) -> bool:
        """Whether x_0 holds a share of x_T, as a prediction of noise leaves it."""
        return bool((self._coefficients.carry != 0).all())
