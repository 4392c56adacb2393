"""L-DiffRec and LT-DiffRec: parity with RecBole's, the loss in numpy, clusters, inference, runs."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from diffrec_tools import drift, drift_recall, same_ranking, share_denoiser
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import ldiffrec as host_module
from scipy.special import log_softmax
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_diffusion import evaluate_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models.diffrec.latent import LDiffRec
from recbole_diffusion.models.diffrec.trainer import LDiffRecTrainer
from recbole_diffusion.nn.autoencoder import (
    ClusteredAutoencoder,
    gaussian_kl,
    proportional_sizes,
)
from recbole_diffusion.runs.run import Run
from recbole_diffusion.settings import registry
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.property_files import properties_folder, read_properties
from recbole_diffusion.training.checkpoint import read_checkpoint

SMALL = {
    "encoder_sizes": [9], "hidden_sizes": [7], "steps": 6, "noise_scale": 1.0, "noise_min": 0.05,
    "noise_max": 0.5, "train_batch_size": 64,
}  # fmt: skip
TIMED = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
N_ITEMS = 151  # of the planted set, with the padding


def labels(n_clusters: int) -> np.ndarray:
    """Uneven clusters of the planted set's items, by internal id less one."""
    draw = np.random.default_rng(3)
    return np.minimum(draw.geometric(0.4, N_ITEMS - 1), n_clusters) - 1


def make(planted: dict[str, Any], model: str = "LDiffRec", n_clusters: int = 2, **keys: Any) -> Any:
    """A run whose model has the clusters of ``labels``, and biases that are not zero."""
    own = {**planted, **SMALL, "n_clusters": n_clusters, **keys}
    run = Run(Config(model, "planted", (), own))
    run.network._set_clusters(torch.tensor([-1, *labels(n_clusters)]))
    torch.manual_seed(8)
    with torch.no_grad():
        for parameter in run.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    run.network.eval()
    return run


def users_of(n: int = 40) -> Interaction:
    return Interaction({"user_id": torch.arange(1, n + 1)})


# Parity with RecBole's LDiffRec


