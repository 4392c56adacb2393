"""InfoDCL: every equation of section 3 against float64 numpy, and what a run relies on.

Weights are drawn at random before each comparison, so that no scale is zero or one by chance.
"""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from scipy.special import erf, expit, log_softmax

from recbole_diffusion.config import Config
from recbole_diffusion.data.split import load_split
from recbole_diffusion.diffusion import make_betas
from recbole_diffusion.errors import UserError
from recbole_diffusion.model.infodcl import (
    ContextualReencoding,
    Denoiser,
    InfoDCL,
    PSNet,
    SpectralRectification,
)
from recbole_diffusion.property_files import properties_folder, read_properties

REPOSITORY = Path(__file__).resolve().parents[2]

N_USERS, N_ITEMS, SIZE, STEPS, WIDTH = 8, 11, 6, 9, 4  # users and items with padding
PAIRS = [
    *[(1, 1), (1, 2), (1, 4), (2, 1), (2, 3), (3, 4), (3, 5), (3, 6), (4, 7), (5, 8), (5, 1)],
    *[(6, 9), (6, 2), (2, 3)],  # the last one again; user 7 and item 10 have none
]
BATCH = {
    "user_id": [1, 1, 2, 3, 5, 3, 6, 5, 4],
    "item_id": [2, 1, 1, 6, 8, 4, 2, 1, 10],  # 1 and 2 repeat; the last id is among them
    "neg_item_id": [5, 10, 4, 1, 2, 3, 3, 7, 1],
}
UNIQUE_ITEMS = [1, 2, 4, 6, 8, 10]


class TinyDataset:
    """What the model asks of RecBole's train dataset."""

    def __init__(self, pairs=PAIRS):
        self.pairs = pairs

    def num(self, field):
        return {"user_id": N_USERS, "item_id": N_ITEMS}[field]

    @property
    def field2id_token(self):
        return {
            "user_id": np.array(["[PAD]", *(f"i{i}" for i in range(1, N_USERS))]),
            "item_id": np.array(["[PAD]", *(f"i{i}" for i in range(1, N_ITEMS))]),
        }

    def inter_matrix(self, form):
        user, item = np.array(self.pairs).T
        ones = np.ones(len(self.pairs))
        return sp.coo_matrix((ones, (user, item)), shape=(N_USERS, N_ITEMS)).asformat(form)


def settings(**changes):
    """The defaults of the property file, small, with some keys changed."""
    defaults = read_properties(properties_folder() / "model" / "InfoDCL.yaml")
    fields = {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "NEG_PREFIX": "neg_"}
    small = {"embedding_size": SIZE, "steps": STEPS, "device": torch.device("cpu")}
    assert set(changes) <= set(defaults)
    return {**defaults, **fields, **small, **changes}


def base_embeddings(seed=5):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(N_USERS, SIZE)).astype(np.float32),
        rng.normal(size=(N_ITEMS, SIZE)).astype(np.float32),
    )


def make_model(seed=0, with_metadata=True, **changes):
    torch.manual_seed(seed)
    model = InfoDCL(settings(**changes), TinyDataset())
    if with_metadata and model.needs_base_embeddings:
        model.set_base_embeddings(*base_embeddings())
    return model


