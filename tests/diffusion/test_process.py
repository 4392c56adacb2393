import numpy as np
import pytest
import torch
from torch import nn

from recbole_diffusion.diffusion import GaussianDiffusion, make_betas

STEPS = [1, 2, 5, 40, 200]
SCHEDULES = {
    "linear": {"noise_scale": 1.0},
    "linear-var": {"noise_scale": 0.005, "noise_min": 0.005, "noise_max": 0.01, "first_beta": 1e-5},
    "exp": {},
    "cosine": {},
    "sqrt": {},
}
SHAPES = [(), (7,), (3, 2)]
FLOAT32 = {"rtol": 3e-6, "atol": 1e-7}


def make_case(schedule, num_timesteps, shape=(7,)):
    betas = make_betas(schedule, num_timesteps, **SCHEDULES[schedule])
    rng = np.random.default_rng(3)
    timesteps = np.arange(num_timesteps)
    x = rng.normal(size=(3, num_timesteps, *shape))
    return GaussianDiffusion(betas), betas.numpy(), timesteps, x


def column(values, x):
    return values.reshape(-1, *[1] * (x.ndim - 1))


def variances(betas):
    """1 - alpha_bar after 0, 1, ..., T steps."""
    return 1 - np.concatenate([[1.0], np.cumprod(1 - betas)])


def posterior_by_bayes(betas, timesteps, x_start, x_t):
    """Prior q(x_{t-1} | x_0) times likelihood q(x_t | x_{t-1}), as precisions."""
    variance = variances(betas)
    mean, posterior_variance = x_start.copy(), np.zeros(len(timesteps))
    for row, t in enumerate(timesteps):
        if t == 0:  # the prior is a point at x_0
            continue
        prior_precision = 1 / variance[t]
        likelihood_precision = (1 - betas[t]) / betas[t]
        posterior_variance[row] = 1 / (prior_precision + likelihood_precision)
        mean[row] = posterior_variance[row] * (
            prior_precision * np.sqrt(1 - variance[t]) * x_start[row]
            + np.sqrt(1 - betas[t]) / betas[t] * x_t[row]
        )
    return mean, posterior_variance


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_q_sample_with_given_noise(schedule, num_timesteps, shape):
    process, betas, timesteps, (x_start, noise, _) = make_case(schedule, num_timesteps, shape)
    variance = column(variances(betas)[1:], x_start)
    expected = np.sqrt(1 - variance) * x_start + np.sqrt(variance) * noise  # DiffRec, Eq. 3
    x_t = process.q_sample(*tensors(x_start, timesteps, noise))
    np.testing.assert_allclose(x_t.numpy(), expected, **FLOAT32)


def test_q_sample_draws_standard_noise_from_the_generator():
    process = GaussianDiffusion(make_betas("exp", 5))
    x_start, timesteps = torch.zeros(20000, 2), torch.full((20000,), 3)
    x_t = process.q_sample(x_start, timesteps, generator=torch.Generator().manual_seed(1))
    again = process.q_sample(x_start, timesteps, generator=torch.Generator().manual_seed(1))
    assert torch.equal(x_t, again)
    variance = variances(make_betas("exp", 5).numpy())[4]
    assert x_t.mean().item() == pytest.approx(0, abs=4 * np.sqrt(variance / 40000))
    assert x_t.var().item() == pytest.approx(variance, rel=4 * np.sqrt(2 / 40000))


def test_q_sample_passes_the_gradient_of_the_mean():
    process, betas, timesteps, (x_start, noise, _) = make_case("exp", 5)
    x = torch.from_numpy(x_start).requires_grad_()
    process.q_sample(x, *tensors(timesteps, noise)).sum().backward()
    expected = np.sqrt(np.cumprod(1 - betas))[:, None].repeat(7, axis=1)
    np.testing.assert_allclose(x.grad.numpy(), expected, **FLOAT32)