@pytest.fixture
def make_host(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """RecBole's model on the planted set, with the clusters of ``labels`` for its k-means."""
    folder = tmp_path / "data" / "planted"
    shutil.copytree(Path(planted["data_path"]) / "planted", folder)
    np.save(folder / "item_emb.npy", np.zeros((N_ITEMS - 1, 4), dtype=np.float32))
    package = ModuleType("kmeans_pytorch")
    package.kmeans = lambda X, num_clusters, **_: (torch.from_numpy(labels(num_clusters)), None)
    monkeypatch.setitem(sys.modules, "kmeans_pytorch", package)
    monkeypatch.setattr(host_module, "kmeans", package.kmeans, raising=False)  # RecBole 1.2.0
    monkeypatch.setattr(registry, "find_spec", lambda name: "found")

    def make_one(n_clusters: int, **keys: Any) -> Any:
        own = {key: value for key, value in SMALL.items() if not key.endswith("_sizes")}
        host = {
            "n_cate": n_clusters, "in_dims": [9], "out_dims": [], "dims_dnn": [7],
            "embedding_size": 10, "noise_schedule": "linear-var", "beta_fixed": False,
            "lamda": 0.03, "anneal_cap": 0.005, "vae_anneal_cap": 0.3, "vae_anneal_steps": 200,
            "data_path": str(tmp_path / "data"),
        }  # fmt: skip
        run = Run(Config("recbole.LDiffRec", "planted", (), {**planted, **own, **host, **keys}))
        return run.network.eval()

    return make_one


def share_weights(ours: Any, host: Any) -> None:
    share_denoiser(ours, host)
    own, theirs = ours.autoencoder, host.autoencoder
    encoders = theirs.encoder if ours.n_clusters > 1 else [theirs.encoder]
    split = isinstance(theirs.decoder, torch.nn.ModuleList)
    decoders = theirs.decoder if split else [theirs.decoder]
    if ours.n_clusters == 1:  # the padding is an item there: nothing of it may count
        linear_of(theirs.decoder)[-1].bias[0] = -1e9
    for mine, other in zip(own.encoders, encoders, strict=True):
        first, *others = linear_of(other)
        mine.weight.copy_(first.weight.T[-len(mine.weight) :])
        mine.bias.copy_(first.bias)
        for layer, given in zip(mine.layers, others, strict=True):
            layer.load_state_dict(given.state_dict())
    for mine, other in zip(own.decoders, decoders, strict=True):
        for layer, given in zip(linear_of(mine), linear_of(other), strict=True):
            layer.weight.copy_(given.weight[-len(layer.weight) :])
            layer.bias.copy_(given.bias[-len(layer.bias) :])


def linear_of(module: Any) -> list[torch.nn.Linear]:
    return [part for part in module.modules() if isinstance(part, torch.nn.Linear)]


NETWORKS = [
    (1, {}, {}),
    (2, {}, {}),
    (1, {"encoder_sizes": [9, 20], "decoder_sizes": [20]},
     {"in_dims": [9, 20], "out_dims": [20]}),
    # With clusters, RecBole's decoders mirror the encoders, whatever `out_dims` holds.
    (2, {"encoder_sizes": [9, 20], "decoder_sizes": [20], "split_decoder": True},
     {"in_dims": [9, 20], "out_dims": [20]}),
]  # fmt: skip


@pytest.mark.compat
@pytest.mark.parametrize(("n_clusters", "own", "hosts"), NETWORKS)
@pytest.mark.parametrize("mean_type", ["x0", "eps"])
@torch.no_grad()
def test_host_with_the_same_weights(
    planted: dict[str, Any],
    make_host: Callable[..., Any],
    n_clusters: int,
    own: dict[str, Any],
    hosts: dict[str, Any],
    mean_type: str,
) -> None:
    """Encoders, decoder, posterior mean, the whole loss, scores and ranking."""
    ours = make(planted, n_clusters=n_clusters, mean_type=mean_type, **own).network
    host = make_host(n_clusters, mean_type=mean_type, **hosts)
    share_weights(ours, host)
    users = torch.arange(1, 41)
    rows, x_start = ours.rows.batch(users), host.get_rating_matrix(users)
    mean, log_variance = ours.autoencoder.encode(rows)
    host_rows, host_mean, host_kl = host.autoencoder.Encode(x_start)
    torch.testing.assert_close(mean, host_mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), host_kl, atol=1e-5, rtol=1e-5)
    logits, host_logits = ours.autoencoder.decode(mean), host.autoencoder.Decode(mean)
    torch.testing.assert_close(logits, host_logits[:, -150:], atol=1e-5, rtol=1e-5)
    likelihood = ours.autoencoder.reconstruction_loss(mean, rows)
    torch.testing.assert_close(likelihood, host_module.compute_loss(host_logits, host_rows))

    torch.manual_seed(3)
    timesteps, noise = torch.randint(0, 6, (40,)), torch.randn_like(mean)
    x_t = ours.diffusion.q_sample(mean, timesteps, noise)
    moments = ours.diffusion.p_mean_variance(ours.denoiser, x_t, timesteps, mean_type)
    host_moments = host.p_mean_variance(x_t, timesteps)
    torch.testing.assert_close(moments.mean, host_moments["mean"].float(), atol=1e-4, rtol=1e-4)

    # Without dropout, at the same steps, and with the annealing of the same moment.
    for module in (ours.autoencoder, ours.denoiser, host.autoencoder):
        module.dropout.p = 0.0
    host.mlp.drop.p = 0.0
    ours.train(), host.train()
    ours.sampler.sample = lambda n: (timesteps, torch.ones(n))
    host.sample_timesteps = lambda n, *_: (timesteps, torch.ones(n))
    ours.n_updates = host.update_count_vae = 37
    torch.manual_seed(4)
    terms = ours.calculate_loss(Interaction({"user_id": users}))
    torch.manual_seed(4)
    host_loss = host.calculate_loss(Interaction({"user_id": users}))
    torch.testing.assert_close(sum(terms), host_loss.float(), atol=1e-3, rtol=1e-5)
    assert min(terms) > 0.01  # each is seen

    ours.eval(), host.eval()
    scores = ours.full_sort_predict(Interaction({"user_id": users}))[:, 1:]
    host_scores = host.full_sort_predict(Interaction({"user_id": users})).float()[:, 1:]
    tolerance = 1e-4 * max(host_scores.abs().max().item(), 1.0)
    torch.testing.assert_close(scores, host_scores, atol=tolerance, rtol=1e-4)
    assert same_ranking(scores, host_scores, 10) > 0.99


