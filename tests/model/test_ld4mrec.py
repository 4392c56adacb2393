"""LD4MRec: every equation of sections 4 and 5 against float64 numpy, and what a run relies on.

Weights are drawn at random before each comparison, so that none is zero or one by chance.
"""

import re
from functools import partial
from pathlib import Path

import channel_tools
import numpy as np
import pytest
import torch
from channel_tools import (
    N_ITEMS,
    N_USERS,
    PAIRS,
    STEPS,
    WIDTH,
    TinyDataset,
    assert_near,
    feature_file,
    linear,
    randomize,
    weights,
)
from recbole.data.interaction import Interaction

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models.ld4mrec.model import LD4MRec, soft_labels
from recbole_diffusion.models.ld4mrec.network import ConditionalNetwork, Conditions
from recbole_diffusion.nn.rows import RowBatch

SIZE, STEP_SIZE, RANK = 5, 4, 3
SMALL = {"hidden_size": SIZE, "step_embedding_size": STEP_SIZE, "svd_rank": RANK}
# Those with interactions.
USERS = torch.arange(1, 7)
EVERYONE = Interaction({"user_id": torch.arange(N_USERS)})
ROWS = np.zeros((N_USERS, N_ITEMS))
ROWS[tuple(np.array(PAIRS).T)] = 1

refusal = partial(channel_tools.refusal, LD4MRec)


def settings(**changes):
    features = changes.pop("item_features", None)
    keys = channel_tools.settings("LD4MRec", **{**SMALL, **changes})
    return {**keys, "item_features": features, "seed": 3}


def make_model(seed=0, is_random=True, **changes):
    torch.manual_seed(seed)
    model = LD4MRec(settings(**changes), TinyDataset()).eval()
    return randomize(model) if is_random else model


def features_of(folder, *names, **widths):
    """Key ``item_features`` with a file for each name, and the matrices in the right order."""
    files, matrices = {}, {}
    for number, name in enumerate(names):
        (folder / name).mkdir()
        path, matrix = feature_file(folder / name, widths.get(name, WIDTH + number))
        files[name] = {"file": str(path)}
        matrices[name] = matrix.astype(np.float64)
    return files, matrices


# The paper in float64; ``w`` holds the weights, ``p`` is the prefix of their names.


def paper_hop(rows, values):
    """D_U^-1/2 R D_I^-1/2 X of Eq. 15 and 16, pair by pair; degrees of items are the data's."""
    users_of = ROWS.sum(axis=0)
    total = np.zeros((len(rows), values.shape[1]))
    for user, row in enumerate(rows):
        for item in np.flatnonzero(row):
            total[user] += values[item] / np.sqrt(row.sum() * max(users_of[item], 1))
    return total


def paper_factors(model):
    """V and the singular values, with the signs that the model has drawn."""
    _, values, vectors = np.linalg.svd(ROWS)
    rank = model.item_vectors.shape[1]
    assert (np.diff(values[: rank + 1]) < -0.01).all()  # so that the vectors are unique
    vectors = vectors[:rank].T
    signs = np.sign((vectors * model.item_vectors.numpy()).sum(axis=0))
    return vectors * signs, values[:rank]


def paper_collaborative(model):
    """Eq. 14-15, with U from the decomposition itself."""
    u, _, transposed = np.linalg.svd(ROWS)
    rank = model.item_vectors.shape[1]
    vectors, _ = paper_factors(model)
    signs = np.sign((vectors * transposed[:rank].T).sum(axis=0))
    return np.concatenate([u[:, :rank] * signs, paper_hop(ROWS, vectors)], axis=1)


