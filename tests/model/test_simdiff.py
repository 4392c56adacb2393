"""SimDiff: every equation of section V against float64 numpy, and what a run relies on.

Weights are drawn at random before each comparison, so that none is zero or one by chance.
"""

from functools import partial

import channel_tools
import numpy as np
import pytest
import torch
from channel_tools import (
    BATCH,
    N_ITEMS,
    N_USERS,
    PAIRS,
    REPOSITORY,
    SIZE,
    STEPS,
    WIDTH,
    TinyDataset,
    assert_near,
    base_embeddings,
    batch,
    dense_propagation,
    feature_file,
    floats,
    gelu,
    linear,
    paper_alphas_cumprod,
    paper_step_embedding,
    randomize,
    seeded_loss,
    train_steps,
    weights,
)
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from recbole.data.interaction import Interaction
from scipy.special import expit

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.split import load_split
from recbole_diffusion.diffusion import make_betas
from recbole_diffusion.models import channels as channels_module
from recbole_diffusion.models.simdiff.model import GuidedDenoiser, SignalAlignment, SimDiff, log_snr
from recbole_diffusion.nn.diagnostics import relative_change
from recbole_diffusion.settings.config import Config

UNIQUE_ITEMS = [1, 2, 3, 4, 5, 6, 7, 8, 10]  # of positives and negatives
EVERYONE = Interaction({"user_id": torch.arange(N_USERS)})
# (X_T, target) of Tables IV and V by keys.
VARIANTS = {
    "SimDiff": {},
    "(G, I+G)": {"latent": "guide", "target": "mixed"},
    "(G, I)": {"latent": "guide"},
    "(I, I+G)": {"latent": "item", "target": "mixed"},
    "w/o modal": {"latent": "noise"},
    "Pretrain": {"target": "pretrained"},
    "w/o CTO": {"balance_weight": 0.0},
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)
each_guided_variant = pytest.mark.parametrize(
    ("variant", "guidance_scale"),
    [(v, scale) for v in VARIANTS for scale in (0.0, 1.5) if (v, scale) != ("w/o modal", 1.5)],
)

settings = partial(channel_tools.settings, "SimDiff")
refusal = partial(channel_tools.refusal, SimDiff)


def make_model(seed=0, with_metadata=True, **changes):
    torch.manual_seed(seed)
    model = SimDiff(settings(**changes), TinyDataset())
    if with_metadata and model.needs_base_embeddings:
        model.set_base_embeddings(*base_embeddings())
    return model


def features_of(folder, **widths):
    """Key ``item_features`` with a file of each width, and the matrices in the right order."""
    files, matrices = {}, {}
    for name, width in widths.items():
        (folder / name).mkdir()
        path, matrices[name] = feature_file(folder / name, width)
        files[name] = {"file": str(path)}
    return files, matrices


# The paper in float64; see ``channel_tools`` for names.


def paper_mlp(x, w, p):
    """Eq. 2's MLP, with one layer or two."""
    if f"{p}.weight" in w:
        return linear(x, w, p)
    return linear(gelu(linear(x, w, f"{p}.0")), w, f"{p}.2")


def paper_guide(matrices, w, fusion="concat", p="alignment."):
    if fusion == "concat":
        return paper_mlp(np.concatenate(matrices, axis=1), w, f"{p}mlps.0")
    return np.mean([paper_mlp(m, w, f"{p}mlps.{i}") for i, m in enumerate(matrices)], axis=0)


def paper_denoise(x_t, condition, timesteps, w, p="denoiser."):
    """The MLP of Eq. 4."""
    steps = np.array([paper_step_embedding(t, x_t.shape[1]) for t in timesteps])
    steps = linear(gelu(linear(steps, w, f"{p}embed_step.0")), w, f"{p}embed_step.2")
    names = ("latent", "guide", "step")
    joint = np.concatenate([w[f"{p}from_{name}.weight"] for name in names], axis=1)
    condition = np.broadcast_to(condition, x_t.shape)
    first = np.concatenate([x_t, condition, steps], axis=1) @ joint.T + w[f"{p}from_latent.bias"]
    return linear(gelu(first), w, f"{p}to_output") if f"{p}to_output.weight" in w else first


def paper_metadata(model):
    return [model.get_buffer(f"metadata_{name}").double().numpy() for name in model.channels]


def paper_start(model, keys):
    """Of all items: X_T (Eq. 3 or Table IV), condition, target; before any noise."""
    w = weights(model)
    items = w["item_embedding.weight"]
    if keys["latent"] == "noise":
        return items, np.broadcast_to(w["unconditional"], items.shape), items
    guide = paper_guide(paper_metadata(model), w, keys["guide_fusion"])
    psi = keys["injection_ratio"]
    latent, condition = {
        "mixed": (psi * items + (1 - psi) * guide, guide),
        "guide": (guide, items),
        "item": (items, guide),
    }[keys["latent"]]
    return latent, condition, items + guide if keys["target"] == "mixed" else items