# The loss in float64


@pytest.mark.parametrize("reweight", [True, False])
@pytest.mark.parametrize(
    ("n_clusters", "keys"),
    [
        (1, {}),
        (3, {"encoder_sizes": [9, 14]}),
        (3, {"split_decoder": True, "decoder_sizes": [8]}),
        (3, {"split_likelihood": True}),
        (3, {"split_decoder": True, "split_likelihood": True}),
    ],
)
@torch.no_grad()
def test_loss_in_numpy(
    planted: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    reweight: bool,
    n_clusters: int,
    keys: dict[str, Any],
) -> None:
    """From the rows after dropout to the three terms; the denoiser alone is taken as it is."""
    run = make(
        planted, "LTDiffRec", n_clusters, reweight=reweight, encoder_dropout=0.3, **TIMED, **keys
    )
    model, users = run.network, torch.arange(1, 20)
    model.autoencoder.train()
    model.epoch, model.n_updates = 100, 20
    drawn, dropped = [torch.randn(19, 9) for _ in range(2)], []
    own_drop, draws = model.autoencoder.drop, iter(drawn)
    monkeypatch.setattr(torch, "randn_like", lambda x: next(draws))
    model.autoencoder.drop = lambda rows: dropped.append(own_drop(rows)) or dropped[0]
    timesteps, weights = torch.arange(19) % 6, torch.linspace(0.5, 2, 19)
    model.sampler.sample = lambda n: (timesteps, weights)
    updated: list[torch.Tensor] = []
    model.sampler.update = lambda t, losses: updated.extend([t, losses])
    found = model.calculate_loss(Interaction({"user_id": users}))

    x = dropped[0].dense(N_ITEMS).double().numpy()
    before = model.rows.batch(users).dense(N_ITEMS).double().numpy()
    assert 0.2 < (x == 0)[before > 0].mean() < 0.4
    np.testing.assert_allclose(x[x > 0], before[x > 0] / 0.7, rtol=1e-6)

    members = [np.flatnonzero(labels(n_clusters) == c) + 1 for c in range(n_clusters)]
    means, log_variances = zip(
        *(
            np.split(np_encoder(encoder, x[:, items]), 2, axis=1)
            for encoder, items in zip(model.autoencoder.encoders, members, strict=True)
        ),
        strict=True,
    )
    mean, log_variance = np.concatenate(means, axis=1), np.concatenate(log_variances, axis=1)
    z = mean + np.exp(log_variance / 2) * drawn[0].double().numpy()
    kept = 1 - np.linspace(0.05, 0.5, 6)  # products of alphas, with noise_scale 1
    at = kept[timesteps][:, None]
    z_t = np.sqrt(at) * z + np.sqrt(1 - at) * drawn[1].double().numpy()
    pred = model.denoiser(torch.from_numpy(z_t).float(), timesteps).double().numpy()
    ratio = kept / (1 - kept)
    weight = np.concatenate([[1.0], ratio[:-1] - ratio[1:]])[timesteps] if reweight else 1.0
    losses = weight * ((pred - z) ** 2).mean(axis=1)
    assert updated[0] is timesteps
    np.testing.assert_allclose(updated[1], losses, rtol=1e-4)
    diffusion = (weights.double().numpy() * losses).mean()

    sizes = [m.shape[1] for m in means]
    parts = np.split(pred, np.cumsum(sizes)[:-1], axis=1) if "split_decoder" in keys else [pred]
    decoders = zip(model.autoencoder.decoders, parts, strict=True)
    logits = np.concatenate([np_layers(linear_of(d), part) for d, part in decoders], axis=1)
    target = x[:, np.concatenate(members)]
    ends = np.cumsum([len(items) for items in members])[:-1] if "split_likelihood" in keys else []
    log_probability = np.concatenate(
        [log_softmax(part, axis=1) for part in np.split(logits, ends, axis=1)], axis=1
    )  # Eq. 15, or over all items
    reconstruction = -(log_probability * target).sum(axis=1).mean()
    kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=1).mean()

    lamda, gamma = 0.03 * 0.8, 0.1  # at epoch 100 of 500 and update 20 of 200
    expected = [reconstruction, gamma * kl, lamda * diffusion]
    if not reweight:
        expected = [lamda * reconstruction, lamda * gamma * kl, diffusion]
    np.testing.assert_allclose([term.item() for term in found], expected, rtol=1e-4)
    assert model.n_updates == 21


