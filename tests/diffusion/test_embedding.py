import numpy as np
import pytest
import torch

from recbole_diffusion.diffusion import sinusoidal_embedding

TIMESTEPS = [0, 1, 4, 39, 199]
SIZES = [2, 3, 10, 11, 64]


def halves(t, size, max_period):
    """improved-diffusion: cosines, then sines, then a zero at odd size."""
    half = size // 2
    frequencies = [max_period ** (-j / half) for j in range(half)]
    return [
        *(np.cos(t * frequency) for frequency in frequencies),
        *(np.sin(t * frequency) for frequency in frequencies),
        *([0.0] if size % 2 else []),
    ]


def interleaved(t, size, max_period):
    """LD4MRec, Eq. 17: position 2j has the sine, position 2j + 1 the cosine of one angle."""
    values = []
    for position in range(size):
        j = position // 2
        angle = t / max_period ** (2 * j / size)
        values.append(np.sin(angle) if position % 2 == 0 else np.cos(angle))
    return values


@pytest.mark.parametrize("max_period", [10000, 100])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("layout", "formula"), [("halves", halves), ("interleaved", interleaved)])
def test_formula(layout, formula, size, max_period):
    embedding = sinusoidal_embedding(torch.tensor(TIMESTEPS), size, layout, max_period)
    assert embedding.dtype == torch.float32
    expected = [formula(t, size, max_period) for t in TIMESTEPS]
    np.testing.assert_allclose(embedding.numpy(), expected, atol=1e-7)


def test_defaults():
    embedding = sinusoidal_embedding(torch.tensor(TIMESTEPS), 10)
    np.testing.assert_allclose(
        embedding.numpy(), [halves(t, 10, 10000) for t in TIMESTEPS], atol=1e-7
    )


def test_unknown_layout():
    with pytest.raises(
        ValueError, match="`layout`: found 'x', expected one of halves, interleaved"
    ):
        sinusoidal_embedding(torch.tensor([0]), 10, "x")


@pytest.mark.parametrize("size", [0, 1])
def test_size_too_small(size):
    with pytest.raises(ValueError, match=f"found {size}, expected >= 2"):
        sinusoidal_embedding(torch.tensor([0]), size)


def test_timesteps_must_be_a_vector():
    with pytest.raises(ValueError, match=r"`timesteps`: found shape \[1, 2\]"):
        sinusoidal_embedding(torch.tensor([[0, 1]]), 10)
