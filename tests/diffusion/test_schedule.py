import math

import numpy as np
import pytest
import torch

from recbole_diffusion.diffusion import make_betas
from recbole_diffusion.diffusion.schedule import check_betas, respaced_betas

STEPS = [1, 2, 5, 40, 200]
NOISE = [(0.1, 1e-4, 0.02), (0.005, 0.005, 0.01), (1e-4, 5e-4, 5e-3), (0.1, 1e-4, 1.0)]
NAMES = ["linear", "linear-var", "exp", "cosine", "sqrt"]


def line(start, end, num_timesteps):
    if num_timesteps == 1:
        return np.array([start])
    return np.array([start + (end - start) * t / (num_timesteps - 1) for t in range(num_timesteps)])


def capped_ratios(alpha_bar, num_timesteps):
    times = [t / num_timesteps for t in range(num_timesteps + 1)]
    pairs = zip(times[:-1], times[1:], strict=True)
    return np.array(
        [min(1 - alpha_bar(after) / alpha_bar(before), 0.999) for before, after in pairs]
    )


def cosine_alpha_bar(time):
    return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2


def sqrt_alpha_bar(time):
    return 1 - math.sqrt(time + 0.0001)


@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize(("scale", "low", "high"), NOISE)
def test_linear(num_timesteps, scale, low, high):
    betas = make_betas(
        "linear", num_timesteps, noise_scale=scale, noise_min=low, noise_max=high
    ).numpy()
    np.testing.assert_allclose(betas, line(scale * low, scale * high, num_timesteps), rtol=1e-12)


@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize(("scale", "low", "high"), NOISE)
def test_linear_var_makes_the_variance_linear(num_timesteps, scale, low, high):
    betas = make_betas(
        "linear-var", num_timesteps, noise_scale=scale, noise_min=low, noise_max=high
    ).numpy()
    variance = scale * line(low, high, num_timesteps)  # DiffRec, Eq. 4
    np.testing.assert_allclose(1 - np.cumprod(1 - betas), variance, rtol=1e-7)


def test_linear_var_caps_the_last_beta_where_no_signal_is_left():
    betas = make_betas("linear-var", 5, noise_scale=1.0, noise_min=0.1, noise_max=1.0).numpy()
    variance = line(0.1, 1.0, 5)
    np.testing.assert_allclose(1 - np.cumprod(1 - betas)[:-1], variance[:-1], rtol=1e-12)
    assert betas[-1] == 0.999


@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize(("beta_start", "beta_end"), [(0.1, 10.0), (0.0, 1.0)])
def test_exp(num_timesteps, beta_start, beta_end):
    betas = make_betas("exp", num_timesteps, beta_start=beta_start, beta_end=beta_end).numpy()
    position = line(1.0, 2.0 * num_timesteps + 1, num_timesteps)
    exponent = beta_start / num_timesteps + position * 0.5 * (beta_end - beta_start) / (
        num_timesteps**2
    )
    np.testing.assert_allclose(betas, 1 - np.exp(-exponent), rtol=1e-10)


def test_exp_defaults_are_those_of_infodcl():
    expected = make_betas("exp", 200, beta_start=0.1, beta_end=10.0)
    assert torch.equal(make_betas("exp", 200), expected)


@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize(
    ("name", "alpha_bar"), [("cosine", cosine_alpha_bar), ("sqrt", sqrt_alpha_bar)]
)
def test_schedules_given_by_their_alpha_bar(num_timesteps, name, alpha_bar):
    betas = make_betas(name, num_timesteps).numpy()
    np.testing.assert_allclose(betas, capped_ratios(alpha_bar, num_timesteps), rtol=1e-9)


@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize("name", NAMES)
def test_shape_type_and_range(name, num_timesteps):
    betas = make_betas(name, num_timesteps)
    assert betas.shape == (num_timesteps,)
    assert betas.dtype == torch.float64
    assert betas.min() > 0
    assert betas.max() <= 1


@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize("name", NAMES)
def test_first_beta_replaces_only_the_first(name, num_timesteps):
    betas = make_betas(name, num_timesteps, first_beta=1e-5)
    assert betas[0].item() == 1e-5
    assert torch.equal(betas[1:], make_betas(name, num_timesteps)[1:])