def np_encoder(encoder: Any, x: np.ndarray) -> np.ndarray:
    weight, bias = (p.double().numpy() for p in (encoder.weight, encoder.bias))
    hidden = np.tanh(x @ weight + bias)
    return np.tanh(np_layers(encoder.layers, hidden)) if len(encoder.layers) else hidden


def np_layers(layers: Any, x: np.ndarray) -> np.ndarray:
    """Linear layers with tanh between them."""
    for place, layer in enumerate(layers):
        x = x if place == 0 else np.tanh(x)
        x = x @ layer.weight.double().numpy().T + layer.bias.double().numpy()
    return x


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 0.03), (250, 0.015), (416, 0.00504), (417, 0.005), (600, 0.005)]
)
def test_lamda_falls_by_epochs(planted: dict[str, Any], epoch: int, expected: float) -> None:
    model = make(planted, n_clusters=1).network
    model.epoch = epoch
    assert model._lamda() == pytest.approx(expected)
    model.lamda_anneal_epochs = 0
    assert model._lamda() == 0.03


@pytest.mark.parametrize(("update", "expected"), [(0, 0.0), (1, 0.005), (60, 0.3), (999, 0.3)])
def test_kl_weight_rises_by_updates(planted: dict[str, Any], update: int, expected: float) -> None:
    model = make(planted, n_clusters=1).network
    model.n_updates = update
    assert model._kl_weight() == pytest.approx(expected)
    model.kl_anneal_updates = 0
    assert model._kl_weight() == 0.3


def test_users_without_interactions_and_padding_stay_out_of_the_loss(
    planted: dict[str, Any],
) -> None:
    model = make(planted).network
    seen: list[Any] = []
    encode = model.autoencoder.encode
    model.autoencoder.encode = lambda rows: seen.append(rows) or encode(rows)
    model.calculate_loss(Interaction({"user_id": torch.tensor([0, 5, 0, 9])}))
    assert torch.equal(seen[0].items, model.rows.batch(torch.tensor([5, 9])).items)
    terms = model.calculate_loss(Interaction({"user_id": torch.tensor([0, 0])}))
    assert len(terms) == 3
    assert sum(terms) == 0
    sum(terms).backward()
    assert (len(seen), model.n_updates) == (1, 1)


# Clusters and sizes


def blobs(rng: np.random.Generator) -> np.ndarray:
    """Item vectors around three far points, as many as the planted set has; row 0 is apart."""
    near = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], [20, 50, 80], axis=0)
    return np.concatenate([[[1e4, 1e4]], near + rng.normal(size=(150, 2))]).astype(np.float32)


def test_clusters_are_those_of_the_vectors(
    planted: dict[str, Any], rng: np.random.Generator
) -> None:
    model = make(planted, n_clusters=3).network
    vectors = blobs(rng)
    model.cluster_items(vectors)
    found = model.clusters.clone()
    assert found[0] == -1
    for start, end in ((1, 21), (21, 71), (71, 151)):
        assert len(found[start:end].unique()) == 1
    assert len(found.unique()) == 4
    counts = sorted(len(encoder.weight) for encoder in model.autoencoder.encoders)
    assert counts == [20, 50, 80]
    model.cluster_items(vectors)
    assert torch.equal(model.clusters, found)


def test_too_few_distinct_vectors(planted: dict[str, Any]) -> None:
    model = make(planted, n_clusters=3).network
    vectors = np.zeros((N_ITEMS, 2), dtype=np.float32)
    vectors[5:] = 1
    with pytest.raises(UserError, match=r"`n_clusters`: found 3.*fall into 2 only"):
        model.cluster_items(vectors)


@pytest.mark.parametrize(
    ("size", "counts", "expected"),
    [
        (300, [1405, 1405], [150, 150]),
        (300, [1000, 1810], [106, 194]),
        (10, [3, 3, 3], [3, 3, 4]),
        (3, [98, 1, 1], [1, 1, 1]),
        (5, [1, 1, 98], [1, 1, 3]),
        (7, [4], [7]),
    ],
)
def test_widths_in_proportion(size: int, counts: list[int], expected: list[int]) -> None:
    assert proportional_sizes(size, counts) == expected