def paper_generate_once(model, keys, timesteps, noise, is_dropped):
    """Training's single step for the items of the batch, and its target."""
    latent, condition, target = (x[UNIQUE_ITEMS] for x in paper_start(model, keys))
    if keys["latent"] == "noise":
        level = paper_alphas_cumprod(keys["steps"])[timesteps][:, None]
        latent = np.sqrt(level) * latent + np.sqrt(1 - level) * noise
    w = weights(model)
    if keys["guidance_scale"] > 0:
        condition = np.where(is_dropped[:, None], w["unconditional"], condition)
    return paper_denoise(latent, condition, timesteps, w), target


def paper_loss(model, columns, generated, target, keys):
    """Weighted terms of Eq. 10, triple by triple and item by item."""
    w = weights(model)
    users, items = w["user_embedding.weight"], w["item_embedding.weight"]
    place = {item: row for row, item in enumerate(UNIQUE_ITEMS)}
    triples = list(zip(*(columns[n] for n in ("user_id", "item_id", "neg_item_id")), strict=True))
    margins = [users[u] @ (generated[place[i]] - generated[place[j]]) for u, i, j in triples]
    squares = [(users[u] ** 2 + items[i] ** 2 + items[j] ** 2).sum() for u, i, j in triples]
    errors = ((target - generated) ** 2).sum(axis=1)
    if keys["reconstruction_reduction"] == "element":
        errors = errors / generated.shape[1]
    norm = (generated**2).sum()
    balance = norm if keys["balance_form"] == "squared" else np.sqrt(norm)
    return (
        keys["bpr_weight"] * np.mean(-np.log(expit(margins))),  # Eq. 7
        keys["reg_weight"] * np.mean(squares),  # Eq. 9
        (1 - keys["bpr_weight"]) * errors.mean(),  # Eq. 6
        keys["balance_weight"] * balance / len(UNIQUE_ITEMS),  # Eq. 8
    )


def paper_chain(model, keys, noises=None):
    """Section V-C: x_T of all items, then the reverse steps one by one."""
    w, steps = weights(model), keys["steps"]
    x_t, condition, _ = paper_start(model, keys)
    taken = keys["respaced_steps"] or steps
    stride = (steps - 1) / max(taken - 1, 1)
    kept = [round(i * stride) for i in range(taken)]
    level = np.concatenate([[1.0], paper_alphas_cumprod(steps)[kept]])
    for step in reversed(range(taken)):
        timesteps = [kept[step]] * len(x_t)
        out = paper_denoise(x_t, condition, timesteps, w)
        if keys["guidance_scale"] > 0:
            free = paper_denoise(x_t, w["unconditional"], timesteps, w)
            out = (1 + keys["guidance_scale"]) * out - keys["guidance_scale"] * free
        if keys["reverse_step"] == "direct":
            x_t = out  # Eq. 4
            continue
        now, before = level[step + 1], level[step]
        beta = 1 - now / before
        mean = np.sqrt(before) * beta * out + np.sqrt(1 - beta) * (1 - before) * x_t
        x_t = mean / (1 - now)
        if noises is not None and step > 0:
            x_t = x_t + np.sqrt(beta * (1 - before) / (1 - now)) * noises[taken - 1 - step]
    return x_t


def fix_draws(monkeypatch, steps=STEPS, seed=3):
    """Replace the draws of steps, of dropped conditions and of noise; returns them."""
    n, rng = len(UNIQUE_ITEMS), np.random.default_rng(seed)
    timesteps = rng.integers(steps, size=n)
    timesteps[:2] = [0, steps - 1]
    noise = rng.normal(size=(n, SIZE))
    uniform = np.linspace(0, 1, n, endpoint=False)[rng.permutation(n)]

    def randint(bound, size, **_):
        assert (bound, tuple(size)) == (steps, (n,))
        return torch.tensor(timesteps)

    def rand(*size, **_):
        assert size == (n, 1)
        return torch.tensor(uniform)[:, None]

    def randn(shape, dtype=None, **_):
        assert tuple(shape) == noise.shape
        return torch.tensor(noise, dtype=dtype)

    for draw in (randint, rand, randn):
        monkeypatch.setattr(torch, draw.__name__, draw)
    return timesteps, noise, uniform


# Parts


