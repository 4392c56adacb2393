"""DiffRec and T-DiffRec: parity with RecBole's, the paper's equations, inference, and fold-in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffrec_tools import drift, drift_recall, same_ranking, share_denoiser
from recbole.data.interaction import Interaction

from recbole_diffusion import load_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.nn.rows import RowBatch
from recbole_diffusion.runs.run import Run
from recbole_diffusion.settings.config import Config
from recbole_diffusion.training.checkpoint import read_checkpoint
from recbole_diffusion.training.rows import can_fuse

SMALL = {"hidden_sizes": [5, 16], "steps": 6, "noise_scale": 1.0, "noise_min": 0.05}
NOISE = {"noise_max": 0.5, "train_batch_size": 64}
HOST = {"dims_dnn": [16, 5, 16], "embedding_size": 10, "noise_schedule": "linear-var"}


def make(planted: dict[str, Any], model: str = "DiffRec", **keys: Any) -> Run:
    run = Run(Config(model, "planted", (), {**planted, **SMALL, **NOISE, **keys}))
    run.network.eval()
    return run


def make_host(planted: dict[str, Any], **keys: Any) -> Run:
    own = {key: value for key, value in SMALL.items() if key != "hidden_sizes"}
    run = Run(Config("recbole.DiffRec", "planted", (), {**planted, **own, **NOISE, **HOST, **keys}))
    run.network.eval()
    return run


def users_of(run: Run, n: int = 40) -> Interaction:
    return Interaction({"user_id": torch.arange(1, n + 1)})


def rows_of(network: Any, n: int = 40) -> RowBatch:
    return network.rows.batch(torch.arange(1, n + 1))


# Parity with RecBole's DiffRec


@pytest.mark.parametrize("mean_type", ["x0", "eps"])
@pytest.mark.parametrize("norm", [False, True])
@torch.no_grad()
def test_host_with_the_same_weights(planted: dict[str, Any], mean_type: str, norm: bool) -> None:
    """Rows, network, posterior mean, loss of each step, scores and ranking."""
    keys = {"mean_type": mean_type, "norm": norm}
    ours, host = make(planted, **keys).network, make_host(planted, **keys).network
    share_denoiser(ours, host)
    users = torch.arange(1, 41)
    x_start = ours.rows.batch(users).dense(ours.n_items)
    assert torch.equal(x_start, host.get_rating_matrix(users))

    torch.manual_seed(3)
    timesteps, noise = torch.randint(0, 6, (40,)), torch.randn_like(x_start)
    x_t = ours.diffusion.q_sample(x_start, timesteps, noise)
    host_x_t = host.q_sample(x_start, timesteps, noise).float()
    torch.testing.assert_close(x_t, host_x_t)
    output = ours.denoiser(x_t, timesteps)
    torch.testing.assert_close(output, host.mlp(x_t, timesteps), atol=1e-6, rtol=1e-5)
    moments = ours.diffusion.p_mean_variance(ours.denoiser, x_t, timesteps, mean_type)
    host_mean = host.p_mean_variance(x_t, timesteps)["mean"].float()
    torch.testing.assert_close(moments.mean, host_mean, atol=1e-4, rtol=1e-4)

    target = x_start if mean_type == "x0" else noise
    square = (target - output).square().mean(dim=1)
    expected = host.reweight_loss(x_start, x_t, square, timesteps, target, output, "cpu").float()
    found, _ = ours.step_losses(x_start, timesteps, noise)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)

    scores = ours.full_sort_predict(Interaction({"user_id": users}))
    host_scores = host.full_sort_predict(Interaction({"user_id": users})).float()
    tolerance = 1e-4 * host_scores.abs().max().item()
    torch.testing.assert_close(scores, host_scores, atol=tolerance, rtol=1e-4)
    assert same_ranking(scores, host_scores, 10) > 0.99


def test_initial_weights_are_the_published_ones(planted: dict[str, Any]) -> None:
    """Deviation sqrt(2 / (fan_in + fan_out)), biases 0.001."""
    network = make(planted, hidden_sizes=[200, 600]).network.denoiser
    for layer in (network.first_layer, *network.layers_between, network.last_layer):
        expected = (2 / sum(layer.weight.shape)) ** 0.5
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert layer.bias.std().item() == pytest.approx(0.001, rel=0.2)


# Loss


def test_users_without_interactions_and_padding_stay_out_of_the_loss(
    planted: dict[str, Any],
) -> None:
    network = make(planted).network
    calls: list[torch.Tensor] = []

    def note(x_start: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(x_start)
        return x_start.sum(dim=1), x_start

    network.step_losses = note
    network.calculate_loss(Interaction({"user_id": torch.tensor([0, 5, 0, 9])}))
    assert len(calls[0]) == 2
    loss = network.calculate_loss(Interaction({"user_id": torch.tensor([0, 0])}))
    assert len(calls) == 1
    assert loss == 0
    loss.backward()


def test_importance_history_is_in_the_checkpoint(planted: dict[str, Any]) -> None:
    network = make(planted).network
    network.train()
    for _ in range(3):
        network.calculate_loss(Interaction({"user_id": torch.arange(1, 65)}))
    state = network.state_dict()
    assert state["sampler.count"].sum() == 3 * 64
    other = make(planted).network
    other.load_state_dict(state)
    assert torch.equal(other.sampler.history, network.sampler.history)
    assert not any(name.startswith(("rows.", "diffusion.")) for name in state)


@pytest.mark.parametrize("use_half_snr", [False, True])
@torch.no_grad()
def test_loss_is_the_weighted_mean_of_the_steps_drawn(
    planted: dict[str, Any], use_half_snr: bool
) -> None:
    """Eq. 11, with its factor 1/2 and without, and Eq. 12, which has none."""
    keys = {"importance_sampling": False, "dropout": 0.0, "use_half_snr": use_half_snr}
    network = make(planted, **keys).network
    users = torch.arange(1, 20)
    torch.manual_seed(5)
    found = network.calculate_loss(Interaction({"user_id": users}))
    torch.manual_seed(5)
    timesteps, weights = network.sampler.sample(19)
    x_start = network.rows.batch(users).dense(network.n_items)
    noise = torch.randn_like(x_start)
    x_t = network.diffusion.q_sample(x_start, timesteps, noise)
    square = (network.denoiser(x_t, timesteps) - x_start).numpy().astype(np.float64) ** 2
    products = np.cumprod(1 - network.diffusion.betas.double().numpy())
    ratio = products / (1 - products)
    factor = 0.5 if use_half_snr else 1.0
    steps = timesteps.tolist()
    assert 0 in steps
    weight = np.array([1.0 if t == 0 else factor * (ratio[t - 1] - ratio[t]) for t in steps])
    assert (weights == 1).all()
    assert found.item() == pytest.approx((weight * square.mean(axis=1)).mean(), rel=1e-4)


@pytest.mark.parametrize("learner", ["adam", "adamw", "sgd", "adagrad", "rmsprop"])
def test_fused_updates_are_those_of_the_learner(
    planted: dict[str, Any], tmp_path: Path, learner: str
) -> None:
    run = make(planted, learner=learner, learning_rate=0.01, weight_decay=0.1)
    optimizer = run.make_trainer(tmp_path).optimizer
    names = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "adagrad": "Adagrad"}
    plain_class = getattr(torch.optim, names.get(learner, "RMSprop"))
    own = list(run.network.parameters())
    copies = [torch.nn.Parameter(p.detach().clone()) for p in own]
    plain = plain_class(copies, lr=0.01, weight_decay=0.1)
    for seed in range(3):
        for group in (own, copies):
            torch.manual_seed(seed)
            for parameter in group:
                parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        plain.step()
    assert optimizer.param_groups[0].get("fused") is (None if learner == "rmsprop" else True)
    for one, other in zip(own, copies, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("learner", "on_cpu", "on_cuda"),
    [
        ("Adam", True, True),
        ("AdamW", True, True),
        ("SGD", True, True),
        ("Adagrad", True, False),
        ("RMSprop", False, False),
    ],
)
def test_fused_updates_are_asked_for_where_they_exist(
    learner: str, on_cpu: bool, on_cuda: bool
) -> None:
    optimizer = getattr(torch.optim, learner)([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    assert can_fuse(optimizer, "cpu") is on_cpu
    assert can_fuse(optimizer, "cuda") is on_cuda


def test_the_trainer_asks_by_its_device(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(planted, learner="adagrad").make_trainer(tmp_path)
    assert trainer.optimizer.param_groups[0]["fused"] is True
    monkeypatch.setattr(trainer, "device", torch.device("cuda"))
    assert trainer._build_optimizer().param_groups[0]["fused"] is None


# Inference


@pytest.mark.parametrize("mean_type", ["x0", "eps"])
@pytest.mark.parametrize("sampling_steps", [0, 1, 3, 6])
@pytest.mark.parametrize("respaced_steps", [None, 1, 4])
@torch.no_grad()
def test_scores_equal_the_chain_step_by_step(
    planted: dict[str, Any], mean_type: str, sampling_steps: int, respaced_steps: int | None
) -> None:
    network = make(
        planted, mean_type=mean_type, sampling_steps=sampling_steps, respaced_steps=respaced_steps
    ).network
    batch = network.rows.batch(torch.arange(0, 30))  # with the padding, a row without items
    torch.manual_seed(1)
    found = network._scores(batch)
    torch.manual_seed(1)
    expected = network.scores_step_by_step(batch)
    tolerance = 2e-5 * max(expected.abs().max().item(), 1.0)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
    assert same_ranking(found[1:], expected[1:], 20) == 1.0


@pytest.mark.parametrize("sampling_steps", [1, 3, 6])
@torch.no_grad()
def test_inference_starts_after_so_many_forward_steps(
    planted: dict[str, Any], sampling_steps: int
) -> None:
    """Of T' steps of Eq. 1 one after the other, mean and variance: q(x_T' | x_0)."""
    network = make(planted, noise_scale=0.9, sampling_steps=sampling_steps).network
    rows = torch.ones(4000, network.n_items)
    betas = 1 - network.diffusion.alphas_cumprod.double().numpy()
    betas = 1 - (1 - betas) / np.concatenate([[1.0], 1 - betas[:-1]])
    scale, variance = 1.0, 0.0
    for beta in betas[:sampling_steps]:
        scale, variance = scale * np.sqrt(1 - beta), variance * (1 - beta) + beta
    torch.manual_seed(1)
    x_t = network._start(rows)
    assert x_t.mean().item() == pytest.approx(scale, abs=6e-3)
    assert x_t.var().item() == pytest.approx(variance, rel=0.02)
    assert len(set(betas[:sampling_steps])) == sampling_steps  # so that one step less is another


@torch.no_grad()
def test_without_noise_the_denoiser_is_applied_step_after_step(planted: dict[str, Any]) -> None:
    network = make(planted, noise_scale=0.0, reweight=False).network
    batch = network.rows.batch(torch.arange(1, 30))
    x = batch.dense(network.n_items)
    for step in reversed(range(6)):
        x = network.denoiser(x, torch.full((29,), step))
    torch.testing.assert_close(network._scores(batch), x, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("keys", "is_repeatable"),
    [({}, True), ({"norm": True}, True), ({"sampling_noise": True}, False)],
)
@torch.no_grad()
def test_shortcut_is_left_where_it_would_not_be_exact(
    planted: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, Any],
    is_repeatable: bool,
) -> None:
    network = make(planted, **keys).network
    used: list[int] = []
    step_by_step = type(network).scores_step_by_step
    monkeypatch.setattr(
        type(network),
        "scores_step_by_step",
        lambda s, rows: used.append(1) or step_by_step(s, rows),
    )
    batch = network.rows.batch(torch.arange(1, 9))
    same = torch.equal(network._scores(batch), network._scores(batch))
    assert same == is_repeatable
    assert len(used) == (2 if keys else 0)


@torch.no_grad()
def test_pairs_have_the_scores_of_the_rows(planted: dict[str, Any]) -> None:
    network = make(planted).network
    users, items = torch.tensor([4, 2, 4, 9]), torch.tensor([1, 7, 3, 7])
    rows = network.full_sort_predict(Interaction({"user_id": users}))
    pairs = network.predict(Interaction({"user_id": users, "item_id": items}))
    torch.testing.assert_close(pairs, rows[torch.arange(4), items])
    assert rows.dtype == torch.float32


@torch.no_grad()
def test_scores_follow_the_weights(planted: dict[str, Any]) -> None:
    """However the weights change between two calls."""
    network = make(planted).network.eval()
    before = network.full_sort_predict(users_of(network))
    saved = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.denoiser.last_layer.weight.mul_(2.0)
    doubled = network.full_sort_predict(users_of(network))
    torch.testing.assert_close(doubled, network.scores_step_by_step(rows_of(network)))
    assert not torch.allclose(before, doubled)
    network.load_state_dict(saved)
    torch.testing.assert_close(network.full_sort_predict(users_of(network)), before)
    network.denoiser.double()
    network.denoiser.float()
    torch.testing.assert_close(network.full_sort_predict(users_of(network)), before)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
    with torch.enable_grad():
        network.calculate_loss(users_of(network)).backward()
    optimizer.step()
    network.eval()
    stepped = network.full_sort_predict(users_of(network))
    torch.testing.assert_close(stepped, network.scores_step_by_step(rows_of(network)))


# Fold-in


@pytest.mark.parametrize("model", ["DiffRec", "TDiffRec"])
@torch.no_grad()
def test_history_scores_as_the_same_user_in_the_data(planted: dict[str, Any], model: str) -> None:
    run = make(planted, model, load_col={"inter": ["user_id", "item_id", "timestamp"]})
    network, train = run.network, run.split.train._dataset.inter_feat
    histories = []
    for user in range(1, 9):
        own = train["user_id"] == user
        order = torch.argsort(train["timestamp"][own], stable=True)
        histories.append(train["item_id"][own][order].tolist())
    expected = network.full_sort_predict(Interaction({"user_id": torch.arange(1, 9)}))
    torch.testing.assert_close(network.score_histories(histories), expected, atol=1e-6, rtol=1e-5)
    turned = network.score_histories([history[::-1] for history in histories])
    assert torch.allclose(turned, expected, atol=1e-6) == (model == "DiffRec")


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ([3, 0], "item 0, expected"),
        ([-1], "item -1"),
        ([9999], "item 9999"),
        ([2, 5, 2], "item 2 twice"),
    ],
)
def test_history_that_is_none(planted: dict[str, Any], history: list[int], told: str) -> None:
    with pytest.raises(UserError, match=f"histories: found {told}"):
        make(planted).network.score_histories([[1, 2], history])


def test_loaded_run_scores_users_outside_the_data(planted: dict[str, Any]) -> None:
    """By original ids; what comes out is the best epoch's."""
    keys = {**planted, "epochs": 4, "eval_step": 1, "metrics": ["Recall"], "topk": [20]}
    result = run_recbole_diffusion("DiffRec", "planted", config_dict=keys)
    folder = Path(result["run_folder"])
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    model, data = load_run(folder)
    assert not model.training
    best = read_checkpoint(folder / "best.pth")["state_dict"]
    assert all(torch.equal(tensor, best[name]) for name, tensor in model.state_dict().items())
    own = data.inter_feat["item_id"][data.inter_feat["user_id"] == 3]
    history = data.token2id("item_id", list(data.id2token("item_id", own)))
    expected = model.full_sort_predict(Interaction({"user_id": torch.tensor([3])}))
    torch.testing.assert_close(model.score_histories([history]), expected)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


