from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from recbole_diffusion.diffusion import ImportanceSampler, UniformSampler

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def fill(sampler, losses):
    """Put the losses [T, H] into the history, one column after another."""
    for column in np.asarray(losses).T:
        sampler.update(torch.arange(sampler.num_timesteps), torch.from_numpy(column.copy()))


def filled_sampler(num_timesteps, **options):
    sampler = ImportanceSampler(num_timesteps, **options)
    losses = np.random.default_rng(4).gamma(0.7, size=(num_timesteps, sampler.history_size))
    fill(sampler, losses)
    return sampler, losses.astype(np.float32).astype(np.float64)


def expected_probabilities(losses, power, uniform_prob):
    """DiffRec after Eq. 14 for power 2, LD4MRec Eq. 8 for power 1."""
    root = np.sqrt(np.mean(losses**power, axis=1))
    return (1 - uniform_prob) * root / root.sum() + uniform_prob / len(losses)


@pytest.mark.parametrize("num_timesteps", [1, 2, 5, 40])
def test_uniform_frequencies_and_weights(num_timesteps):
    draws = 40000
    timesteps, weights = UniformSampler(num_timesteps).sample(
        draws, torch.Generator().manual_seed(0)
    )
    assert timesteps.dtype == torch.int64
    assert weights.dtype == torch.float32
    assert timesteps.shape == weights.shape == (draws,)
    assert (weights == 1).all()
    frequency = np.bincount(timesteps.numpy(), minlength=num_timesteps) / draws
    error = np.sqrt(1 / num_timesteps * (1 - 1 / num_timesteps) / draws)
    np.testing.assert_allclose(frequency, 1 / num_timesteps, atol=4.5 * error)


def test_uniform_learns_nothing():
    sampler = UniformSampler(4)
    sampler.update(torch.tensor([0, 0, 1]), torch.tensor([5.0, 6.0, 7.0]))
    assert not sampler.state_dict()
    assert sampler.probabilities().tolist() == [0.25] * 4


@pytest.mark.parametrize("uniform_prob", [0, 0.001, 0.5, 1])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("num_timesteps", "history_size"), [(1, 10), (2, 1), (5, 3), (40, 10)])
def test_importance_probabilities(num_timesteps, history_size, power, uniform_prob):
    sampler, losses = filled_sampler(
        num_timesteps, history_size=history_size, power=power, uniform_prob=uniform_prob
    )
    expected = expected_probabilities(losses, power, uniform_prob)
    np.testing.assert_allclose(sampler.probabilities().numpy(), expected, rtol=1e-10)


def test_defaults_are_those_of_diffrec():
    sampler, losses = filled_sampler(5)
    assert losses.shape == (5, 10)
    expected = expected_probabilities(losses, power=2, uniform_prob=0.001)
    np.testing.assert_allclose(sampler.probabilities().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("power", [1, 2])
def test_importance_frequencies_and_weights(power):
    draws = 200000
    sampler, losses = filled_sampler(5, power=power)
    expected = expected_probabilities(losses, power, 0.001)
    timesteps, weights = sampler.sample(draws, torch.Generator().manual_seed(1))
    assert timesteps.dtype == torch.int64
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights.numpy(), 1 / (expected[timesteps.numpy()] * 5), rtol=1e-6)
    frequency = np.bincount(timesteps.numpy(), minlength=5) / draws
    error = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(frequency - expected) < 4.5 * error).all()
    assert (np.abs(expected - 0.2) > 20 * error).any()  # far from uniform: the bound can fail


def test_weighted_loss_is_unbiased():
    draws = 200000
    sampler, _ = filled_sampler(8, uniform_prob=0.1)
    values = np.linspace(-1, 3, 8) ** 3
    timesteps, weights = sampler.sample(draws, torch.Generator().manual_seed(2))
    weighted = weights.double().numpy() * values[timesteps.numpy()]
    error = weighted.std() / np.sqrt(draws)
    assert abs(weighted.mean() - values.mean()) < 4 * error
    assert abs(values[timesteps.numpy()].mean() - values.mean()) > 20 * error


def test_uniform_until_every_history_is_full():
    sampler = ImportanceSampler(3, history_size=2)
    full, partial = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([9.0, 9.0, 1.0, 1.0, 1.0])
    sampler.update(full, partial)
    assert sampler.probabilities().numpy() == pytest.approx(1 / 3)
    assert (sampler.sample(100)[1] == 1).all()
    sampler.update(torch.tensor([2]), torch.tensor([1.0]))
    expected = expected_probabilities(np.array([[9, 9], [1, 1], [1, 1]]), 2, 0.001)
    np.testing.assert_allclose(sampler.probabilities().numpy(), expected, rtol=1e-10)


def test_losses_of_zero_are_uniform():
    sampler = ImportanceSampler(4, history_size=2)
    fill(sampler, np.zeros((4, 2)))
    assert sampler.probabilities().tolist() == [0.25] * 4
    assert (sampler.sample(100)[1] == 1).all()