@pytest.mark.parametrize("hidden_size", [None, 5])
@pytest.mark.parametrize("fusion", ["concat", "mean"])
def test_alignment_is_equation_2(hidden_size, fusion):
    widths = [WIDTH, 3, 7]
    module = randomize(SignalAlignment(widths, SIZE, hidden_size, fusion))
    rng = np.random.default_rng(1)
    matrices = [rng.normal(size=(9, width)) for width in widths]
    found = module([torch.tensor(m, dtype=torch.float32) for m in matrices])
    assert_near(found, paper_guide(matrices, weights(module), fusion, p=""))


@pytest.mark.parametrize("hidden_size", [None, 4])
@pytest.mark.parametrize("size", [6, 5])
@pytest.mark.parametrize("steps", [1, STEPS])
def test_denoiser_is_the_mlp_of_equation_4(hidden_size, size, steps):
    module = randomize(GuidedDenoiser(steps, size, hidden_size))
    assert module.is_affine == (hidden_size is None)
    timesteps = np.array([0, steps - 1, steps // 2, 0])
    x_t, guide = torch.randn(2, 4, size, generator=torch.Generator().manual_seed(6))
    expected = paper_denoise(*floats(x_t, guide), timesteps, weights(module), p="")
    assert_near(module(x_t, guide, torch.tensor(timesteps)), expected)


def test_relative_change_is_equation_1():
    now, before = torch.tensor([[1.0, -2.0], [3.0, 0.5]]), torch.tensor([[2.0, -1.0], [-1.0, 0.5]])
    assert relative_change(now, before).item() == pytest.approx((0.5 + 1 + 4 + 0) / 4)
    now, before = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 0.0]])
    assert relative_change(now, before).item() == pytest.approx(0.5)  # a change from 0 has no ratio


def test_log_snr_is_equation_22():
    values = np.random.default_rng(0).normal(0.4, 1.7, size=(50, 3))
    expected = np.log(np.mean(values) ** 2 / np.var(values))
    assert log_snr(torch.tensor(values)).item() == pytest.approx(expected)


# Training

LOSS_KEYS = {"bpr_weight": 0.6, "balance_weight": 0.3, "reg_weight": 0.11, "injection_ratio": 0.3}


@each_guided_variant
@pytest.mark.parametrize(
    ("hidden_size", "reduction", "balance"),
    [(None, "row", "norm"), (4, "element", "norm"), (None, "row", "squared")],
)
def test_loss_is_equations_3_to_10(
    monkeypatch, variant, guidance_scale, hidden_size, reduction, balance
):
    changes = {
        **LOSS_KEYS,
        "denoiser_hidden_size": hidden_size,
        "reconstruction_reduction": reduction,
        "balance_form": balance,
        "guidance_scale": guidance_scale,
        "guide_dropout": 0.4,
        **VARIANTS[variant],
    }
    keys, model = settings(**changes), randomize(make_model(**changes))
    timesteps, noise, uniform = fix_draws(monkeypatch)
    is_dropped = uniform < 0.4
    assert 0 < is_dropped.sum() < len(is_dropped)
    generated, target = paper_generate_once(model, keys, timesteps, noise, is_dropped)
    terms = model.calculate_loss(batch())
    expected = paper_loss(model, BATCH, generated, target, keys)
    assert len(terms) == 4
    for term, value in zip(terms, expected, strict=True):
        assert_near(term, value)
    assert (terms[3] == 0) == (variant == "w/o CTO")


@pytest.mark.parametrize("fusion", ["concat", "mean"])
@pytest.mark.parametrize("hidden_size", [None, 5])
def test_several_channels_guide_together(tmp_path, monkeypatch, fusion, hidden_size):
    """Features of two widths, in the order of the files' ids reversed, and a graph channel."""
    files, matrices = features_of(tmp_path, text=WIDTH, image=3)
    keys = {
        "item_features": files,
        "channels": ["image", "knowledge", "text"],
        "guide_fusion": fusion,
        "alignment_hidden_size": hidden_size,
    }
    model = randomize(make_model(**keys))
    knowledge = model.get_buffer("metadata_knowledge").double().numpy()
    assert np.abs(knowledge).max() > 0.1
    parts = [matrices["image"], knowledge, matrices["text"]]
    expected = paper_guide(parts, weights(model), fusion)
    assert_near(model.guide(), expected)
    assert_near(model.guide(torch.tensor(UNIQUE_ITEMS)), expected[UNIQUE_ITEMS])

    timesteps, noise, uniform = fix_draws(monkeypatch)
    generated, target = paper_generate_once(model, settings(**keys), timesteps, noise, None)
    expected_terms = paper_loss(model, BATCH, generated, target, settings())
    for term, value in zip(model.calculate_loss(batch()), expected_terms, strict=True):
        assert_near(term, value)