def randomize(module, seed=1):
    """Give every weight a value far from its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return module


def batch(**changes):
    columns = {**BATCH, **changes}
    return Interaction({name: torch.tensor(column) for name, column in columns.items()})


def feature_file(folder, width=WIDTH, n_ids=N_ITEMS):
    """Features in the reverse order of the data set; returns the path and the right order."""
    matrix = np.random.default_rng(8).normal(size=(n_ids - 1, width)).astype(np.float32)
    ids = np.array([f"i{i}" for i in range(1, n_ids)])
    np.savez(folder / "text.npz", ids=ids[::-1], matrix=matrix[::-1])
    return folder / "text.npz", np.concatenate([np.zeros((1, width), np.float32), matrix])


def floats(*tensors):
    return tuple(t.detach().double().numpy() for t in tensors)


# The paper in float64. ``w`` holds a module's own weights, ``p`` is the prefix of their names.


def weights(module):
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def linear(x, w, p):
    return x @ w[f"{p}.weight"].T + w[f"{p}.bias"]


def gelu(x):
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def paper_spectral_rectification(signal, w, p=""):
    left, values, right = np.linalg.svd(signal, full_matrices=False)
    largest = np.abs(right).argmax(axis=1)
    sign = np.sign(right[np.arange(len(right)), largest])
    left, first_right = left * sign, right[0] * sign[0]
    left = linear(left, w, f"{p}left")  # Eq. 2
    first_right = linear(first_right, w, f"{p}right")
    values = linear(gelu(linear(values, w, f"{p}values.0")), w, f"{p}values.2")
    parts = np.array([np.concatenate([row, first_right, values]) for row in left])
    recovered = linear(gelu(linear(parts, w, f"{p}recover.0")), w, f"{p}recover.2")  # Eq. 3
    return signal + np.tanh(w[f"{p}residual_scale"]) * recovered  # Eq. 4


def paper_contextual_reencoding(noise, embedded, w, p=""):
    hidden = linear(noise + embedded, w, f"{p}encode")  # Eq. 5
    mean = hidden.mean(axis=1, keepdims=True)
    variance = ((hidden - mean) ** 2).mean(axis=1, keepdims=True)
    hidden = (hidden - mean) / np.sqrt(variance + 1e-5)
    hidden = hidden * w[f"{p}normalize.weight"] + w[f"{p}normalize.bias"]  # Eq. 6
    return noise + expit(w[f"{p}residual_scale"]) * hidden  # Eq. 7


def paper_psnet(noise, metadata, w, p="", rectify=True, reencode=True, use_embedded=False):
    embedded = linear(metadata, w, f"{p}embed_metadata")
    first, second = w[f"{p}fusion_scale"]
    output = expit(second - 1) * embedded  # Eq. 8
    if rectify:
        signal = noise + (embedded if use_embedded else metadata)  # Eq. 1
        output = output + paper_spectral_rectification(signal, w, f"{p}rectification.")
    if reencode:
        output = output + first * paper_contextual_reencoding(noise, embedded, w, f"{p}reencoding.")
    return output


def paper_step_embedding(t, size):
    half = size // 2
    angles = t * 10000.0 ** (-np.arange(half) / half)
    return np.concatenate([np.cos(angles), np.sin(angles), np.zeros(size % 2)])


def paper_denoiser(x_t, timesteps, w, p=""):
    size = x_t.shape[1]
    steps = np.array([paper_step_embedding(t, size) for t in timesteps])
    steps = linear(gelu(linear(steps, w, f"{p}embed_step.0")), w, f"{p}embed_step.2")
    joint = np.concatenate([w[f"{p}from_noised.weight"], w[f"{p}from_step.weight"]], axis=1)
    return np.concatenate([x_t, steps], axis=1) @ joint.T + w[f"{p}from_noised.bias"]


def paper_alphas_cumprod(steps):
    x = np.linspace(1, 2 * steps + 1, steps)
    return np.cumprod(np.exp(-0.1 / steps - x * 0.5 * 9.9 / steps**2))


def paper_generate(model, channel, items, noise, timesteps, use_embedded=False, use_psnet=True):
    w = weights(model)
    if use_psnet:
        metadata = model.get_buffer(f"metadata_{channel}").double().numpy()[items]
        noise = paper_psnet(noise, metadata, w, f"psnet.{channel}.", use_embedded=use_embedded)
    steps = len(model.denoiser[channel].embed_step.step_table)
    level = paper_alphas_cumprod(steps)[timesteps][:, None]
    x_t = np.sqrt(level) * w["item_embedding.weight"][items] + np.sqrt(1 - level) * noise  # Eq. 9
    return paper_denoiser(x_t, timesteps, w, f"denoiser.{channel}.")


def paper_loss(model, columns, generated, keys):
    """Weighted terms of Eq. 14 for embeddings generated by each channel, item by item."""
    w = weights(model)
    users, items = w["user_embedding.weight"], w["item_embedding.weight"]
    unique = sorted(set(columns["item_id"]))
    triples = list(zip(*(columns[n] for n in ("user_id", "item_id", "neg_item_id")), strict=True))
    bpr = [-np.log(expit(users[u] @ items[i] - users[u] @ items[j])) for u, i, j in triples]
    squares = [(users[u] ** 2).sum() + (items[i] ** 2).sum() for u, i, _ in triples]
    reconstruction = contrast = balance = 0.0
    anchors = items[1:] / np.linalg.norm(items[1:], axis=1, keepdims=True)
    for channel in generated:
        errors = ((channel - items[unique]) ** 2).sum(axis=1)  # Eq. 10
        if keys["reconstruction_reduction"] == "element":
            errors = errors / channel.shape[1]
        reconstruction += errors.mean()
        views = channel / np.linalg.norm(channel, axis=1, keepdims=True)
        logits = views @ anchors.T / keys["temperature"]
        own = log_softmax(logits, axis=1)[np.arange(len(unique)), np.array(unique) - 1]  # Eq. 11
        contrast += -own.sum() if keys["contrastive_reduction"] == "sum" else -own.mean()
        norm = (channel**2).sum()
        balance += (norm if keys["balance_form"] == "squared" else np.sqrt(norm)) / len(unique)
    return (
        keys["bpr_weight"] * np.mean(bpr),  # Eq. 12
        keys["reg_weight"] * np.mean(squares),  # Eq. 15
        keys["reconstruction_weight"] * reconstruction,
        keys["contrastive_weight"] * contrast,
        keys["balance_weight"] * balance,  # Eq. 13
    )


def fix_draws(monkeypatch, n_channels, shape, steps=STEPS, seed=3):
    """Replace the draws of noise and steps, one pair for each channel; returns them."""
    rng = np.random.default_rng(seed)
    noises = [rng.normal(size=shape) for _ in range(n_channels)]
    timesteps = [rng.integers(steps, size=shape[0]) for _ in range(n_channels)]
    timesteps[0][:2] = [0, steps - 1][: shape[0]]
    noise_queue, step_queue = list(noises), list(timesteps)

    def randn_like(x, **_):
        assert tuple(x.shape) == shape
        return torch.tensor(noise_queue.pop(0), dtype=x.dtype)

    def randint(*bounds_and_size, **_):
        *bounds, size = bounds_and_size
        assert bounds in ([steps], [0, steps])
        assert tuple(size) == shape[:1]
        return torch.tensor(step_queue.pop(0))

    monkeypatch.setattr(torch, "randn_like", randn_like)
    monkeypatch.setattr(torch, "randint", randint)
    return noises, timesteps


def assert_near(found, expected):
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("n_rows", [7, 40])
def test_spectral_rectification_is_equations_2_to_4(n_rows):
    module = randomize(SpectralRectification(SIZE))
    signal = torch.randn(n_rows, SIZE, generator=torch.Generator().manual_seed(n_rows))
    expected = paper_spectral_rectification(*floats(signal), weights(module))
    assert_near(module(signal), expected)
    assert np.abs(expected - signal.numpy()).max() > 0.1


def test_spectral_rectification_starts_as_the_identity():
    """The residual scale alpha starts at 0."""
    signal = torch.randn(7, SIZE)
    assert torch.equal(SpectralRectification(SIZE)(signal), signal)


def test_contextual_reencoding_is_equations_5_to_7():
    module = randomize(ContextualReencoding(SIZE))
    noise, embedded = torch.randn(2, 7, SIZE, generator=torch.Generator().manual_seed(2))
    expected = paper_contextual_reencoding(*floats(noise, embedded), weights(module))
    assert_near(module(noise, embedded), expected)


@pytest.mark.parametrize("use_embedded", [False, True])
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("reencode", [False, True])
def test_psnet_is_equation_8_with_each_part_left_out(use_embedded, rectify, reencode):
    # Without Eq. 1, or with phi(m) in it, metadata may have a width of its own.
    width = WIDTH if use_embedded or not rectify else SIZE
    module = randomize(PSNet(width, SIZE, rectify, reencode, use_embedded))
    noise = torch.randn(9, SIZE, generator=torch.Generator().manual_seed(4))
    metadata = torch.randn(9, width, generator=torch.Generator().manual_seed(5))
    expected = paper_psnet(
        *floats(noise, metadata), weights(module), "", rectify, reencode, use_embedded
    )
    assert_near(module(noise, metadata), expected)


def test_fusion_scales_start_at_one():
    assert PSNet(SIZE, SIZE).fusion_scale.tolist() == [1, 1]


@pytest.mark.parametrize("size", [6, 5])
@pytest.mark.parametrize("steps", [1, STEPS])
def test_denoiser_is_one_linear_map_of_input_and_step(steps, size):
    module = randomize(Denoiser(steps, size))
    timesteps = np.array([0, steps - 1, steps // 2, 0])
    x_t = torch.randn(4, size, generator=torch.Generator().manual_seed(6))
    expected = paper_denoiser(*floats(x_t), timesteps, weights(module))
    assert_near(module(x_t, torch.tensor(timesteps)), expected)


@pytest.mark.parametrize("use_psnet", [False, True])
@pytest.mark.parametrize("use_embedded", [False, True])
def test_generate_is_equation_9_and_the_denoiser(monkeypatch, use_embedded, use_psnet):
    model = randomize(make_model(use_embedded_metadata=use_embedded, use_psnet=use_psnet))
    items = torch.tensor([10, 1, 4, 7, 3, 9, 2])
    for channel in model.channels:
        (noise,), (timesteps,) = fix_draws(monkeypatch, 1, (len(items), SIZE))
        found = model.generate(channel, items, model.item_embedding(items))
        expected = paper_generate(
            model, channel, items.numpy(), noise, timesteps, use_embedded, use_psnet
        )
        assert_near(found, expected)


def test_channels_differ_in_metadata_and_networks(monkeypatch):
    model = randomize(make_model())
    items = torch.arange(1, N_ITEMS)
    generated = []
    for channel in model.channels:
        fix_draws(monkeypatch, 1, (len(items), SIZE))
        generated.append(model.generate(channel, items, model.item_embedding(items)))
    assert (generated[0] - generated[1]).abs().max() > 0.1
    social, knowledge = (model.get_buffer(f"metadata_{c}") for c in ("social", "knowledge"))
    assert (social - knowledge).abs().max() > 0.1


def test_metadata_belongs_to_its_channel():
    """Social vectors come from the users' embeddings, knowledge vectors from the items'."""
    model = make_model()
    users, items = base_embeddings()
    before = {c: model.get_buffer(f"metadata_{c}").clone() for c in model.channels}
    model.set_base_embeddings(2 * users, items)
    torch.testing.assert_close(model.get_buffer("metadata_social"), 2 * before["social"])
    assert torch.equal(model.get_buffer("metadata_knowledge"), before["knowledge"])
    # Item 7 has one user, 4, who has no peer; item 10 has no user.
    np.testing.assert_allclose(before["social"][7], users[4], rtol=1e-6)
    np.testing.assert_allclose(before["knowledge"][7], items[7], rtol=1e-6)
    assert not before["social"][10].any()


def test_a_pair_given_twice_counts_once():
    assert len(set(PAIRS)) < len(PAIRS)
    models = [InfoDCL(settings(), TinyDataset(pairs)) for pairs in (PAIRS, sorted(set(PAIRS)))]
    expected = np.zeros((N_USERS, N_ITEMS), dtype=np.float32)
    expected[tuple(np.array(PAIRS).T)] = 1
    for model in models:
        assert model.interactions.dtype == np.float32
        np.testing.assert_array_equal(model.interactions.toarray(), expected)
        model.set_base_embeddings(*base_embeddings())
    for name in ("metadata_social", "metadata_knowledge", "norm_adj"):
        first, second = (model.get_buffer(name).to_dense() for model in models)
        assert torch.equal(first, second)


def test_number_of_neighbours_is_the_keys():
    _, items = base_embeddings()
    # Item 1's neighbours: 3 (1/3), then 8 (1/3), 2 (1/4), 4 (1/4); 1 has users 1, 2 and 5.
    one = make_model(n_neighbors=1).get_buffer("metadata_knowledge")
    two = make_model(n_neighbors=2).get_buffer("metadata_knowledge")
    np.testing.assert_allclose(one[1], items[3], rtol=1e-6)
    np.testing.assert_allclose(two[1], items[[3, 8]].mean(axis=0), rtol=1e-5)


def test_draws_are_standard_normal_and_cover_every_step():
    model = make_model(steps=3, use_psnet=False)
    torch.manual_seed(0)
    drawn = []
    process = model.diffusion.q_sample

    def q_sample(x_start, timesteps, noise):
        drawn.append((timesteps, noise))
        return process(x_start, timesteps, noise=noise)

    model.diffusion.q_sample = q_sample
    items = torch.ones(3000, dtype=torch.int64)
    model.generate("social", items, model.item_embedding(items))
    ((timesteps, noise),) = drawn
    # Four standard errors of 3000 draws of a third, and of 18000 normal numbers.
    shares = torch.bincount(timesteps, minlength=3) / 3000
    assert shares.shape == (3,)
    assert (shares - 1 / 3).abs().max() < 0.035
    assert abs(noise.mean().item()) < 0.03
    assert abs(noise.std().item() - 1) < 0.022
    assert abs(noise.pow(3).mean().item()) < 0.12


LOSS_KEYS = {
    "reconstruction_weight": 0.3,
    "bpr_weight": 0.7,
    "contrastive_weight": 0.2,
    "balance_weight": 0.05,
    "reg_weight": 0.11,
    "temperature": 0.4,
}


@pytest.mark.parametrize("channels", [["knowledge"], ["social", "knowledge"]])
@pytest.mark.parametrize(
    ("reconstruction", "contrastive", "balance"),
    [
        ("row", "mean", "norm"),
        ("element", "mean", "norm"),
        ("row", "sum", "norm"),
        ("row", "mean", "squared"),
        ("element", "sum", "squared"),
    ],
)
def test_loss_is_equations_10_to_15(monkeypatch, channels, reconstruction, contrastive, balance):
    keys = {
        **LOSS_KEYS,
        "reconstruction_reduction": reconstruction,
        "contrastive_reduction": contrastive,
        "balance_form": balance,
    }
    model = randomize(make_model(channels=channels, **keys))
    shape = (len(UNIQUE_ITEMS), SIZE)
    noises, timesteps = fix_draws(monkeypatch, len(channels), shape)
    terms = model.calculate_loss(batch())
    generated = [
        paper_generate(model, channel, UNIQUE_ITEMS, noise, t)
        for channel, noise, t in zip(channels, noises, timesteps, strict=True)
    ]
    expected = paper_loss(model, BATCH, generated, keys)
    assert len(terms) == 5
    for term, value in zip(terms, expected, strict=True):
        assert_near(term, value)


def test_defaults_of_the_property_file_are_the_papers_forms():
    model = make_model()
    assert model.reconstruction_reduction == "row"
    assert model.balance_form == "norm"
    assert not model.psnet["social"].use_embedded_metadata
    assert model.channels == ["social", "knowledge"]


def test_an_item_counts_once_however_often_it_is_drawn(monkeypatch):
    """A batch twice over has the same means and the same items."""
    model = randomize(make_model(contrastive_reduction="sum", balance_form="squared"))
    losses = []
    for repeats in (1, 2):
        fix_draws(monkeypatch, 2, (len(UNIQUE_ITEMS), SIZE))
        columns = {name: column * repeats for name, column in BATCH.items()}
        losses.append(torch.stack(model.calculate_loss(batch(**columns))))
    torch.testing.assert_close(losses[0], losses[1])


def test_padding_is_never_contrasted_and_learns_nothing(monkeypatch):
    model = randomize(make_model())
    losses = []
    for value in (0.3, -7.0):
        with torch.no_grad():
            model.item_embedding.weight[0] = value
            model.user_embedding.weight[0] = value
        fix_draws(monkeypatch, 2, (len(UNIQUE_ITEMS), SIZE))
        losses.append(model.calculate_loss(batch()))
    assert torch.equal(torch.stack(losses[0]), torch.stack(losses[1]))
    sum(losses[1]).backward()
    assert not model.item_embedding.weight.grad[0].any()
    assert not model.user_embedding.weight.grad[0].any()
    # Every other item is contrasted, also those that are not in the batch.
    assert (model.item_embedding.weight.grad[1:] != 0).any(dim=1).all()


def test_reconstruction_moves_both_sides(monkeypatch):
    """Neither the embedding nor what is generated from it is held fixed."""
    keys = {"reconstruction_weight": 0.4, "reconstruction_reduction": "row"}
    model = randomize(make_model(channels=["knowledge"], steps=1, use_psnet=False, **keys))
    (noise,), (timesteps,) = fix_draws(monkeypatch, 1, (len(UNIQUE_ITEMS), SIZE), steps=1)
    model.calculate_loss(batch())[2].backward()

    w = weights(model)
    level = paper_alphas_cumprod(1)[0]
    generated = paper_generate(model, "knowledge", UNIQUE_ITEMS, noise, timesteps, use_psnet=False)
    error = 2 * 0.4 / len(UNIQUE_ITEMS) * (generated - w["item_embedding.weight"][UNIQUE_ITEMS])
    through_denoiser = np.sqrt(level) * error @ w["denoiser.knowledge.from_noised.weight"]
    assert_near(model.item_embedding.weight.grad[UNIQUE_ITEMS], through_denoiser - error)


def dense_propagation(model, pairs, n_layers):
    """Eq. 16: mean over layers 0..K of D^-1/2 A D^-1/2 applied k times."""
    w = weights(model)
    start = np.concatenate([w["user_embedding.weight"], w["item_embedding.weight"]])
    n_users = len(w["user_embedding.weight"])
    adjacency = np.zeros((len(start), len(start)))
    for user, item in pairs:
        adjacency[user, n_users + item] = adjacency[n_users + item, user] = 1
    degree = np.maximum(adjacency.sum(axis=1), 1)
    adjacency = adjacency / np.sqrt(np.outer(degree, degree))
    layers = [np.linalg.matrix_power(adjacency, k) @ start for k in range(n_layers + 1)]
    mean = np.mean(layers, axis=0)
    return mean[:n_users], mean[n_users:]


@pytest.mark.parametrize("use_diffusion", [False, True])
@pytest.mark.parametrize("n_layers", [0, 1, 2, 3])
def test_scores_are_equation_16(n_layers, use_diffusion):
    model = randomize(make_model(n_layers=n_layers, use_diffusion=use_diffusion)).eval()
    users, items = dense_propagation(model, PAIRS, n_layers)
    everyone = Interaction({"user_id": torch.arange(N_USERS)})
    scores = model.full_sort_predict(everyone)
    assert scores.dtype == torch.float32
    assert not scores.requires_grad
    assert_near(scores, users @ items.T)

    pairs = Interaction(
        {
            "user_id": torch.arange(N_USERS).repeat_interleave(N_ITEMS),
            "item_id": torch.arange(N_ITEMS).repeat(N_USERS),
        }
    )
    predicted = model.predict(pairs)
    assert not predicted.requires_grad
    torch.testing.assert_close(predicted.view(N_USERS, N_ITEMS), scores, rtol=1e-6, atol=1e-6)
    for user in (0, 3, N_USERS - 1):
        alone = model.full_sort_predict(Interaction({"user_id": torch.tensor([user])}))
        torch.testing.assert_close(alone[0], scores[user], rtol=1e-6, atol=1e-6)


def test_scoring_needs_no_metadata():
    model = make_model(with_metadata=False).eval()
    scores = model.full_sort_predict(Interaction({"user_id": torch.tensor([1, 2])}))
    assert scores.shape == (2, N_ITEMS)


def test_scoring_embeddings_are_computed_once_per_evaluation_and_not_saved():
    model = make_model().eval()
    calls = []
    compute = model.scoring_embeddings
    model.scoring_embeddings = lambda: calls.append(1) or compute()
    user = Interaction({"user_id": torch.tensor([1])})
    pair = Interaction({"user_id": torch.tensor([1]), "item_id": torch.tensor([2])})
    before = set(model.state_dict())
    for _ in range(3):
        model.full_sort_predict(user)
        model.predict(pair)
    assert len(calls) == 1
    assert set(model.state_dict()) == before
    assert not any("adj" in name for name in before)


def test_stale_scores_are_dropped():
    """By train(), and by the eval() that follows a load of other weights."""
    model, other = randomize(make_model()), randomize(make_model(), seed=2)
    everyone = Interaction({"user_id": torch.arange(N_USERS)})
    expected = [m.eval().full_sort_predict(everyone) for m in (model, other)]
    assert (expected[0] - expected[1]).abs().max() > 0.1

    model.load_state_dict(other.state_dict())
    assert torch.equal(model.eval().full_sort_predict(everyone), expected[1])

    model.train()
    with torch.no_grad():
        model.user_embedding.weight.mul_(2)
        model.item_embedding.weight.mul_(2)
    model.eval()
    torch.testing.assert_close(model.full_sort_predict(everyone), 4 * expected[1])


def test_without_diffusion_only_bpr_and_regularisation_remain(monkeypatch):
    model = make_model(use_diffusion=False, **LOSS_KEYS)
    assert {name for name, _ in model.named_parameters()} == {
        "user_embedding.weight",
        "item_embedding.weight",
    }
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
    assert not model.needs_base_embeddings
    monkeypatch.delattr(torch, "randn_like")
    monkeypatch.delattr(torch, "randint")
    terms = randomize(model).calculate_loss(batch())
    keys = {**settings(), **LOSS_KEYS}
    for term, value in zip(terms, paper_loss(model, BATCH, [], keys)[:2], strict=True):
        assert_near(term, value)


def parameter_names(**changes):
    return {name for name, _ in make_model(**changes).named_parameters()}


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"use_spectral_rectification": False}, ".rectification."),
        ({"use_contextual_reencoding": False}, ".reencoding."),
        ({"use_psnet": False}, "psnet."),
        ({"channels": ["knowledge"]}, ".social."),
        ({"use_embedded_metadata": True}, "nothing"),
    ],
)
def test_ablations_remove_exactly_their_parameters(changes, part):
    full, ablated = parameter_names(), parameter_names(**changes)
    assert ablated == {name for name in full if part not in name}
    assert (ablated == full) == (part == "nothing")


def test_without_psnet_no_metadata_is_asked_for():
    model = make_model(with_metadata=False, use_psnet=False)
    assert not model.needs_base_embeddings
    assert all(torch.isfinite(term) for term in model.calculate_loss(batch()))


@pytest.mark.parametrize("weight", ["bpr", "reg", "reconstruction", "contrastive", "balance"])
def test_a_weight_of_zero_silences_its_term_alone(monkeypatch, weight):
    model = randomize(make_model())
    fix_draws(monkeypatch, 2, (len(UNIQUE_ITEMS), SIZE))
    full = model.calculate_loss(batch())
    setattr(model, f"{weight}_weight", 0.0)
    fix_draws(monkeypatch, 2, (len(UNIQUE_ITEMS), SIZE))
    terms = model.calculate_loss(batch())
    place = ["bpr", "reg", "reconstruction", "contrastive", "balance"].index(weight)
    assert terms[place] == 0
    assert full[place] > 0
    for other in set(range(5)) - {place}:
        assert torch.equal(terms[other], full[other])


def refusal(**changes):
    """The message for keys as a user gives them, wherever they are checked."""
    overrides = {"data_path": str(REPOSITORY / "dataset_atomic"), "use_gpu": False, **changes}
    with pytest.raises(UserError) as caught:
        InfoDCL(Config("InfoDCL", "planted", overrides=overrides), TinyDataset())
    return str(caught.value)


@pytest.mark.parametrize("channels", [["socail"], ["social", "text"], [], None])
def test_unknown_channels(channels):
    message = refusal(channels=channels)
    assert "key `channels`: found " in message
    assert "['social', 'knowledge']" in message


def test_unknown_channel_beside_a_feature_file(tmp_path):
    path, _ = feature_file(tmp_path)
    message = refusal(channels=["texts"], item_features={"text": {"file": str(path)}})
    assert "key `channels`: found ['texts']" in message
    assert "['social', 'knowledge', 'text']" in message


def test_a_channel_given_twice():
    assert "key `channels`" in refusal(channels=["knowledge", "knowledge"])


@pytest.mark.parametrize(
    "features", [{"text": {"path": "a.npz"}}, {"text": "a.npz"}, {"text": {"file": None}}]
)
def test_malformed_item_features(features):
    assert "key `item_features`" in refusal(channels=["text"], item_features=features)


@pytest.mark.parametrize("name", ["title.en", "knowledge"])
def test_names_of_features_that_cannot_be_used(tmp_path, name):
    path, _ = feature_file(tmp_path, 64)
    features = {name: {"file": str(path)}}
    assert "key `item_features`" in refusal(channels=[name], item_features=features)


def test_raw_metadata_of_another_width(tmp_path):
    path, _ = feature_file(tmp_path)
    keys = {"channels": ["text"], "item_features": {"text": {"file": str(path)}}}
    message = refusal(**keys)
    assert "key `use_embedded_metadata`: " in message
    assert f"width {WIDTH} " in message
    assert "width 64 " in message
    for allowed in ({"use_embedded_metadata": True}, {"use_spectral_rectification": False}):
        make_model(**keys, **allowed)


@pytest.mark.parametrize(
    ("key", "value", "choices"),
    [
        ("reconstruction_reduction", "mean", "row, element"),
        ("contrastive_reduction", "row", "mean, sum"),
        ("balance_form", "l2", "norm, squared"),
        ("noise_schedule", "quadratic", "linear, linear-var, exp, cosine, sqrt"),
    ],
)
def test_bad_choices(key, value, choices):
    assert f"key `{key}`: found '{value}', expected one of {choices}" in refusal(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embedding_size", 0),
        ("embedding_size", 1),
        ("embedding_std", -0.1),
        ("n_layers", -1),
        ("n_neighbors", 0),
        ("steps", 0),
        ("temperature", 0),
        ("temperature", -0.5),
        ("beta_start", -1.0),
        ("reg_weight", -0.1),
        ("contrastive_weight", -0.1),
    ],
)
def test_keys_out_of_their_range(key, value):
    message = refusal(**{key: value})
    assert f"`{key}`" in message
    assert f"found {value}" in message
    assert "expected" in message


def test_both_parts_of_psnet_left_out():
    message = refusal(use_spectral_rectification=False, use_contextual_reencoding=False)
    assert "`use_spectral_rectification`" in message
    assert "use_psnet: false" in message


@pytest.mark.parametrize("schedule", ["linear", "linear-var"])
def test_noise_keys_reach_the_schedule(schedule):
    keys = {"noise_schedule": schedule, "steps": 10, "noise_scale": 0.5}
    model = make_model(**keys, noise_min=0.1, noise_max=0.4)
    expected = make_betas(schedule, 10, noise_scale=0.5, noise_min=0.1, noise_max=0.4)
    assert torch.equal(model.diffusion.betas, expected.float())


@pytest.mark.parametrize("given", ["user", "item"])
def test_one_of_two_files_of_base_embeddings(tmp_path, given):
    """The other channel would be made from LightGCN's, and this file be read for nothing."""
    n_ids = {"user": N_USERS, "item": N_ITEMS}[given]
    path, _ = feature_file(tmp_path, n_ids=n_ids)
    message = refusal(**{f"pretrained_{given}_embedding": str(path)})
    assert "`pretrained_user_embedding`" in message
    assert "`pretrained_item_embedding`" in message