def test_a_step_without_loss_keeps_its_share_of_the_uniform_part():
    sampler = ImportanceSampler(2, history_size=1, uniform_prob=0.1)
    fill(sampler, np.array([[0.0], [3.0]]))
    np.testing.assert_allclose(sampler.probabilities().numpy(), [0.05, 0.95], rtol=1e-12)


@pytest.mark.parametrize("history_size", [1, 3, 10])
@pytest.mark.parametrize("num_timesteps", [1, 4, 40])
def test_update_equals_a_sequential_reference(num_timesteps, history_size):
    rng = np.random.default_rng(num_timesteps * 100 + history_size)
    sampler = ImportanceSampler(num_timesteps, history_size)
    kept = [deque(maxlen=history_size) for _ in range(num_timesteps)]
    seen = np.zeros(num_timesteps, dtype=int)
    most_in_a_batch = 0
    for batch_size in [1, 7, 50, 3, 120, 20, 1, 64]:
        # A skewed draw: some steps occur more often than history_size in one batch.
        timesteps = (num_timesteps * rng.random(batch_size) ** 3).astype(np.int64)
        losses = rng.random(batch_size).astype(np.float32)
        sampler.update(*map(torch.from_numpy, (timesteps, losses)))
        for t, loss in zip(timesteps, losses, strict=True):
            kept[t].append(loss)
            seen[t] += 1
        most_in_a_batch = max(most_in_a_batch, np.bincount(timesteps).max())
        assert sampler.count.tolist() == seen.tolist()
        for t in range(num_timesteps):
            history = sampler.history[t, : min(seen[t], history_size)].tolist()
            assert sorted(history) == sorted(map(float, kept[t]))
    assert most_in_a_batch > history_size


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_cuda])]
)
def test_update_keeps_the_last_losses_of_a_large_batch(device):
    # On a GPU the order of two writes to one slot is undefined: only a large batch shows it.
    sampler = ImportanceSampler(2, history_size=3).to(device)
    timesteps = torch.arange(400000, device=device) % 2
    sampler.update(timesteps, torch.arange(400000.0, device=device))
    assert sorted(sampler.history[0].tolist()) == [399994, 399996, 399998]
    assert sorted(sampler.history[1].tolist()) == [399995, 399997, 399999]


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("make", [UniformSampler, lambda steps: filled_sampler(steps)[0]])
def test_sample_lies_on_the_device_of_the_sampler(make):
    timesteps, weights = make(5).to("cuda").sample(7)
    assert timesteps.is_cuda
    assert weights.is_cuda


def test_update_detaches_the_losses():
    sampler = ImportanceSampler(2, history_size=1)
    losses = torch.tensor([1.0, 2.0], requires_grad=True)
    sampler.update(torch.tensor([1, 0]), losses * 3)
    assert not sampler.history.requires_grad
    assert sampler.history.tolist() == [[6.0], [3.0]]


def test_state_dict_round_trip():
    sampler, _ = filled_sampler(5, history_size=3)
    sampler.update(torch.tensor([0, 0, 4]), torch.tensor([7.0, 8.0, 9.0]))
    loaded = ImportanceSampler(5, history_size=3)
    loaded.load_state_dict(sampler.state_dict())
    batch = torch.tensor([0, 4, 4, 4, 2]), torch.tensor([0.5, 0.1, 0.2, 0.3, 4.0])
    for each in (sampler, loaded):
        each.update(*batch)
    assert torch.equal(loaded.history, sampler.history)
    draws = [each.sample(50, torch.Generator().manual_seed(3)) for each in (sampler, loaded)]
    assert torch.equal(draws[0][0], draws[1][0])
    assert torch.equal(draws[0][1], draws[1][1])


@pytest.mark.parametrize("make", [UniformSampler, lambda steps: filled_sampler(steps)[0]])
def test_cast_of_the_owner_changes_nothing(make):
    sampler = make(5)
    before = sampler.probabilities()
    nn.Sequential(sampler).half()
    assert torch.equal(sampler.probabilities(), before)


def test_history_is_float32():
    state = ImportanceSampler(5).state_dict()
    assert {name: (value.dtype, tuple(value.shape)) for name, value in state.items()} == {
        "history": (torch.float32, (5, 10)),
        "count": (torch.int64, (5,)),
    }


def test_update_refuses_other_shapes():
    sampler = ImportanceSampler(5)
    with pytest.raises(ValueError, match="`losses`, `timesteps`: found shapes"):
        sampler.update(torch.tensor([0, 1]), torch.ones(2, 1))
    with pytest.raises(ValueError, match="`losses`, `timesteps`: found shapes"):
        sampler.update(torch.tensor([[0, 1]]), torch.ones(1, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_timesteps": 0}, "key `steps`: found 0"),
        ({"history_size": 0}, "key `history_size`: found 0"),
        ({"uniform_prob": -0.1}, "key `uniform_prob`: found -0.1"),
        ({"uniform_prob": 1.1}, "key `uniform_prob`: found 1.1"),
        ({"power": 3}, "key `power`: found 3"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ImportanceSampler(**{"num_timesteps": 5} | options)