def test_channels_are_by_default_the_features_or_the_knowledge_channel(tmp_path):
    assert make_model().channels == ["knowledge"]
    files, _ = features_of(tmp_path, text=WIDTH, image=3)
    model = make_model(item_features=files)
    assert model.channels == ["text", "image"]
    assert not model.needs_base_embeddings


def test_half_precision_features_guide_as_their_values(tmp_path, monkeypatch):
    files, matrices = features_of(tmp_path, text=WIDTH)
    halves = matrices["text"].astype(np.float16)
    monkeypatch.setattr(channels_module, "load_item_features", lambda *_: halves)
    model = randomize(make_model(item_features=files))
    assert model.get_buffer("metadata_text").dtype == torch.float16
    assert_near(model.guide(), paper_guide([halves.astype(float)], weights(model)))
    sum(model.calculate_loss(batch())).backward()


def test_bfloat16_trains(tmp_path, monkeypatch):
    """Terms as in single precision but for the rounding of eight bits, with every option on."""
    keys = {"guidance_scale": 1.0, "denoiser_hidden_size": 4, "target": "mixed"}
    model = randomize(make_model(**keys))
    fix_draws(monkeypatch)
    expected = model.calculate_loss(batch())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = model.calculate_loss(batch())
        generated = model.eval().generate()
    torch.testing.assert_close(
        torch.stack([t.float() for t in terms]), torch.stack(expected), rtol=0.05, atol=0
    )
    assert torch.isfinite(generated).all()
    sum(terms).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_an_item_counts_once_however_often_it_is_drawn(monkeypatch):
    model = randomize(make_model(balance_form="squared"))
    losses = []
    for repeats in (1, 2):
        fix_draws(monkeypatch)
        columns = {name: column * repeats for name, column in BATCH.items()}
        losses.append(torch.stack(model.calculate_loss(batch(**columns))))
    torch.testing.assert_close(losses[0], losses[1])


def test_padding_learns_nothing_and_counts_nowhere(monkeypatch):
    model = randomize(make_model())
    losses = []
    for value in (0.3, -7.0):
        with torch.no_grad():
            model.item_embedding.weight[0] = value
            model.user_embedding.weight[0] = value
        fix_draws(monkeypatch)
        losses.append(model.calculate_loss(batch()))
    assert torch.equal(torch.stack(losses[0]), torch.stack(losses[1]))
    sum(losses[1]).backward()
    for embedding, used in ((model.item_embedding, UNIQUE_ITEMS), (model.user_embedding, [1, 6])):
        assert not embedding.weight.grad[0].any()
        assert (embedding.weight.grad[used] != 0).any(dim=1).all()


def test_draws_cover_every_step_and_drop_the_condition_as_often_as_asked():
    model = make_model(steps=3, guidance_scale=1.0, guide_dropout=0.25)
    with torch.no_grad():
        model.unconditional.fill_(50.0)
    seen = []
    model.denoiser.forward = lambda *arguments: seen.append(arguments) or arguments[0]
    items = torch.arange(1, N_ITEMS)
    torch.manual_seed(0)
    for _ in range(300):
        model._generate_once(items, model.item_embedding(items))
    timesteps = torch.cat([t for _, _, t in seen])
    is_dropped = torch.cat([(condition == 50).all(dim=1) for _, condition, _ in seen])
    # Four standard errors of 3000 draws of a third and of a quarter.
    assert (torch.bincount(timesteps, minlength=3) / 3000 - 1 / 3).abs().max() < 0.035
    assert abs(is_dropped.float().mean().item() - 0.25) < 0.032


@pytest.mark.parametrize(("dropout", "learns"), [(0.3, True), (0.1, False)])
def test_unconditional_vector_learns_from_dropped_rows_alone(monkeypatch, dropout, learns):
    model = randomize(make_model(guidance_scale=1.0, guide_dropout=dropout))
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 0.2))
    sum(model.calculate_loss(batch())).backward()
    assert (model.unconditional.grad != 0).any().item() == learns
    assert (model.denoiser.from_guide.weight.grad != 0).any()


def test_no_unconditional_vector_without_guidance():
    assert not hasattr(make_model(), "unconditional")
    assert hasattr(make_model(guidance_scale=0.5), "unconditional")


@each_variant
def test_every_parameter_learns_but_pretrained_embeddings(variant):
    model = make_model(**{"denoiser_hidden_size": 4, **VARIANTS[variant]})
    before = {name: p.clone() for name, p in model.named_parameters()}
    torch.manual_seed(1)
    train_steps(model, 2)
    still = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    fixed = {"user_embedding.weight", "item_embedding.weight"} if variant == "Pretrain" else set()
    assert still == fixed