def test_loss_before_metadata():
    model = make_model(with_metadata=False)
    assert model.needs_base_embeddings
    with pytest.raises(RuntimeError, match="set_base_embeddings"):
        model.calculate_loss(batch())
    model.set_base_embeddings(*base_embeddings())
    assert not model.needs_base_embeddings


@pytest.mark.parametrize(
    ("users", "items"),
    [((N_USERS, SIZE + 1), (N_ITEMS, SIZE)), ((N_USERS, SIZE), (N_ITEMS, 1))],
)
def test_base_embeddings_of_another_width(users, items):
    model = make_model(with_metadata=False)
    with pytest.raises(ValueError, match="found .*expected"):
        model.set_base_embeddings(np.ones(users, np.float32), np.ones(items, np.float32))
    assert model.needs_base_embeddings


def test_feature_channel_from_a_file(tmp_path, monkeypatch):
    path, matrix = feature_file(tmp_path)
    features = {"text": {"file": str(path)}, "unused": {"file": "absent.npz"}}
    model = make_model(
        with_metadata=False, channels=["text"], item_features=features, use_embedded_metadata=True
    )
    assert not model.needs_base_embeddings
    np.testing.assert_array_equal(model.get_buffer("metadata_text"), matrix)

    randomize(model)
    (noise,), (timesteps,) = fix_draws(monkeypatch, 1, (len(UNIQUE_ITEMS), SIZE))
    found = model.calculate_loss(batch())
    generated = paper_generate(model, "text", UNIQUE_ITEMS, noise, timesteps, use_embedded=True)
    expected = paper_loss(model, BATCH, [generated], settings())
    for term, value in zip(found, expected, strict=True):
        assert_near(term, value)