def paper_step(t, size=STEP_SIZE):
    """Eq. 17."""
    angle = [t / 10000 ** (2 * (place // 2) / size) for place in range(size)]
    return np.array([np.cos(a) if place % 2 else np.sin(a) for place, a in enumerate(angle)])


def leaky_relu(x):
    return np.where(x > 0, x, 0.01 * x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


SIGMA = {"tanh": np.tanh, "sigmoid": sigmoid, "leaky_relu": leaky_relu}


def paper_cg(hidden, step, collaborative, w, p, sigma=np.tanh):
    """Eq. 18-20."""
    own = sigma(linear(np.concatenate([hidden, step], axis=1), w, f"{p}.own_layer"))
    if collaborative is None:
        return own
    common = sigma(linear(collaborative, w, f"{p}.collaborative_layer"))
    gate = sigmoid(linear(step, w, f"{p}.gate_layer"))
    return own * (1 - gate) + common * gate


def paper_pg(hidden, preference, w, p):
    """Eq. 21-22."""

    def mlp(name):
        return linear(leaky_relu(linear(preference, w, f"{p}.{name}.0")), w, f"{p}.{name}.2")

    return mlp("scale") * hidden + mlp("shift")


def paper_network(x, step, collaborative, preferences, w, p="denoiser.", sigma=np.tanh):
    """Figure 2; ``preferences`` by name, in their order."""
    hidden = x @ w[f"{p}input_weight"] + w[f"{p}input_bias"]
    hidden = paper_cg(hidden, step, collaborative, w, f"{p}first_block", sigma)
    for place, (name, preference) in enumerate(preferences.items()):
        hidden = leaky_relu(hidden) if place else hidden
        hidden = paper_pg(hidden, preference, w, f"{p}preference_blocks.{name}")
    hidden = paper_cg(hidden, step, collaborative, w, f"{p}last_block", sigma)
    return linear(hidden, w, f"{p}output_layer")


def paper_alphas_cumprod(steps, s=0.1, least=1e-4):
    """Eq. 3."""
    places = [(t - 1) / (steps - 1) if steps > 1 else 0 for t in range(1, steps + 1)]
    return 1 - s * (least + np.array(places) * (1 - least))


def paper_x_t(timesteps, noise, x, **keys):
    """Eq. 2."""
    kept = paper_alphas_cumprod(STEPS, **keys)[timesteps][:, None]
    return np.sqrt(kept) * x + np.sqrt(1 - kept) * noise


# Condition signals


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_collaborative_signal_is_equations_14_and_15(rank):
    model = make_model(svd_rank=rank)
    assert model.collaborative.shape == (N_USERS, 2 * rank)
    assert_near(model.collaborative, paper_collaborative(model))
    assert (model.collaborative[[0, 7]] == 0).all()  # nobody, and a user without interactions


@pytest.mark.parametrize("names", [["text"], ["text", "image"], ["a", "b", "c"]])
def test_preference_signals_are_equation_16(tmp_path, names):
    files, matrices = features_of(tmp_path, *names)
    model = make_model(item_features=files)
    for name in names:
        expected = paper_hop(ROWS, matrices[name])
        assert_near(model.get_buffer(f"preference_{name}"), expected)
        assert np.abs(expected[1:7]).max(axis=1).min() > 0.1


def test_half_precision_features_tell_as_their_values(tmp_path):
    files, matrices = features_of(tmp_path, "text")
    model = make_model(item_features={"text": {**files["text"], "dtype": "float16"}})
    assert model.features_text.dtype == torch.float16
    assert model.preference_text.dtype == torch.float32
    assert_near(model.preference_text, paper_hop(ROWS, matrices["text"].astype(np.float16)))


@pytest.mark.parametrize("size", [2, 4, 5, 10])
def test_step_embedding_is_equation_17_and_the_users_own(size):
    """z_t + z_in in training, z_in alone at inference."""
    model = make_model(step_embedding_size=size)
    own = model.initial_step_embedding.weight.detach().double().numpy()
    users, timesteps = torch.tensor([3, 1, 5, 2]), torch.tensor([0, 8, 4, 0])
    z_t = np.array([paper_step(t + 1, size) for t in timesteps.tolist()])
    assert_near(model._conditions(users, timesteps).step, z_t + own[users])
    assert_near(model._conditions(users, None).step, own[users])


# C-Net


@pytest.mark.parametrize("n_modalities", [0, 1, 2, 3])
@pytest.mark.parametrize("use_collaboration", [True, False])
@pytest.mark.parametrize("activation", list(SIGMA))
def test_network_is_equations_18_to_22(rng, n_modalities, use_collaboration, activation):
    widths = {f"m{number}": 3 + number for number in range(n_modalities)}
    size = 2 * RANK if use_collaboration else None
    network = ConditionalNetwork(N_ITEMS, SIZE, STEP_SIZE, size, widths, 5, activation)
    randomize(network)
    x, step = rng.normal(size=(6, N_ITEMS)), rng.normal(size=(6, STEP_SIZE))
    collaborative = rng.normal(size=(6, 2 * RANK)) if use_collaboration else None
    signals = {name: rng.normal(size=(6, width)) for name, width in widths.items()}
    float_step, *rest = (torch.from_numpy(v).float() for v in (step, x, *signals.values()))
    told = None if collaborative is None else torch.from_numpy(collaborative).float()
    found = network(rest[0], Conditions(float_step, told, rest[1:]))
    sigma = SIGMA[activation]
    expected = paper_network(x, step, collaborative, signals, weights(network), "", sigma)
    assert_near(found, expected)


def set_gate(network, bias):
    with torch.no_grad():
        for block in (network.first_block, network.last_block):
            block.gate_layer.weight.zero_()
            block.gate_layer.bias.fill_(bias)


@torch.no_grad()
def test_a_closed_gate_leaves_the_network_without_collaboration():
    model, without = make_model(), make_model(use_collaboration=False)
    assert not torch.allclose(
        model.full_sort_predict(EVERYONE), without.full_sort_predict(EVERYONE)
    )
    set_gate(model.denoiser, -200.0)
    state = {k: v for k, v in model.state_dict().items() if k in without.state_dict()}
    without.load_state_dict(state)
    torch.testing.assert_close(
        model.full_sort_predict(EVERYONE), without.full_sort_predict(EVERYONE)
    )


@torch.no_grad()
def test_an_open_gate_leaves_the_collaborative_signal_alone(rng):
    model = make_model()
    set_gate(model.denoiser, 200.0)
    conditions = model._conditions(USERS, None)
    one, other = (torch.from_numpy(rng.normal(size=(6, N_ITEMS))).float() for _ in range(2))
    found = model.denoiser(one, conditions)
    torch.testing.assert_close(found, model.denoiser(other, conditions))
    w = weights(model)
    common = np.tanh(
        linear(conditions.collaborative.numpy(), w, "denoiser.last_block.collaborative_layer")
    )
    assert_near(found, linear(common, w, "denoiser.output_layer"))


@torch.no_grad()
def test_gate_is_the_steps_alone():
    """The same signals and rows mix otherwise after other steps."""
    block = make_model().denoiser.first_block
    hidden, collaborative = torch.randn(2, SIZE), torch.randn(2, 2 * RANK)
    own = torch.tanh(block.own_layer(torch.cat([hidden, torch.zeros(2, STEP_SIZE)], dim=1)))
    common = torch.tanh(block.collaborative_layer(collaborative))
    mixed = block(hidden, torch.zeros(2, STEP_SIZE), collaborative)
    gate = (mixed - own) / (common - own)
    torch.testing.assert_close(gate[0], gate[1], rtol=1e-3, atol=1e-4)
    assert ((gate > 0) & (gate < 1)).all()


@torch.no_grad()
def test_preference_blocks_start_at_identity_and_work_channel_by_channel():
    signals = {"text": WIDTH}
    network = ConditionalNetwork(N_ITEMS, SIZE, STEP_SIZE, None, signals, 5, "tanh")
    block = network.preference_blocks["text"]
    hidden, preference = torch.randn(4, SIZE), torch.randn(4, WIDTH)
    assert torch.equal(block(hidden, preference), hidden)
    assert torch.equal(block(hidden, 9 * preference), hidden)
    randomize(block)
    moved = hidden.clone()
    moved[:, 2] += 1
    changed = (block(moved, preference) - block(hidden, preference)).abs() > 1e-6
    assert changed.sum(dim=0).tolist() == [0, 0, 4, 0, 0]


# Training


@pytest.mark.parametrize("steps", [1, 2, 10])
@pytest.mark.parametrize(("noise_scale", "noise_min"), [(0.1, 1e-4), (0.7, 0.3), (0.01, 0.9)])
def test_noise_is_equation_3(steps, noise_scale, noise_min):
    model = make_model(steps=steps, noise_scale=noise_scale, noise_min=noise_min)
    expected = paper_alphas_cumprod(steps, noise_scale, noise_min)
    np.testing.assert_allclose(1 - model.diffusion.alphas_cumprod, 1 - expected, rtol=2e-3)
    if steps > 1:
        assert 1 - model.diffusion.alphas_cumprod[-1] == pytest.approx(noise_scale, rel=1e-5)


@torch.no_grad()
def test_step_losses_are_equations_2_to_6(tmp_path, rng):
    files, matrices = features_of(tmp_path, "text", "image")
    model = make_model(item_features=files, noise_scale=0.5)
    timesteps = np.array([0, 8, 3, 3, 1, 7])
    noise, target = rng.normal(size=(2, 6, N_ITEMS))
    w = weights(model)
    z = w["initial_step_embedding.weight"][1:7] + [paper_step(t + 1) for t in timesteps]
    signals = {name: paper_hop(ROWS, matrix)[1:7] for name, matrix in matrices.items()}
    x_t = paper_x_t(timesteps, noise, ROWS[1:7], s=0.5)
    output = paper_network(x_t, z, paper_collaborative(model)[1:7], signals, w)
    found = model.step_losses(
        USERS,
        torch.from_numpy(ROWS[1:7]).float(),
        torch.from_numpy(target).float(),
        torch.from_numpy(timesteps),
        torch.from_numpy(noise).float(),
    )
    assert_near(found, ((output - target) ** 2).sum(axis=1))


@torch.no_grad()
def test_loss_is_equation_8_and_the_history_holds_unweighted_losses():
    model = make_model(soft_label_prob=0.3, soft_label_shift=0.2)
    sampler = model.sampler
    losses = np.random.default_rng(2).gamma(0.7, size=(STEPS, sampler.history_size))
    sampler.history.copy_(torch.from_numpy(losses))
    sampler.count.fill_(sampler.history_size)
    importance = np.sqrt(losses.mean(axis=1))
    importance /= importance.sum()
    np.testing.assert_allclose(sampler.probabilities(), importance, rtol=1e-5)

    users = torch.arange(N_USERS)  # the padding and user 7 have no interactions
    torch.manual_seed(5)
    found = model.calculate_loss(Interaction({"user_id": users}))
    history = sampler.history.clone()
    torch.manual_seed(5)
    sampler.history.copy_(torch.from_numpy(losses))
    timesteps, _ = sampler.sample(6)
    x_start = torch.from_numpy(ROWS[1:7]).float()
    noise = torch.randn_like(x_start)
    target = soft_labels(x_start, 0.3, 0.2)
    assert not torch.equal(target, x_start)
    each = model.step_losses(USERS, x_start, target, timesteps, noise)
    weight = 1 / (importance[timesteps] * STEPS)
    assert found.item() == pytest.approx((weight * each.numpy()).mean(), rel=1e-4)
    for step in timesteps.unique():
        own = each[timesteps == step]
        torch.testing.assert_close(history[step, : len(own)], own)


def test_uniform_steps_weigh_the_same():
    model = make_model(importance_sampling=False)
    assert (model.sampler.sample(50)[1] == 1).all()
    assert not any(name.startswith("sampler") for name in model.state_dict())


def test_users_without_interactions_stay_out_of_the_loss():
    model = make_model()
    loss = model.calculate_loss(Interaction({"user_id": torch.tensor([0, 7])}))
    assert loss == 0
    loss.backward()
    assert model.sampler.count.sum() == 0
    model.zero_grad()
    model.calculate_loss(EVERYONE).backward()
    gradient = model.initial_step_embedding.weight.grad.abs().sum(dim=1)
    assert (gradient[USERS] > 0).all()
    assert (gradient[[0, 7]] == 0).all()


@pytest.mark.parametrize("changes", [{}, {"use_collaboration": False}])
def test_every_weight_learns(tmp_path, changes):
    files, _ = features_of(tmp_path, "text", "image")
    model = make_model(item_features=files, activation="sigmoid", **changes)
    model.calculate_loss(Interaction({"user_id": USERS})).backward()
    for name, parameter in model.named_parameters():
        rows = parameter.grad[1:7] if name.startswith("initial") else parameter.grad
        assert rows.abs().sum() > 0, name


def test_bfloat16_trains(tmp_path):
    """Loss and scores as in single precision but for the rounding of eight bits."""
    files, _ = features_of(tmp_path, "text", "image")
    model = make_model(item_features=files, importance_sampling=False)
    results = []
    for is_enabled in (False, True):
        torch.manual_seed(6)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_enabled):
            loss = model.calculate_loss(EVERYONE)
            scores = model.full_sort_predict(EVERYONE)
        results.append((loss, scores.float()))
    torch.testing.assert_close(results[1], results[0], rtol=0.05, atol=0.05)
    results[1][0].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(("prob", "shift"), [(0.01, 0.01), (0.2, 0.3), (1.0, 0.25), (0.5, 0.5)])
def test_soft_labels_are_drawn_as_often_as_asked(prob, shift):
    """Within 4.5 standard errors, of ones and of zeros."""
    torch.manual_seed(1)
    x_start = (torch.rand(300, 700) < 0.3).float()
    soft = soft_labels(x_start, prob, shift)
    for label, softened in ((1.0, 1 - shift), (0.0, shift)):
        values = soft[x_start == label]
        is_drawn = torch.isclose(values, torch.tensor(softened))
        assert (is_drawn | (values == label)).all()
        error = (prob * (1 - prob) / len(values)) ** 0.5
        assert is_drawn.float().mean().item() == pytest.approx(prob, abs=4.5 * error + 1e-9)
    columns = (soft != x_start).float().mean(dim=0)
    assert columns.max() < prob + 6 * (prob * (1 - prob) / 300) ** 0.5 + 1e-6


@pytest.mark.parametrize(("prob", "shift"), [(0.0, 0.3), (0.3, 0.0)])
def test_without_soft_labels_nothing_is_drawn(prob, shift):
    x_start = torch.eye(4)
    before = torch.get_rng_state()
    assert torch.equal(soft_labels(x_start, prob, shift), x_start)
    assert torch.equal(torch.get_rng_state(), before)


# Inference


@torch.no_grad()
def test_scores_are_one_pass_over_the_rows_as_they_are(tmp_path):
    """Algorithm 2, with the initial step embedding alone."""
    files, matrices = features_of(tmp_path, "text", "image")
    model = make_model(item_features=files)
    w = weights(model)
    signals = {name: paper_hop(ROWS, matrix) for name, matrix in matrices.items()}
    z_in = w["initial_step_embedding.weight"]
    expected = paper_network(ROWS, z_in, paper_collaborative(model), signals, w)
    found = model.full_sort_predict(EVERYONE)
    assert found.dtype == torch.float32
    assert_near(found, expected)
    users, items = torch.tensor([4, 2, 4, 0]), torch.tensor([1, 7, 3, 10])
    pairs = model.predict(Interaction({"user_id": users, "item_id": items}))
    assert_near(pairs, expected[users, items])


@torch.no_grad()
def test_rows_are_not_made_dense_for_the_scores(monkeypatch):
    model = make_model()

    def refuse(*args):
        raise AssertionError("made dense")

    monkeypatch.setattr(RowBatch, "dense", refuse)
    model.full_sort_predict(EVERYONE)
    model.score_histories(HISTORIES)


@pytest.mark.parametrize("sampling_steps", [1, 4, STEPS])
@torch.no_grad()
def test_forward_steps_before_the_scores(sampling_steps):
    """Figure 3."""
    model = make_model(sampling_steps=sampling_steps, noise_scale=0.8)
    w = weights(model)
    torch.manual_seed(9)
    found = model.full_sort_predict(EVERYONE)
    torch.manual_seed(9)
    noise = torch.randn(N_USERS, N_ITEMS).double().numpy()
    last = np.full(N_USERS, sampling_steps - 1)
    z = w["initial_step_embedding.weight"] + paper_step(sampling_steps)
    x_t = paper_x_t(last, noise, ROWS, s=0.8)
    assert_near(found, paper_network(x_t, z, paper_collaborative(model), {}, w))


@torch.no_grad()
def test_a_users_initial_step_changes_the_scores_of_that_user_alone():
    model = make_model()
    before = model.full_sort_predict(EVERYONE)
    model.initial_step_embedding.weight[4] += 0.5
    after = model.full_sort_predict(EVERYONE)
    is_changed = ((after - before).abs() > 1e-4).any(dim=1)
    assert is_changed.nonzero().flatten().tolist() == [4]
    rest = [user for user in range(N_USERS) if user != 4]
    assert torch.equal(after[rest], before[rest])


# Users outside the data

HISTORIES = [[2, 5, 8], [7], [], [1, 3, 10], [9, 4, 6, 1]]  # nobody has item 10


@pytest.mark.parametrize("sampling_steps", [0, 3])
@torch.no_grad()
def test_history_scores_are_those_of_its_signals(tmp_path, sampling_steps):
    files, matrices = features_of(tmp_path, "text", "image")
    model = make_model(item_features=files, sampling_steps=sampling_steps)
    rows = np.zeros((len(HISTORIES), N_ITEMS))
    for user, history in enumerate(HISTORIES):
        rows[user, history] = 1
    vectors, values = paper_factors(model)
    collaborative = np.concatenate([rows @ vectors / values, paper_hop(rows, vectors)], axis=1)
    signals = {name: paper_hop(rows, matrix) for name, matrix in matrices.items()}
    w = weights(model)
    z = np.tile(w["initial_step_embedding.weight"][1:7].mean(axis=0), (len(rows), 1))
    x = rows
    torch.manual_seed(4)
    if sampling_steps:
        noise = torch.randn(len(rows), N_ITEMS).double().numpy()
        x = paper_x_t(np.full(len(rows), 2), noise, rows)
        z = z + paper_step(3)
    torch.manual_seed(4)
    found = model.score_histories(HISTORIES)
    assert_near(found, paper_network(x, z, collaborative, signals, w))
    if not sampling_steps:
        turned = model.score_histories([history[::-1] for history in HISTORIES])
        torch.testing.assert_close(turned, found)


@torch.no_grad()
def test_history_of_a_user_of_the_data_has_that_users_scores(tmp_path):
    """But for the initial step embedding, which is made the same here."""
    files, _ = features_of(tmp_path, "text")
    model = make_model(item_features=files)
    model.initial_step_embedding.weight[:] = model.initial_step_embedding.weight[1]
    histories = [np.flatnonzero(ROWS[user]).tolist() for user in range(N_USERS)]
    expected = model.full_sort_predict(EVERYONE)
    torch.testing.assert_close(model.score_histories(histories), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ([3, 0], "item 0"),
        ([11], "item 11"),
        ([2, 5, 2], "item 2 twice"),
        (["1"], r"\['1'\] for one"),
        ([1.5], r"\[1.5\] for one"),
        (3, "3 for one"),
    ],
)
def test_history_that_is_none(history, told):
    with pytest.raises(UserError, match=f"histories: found {told}"):
        make_model().score_histories([[1, 2], history])


# Ablations and modalities


def parts(model):
    """Names of weights and kept buffers, by what they serve."""
    names = set(model.state_dict())
    served = {
        "collaboration": ("collaborative", "gate_layer", "item_vectors", "singular_values"),
        "preference": ("preference_", "digest_"),
        "history": ("sampler.",),
    }
    found = {
        part: {name for name in names if any(word in name for word in words)}
        for part, words in served.items()
    }
    return {**found, "rest": names - set().union(*found.values())}


def test_ablations_leave_out_their_part_and_nothing_else(tmp_path):
    files, _ = features_of(tmp_path, "text", "image")
    whole = parts(make_model(item_features=files))
    assert all(whole.values())
    for part, keys in {
        "collaboration": {"use_collaboration": False},
        "preference": {"modalities": []},
        "history": {"importance_sampling": False},
        "none": {"soft_label_prob": 0.0},
    }.items():
        found = parts(make_model(item_features=files, **keys))
        assert found.pop(part, set()) == set()
        left = {name: names for name, names in whole.items() if name != part}
        assert found == left


@torch.no_grad()
def test_blocks_at_identity_leave_the_network_without_preferences(tmp_path):
    files, _ = features_of(tmp_path, "text")
    model, without = make_model(item_features=files), make_model()
    model.denoiser.preference_blocks["text"].start_at_identity()
    state = {k: v for k, v in model.state_dict().items() if k in without.state_dict()}
    without.load_state_dict(state)
    torch.testing.assert_close(
        model.full_sort_predict(EVERYONE), without.full_sort_predict(EVERYONE)
    )


def test_without_soft_labels_the_rows_are_the_target(monkeypatch):
    model = make_model(soft_label_prob=0.0)
    targets = []
    monkeypatch.setattr(
        model, "step_losses", lambda u, x, y, t, n: targets.append((x, y)) or x[:, 0]
    )
    model.calculate_loss(EVERYONE)
    assert torch.equal(*targets[0])


@torch.no_grad()
def test_modalities_in_the_order_asked_for(tmp_path):
    files, matrices = features_of(tmp_path, "text", "image", "sound")
    assert make_model(item_features=files).modalities == ["text", "image", "sound"]
    assert make_model().modalities == []
    model = make_model(item_features=files, modalities=["sound", "text"])
    assert not any("image" in name for name, _ in model.named_buffers())
    w = weights(model)
    z_in = w["initial_step_embedding.weight"]
    signals = {name: paper_hop(ROWS, matrices[name]) for name in ("sound", "text")}
    expected = paper_network(ROWS, z_in, paper_collaborative(model), signals, w)
    assert_near(model.full_sort_predict(EVERYONE), expected)


def test_without_collaboration_no_rank_is_needed():
    assert (
        make_model(use_collaboration=False, svd_rank=100)
        .full_sort_predict(EVERYONE)
        .isfinite()
        .all()
    )


# State


@torch.no_grad()
def test_state_restores_signals_and_scores(tmp_path):
    """Also where the decomposition gave other vectors, as on another machine."""
    files, _ = features_of(tmp_path, "text")
    model = make_model(item_features=files)
    model.train().calculate_loss(EVERYONE)
    model.eval()
    other = make_model(seed=8, is_random=False, item_features=files)
    for buffer in (other.collaborative, other.item_vectors, other.preference_text):
        buffer.neg_()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.full_sort_predict(EVERYONE), model.full_sort_predict(EVERYONE))
    assert torch.equal(other.score_histories(HISTORIES), model.score_histories(HISTORIES))
    assert torch.equal(other.sampler.history, model.sampler.history)
    kept = set(model.state_dict())
    assert {"collaborative", "item_vectors", "singular_values", "preference_text"} <= kept
    assert not any(name.startswith(("rows.", "diffusion.", "features_")) for name in kept)


def test_changed_features_are_refused(tmp_path):
    files, matrices = features_of(tmp_path, "text")
    state = make_model(item_features=files).state_dict()
    ids = np.array([f"i{i}" for i in range(1, N_ITEMS)])
    np.savez(files["text"]["file"], ids=ids, matrix=2 * matrices["text"][1:])
    changed = make_model(item_features=files)
    with pytest.raises(UserError, match=r"`item_features`: found other features under 'text'"):
        changed.load_state_dict(state)


@pytest.mark.parametrize(("std", "expected"), [(None, (2 / 208) ** 0.5), (0.5, 0.5)])
def test_start_of_the_initial_steps(std, expected):
    torch.manual_seed(1)
    keys = settings(embedding_std=std, step_embedding_size=200)
    start = LD4MRec(keys, TinyDataset()).initial_step_embedding.weight
    assert start.shape == (N_USERS, 200)
    assert start.std().item() == pytest.approx(expected, rel=0.06)


# Keys


def test_defaults_are_the_papers():
    keys = channel_tools.settings("LD4MRec")
    expected = {
        **{"hidden_size": 1000, "svd_rank": 100, "step_embedding_size": 10},
        **{"train_batch_size": 400, "noise_scale": 0.1, "noise_min": 1e-4, "learner": "adam"},
        **{"soft_label_prob": 0.01, "soft_label_shift": 0.01, "sampling_steps": 0},
        **{"epochs": 1000, "stopping_step": 20, "modalities": None, "importance_sampling": True},
    }
    assert {name: keys[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sampling_steps", -1),
        ("sampling_steps", 11),
        ("noise_scale", 0.0),
        ("noise_scale", 1.1),
        ("noise_scale", float("nan")),
        ("noise_min", 0.0),
        ("noise_min", 1.0),
        ("soft_label_prob", -0.1),
        ("soft_label_prob", 1.5),
        ("soft_label_shift", 0.6),
        ("soft_label_shift", float("nan")),
        ("step_embedding_size", 1),
        ("hidden_size", 0),
        ("preference_hidden_size", 0),
        ("svd_rank", 0),
        ("steps", 0),
        ("activation", "swish"),
        ("modalities", ["text"]),
        ("modalities", "text"),
        ("embedding_std", 0.0),
    ],
)
def test_keys_out_of_their_range(key, value):
    found = rf"key `{key}`: found {re.escape(repr(value))}( \(\w+\))?, expected "
    assert re.search(found, refusal(**{key: value}))


@pytest.mark.parametrize("names", [["text", "text"], ["knowledge"], ["image"]])
def test_modalities_that_are_none(tmp_path, names):
    files, _ = features_of(tmp_path, "text")
    message = refusal(item_features=files, modalities=names)
    assert message.startswith(f"key `modalities`: found {names!r}, expected some of ['text']")


# Runs on the planted set

TRAINED = {
    **{"hidden_size": 64, "svd_rank": 20, "train_batch_size": 64, "learning_rate": 3e-3},
    **{"epochs": 15, "eval_step": 5},
}


@pytest.fixture
def genre(planted, tmp_path, monkeypatch):
    """One-hot genres of the planted items under the name ``genre``, as a modality."""
    path = Path(planted["data_path"]) / "planted" / "planted.item"
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    names = sorted({row[2] for row in rows})
    matrix = np.array([[row[2] == name for name in names] for row in rows], dtype=np.float32)
    file = tmp_path / "genre.npz"
    np.savez(file, ids=np.array([row[0] for row in rows]), matrix=matrix)
    return {"item_features": {"genre": {"file": str(file)}}}


def recall(keys, model="LD4MRec"):
    return run_recbole_diffusion(model, "planted", config_dict=keys)["test"]["recall@20"]


# Test Recall@20 of seeds 1 to 6, measured with these settings: mean, standard deviation, range.
# Pop                    0.133
# without features       0.898  0.007  0.890 - 0.908
# genres as a modality   0.897  0.004  0.893 - 0.900
# w/o CG                 0.897  0.010  0.883 - 0.908
# learning rate 0        0.154  0.013  0.145 - 0.180


@pytest.mark.parametrize("changes", [{"modalities": []}, {"use_collaboration": False}])
def test_ablations_solve_the_planted_set_too(planted, genre, changes):
    assert recall({**planted, **TRAINED, **genre, **changes}) > 0.8