def test_both_sides_of_the_reconstruction_learn(monkeypatch):
    """Neither the embedding nor what is generated from it is held fixed (Eq. 6)."""
    keys = {"steps": 1, "bpr_weight": 0.0, "injection_ratio": 0.4}
    keys["reconstruction_reduction"] = "row"
    model = randomize(make_model(**keys))
    fix_draws(monkeypatch, steps=1)
    model.calculate_loss(batch())[2].backward()
    drawn = np.zeros(len(UNIQUE_ITEMS), dtype=int)
    generated, target = paper_generate_once(model, settings(**keys), drawn, None, None)
    error = 2 / len(UNIQUE_ITEMS) * (generated - target)
    through_latent = 0.4 * error @ weights(model)["denoiser.from_latent.weight"]
    assert_near(model.item_embedding.weight.grad[UNIQUE_ITEMS], through_latent - error)


@pytest.mark.parametrize("changes", [{}, {"latent": "guide", "target": "mixed"}])
def test_gradients_are_those_of_finite_differences(monkeypatch, changes):
    keys = {"guidance_scale": 1.0, "guide_dropout": 0.4, "denoiser_hidden_size": 4}
    model = randomize(make_model(**LOSS_KEYS, **keys, **changes)).double()
    fix_draws(monkeypatch)
    sum(model.calculate_loss(batch())).backward()
    rng = np.random.default_rng(0)
    for name, parameter in model.named_parameters():
        direction = torch.tensor(rng.normal(size=tuple(parameter.shape)))
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * 1e-5 * direction)
                values.append(sum(model.calculate_loss(batch())).item())
                parameter.sub_(sign * 1e-5 * direction)
        found = (parameter.grad * direction).sum().item()
        slope = (values[0] - values[1]) / 2e-5
        assert found == pytest.approx(slope, rel=1e-5, abs=1e-8), name


def test_nothing_generated_has_a_balance_with_a_gradient():
    model = make_model()
    for parameter in model.parameters():
        parameter.data.zero_()
    sum(model.calculate_loss(batch())).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


# Generation and scores


@each_guided_variant
@pytest.mark.parametrize("hidden_size", [None, 4])
@pytest.mark.parametrize("reverse_step", ["direct", "posterior"])
@pytest.mark.parametrize("respaced_steps", [None, 1, 4])
def test_generation_is_section_v_c(
    variant, hidden_size, reverse_step, respaced_steps, guidance_scale
):
    changes = {
        "denoiser_hidden_size": hidden_size,
        "reverse_step": reverse_step,
        "respaced_steps": respaced_steps,
        "guidance_scale": guidance_scale,
        **VARIANTS[variant],
    }
    model = randomize(make_model(**changes)).eval()
    expected = paper_chain(model, settings(**changes))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model.generate() / scale, expected / scale, atol=2e-5)


@pytest.mark.parametrize("hidden_size", [None, 4])
def test_sampling_noise_is_that_of_the_posterior(monkeypatch, hidden_size):
    changes = {"sampling_noise": True, "denoiser_hidden_size": hidden_size, "respaced_steps": 5}
    model = randomize(make_model(**changes)).eval()
    noises = np.random.default_rng(2).normal(size=(5, N_ITEMS, SIZE))
    queue = [torch.tensor(noise, dtype=torch.float32) for noise in noises]
    monkeypatch.setattr(torch, "randn", lambda *_, **__: queue.pop(0))
    expected = paper_chain(model, settings(**changes), noises)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model.generate() / scale, expected / scale, atol=2e-5)