# Settings


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"mean_type": "x1"}, "`mean_type`: found 'x1'"),
        ({"sampling_steps": 7}, "`sampling_steps`: found 7, expected 0..6"),
        ({"respaced_steps": 7}, "`respaced_steps`: found 7, expected null or 1..6"),
        ({"respaced_steps": 0}, "`respaced_steps`: found 0, expected at least 1"),
        ({"respaced_steps": True}, "`respaced_steps`: found True"),
        ({"noise_scale": 0.0}, "`noise_scale`: found 0"),
        ({"noise_scale": -0.1}, "`noise_scale`: found -0.1"),
        ({"noise_scale": float("nan")}, "`noise_scale`: found nan"),
        ({"noise_scale": 0.0, "reweight": False, "respaced_steps": 3}, "`respaced_steps`: found 3"),
        ({"hidden_sizes": []}, r"`hidden_sizes`: found \[\], expected .*one or more"),
        ({"hidden_sizes": None}, "`hidden_sizes`: found None"),
        ({"hidden_sizes": [8, 0]}, r"`hidden_sizes`: found \[8, 0\] \(list\), expected a list"),
        ({"hidden_sizes": ["a"]}, r"`hidden_sizes`: found \['a'\]"),
        ({"step_embedding_size": 1}, "`step_embedding_size`: found 1, expected from 2 to"),
        ({"dropout": 1.0}, "`dropout`: found 1.0"),
        ({"noise_schedule": "square"}, "`noise_schedule`: found 'square'"),
    ],
)
def test_settings_that_contradict(planted: dict[str, Any], keys: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        make(planted, **keys)


def test_first_beta_can_be_left_to_the_schedule(planted: dict[str, Any]) -> None:
    fixed, left = (make(planted, first_beta=beta).network.diffusion for beta in (1e-5, None))
    assert fixed.betas[0] == pytest.approx(1e-5)
    assert left.betas[0] == pytest.approx(SMALL["noise_min"])
    for keys in ({"first_beta": "no"}, {"respaced_steps": 2.5}):
        with pytest.raises(UserError, match=f"`{next(iter(keys))}`: found"):
            make(planted, **keys)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"w_min": -1.0}, "`w_min`: found -1.0, expected at least 0"),
        ({"w_min": 2.0}, "`w_min`: found 2.0"),
        ({"w_max": 0.0}, "`w_max`: found 0.0, expected above 0"),
        ({"w_min": float("nan")}, "`w_min`: found nan"),
    ],
)
def test_weights_by_time_out_of_range(
    planted: dict[str, Any], keys: dict[str, Any], told: str
) -> None:
    timed = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    with pytest.raises(UserError, match=told):
        make(planted, "TDiffRec", **timed, **keys)