def test_first_beta_may_be_all_noise():
    assert make_betas("cosine", 3, first_beta=1)[0] == 1


def test_first_beta_admits_a_schedule_that_starts_at_zero():
    betas = make_betas("linear", 3, noise_scale=1.0, noise_min=0, noise_max=0.2, first_beta=1e-5)
    np.testing.assert_allclose(betas.numpy(), [1e-5, 0.1, 0.2], rtol=1e-12)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ValueError, match="key `noise_schedule`: found 'x', expected one of linear,"
    ):
        make_betas("x", 5)


@pytest.mark.parametrize("name", ["linear", "linear-var"])
def test_noise_scale_zero_says_that_there_is_no_process(name):
    with pytest.raises(ValueError, match="`noise_scale`: found 0, .* no betas and no process"):
        make_betas(name, 5, noise_scale=0)


@pytest.mark.parametrize("name", ["exp", "cosine", "sqrt"])
def test_noise_scale_is_not_read_by_other_schedules(name):
    assert torch.equal(make_betas(name, 5, noise_scale=0), make_betas(name, 5))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linear", {"noise_scale": -1}, "key.*`noise_min`"),
        ("linear", {"noise_min": 0.3, "noise_max": 0.2}, "key.*`noise_min`"),
        ("linear-var", {"noise_scale": 2.0, "noise_max": 0.6}, "key.*`noise_max`"),
        ("linear-var", {"noise_scale": math.nan}, "key.*`noise_scale`"),
        (
            "linear-var",
            {"noise_min": 0.2, "noise_max": 0.2},
            "'linear-var' with .*noise_min.*0, 1]",
        ),
        ("linear", {"noise_min": 0}, "'linear' with .*noise_min.*0, 1]"),
        ("exp", {"beta_start": -0.1}, "key.*`beta_start`"),
        ("exp", {"beta_start": 10, "beta_end": 1}, "key.*`beta_end`"),
        ("exp", {"beta_start": 0, "beta_end": 0}, "'exp' with .*beta_start.*0, 1]"),
        ("cosine", {"first_beta": 0}, "key `first_beta`: found 0"),
        ("cosine", {"first_beta": 1.5}, "key `first_beta`: found 1.5"),
    ],
)
def test_bad_values_name_their_key(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_betas(name, 5, **options)


@pytest.mark.parametrize("num_timesteps", [0, -1, 2.0])
def test_bad_number_of_steps(num_timesteps):
    with pytest.raises(ValueError, match="key `steps`: found"):
        make_betas("cosine", num_timesteps)


@pytest.mark.parametrize(
    "betas",
    [
        torch.full((3,), 0.1),
        torch.full((3, 1), 0.1, dtype=torch.float64),
        torch.zeros(0, dtype=torch.float64),
        torch.tensor([0.1, 0.0], dtype=torch.float64),
        torch.tensor([0.1, 1.1], dtype=torch.float64),
        torch.tensor([0.1, math.nan], dtype=torch.float64),
    ],
)
def test_check_betas_refuses(betas):
    with pytest.raises(ValueError, match="betas: found"):
        check_betas(betas)


def test_check_betas_admits_one():
    check_betas(torch.tensor([0.1, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("num_timesteps", [50, 1000])
@pytest.mark.parametrize("name", NAMES)
def test_respaced_betas_keep_the_signal_of_their_steps(name, num_timesteps, num_steps):
    """Where the schedule's own bound bites, too; by sums of logarithms."""
    betas = make_betas(name, num_timesteps)
    spaced, kept = respaced_betas(betas, num_steps)
    check_betas(spaced)
    signal = np.cumsum(np.log1p(-np.minimum(betas.numpy(), 1 - 1e-16)))[kept.numpy()]
    found = np.cumprod(1 - spaced.numpy())
    np.testing.assert_allclose(found, np.exp(signal), rtol=1e-5)


def test_respaced_steps_behind_the_last_signal_lose_none():
    spaced, _ = respaced_betas(torch.tensor([0.1, 1.0, 1.0, 1.0], dtype=torch.float64), 3)
    assert spaced.tolist() == [pytest.approx(0.1), 1.0, 1.0]