@effort(max_examples=60, deadline=None)
@given(
    size=st.integers(2, 9),
    steps=st.integers(1, 25),
    share=st.floats(0, 1),
    reverse_step=st.sampled_from(["direct", "posterior"]),
    guidance_scale=st.sampled_from([0.0, 0.3, 2.0]),
    latent=st.sampled_from(["mixed", "guide", "item"]),
    schedule=st.sampled_from(["exp", "linear", "linear-var", "cosine", "sqrt"]),
    seed=st.integers(0, 2**16),
)
def test_composed_chain_equals_the_loop(
    size, steps, share, reverse_step, guidance_scale, latent, schedule, seed
):
    """To the rounding of double precision, relative to the largest value."""
    model = make_model(
        with_metadata=False, embedding_size=size, steps=steps, latent=latent,
        respaced_steps=1 + round(share * (steps - 1)), reverse_step=reverse_step,
        guidance_scale=guidance_scale, noise_schedule=schedule,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    model.set_base_embeddings(rng.normal(size=(N_USERS, size)), rng.normal(size=(N_ITEMS, size)))
    randomize(model, seed).double().eval()
    loop = model._generate_step_by_step(*model.latent_variable())
    composed = model.generate()
    scale = loop.abs().max()
    torch.testing.assert_close(composed / scale, loop / scale, rtol=0, atol=1e-9)


@pytest.mark.parametrize("hidden_size", [None, 4])
def test_a_guidance_of_zero_is_none(hidden_size):
    keys = {"denoiser_hidden_size": hidden_size, "respaced_steps": 3}
    guided = randomize(make_model(guidance_scale=2.0, **keys)).eval()
    plain = make_model(**keys).eval()
    state = guided.state_dict()
    state.pop("unconditional")
    plain.load_state_dict(state)
    assert (guided.generate() - plain.generate()).abs().max() > 0.1
    guided.guidance_scale = 1e-6
    torch.testing.assert_close(guided.generate(), plain.generate(), rtol=1e-4, atol=1e-4)
    guided.guidance_scale = 0.0
    assert torch.equal(guided.generate(), plain.generate())


def test_one_layer_is_composed_and_draws_nothing(monkeypatch):
    model = randomize(make_model()).eval()
    for name in ("rand", "randn", "randn_like", "randint"):
        monkeypatch.delattr(torch, name)
    monkeypatch.delattr(SimDiff, "_generate_step_by_step")
    assert torch.isfinite(model.full_sort_predict(EVERYONE)).all()


@pytest.mark.parametrize("n_layers", [0, 1, 3])
@pytest.mark.parametrize("use_diffusion", [False, True])
def test_scores_are_equations_11_and_12(n_layers, use_diffusion):
    model = randomize(make_model(n_layers=n_layers, use_diffusion=use_diffusion)).eval()
    generated = paper_chain(model, settings()) if use_diffusion else None
    users, items = dense_propagation(model, PAIRS, n_layers, generated)
    scores = model.full_sort_predict(EVERYONE)
    assert (scores.dtype, scores.requires_grad) == (torch.float32, False)
    assert_near(scores, users @ items.T)
    pairs = {
        "user_id": torch.arange(N_USERS).repeat_interleave(N_ITEMS),
        "item_id": torch.arange(N_ITEMS).repeat(N_USERS),
    }
    predicted = model.predict(Interaction(pairs)).view(N_USERS, N_ITEMS)
    torch.testing.assert_close(predicted, scores, rtol=1e-6, atol=1e-6)


def test_items_are_generated_once_per_evaluation():
    model = make_model().eval()
    calls = []
    generate = model.generate
    model.generate = lambda: calls.append(1) or generate()
    state = set(model.state_dict())
    for _ in range(3):
        model.full_sort_predict(EVERYONE)
    assert len(calls) == 1
    assert set(model.state_dict()) == state
    torch.testing.assert_close(model.generated, generate())
    model.train().eval().full_sort_predict(EVERYONE)
    assert len(calls) == 2


def test_without_diffusion_only_bpr_and_regularisation_remain(monkeypatch):
    model = make_model(use_diffusion=False, **LOSS_KEYS)
    names = {"user_embedding.weight", "item_embedding.weight"}
    assert {name for name, _ in model.named_parameters()} == names == set(model.state_dict())
    assert not model.needs_base_embeddings
    for name in ("generate", "guide", "_latent"):
        monkeypatch.delattr(SimDiff, name)
    monkeypatch.delattr(torch, "randint")
    randomize(model)
    items = weights(model)["item_embedding.weight"][UNIQUE_ITEMS]
    expected = paper_loss(model, BATCH, items, items, settings(**LOSS_KEYS))[:2]
    for term, value in zip(model.calculate_loss(batch()), expected, strict=True):
        assert_near(term, value)
    assert torch.isfinite(model.eval().full_sort_predict(EVERYONE)).all()


def test_gaussian_noise_needs_no_metadata():
    model = make_model(with_metadata=False, latent="noise", item_features={"a": {"file": "none"}})
    assert not model.needs_base_embeddings
    assert not [name for name in model.state_dict() if "metadata_" in name or "alignment" in name]
    assert all(torch.isfinite(term) for term in model.calculate_loss(batch()))


def test_noisy_latent_variable_is_that_of_the_last_forward_step():
    model = randomize(make_model(latent="noise", steps=40, beta_end=40.0)).eval()
    clean, noisy = (model.latent_variable(is_noisy)[0] for is_noisy in (False, True))
    assert torch.equal(clean, model.item_embedding.weight)
    assert model.diffusion.alphas_cumprod[-1] < 1e-6
    assert abs(noisy.std().item() - 1) < 4 / np.sqrt(2 * N_ITEMS * SIZE)
    for is_noisy in (False, True):  # a guide is no noise
        latent, _ = randomize(make_model()).latent_variable(is_noisy)
        assert torch.equal(latent, randomize(make_model()).latent_variable()[0])


# Base embeddings and checkpoints


@pytest.mark.parametrize("channels", [["knowledge"], ["social"], ["social", "knowledge"]])
def test_graph_channels_guide(channels):
    model = make_model(with_metadata=False, channels=channels)
    sources = {"social": "pretrained_user_embedding", "knowledge": "pretrained_item_embedding"}
    assert model.base_embedding_keys == {sources[name] for name in channels}
    for call in (lambda: model.calculate_loss(batch()), model.generate):
        with pytest.raises(RuntimeError, match="set_base_embeddings"):
            call()
    model.set_base_embeddings(*base_embeddings())
    assert not model.needs_base_embeddings
    randomize(model)
    assert_near(model.guide(), paper_guide(paper_metadata(model), weights(model)))


@pytest.mark.parametrize("with_features", [False, True])
def test_pretrained_embeddings_are_the_targets_and_stay(tmp_path, with_features):
    files, _ = features_of(tmp_path, text=WIDTH)
    changes = {"target": "pretrained", "item_features": files if with_features else None}
    model = make_model(with_metadata=False, **changes)
    assert model.needs_base_embeddings
    assert model.base_embedding_keys == {"pretrained_user_embedding", "pretrained_item_embedding"}
    with pytest.raises(RuntimeError, match="set_base_embeddings"):
        model.calculate_loss(batch())
    users, items = base_embeddings()
    model.set_base_embeddings(users, items)
    train_steps(model, 2)
    np.testing.assert_array_equal(model.user_embedding.weight, users)
    np.testing.assert_array_equal(model.item_embedding.weight, items)
    fresh = make_model(seed=4, with_metadata=False, **changes)
    fresh.load_state_dict(model.state_dict())
    assert not fresh.needs_base_embeddings
    assert torch.equal(fresh.eval().generate(), model.eval().generate())


@pytest.mark.parametrize(
    "shapes", [((N_USERS, SIZE + 1), (N_ITEMS, SIZE)), ((N_USERS, SIZE), (3, SIZE))]
)
def test_pretrained_embeddings_of_another_shape(shapes):
    model = make_model(with_metadata=False, target="pretrained")
    with pytest.raises(ValueError, match="found .*expected"):
        model.set_base_embeddings(*(np.ones(shape, np.float32) for shape in shapes))
    assert model.needs_base_embeddings


def test_state_round_trip_without_features(tmp_path):
    files, _ = features_of(tmp_path, text=WIDTH)
    changes = {"channels": ["social", "text"], "item_features": files, "guidance_scale": 1.0}
    model = make_model(**changes)
    train_steps(model, 3)
    torch.save(model.state_dict(), tmp_path / "state.pth")
    state = torch.load(tmp_path / "state.pth", weights_only=True)
    assert "metadata_text" not in state
    assert "metadata_social" in state
    assert len(state["digest_text"]) == 32
    fresh = make_model(seed=9, with_metadata=False, **changes)
    fresh.load_state_dict(state)
    assert not fresh.needs_base_embeddings
    scores = [m.eval().full_sort_predict(EVERYONE) for m in (model, fresh)]
    assert torch.equal(*scores)
    losses = [seeded_loss(m.train()) for m in (model, fresh)]
    assert torch.equal(*losses)
    assert not torch.equal(losses[0], seeded_loss(model, seed=78))


def test_changed_features_are_refused(tmp_path):
    files, matrices = features_of(tmp_path, text=WIDTH)
    state = make_model(item_features=files).state_dict()
    changed = matrices["text"][1:].copy()
    changed[3, 1] += 1e-6
    ids = np.array([f"i{i}" for i in range(1, N_ITEMS)])
    np.savez(files["text"]["file"], ids=ids, matrix=changed)
    with pytest.raises(UserError, match=r"`item_features`: found other features under 'text'"):
        make_model(item_features=files).load_state_dict(state)
    np.savez(files["text"]["file"], ids=ids, matrix=matrices["text"][1:])  # rows in another order
    make_model(item_features=files).load_state_dict(state)


# Settings


def test_defaults_are_the_papers_model_in_the_codes_reductions():
    model = make_model()
    assert (model.latent, model.target) == ("mixed", "item")
    assert (model.reconstruction_reduction, model.balance_form) == ("element", "squared")
    assert model.guidance_scale == 0.0
    assert model.reverse_step == "posterior"
    assert not model.sampling_noise


@pytest.mark.parametrize(
    ("key", "value", "choices"),
    [
        ("latent", "gaussian", "mixed, guide, item, noise"),
        ("target", "guide", "item, mixed, pretrained"),
        ("reverse_step", "ddim", "posterior, direct"),
        ("guide_fusion", "sum", "concat, mean"),
        ("reconstruction_reduction", "mean", "element, row"),
        ("balance_form", "l2", "squared, norm"),
        ("noise_schedule", "quadratic", "linear, linear-var, exp, cosine, sqrt"),
    ],
)
def test_bad_choices(key, value, choices):
    message = refusal(**{key: value})
    assert f"key `{key}`: found '{value}', expected " in message
    assert choices in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embedding_size", 1),
        ("embedding_std", 0.0),
        ("n_layers", -1),
        ("n_neighbors", 0),
        ("steps", 0),
        ("alignment_hidden_size", 0),
        ("denoiser_hidden_size", 0),
        ("injection_ratio", -0.1),
        ("injection_ratio", 1.1),
        ("guidance_scale", -1.0),
        ("guide_dropout", 1.0),
        ("guide_dropout", -0.1),
        ("bpr_weight", 1.1),
        ("bpr_weight", -0.1),
        ("balance_weight", -0.1),
        ("reg_weight", -0.1),
        ("respaced_steps", 0),
        ("respaced_steps", 201),
        ("beta_start", -1.0),
    ],
)
def test_keys_out_of_their_range(key, value):
    message = refusal(**{key: value})
    assert f"`{key}`" in message
    assert f"found {value}" in message
    assert "expected" in message


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"latent": "noise", "guidance_scale": 1.0}, "guidance_scale"),
        ({"guidance_scale": 1.0, "guide_dropout": 0.0}, "guidance_scale"),
        ({"sampling_noise": True, "reverse_step": "direct"}, "sampling_noise"),
        ({"latent": "noise", "target": "mixed"}, "target"),
    ],
)
def test_keys_that_contradict_each_other(changes, key):
    message = refusal(**changes)
    assert f"key `{key}`: found {changes[key]!r}, expected" in message