def test_feature_channel_beside_a_graph_channel(tmp_path):
    path, matrix = feature_file(tmp_path)
    model = make_model(
        with_metadata=False,
        channels=["text", "knowledge"],
        item_features={"text": {"file": str(path)}},
        use_embedded_metadata=True,
    )
    assert model.needs_base_embeddings
    model.set_base_embeddings(*base_embeddings())
    assert not model.needs_base_embeddings
    np.testing.assert_array_equal(model.get_buffer("metadata_text"), matrix)
    assert torch.equal(
        model.get_buffer("metadata_knowledge"), make_model().get_buffer("metadata_knowledge")
    )


def train_steps(model, n_steps, learning_rate=0.05):
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(n_steps):
        optimizer.zero_grad()
        sum(model.calculate_loss(batch())).backward()
        optimizer.step()


def seeded_loss(model, seed=77):
    torch.manual_seed(seed)
    return torch.stack(model.calculate_loss(batch()))


def test_state_round_trip_gives_equal_scores_and_loss(tmp_path):
    path, _ = feature_file(tmp_path, SIZE)
    changes = {
        "channels": ["social", "knowledge", "text"],
        "item_features": {"text": {"file": str(path)}},
    }
    model = make_model(**changes)
    train_steps(model, 3)
    torch.save(model.state_dict(), tmp_path / "state.pth")
    fresh = make_model(seed=9, with_metadata=False, **changes)
    assert fresh.needs_base_embeddings
    fresh.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True))

    assert not fresh.needs_base_embeddings
    everyone = Interaction({"user_id": torch.arange(N_USERS)})
    scores = [m.eval().full_sort_predict(everyone) for m in (model, fresh)]
    assert torch.equal(*scores)
    losses = [seeded_loss(m.train()) for m in (model, fresh)]
    assert torch.equal(*losses)
    assert not torch.equal(losses[0], seeded_loss(model, seed=78))