def test_temporal_model_needs_times(planted: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="`TIME_FIELD`.*`load_col`"):
        make(planted, "TDiffRec", load_col={"inter": ["user_id", "item_id"]})


# Runs


@pytest.mark.parametrize("kind", ["power", "exponential"])
def test_other_weights_of_time(kind: str, write_dataset: Callable[..., Path]) -> None:
    """By the number of later interactions of the user, against NumPy."""
    rows = [("user_id:token", "item_id:token", "timestamp:float")]
    rows += [("u", f"i{i}", str(7 * i % 30)) for i in range(30)]
    rows += [(f"v{u}", f"i{i}", str(i)) for u in range(3) for i in range(30)]
    keys = {
        "data_path": str(write_dataset("timed", inter=rows)), "recency": kind, "topk": [5],
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "valid_metric": "Recall@5",
        "recency_decay": 0.5, "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"},
    }  # fmt: skip
    run = Run(Config("TDiffRec", "timed", (), keys))
    dataset = run.split.train._dataset
    (user,) = dataset.token2id("user_id", ["u"])
    found = run.network.rows.batch(torch.tensor([user])).dense(dataset.item_num)[0]
    names = sorted(range(30), key=lambda i: 7 * i % 30)[:28]  # two are held out
    age = np.arange(28)[::-1]
    expected = (1.0 + age) ** -0.5 if kind == "power" else np.exp(-0.5 * age)
    places = dataset.token2id("item_id", [f"i{i}" for i in names])
    np.testing.assert_allclose(found[places], expected, rtol=1e-6)


DRIFTING = {"hidden_sizes": [32, 64], "learning_rate": 6e-3, "epochs": 12}


# Recall@10 of seeds 1 to 5, mean: DiffRec .154, TDiffRec .402; with shuffled times .168, .174.


@pytest.mark.slow
@pytest.mark.parametrize("is_shuffled", [False, True])
def test_weights_by_time_pay_where_tastes_drift(
    write_dataset: Callable[..., Path], tmp_path: Path, is_shuffled: bool
) -> None:
    path = drift(write_dataset, is_shuffled)
    plain, timed = (
        drift_recall(path, tmp_path, model, 1, **DRIFTING) for model in ("DiffRec", "TDiffRec")
    )
    assert timed < 1.3 * plain if is_shuffled else timed > 1.5 * plain