@pytest.mark.parametrize("channels", [[], ["socail"], ["text"], ["knowledge", "knowledge"]])
def test_unknown_or_repeated_channels(channels):
    message = refusal(channels=channels)
    assert f"key `channels`: found {channels}" in message
    assert "['social', 'knowledge']" in message


@pytest.mark.parametrize("given", ["user", "item"])
@pytest.mark.parametrize(
    "changes", [{"target": "pretrained"}, {"channels": ["social", "knowledge"]}]
)
def test_one_of_two_files_of_base_embeddings(tmp_path, given, changes):
    n_ids = {"user": N_USERS, "item": N_ITEMS}[given]
    path, _ = feature_file(tmp_path, n_ids=n_ids)
    message = refusal(**{f"pretrained_{given}_embedding": str(path)}, **changes)
    assert "`pretrained_user_embedding` and `pretrained_item_embedding`: only one" in message


def test_pretrained_targets_of_another_width(tmp_path):
    keys = {"target": "pretrained"}
    for name, n_ids in (("user", N_USERS), ("item", N_ITEMS)):
        (tmp_path / name).mkdir()
        path, _ = feature_file(tmp_path / name, n_ids=n_ids)
        keys[f"pretrained_{name}_embedding"] = str(path)
    message = refusal(**keys)
    assert "key `pretrained_user_embedding`" in message
    assert f"width 64 (key `embedding_size`), not {WIDTH}" in message
    make_model(with_metadata=False, embedding_size=WIDTH, **keys)