@pytest.mark.parametrize("use_embedded", [False, True])
def test_every_parameter_learns(use_embedded):
    torch.manual_seed(0)
    model = make_model(use_embedded_metadata=use_embedded)
    for step in range(3):
        model.zero_grad()
        sum(model.calculate_loss(batch())).backward()
        for name, parameter in model.named_parameters():
            assert torch.isfinite(parameter.grad).all(), (step, name)
        train_steps(model, 1)
    # Behind residual scales that start at 0, gradients begin after the first step.
    model.zero_grad()
    sum(model.calculate_loss(batch())).backward()
    silent = [n for n, p in model.named_parameters() if not (p.grad != 0).any()]
    assert silent == []


@pytest.mark.parametrize("n_rows", [1, 3])
def test_a_small_last_batch_trains(monkeypatch, n_rows):
    """Fewer items than dimensions: the SVD of the batch has vanishing singular values."""
    columns = {name: column[:n_rows] for name, column in BATCH.items()}
    unique = sorted(set(columns["item_id"]))
    assert len(unique) < SIZE
    model = randomize(make_model(channels=["knowledge"]))
    fix_draws(monkeypatch, 1, (len(unique), SIZE))
    generated = []
    generate = model.generate
    model.generate = lambda *arguments: generated.append(generate(*arguments)) or generated[-1]
    terms = model.calculate_loss(batch(**columns))
    expected = paper_loss(model, columns, floats(*generated), settings())
    for term, value in zip(terms, expected, strict=True):
        assert_near(term, value)
    sum(terms).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_gradients_are_those_of_finite_differences(monkeypatch):
    """Through the whole loss: graph of the terms, Gram SVD and blocked contrast together."""
    model = randomize(make_model(**LOSS_KEYS)).double()

    def loss():
        fix_draws(monkeypatch, 2, (len(UNIQUE_ITEMS), SIZE))
        return sum(model.calculate_loss(batch()))

    loss().backward()
    rng = np.random.default_rng(0)
    for name, parameter in model.named_parameters():
        direction = torch.tensor(rng.normal(size=tuple(parameter.shape)))
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * 1e-5 * direction)
                values.append(loss().item())
                parameter.sub_(sign * 1e-5 * direction)
        slope = (values[0] - values[1]) / 2e-5
        found = (parameter.grad * direction).sum().item()
        assert found == pytest.approx(slope, rel=2e-3, abs=1e-7), name


