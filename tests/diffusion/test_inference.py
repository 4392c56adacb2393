"""The reverse chain in the hidden layer against the chain step by step."""

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_diffusion.diffusion.inference import HiddenChain, reverse_coefficients
from recbole_diffusion.diffusion.process import GaussianDiffusion
from recbole_diffusion.diffusion.schedule import make_betas, respaced_betas
from recbole_diffusion.nn.layers import MirroredMLP


def betas(steps: int, scale: float, first_beta: float | None) -> Tensor:
    return make_betas(
        "linear-var", steps, noise_scale=scale, noise_min=0.02, noise_max=0.6, first_beta=first_beta
    )


def denoiser(n_inputs: int, hidden_sizes: list[int], dtype: torch.dtype) -> MirroredMLP:
    network = MirroredMLP(n_inputs, hidden_sizes, 6, dropout=0.5).to(dtype).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # biases that matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("mean_type", ["x0", "eps"])
@pytest.mark.parametrize("trial", range(25))
@torch.no_grad()
def test_equals_the_chain_step_by_step(trial: int, mean_type: str) -> None:
    """Over sizes, depths, numbers of steps, noise, and steps that are left out."""
    torch.manual_seed(trial)
    draw = np.random.default_rng(trial)
    steps, n, batch = int(draw.integers(1, 12)), int(draw.integers(3, 60)), int(draw.integers(1, 9))
    sizes = draw.integers(2, 20, size=draw.integers(1, 4)).tolist()
    scale = float(draw.choice([0.01, 0.5, 1.0]))
    table = betas(steps, scale, first_beta=None if trial % 2 else 1e-4)
    kept_betas, kept = respaced_betas(table, int(draw.integers(1, steps + 1)))
    process, network = GaussianDiffusion(kept_betas), denoiser(n, sizes, torch.float32)
    x_t = torch.randn(batch, n)

    expected = process.p_sample_loop(lambda x, t: network(x, kept[t]), x_t, mean_type)
    chain = HiddenChain(network, reverse_coefficients(process, mean_type, kept))
    projected = x_t @ chain.input_weight
    found = chain.scores(projected, x_t)
    assert torch.equal(projected, x_t @ chain.input_weight)  # not written to
    scale_of_values = expected.abs().max().item()
    assert (found - expected).abs().max().item() <= 2e-5 * max(scale_of_values, 1.0)
    assert chain.needs_input == (mean_type == "eps")
    if not chain.needs_input:
        assert torch.equal(chain.scores(x_t @ chain.input_weight), found)


@torch.no_grad()
def test_end_is_a_sum_over_all_steps_for_a_predicted_noise() -> None:
    """Leaving out any step's hidden layer, as for x0, would be far off."""
    process, network = GaussianDiffusion(betas(4, 1.0, None)), denoiser(30, [8], torch.float32)
    x_t = torch.randn(5, 30)
    chain = HiddenChain(network, reverse_coefficients(process, "eps"))
    hidden, bias_scale, input_scale = chain.run(x_t @ chain.input_weight)
    assert input_scale > 0
    assert bias_scale < 0
    last = network.hidden(x_t @ chain.input_weight, torch.zeros(5, dtype=torch.int64))
    assert not torch.allclose(hidden, last, atol=0.1)


def test_wide_products_do_not_grow_with_the_steps() -> None:
    """Multiplications with the wide dimension, counted at 5 and at 50 steps."""
    counts = []
    for steps in (5, 50):
        process, network = GaussianDiffusion(betas(steps, 1.0, None)), denoiser(400, [8, 6], None)
        chain = HiddenChain(network, reverse_coefficients(process, "x0"))
        seen = []
        with _counting(seen):
            chain.scores(torch.randn(3, 400) @ chain.input_weight)
        counts.append(sum(400 in shape for shape in seen))
    assert 0 < counts[0] == counts[1] <= 2


def _counting(seen: list[tuple[int, ...]]) -> "torch.overrides.TorchFunctionMode":
    class Counting(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function in (torch.addmm, torch.Tensor.matmul, torch.Tensor.__matmul__):
                result = function(*args, **(kwargs or {}))
                seen.append(tuple(result.shape) + tuple(args[0].shape))
                return result
            return function(*args, **(kwargs or {}))

    return Counting()


# Respacing


@pytest.mark.parametrize(("steps", "kept"), [(10, 4), (7, 7), (40, 1), (40, 2), (5, 3)])
def test_respaced_process_is_the_same_at_its_steps(steps: int, kept: int) -> None:
    table = betas(steps, 1.0, 1e-4)
    respaced, places = respaced_betas(table, kept)
    assert len(respaced) == len(places) == kept
    assert places[0] == 0
    assert kept == 1 or places[-1] == steps - 1
    assert torch.equal(places, places.unique())
    whole = torch.cumprod(1 - table, dim=0)
    torch.testing.assert_close(torch.cumprod(1 - respaced, dim=0), whole[places])
    if kept == steps:
        assert torch.equal(respaced, table)


@pytest.mark.parametrize("kept", [0, 6])
def test_number_of_kept_steps_is_checked(kept: int) -> None:
    with pytest.raises(ValueError, match=r"respaced_steps`: found \d, expected 1\.\.5"):
        respaced_betas(betas(5, 1.0, None), kept)