def test_parameters_are_fewer_with_clusters() -> None:
    """An encoder of n items and width d shrinks to the sum of n_c * d_c."""
    clusters = torch.tensor([-1, *[0] * 50, *[1] * 50])
    one, two = (
        ClusteredAutoencoder(c, [20], split_decoder=True) for c in (clusters.clamp_max(0), clusters)
    )
    assert [e.weight.shape for e in one.encoders] == [(100, 40)]
    assert [e.weight.shape for e in two.encoders] == [(50, 20), (50, 20)]
    assert [linear_of(d)[0].weight.shape for d in two.decoders] == [(50, 10), (50, 10)]


def test_item_in_no_cluster_is_neither_read_nor_scored() -> None:
    torch.manual_seed(1)
    clusters = torch.tensor([-1, 1, 0, 1, 1, 0])
    model = ClusteredAutoencoder(clusters, [4], split_decoder=True)
    latent = torch.randn(3, 4)
    scores, logits = model.scores(latent), model.decode(latent)
    assert logits.shape == (3, 5)
    assert torch.equal(scores[:, 1:], logits[:, [2, 0, 3, 4, 1]])
    assert not scores[:, 0].any()


# Inference


@pytest.mark.parametrize("mean_type", ["x0", "eps"])
@pytest.mark.parametrize("sampling_steps", [0, 3])
@pytest.mark.parametrize("respaced_steps", [None, 1, 4])
@torch.no_grad()
def test_scores_equal_the_chain_step_by_step(
    planted: dict[str, Any], mean_type: str, sampling_steps: int, respaced_steps: int | None
) -> None:
    model = make(
        planted,
        n_clusters=3,
        mean_type=mean_type,
        sampling_steps=sampling_steps,
        respaced_steps=respaced_steps,
    ).network
    batch = model.rows.batch(torch.arange(0, 30))  # with the padding, a row without items
    torch.manual_seed(1)
    found = model._scores(batch)
    torch.manual_seed(1)
    expected = model.scores_step_by_step(batch)
    tolerance = 2e-5 * max(expected.abs().max().item(), 1.0)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
    assert same_ranking(found[1:, 1:], expected[1:, 1:], 20) == 1.0


class Products(TorchDispatchMode):
    """Notes the shapes that enter products."""

    def __init__(self) -> None:
        super().__init__()
        self.dense: list[list[tuple[int, ...]]] = []
        self.n_sparse = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        name = function.overloadpacket.__name__
        if name in ("mm", "addmm"):
            self.dense.append([tuple(a.shape) for a in args if isinstance(a, torch.Tensor)])
        self.n_sparse += "embedding_bag" in name
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("steps", [3, 40])
@torch.no_grad()
def test_items_enter_two_products_however_many_steps(planted: dict[str, Any], steps: int) -> None:
    """Sparse rows with the encoders' first layers, and the decoder's last layer."""
    model = make(planted, steps=steps).network
    with Products() as products:
        model.full_sort_predict(users_of())
    assert products.n_sparse == 2  # one a cluster, of its own rows
    wide = [shapes for shapes in products.dense if any(150 in s or 151 in s for s in shapes)]
    assert len(wide) == 1
    assert (150,) in wide[0]


@torch.no_grad()
def test_pairs_have_the_scores_of_the_rows(planted: dict[str, Any]) -> None:
    model = make(planted).network
    users, items = torch.tensor([4, 2, 4, 9]), torch.tensor([1, 7, 3, 7])
    rows = model.full_sort_predict(Interaction({"user_id": users}))
    pairs = model.predict(Interaction({"user_id": users, "item_id": items}))
    torch.testing.assert_close(pairs, rows[torch.arange(4), items])
    assert rows.shape == (4, N_ITEMS)
    assert rows.dtype == torch.float32


@pytest.mark.parametrize("model", ["LDiffRec", "LTDiffRec"])
@torch.no_grad()
def test_history_scores_as_the_same_user_in_the_data(planted: dict[str, Any], model: str) -> None:
    run = make(planted, model, **TIMED)
    network, train = run.network, run.split.train._dataset.inter_feat
    histories = []
    for user in range(1, 9):
        own = train["user_id"] == user
        order = torch.argsort(train["timestamp"][own], stable=True)
        histories.append(train["item_id"][own][order].tolist())
    expected = network.full_sort_predict(Interaction({"user_id": torch.arange(1, 9)}))
    torch.testing.assert_close(network.score_histories(histories), expected, atol=1e-5, rtol=1e-4)
    turned = network.score_histories([history[::-1] for history in histories])
    assert torch.allclose(turned, expected, atol=1e-5) == (model == "LDiffRec")