def test_embeddings_start_as_asked():
    xavier = make_model(embedding_size=2000, use_diffusion=False)
    normal = make_model(embedding_size=2000, embedding_std=0.1, use_diffusion=False)
    for name, n_rows in (("user_embedding", N_USERS), ("item_embedding", N_ITEMS)):
        # Four standard errors of the deviation of 16000 and 22000 normal numbers.
        expected = np.sqrt(2 / (n_rows + 2000))
        assert getattr(xavier, name).weight.std().item() == pytest.approx(expected, rel=0.023)
        assert getattr(normal, name).weight.std().item() == pytest.approx(0.1, rel=0.023)


def test_real_data_and_settings(monkeypatch):
    """Through the property files, the split and RecBole's loader, to loss and scores."""
    overrides = {
        "data_path": str(REPOSITORY / "dataset_atomic"),
        "use_gpu": False,
        "embedding_size": 16,
        "train_batch_size": 256,
        "n_layers": 3,
    }
    config = Config("InfoDCL", "planted", overrides=overrides)
    torch.manual_seed(0)
    split = load_split(config)
    model = InfoDCL(config, split.train._dataset)
    assert (model.n_users, model.n_items) == (201, 151)
    rng = np.random.default_rng(1)
    model.set_base_embeddings(
        rng.normal(size=(201, 16)).astype(np.float32), rng.normal(size=(151, 16)).astype(np.float32)
    )
    randomize(model)

    interaction = next(iter(split.train))
    columns = {name: interaction[name].tolist() for name in BATCH}
    unique = sorted(set(columns["item_id"]))
    assert len(columns["item_id"]) == 256 > len(unique)
    noises, timesteps = fix_draws(monkeypatch, 2, (len(unique), 16), steps=200)
    terms = model.calculate_loss(interaction)
    generated = [
        paper_generate(model, channel, unique, noise, t)
        for channel, noise, t in zip(model.channels, noises, timesteps, strict=True)
    ]
    expected = paper_loss(model, columns, generated, config)
    for term, value in zip(terms, expected, strict=True):
        assert_near(term, value)

    train = split.train._dataset.inter_feat
    pairs = list(zip(train["user_id"].tolist(), train["item_id"].tolist(), strict=True))
    assert len(pairs) == split.sizes["train"]
    users, items = dense_propagation(model, pairs, 3)
    model.eval()
    users_of_batch, _, _, _ = next(iter(split.valid))
    found = model.full_sort_predict(users_of_batch)
    assert_near(found, (users @ items.T)[users_of_batch["user_id"]])