def test_rows_have_their_own_steps_in_any_order():
    process, betas, _, _ = make_case("exp", 5)
    timesteps = np.array([4, 0, 4, 2])
    x_start = np.random.default_rng(0).normal(size=(4, 6))
    x_t = process.q_sample(*tensors(x_start, timesteps, np.zeros((4, 6))))
    expected = np.sqrt(np.cumprod(1 - betas))[timesteps, None] * x_start
    np.testing.assert_allclose(x_t.numpy(), expected, **FLOAT32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_posterior_is_bayes_rule(schedule, num_timesteps, shape):
    process, betas, timesteps, (x_start, x_t, _) = make_case(schedule, num_timesteps, shape)
    expected_mean, expected_variance = posterior_by_bayes(betas, timesteps, x_start, x_t)
    mean, variance, log_variance = process.q_posterior_mean_variance(
        *tensors(x_start, x_t, timesteps)
    )
    assert variance.shape == log_variance.shape == (num_timesteps, *[1] * len(shape))
    np.testing.assert_allclose(mean.numpy(), expected_mean, **FLOAT32)
    np.testing.assert_allclose(variance.flatten().numpy(), expected_variance, rtol=3e-6)
    np.testing.assert_allclose(
        log_variance.flatten().numpy()[1:], np.log(expected_variance[1:]), rtol=3e-6
    )


def test_log_variance_at_the_first_step_is_that_of_the_second():
    process, _, timesteps, (x_start, x_t, _) = make_case("exp", 5)
    _, _, log_variance = process.q_posterior_mean_variance(*tensors(x_start, x_t, timesteps))
    assert log_variance[0] == log_variance[1]


def test_log_variance_of_a_single_step_is_finite():
    process, betas, timesteps, (x_start, x_t, _) = make_case("exp", 1)
    _, _, log_variance = process.q_posterior_mean_variance(*tensors(x_start, x_t, timesteps))
    assert log_variance.item() == pytest.approx(np.log(betas[0]), rel=1e-6)


@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize("schedule", ["linear", "linear-var", "exp"])
def test_noise_and_clean_input_determine_each_other(schedule, num_timesteps):
    process, _, timesteps, (x_start, noise, _) = make_case(schedule, num_timesteps)
    x_start, noise, timesteps = tensors(x_start, noise, timesteps)
    x_t = process.q_sample(x_start, timesteps, noise)
    solved = process.predict_x_start_from_noise(x_t, timesteps, noise)
    # The tables are float32, so x_t is off by 1e-7 and division by a small sqrt(abar) enlarges it.
    enlarged = process.sqrt_recip_alphas_cumprod[:, None].numpy()
    assert (np.abs((solved - x_start).numpy()) < 5e-7 * enlarged).all()


@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize("schedule", ["linear", "linear-var", "exp"])
def test_denoisers_of_noise_and_of_clean_input_agree(schedule, num_timesteps):
    process, betas, timesteps, (x_start, noise, _) = make_case(schedule, num_timesteps)
    x_start, noise, timesteps = tensors(x_start, noise, timesteps)
    x_t = process.q_sample(x_start, timesteps, noise)
    by_x_start = process.p_mean_variance(lambda x, t: x_start, x_t, timesteps, "x0")
    by_noise = process.p_mean_variance(lambda x, t: noise, x_t, timesteps, "eps")
    assert torch.equal(by_x_start.pred_x_start, x_start)
    tolerance = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(by_noise.pred_x_start, x_start, **tolerance)
    torch.testing.assert_close(by_noise.mean, by_x_start.mean, **tolerance)
    assert torch.equal(by_noise.variance, by_x_start.variance)
    assert torch.equal(by_noise.log_variance, by_x_start.log_variance)
    expected, _ = posterior_by_bayes(betas, timesteps.numpy(), x_start.numpy(), x_t.numpy())
    np.testing.assert_allclose(by_x_start.mean.numpy(), expected, **FLOAT32)


class LinearDenoiser:
    """x A + (t + 1) b, in torch and in numpy."""

    def __init__(self, size):
        rng = np.random.default_rng(11)
        self.weight = rng.normal(size=(size, size)) * 0.3 / np.sqrt(size)
        self.offset = rng.normal(size=size) * 0.01

    def __call__(self, x_t, timesteps):
        assert timesteps.dtype == torch.int64
        assert timesteps.shape == x_t.shape[:1]
        weight, offset = tensors(self.weight, self.offset)
        return x_t @ weight + (timesteps[:, None] + 1) * offset

    def numpy(self, x_t, t):
        return x_t @ self.weight + (t + 1) * self.offset


def numpy_chain(denoiser, betas, x_t, mean_type, num_steps, noises=None):
    """Reverse chain of DiffRec, Algorithm 2, with 1-based formulas and optional noise by step."""
    variance = variances(betas)
    for t in range(num_steps, 0, -1):
        prediction = denoiser.numpy(x_t, t - 1)
        if mean_type == "eps":
            prediction = (x_t - np.sqrt(variance[t]) * prediction) / np.sqrt(1 - variance[t])
        mean = (  # Eq. 10
            np.sqrt(1 - betas[t - 1]) * variance[t - 1] * x_t
            + np.sqrt(1 - variance[t - 1]) * betas[t - 1] * prediction
        ) / variance[t]
        posterior_variance = betas[t - 1] * variance[t - 1] / variance[t]  # Eq. 8, 0 at t = 1
        x_t = mean if noises is None else mean + np.sqrt(posterior_variance) * noises[t - 1]
    return x_t


@pytest.mark.parametrize("mean_type", ["x0", "eps"])
@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize("schedule", ["linear", "linear-var", "exp"])
def test_p_sample_loop_is_the_chain(schedule, num_timesteps, mean_type):
    process, betas, _, _ = make_case(schedule, num_timesteps)
    denoiser = LinearDenoiser(6)
    x_t = np.random.default_rng(2).normal(size=(4, 6))
    for num_steps in {1, (num_timesteps + 1) // 2, num_timesteps}:
        expected = numpy_chain(denoiser, betas, x_t, mean_type, num_steps)
        result = process.p_sample_loop(
            denoiser, torch.from_numpy(x_t), mean_type, num_steps=num_steps
        )
        np.testing.assert_allclose(
            result.numpy(), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
        )


def test_p_sample_loop_adds_no_noise_unless_told():
    process, _, _, _ = make_case("exp", 5)
    denoiser, x_t = LinearDenoiser(6), torch.ones(4, 6, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    result = process.p_sample_loop(denoiser, x_t, "x0", generator=generator)
    assert torch.equal(result, process.p_sample_loop(denoiser, x_t, "x0"))


def test_p_sample_loop_starts_at_the_last_step():
    process, _, _, _ = make_case("exp", 5)
    seen = []
    process.p_sample_loop(lambda x, t: seen.append(t.tolist()) or x, torch.zeros(2, 3), "x0")
    assert seen == [[4, 4], [3, 3], [2, 2], [1, 1], [0, 0]]


@pytest.mark.parametrize("num_timesteps", STEPS)
def test_p_sample_loop_adds_noise_to_all_steps_but_the_last(num_timesteps):
    process, betas, _, _ = make_case("exp", num_timesteps)
    denoiser = LinearDenoiser(6)
    x_t = np.random.default_rng(2).normal(size=(4, 6))
    generator = torch.Generator().manual_seed(5)
    result = process.p_sample_loop(denoiser, torch.from_numpy(x_t), "x0", True, generator)
    generator.manual_seed(5)
    drawn = [
        torch.randn(4, 6, generator=generator, dtype=torch.float64).numpy()
        for _ in range(num_timesteps)
    ]
    expected = numpy_chain(denoiser, betas, x_t, "x0", num_timesteps, noises=drawn[::-1])
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_p_sample_adds_given_noise_except_at_the_first_step():
    process, betas, timesteps, (x_t, noise, pred) = make_case("exp", 5)
    expected, variance = posterior_by_bayes(betas, timesteps, pred, x_t)
    x_t, noise, pred, timesteps = tensors(x_t, noise, pred, timesteps)
    result = process.p_sample(lambda x, t: pred, x_t, timesteps, "x0", noise=noise)
    expected = expected + np.sqrt(variance)[:, None] * noise.numpy()
    np.testing.assert_allclose(result.numpy(), expected, **FLOAT32)


def test_p_sample_without_noise_is_the_mean():
    process, betas, timesteps, (x_t, _, pred) = make_case("exp", 5)
    expected, _ = posterior_by_bayes(betas, timesteps, pred, x_t)
    x_t, pred, timesteps = tensors(x_t, pred, timesteps)
    result = process.p_sample(lambda x, t: pred, x_t, timesteps, "x0")
    np.testing.assert_allclose(result.numpy(), expected, **FLOAT32)


def test_p_sample_draws_from_the_generator():
    process, _, timesteps, (x_t, _, pred) = make_case("exp", 5)
    x_t, pred, timesteps = tensors(x_t, pred, timesteps)
    drawn = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(9), dtype=x_t.dtype)
    expected = process.p_sample(lambda x, t: pred, x_t, timesteps, "x0", noise=drawn)
    generator = torch.Generator().manual_seed(9)
    result = process.p_sample(lambda x, t: pred, x_t, timesteps, "x0", generator=generator)
    assert torch.equal(result, expected)


@pytest.mark.parametrize("num_timesteps", STEPS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_snr_and_its_weight(schedule, num_timesteps):
    process, betas, timesteps, _ = make_case(schedule, num_timesteps)
    variance = variances(betas)[1:]
    snr = (1 - variance) / variance
    expected_weight = [1.0] + [snr[t - 1] - snr[t] for t in range(1, num_timesteps)]  # Eq. 11-12
    (steps,) = tensors(timesteps)
    np.testing.assert_allclose(process.snr(steps).numpy(), snr, rtol=1e-6)
    np.testing.assert_allclose(process.snr_weight(steps).numpy(), expected_weight, rtol=1e-6)
    halved = [expected_weight[0], *(w / 2 for w in expected_weight[1:])]
    found = process.snr_weight(steps, is_halved=True)
    np.testing.assert_allclose(found.numpy(), halved, rtol=1e-6)
    assert process.snr_weight(steps.flip(0)).tolist() == process.snr_weight(steps).tolist()[::-1]


def test_tables_are_float32_and_not_part_of_the_state():
    process, betas, _, _ = make_case("exp", 40)
    assert not process.state_dict()
    assert not list(process.parameters())
    assert {table.dtype for table in process.buffers()} == {torch.float32}
    assert all(table.shape == (40,) for table in process.buffers())
    assert process.num_timesteps == 40
    alphas_cumprod = np.cumprod(1 - betas)
    np.testing.assert_allclose(process.betas.numpy(), betas, rtol=1e-7)
    np.testing.assert_allclose(process.alphas_cumprod.numpy(), alphas_cumprod, rtol=1e-7)
    np.testing.assert_allclose(
        process.alphas_cumprod_prev.numpy(), np.append(1, alphas_cumprod[:-1]), rtol=1e-7
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_cast_of_the_owner_leaves_the_tables_alone(dtype):
    process, _, timesteps, (x_start, noise, _) = make_case("linear-var", 40)
    before = {name: table.clone() for name, table in process.named_buffers()}
    owner = nn.Sequential(nn.Linear(2, 2), process).to(dtype)
    assert owner[0].weight.dtype == dtype
    for name, table in process.named_buffers():
        assert table.dtype == torch.float32
        assert torch.equal(table, before[name])
    (steps,) = tensors(timesteps)
    assert process.snr(steps)[0].item() == pytest.approx(1 / 1e-5 - 1, rel=1e-4)
    x_start, noise = (x.to(dtype) for x in tensors(x_start, noise))
    x_t = process.q_sample(x_start, steps, noise)
    moments = process.p_mean_variance(lambda x, t: noise, x_t, steps, "eps")
    assert x_t.dtype == moments.mean.dtype == moments.pred_x_start.dtype == dtype
    tolerance = 20 * torch.finfo(dtype).eps + 1e-6
    torch.testing.assert_close(moments.pred_x_start, x_start, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "timesteps",
    [
        torch.zeros(2, dtype=torch.int64),
        torch.zeros(3, 1, dtype=torch.int64),
        torch.zeros(3),
        torch.zeros(3, dtype=torch.int32),
    ],
)
def test_wrong_timesteps(timesteps):
    process = GaussianDiffusion(make_betas("exp", 5))
    with pytest.raises(
        ValueError, match=r"`timesteps`: found .* expected torch.int64 of shape \[3"
    ):
        process.q_sample(torch.zeros(3, 4), timesteps)


@pytest.mark.parametrize("step", [-1, 5])
def test_steps_out_of_range_do_not_wrap_round(step):
    process = GaussianDiffusion(make_betas("exp", 5))
    timesteps = torch.tensor([0, step])
    with pytest.raises(RuntimeError, match="out of bounds"):
        process.q_sample(torch.zeros(2, 4), timesteps)
    with pytest.raises(RuntimeError, match="out of bounds"):
        process.snr(timesteps)
    with pytest.raises(RuntimeError, match="out of bounds"):
        process.snr_weight(timesteps)


def test_integer_input_is_refused():
    process = GaussianDiffusion(make_betas("exp", 5))
    x_start, timesteps = torch.ones(2, 4, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="`x`: found torch.int64"):
        process.q_posterior_mean_variance(x_start, x_start, timesteps)


def test_shapes_are_not_broadcast():
    process = GaussianDiffusion(make_betas("exp", 5))
    x, row, timesteps = torch.zeros(2, 4), torch.zeros(1, 4), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="`noise`: found shape"):
        process.q_sample(x, timesteps, row)
    with pytest.raises(ValueError, match="`noise`: found shape"):
        process.predict_x_start_from_noise(x, timesteps, row)
    with pytest.raises(ValueError, match="`noise`: found shape"):
        process.p_sample(lambda x_t, t: x_t, x, timesteps, "x0", noise=row)
    with pytest.raises(ValueError, match="`x_start`: found shape"):
        process.p_mean_variance(lambda x_t, t: row, x, timesteps, "x0")


def test_unknown_mean_type():
    process = GaussianDiffusion(make_betas("exp", 5))
    with pytest.raises(ValueError, match="key `mean_type`: found 'v', expected one of x0, eps"):
        process.p_sample_loop(lambda x, t: x, torch.zeros(2, 4), "v")


@pytest.mark.parametrize("num_steps", [0, 6])
def test_number_of_reverse_steps_out_of_range(num_steps):
    process = GaussianDiffusion(make_betas("exp", 5))
    with pytest.raises(ValueError, match=rf"`num_steps`: found {num_steps}, expected 1\.\.5"):
        process.p_sample_loop(lambda x, t: x, torch.zeros(2, 4), "x0", num_steps=num_steps)


def test_betas_are_checked():
    with pytest.raises(ValueError, match="betas: found torch.float32"):
        GaussianDiffusion(torch.full((5,), 0.1))