@pytest.mark.parametrize("schedule", ["linear", "linear-var"])
def test_noise_keys_reach_the_schedule(schedule):
    keys = {"noise_schedule": schedule, "steps": 10, "noise_scale": 0.5}
    model = make_model(**keys, noise_min=0.1, noise_max=0.4)
    expected = make_betas(schedule, 10, noise_scale=0.5, noise_min=0.1, noise_max=0.4)
    assert torch.equal(model.diffusion.betas, expected.float())


def test_real_data_and_settings():
    """Through the property files, the split and RecBole's loader, to loss and scores."""
    overrides = {
        "data_path": str(REPOSITORY / "dataset_atomic"),
        "use_gpu": False,
        "embedding_size": 16,
        "steps": 30,
    }
    config = Config("SimDiff", "planted", overrides=overrides)
    split = load_split(config)
    model = SimDiff(config, split.train._dataset)
    rng = np.random.default_rng(1)
    model.set_base_embeddings(
        rng.normal(size=(201, 16)).astype(np.float32), rng.normal(size=(151, 16)).astype(np.float32)
    )
    randomize(model).eval()
    terms = model.calculate_loss(next(iter(split.train)))
    assert all(torch.isfinite(term) for term in terms)
    train = split.train._dataset.inter_feat
    pairs = list(zip(train["user_id"].tolist(), train["item_id"].tolist(), strict=True))
    users, items = dense_propagation(model, pairs, config["n_layers"], paper_chain(model, config))
    users_of_batch, _, _, _ = next(iter(split.valid))
    found = model.full_sort_predict(users_of_batch).numpy()
    expected = (users @ items.T)[users_of_batch["user_id"]]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