# Settings


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"n_clusters": 0}, "`n_clusters`: found 0"),
        ({"n_clusters": 151}, r"`n_clusters`: found 151, expected 1\.\.150"),
        ({"encoder_sizes": []}, r"`encoder_sizes`: found \[\]"),
        ({"encoder_sizes": [300, 1]}, r"`encoder_sizes`: found \[300, 1\].*at least 2"),
        ({"encoder_sizes": [9.5]}, r"`encoder_sizes`: found \[9.5\] \(list\), expected a list"),
        (
            {"decoder_sizes": [0]},
            r"`decoder_sizes`: found \[0\].*a whole number from 1 to",
        ),
        ({"decoder_sizes": [1], "split_decoder": True}, r"`decoder_sizes`.*at least 2"),
        ({"encoder_dropout": 1.5, "n_clusters": 1}, "`encoder_dropout`: found 1.5"),
        ({"encoder_sizes": ["a"]}, r"`encoder_sizes`: found \['a'\]"),
        ({"lamda": float("inf")}, "`lamda`: found inf"),
        ({"kl_weight": -0.1}, "`kl_weight`: found -0.1"),
        ({"sampling_steps": 7}, r"`sampling_steps`: found 7, expected 0\.\.6"),
    ],
)
def test_settings_that_contradict(planted: dict[str, Any], keys: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        Run(Config("LDiffRec", "planted", (), {**planted, **SMALL, **keys}))


def test_pre_training_needs_negatives(planted: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="`train_neg_sample_args`.*LightGCN learns from pairs"):
        run_recbole_diffusion(
            "LDiffRec", "planted", config_dict={**planted, **SMALL, "train_neg_sample_args": None}
        )


@pytest.mark.parametrize("model", ["LDiffRec", "LTDiffRec"])
def test_published_settings_are_keys_of_the_model(planted: dict[str, Any], model: str) -> None:
    defaults = read_properties(properties_folder() / "model" / f"{model}.yaml")
    files = list((properties_folder() / "model_on_dataset" / model).iterdir())
    assert len(files) == {"LDiffRec": 6, "LTDiffRec": 3}[model]
    for path in files:
        settings = read_properties(path)
        assert settings.keys() <= defaults.keys()
        run = Run(Config(model, "planted", (), {**planted, **TIMED, **settings}))
        assert run.network.lamda == settings["lamda"]


# Optimiser and checkpoints


def test_each_part_has_its_learning_rate(planted: dict[str, Any], tmp_path: Path) -> None:
    """As two AdamW would step, to the bit."""
    rates = {"learning_rate": 1e-2, "denoiser_learning_rate": 3e-4, "weight_decay": 0.1}
    models = [make(planted, **rates) for _ in range(2)]
    trainer = models[0].make_trainer(tmp_path)
    ours, other = (run.network for run in models)
    same = {"weight_decay": 0.1, "fused": True}
    pair = [
        torch.optim.AdamW(other.autoencoder.parameters(), lr=1e-2, **same),
        torch.optim.AdamW(other.denoiser.parameters(), lr=3e-4, **same),
    ]
    for step in range(3):
        for model, optimizers in ((ours, [trainer.optimizer]), (other, pair)):
            torch.manual_seed(step)
            model.zero_grad()
            sum(model.calculate_loss(users_of())).backward()
            for optimizer in optimizers:
                optimizer.step()
    for one, two in zip(ours.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


TRAINED = {
    "epochs": 40, "eval_step": 5, "encoder_sizes": [32], "hidden_sizes": [32], "dropout": 0.1,
    "noise_scale": 0.5, "learning_rate": 1e-2, "denoiser_learning_rate": 5e-3,
    "train_batch_size": 64, "pretrain_epochs": 3, "pretrain_batch_size": 512,
    "embedding_size": 16,
}  # fmt: skip


def test_saved_run_is_scored_without_clustering_again(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {**planted, **TRAINED, "epochs": 3, "eval_step": 1}
    result = run_recbole_diffusion("LDiffRec", "planted", config_dict=keys)
    last = read_checkpoint(Path(result["run_folder"]) / "last.pth")
    clusters = last["state_dict"]["clusters"]
    assert set(clusters.tolist()) == {-1, 0, 1}
    assert (clusters == -1).nonzero().tolist() == [[0]]
    assert last["attributes"][".epoch"] == 2
    assert last["attributes"][".n_updates"] == 3 * 4
    monkeypatch.setattr(LDiffRec, "cluster_items", lambda *_: pytest.fail("clustered again"))
    monkeypatch.setattr(LDiffRecTrainer, "on_fit_start", lambda *_: pytest.fail("trained again"))
    again = evaluate_run(result["run_folder"])
    assert (again["test"], again["best_epoch"]) == (result["test"], result["best_epoch"])


def test_checkpoint_of_a_clustered_model_loads_into_any(planted: dict[str, Any]) -> None:
    """Into one without clusters, with the same, or with others of other sizes."""
    saved = make(planted).network
    expected = saved.full_sort_predict(users_of())
    fresh = Run(Config("LDiffRec", "planted", (), {**planted, **SMALL})).network
    assert not fresh.is_clustered
    with pytest.raises(RuntimeError, match="cluster_items"):
        fresh.full_sort_predict(users_of())
    other = make(planted).network
    other.cluster_items(np.random.default_rng(1).normal(size=(N_ITEMS, 3)).astype(np.float32))
    for model in (fresh, other, make(planted).network):
        model.load_state_dict(saved.state_dict())
        model.eval()
        assert torch.equal(model.full_sort_predict(users_of()), expected)


def test_embeddings_from_a_file_by_original_id(
    planted: dict[str, Any], tmp_path: Path, rng: np.random.Generator
) -> None:
    """In any order of lines; no LightGCN is trained."""
    tokens = Run(Config("LDiffRec", "planted", (), {**planted, **SMALL})).split.dataset
    names = tokens.field2id_token["item_id"]
    vectors = blobs(rng)
    order = rng.permutation(np.arange(1, N_ITEMS))
    np.savez(tmp_path / "items.npz", ids=names[order].astype(str), matrix=vectors[order])
    keys = {
        **planted, **SMALL, "n_clusters": 3,
        "pretrained_item_embedding": str(tmp_path / "items.npz"),
    }  # fmt: skip
    result = run_recbole_diffusion("LDiffRec", "planted", config_dict=keys)
    state = read_checkpoint(Path(result["run_folder"]) / "last.pth")["state_dict"]
    for start, end in ((1, 21), (21, 71), (71, 151)):
        assert len(state["clusters"][start:end].unique()) == 1
    assert not (Path(planted["output_dir"]) / "cache").exists()


@pytest.mark.parametrize(
    ("model", "keys"), [("LDiffRec", {}), ("InfoDCL", {"channels": ["knowledge"]})], ids=str
)
def test_embedding_file_that_is_missing_is_told_with_its_key(
    planted: dict[str, Any], model: str, keys: dict[str, Any]
) -> None:
    keys = {**planted, **keys, "pretrained_item_embedding": "nowhere.npz", "epochs": 1}
    with pytest.raises(UserError, match=r"key `pretrained_item_embedding`: .*nowhere\.npz"):
        run_recbole_diffusion(model, "planted", config_dict=keys)


# Runs


DRIFTING = {
    "encoder_sizes": [16], "hidden_sizes": [16], "learning_rate": 1e-2,
    "denoiser_learning_rate": 5e-3, "stopping_step": 12, "pretrain_epochs": 3,
    "embedding_size": 16,
}  # fmt: skip


# Recall@10 of seeds 1 to 3, mean: LDiffRec .186, LTDiffRec .409; with shuffled times .189, .166:
# weights that tell nothing cost a little.


@pytest.mark.slow
@pytest.mark.parametrize("is_shuffled", [False, True])
def test_weights_by_time_pay_where_tastes_drift(
    write_dataset: Callable[..., Path], tmp_path: Path, is_shuffled: bool
) -> None:
    path = drift(write_dataset, is_shuffled)
    plain, timed = (
        drift_recall(path, tmp_path, model, 1, **DRIFTING) for model in ("LDiffRec", "LTDiffRec")
    )
    assert timed < 1.3 * plain if is_shuffled else timed > 1.5 * plain
