"""DDRM against float64 NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from channel_tools import (
    BATCH,
    N_USERS,
    PAIRS,
    SIZE,
    STEPS,
    TinyDataset,
    assert_near,
    base_embeddings,
    batch,
    linear,
    paper_step_embedding,
    randomize,
    settings,
    weights,
)

from recbole_diffusion import load_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models.ddrm import model as module
from recbole_diffusion.models.ddrm.model import DDRM
from recbole_diffusion.training.checkpoint import read_checkpoint

STEP_SIZE = 5
NOISE = {"noise_scale": 0.8, "noise_min": 0.05, "noise_max": 0.9}
KEYS = {**NOISE, "hidden_sizes": [7, 4], "step_embedding_size": STEP_SIZE, "sampling_steps": 6}
USERS, POSITIVE, NEGATIVE = (np.array(column) for column in BATCH.values())


def made(**changes: Any) -> DDRM:
    config = {**settings("DDRM", **{**KEYS, **changes}), "seed": 3}
    return randomize(DDRM(config, TinyDataset()))


def alphas_cumprod() -> np.ndarray:
    """Of the schedule whose variance grows linearly."""
    low, high = (NOISE["noise_scale"] * NOISE[key] for key in ("noise_min", "noise_max"))
    return 1 - (low + (high - low) * np.arange(STEPS) / (STEPS - 1))


def noised(start: np.ndarray, step: int, noise: np.ndarray) -> np.ndarray:
    kept = alphas_cumprod()[step]
    return np.sqrt(kept) * start + np.sqrt(1 - kept) * noise


def denoised(model: DDRM, side: str, x: np.ndarray, guide: np.ndarray, step: int) -> np.ndarray:
    """f(x, guide, t) of one row [d]."""
    w = weights(model)
    embedded = linear(paper_step_embedding(step, STEP_SIZE), w, f"{side}_denoiser.step_layer")
    hidden = np.concatenate([x, guide, embedded])
    for layer in range(2):
        hidden = np.maximum(linear(hidden, w, f"{side}_denoiser.layers.{layer}"), 0)
    return linear(hidden, w, f"{side}_denoiser.layers.2")


@pytest.mark.parametrize("power", [0.0, 0.7])
def test_losses_are_reconstruction_and_ranking_of_what_is_denoised(power: float) -> None:
    model = made(reweight_power=power, reconstruction_weight=0.3)
    rng, w = np.random.default_rng(4), weights(model)
    noise = rng.normal(size=(3, len(USERS), SIZE))
    steps = rng.integers(STEPS, size=len(USERS))
    tables = w["user_embedding.weight"], w["item_embedding.weight"]
    expected = []
    for n, t in enumerate(steps):
        user, item, drawn = tables[0][USERS[n]], tables[1][POSITIVE[n]], tables[1][NEGATIVE[n]]
        noisy = [noised(x, t, e) for x, e in zip((user, item, drawn), noise[:, n], strict=True)]
        pred_user = denoised(model, "user", noisy[0], item, t)
        pred_item = denoised(model, "item", noisy[1], user, t)
        pred_drawn = denoised(model, "item", noisy[2], user, t)
        error = ((pred_user - user) ** 2).sum() + ((pred_item - item) ** 2).sum()
        ranking = np.log1p(np.exp(pred_user @ (pred_drawn - pred_item)))
        weight = (1 / (1 + np.exp(-pred_user @ pred_item))) ** power
        expected.append([0.3 * weight * error, 0.7 * weight * ranking])
    start = torch.stack(
        [
            model.user_embedding.weight[USERS],
            model.item_embedding.weight[POSITIVE],
            model.item_embedding.weight[NEGATIVE],
        ]
    )
    drawn_noise = torch.from_numpy(noise).float()
    found = model.pair_losses(start, torch.from_numpy(steps), drawn_noise)
    assert_near(torch.stack(found, dim=1), np.array(expected))


def test_a_batch_counts_its_pairs_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made()
    given: list[torch.Tensor] = []

    def losses(start: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        given.append(start)
        n = torch.arange(start.shape[1]).float()
        return n, 10 * n

    monkeypatch.setattr(model, "pair_losses", losses)
    terms = model.calculate_loss(batch())
    mean = (len(USERS) - 1) / 2
    assert [term.item() for term in terms] == [mean, 10 * mean]
    w = weights(model)
    expected = [w["user_embedding.weight"][USERS]]
    expected += [w["item_embedding.weight"][ids] for ids in (POSITIVE, NEGATIVE)]
    assert_near(given[0], np.stack(expected))


def test_the_weight_of_a_pair_has_no_gradient() -> None:
    """Else a pair would lower its loss by a lower score."""
    model = made(reweight_power=2.0, reconstruction_weight=1.0)
    start = torch.stack([model.item_embedding.weight[POSITIVE]] * 3).detach()
    steps, noise = torch.zeros(len(USERS), dtype=torch.int64), torch.zeros_like(start)
    reconstruction, _ = model.pair_losses(start, steps, noise)
    reconstruction.sum().backward()
    found = model.item_denoiser.layers[2].bias.grad
    plain = made(reconstruction_weight=1.0)
    plain.load_state_dict(model.state_dict())
    of_pairs = plain.pair_losses(start, steps, noise)[0]
    shares = (reconstruction / of_pairs).detach()
    plain.zero_grad()
    (shares * of_pairs).sum().backward()
    torch.testing.assert_close(found, plain.item_denoiser.layers[2].bias.grad)


@pytest.mark.parametrize("n_taken", [1, 6, STEPS])
def test_scores_are_those_of_the_item_generated_from_the_mean(
    n_taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_USERS", 3)
    model = made(sampling_steps=n_taken)
    w, kept = weights(model), alphas_cumprod()
    before = np.concatenate([[1.0], kept[:-1]])
    noise = torch.randn(N_USERS, SIZE, generator=torch.Generator().manual_seed(3)).numpy()
    expected = []
    for user in range(N_USERS):
        mine = sorted({item for other, item in PAIRS if other == user})
        items = w["item_embedding.weight"][mine]
        x = noised(items.mean(axis=0) if mine else np.zeros(SIZE), n_taken - 1, noise[user])
        for t in reversed(range(n_taken)):
            predicted = denoised(model, "item", x, w["user_embedding.weight"][user], t)
            alpha = kept[t] / before[t]
            x = (
                np.sqrt(before[t]) * (1 - alpha) * predicted + np.sqrt(alpha) * (1 - before[t]) * x
            ) / (1 - kept[t])
        expected.append(x @ w["item_embedding.weight"].T)
    users = torch.arange(N_USERS)
    assert_near(model.full_sort_predict({"user_id": users}), np.array(expected))


def test_embeddings_begin_as_those_that_are_given() -> None:
    model = made()
    users, items = base_embeddings()
    model.set_base_embeddings(users, items)
    assert_near(model.user_embedding.weight, users)
    assert_near(model.item_embedding.weight, items)


@pytest.mark.parametrize("moves", ["embeddings", "denoisers"])
def test_embeddings_are_lightgcn_s_and_have_a_rate_of_their_own(
    planted: dict[str, Any], moves: str
) -> None:
    still = "learning_rate" if moves == "embeddings" else "embedding_learning_rate"
    keys = {"embedding_size": 8, "pretrain_epochs": 1, "steps": 2, "sampling_steps": 2,
            "embedding_learning_rate": 0.01}  # fmt: skip
    model, _ = load_run(
        run_recbole_diffusion("DDRM", "planted", (), {**planted, **keys, still: 0.0})["run_folder"]
    )
    (cached,) = Path(planted["output_dir"], "cache").glob("lightgcn-*.pth")
    stage = read_checkpoint(cached)
    tables = model.user_embedding.weight, model.item_embedding.weight
    bases = stage["user_embedding"], stage["item_embedding"]
    is_same = [bool((table.detach().numpy() == base).all())
               for table, base in zip(tables, bases, strict=True)]  # fmt: skip
    assert is_same == [moves == "denoisers"] * 2
    rates = [group["lr"] for group in model.parameter_groups()]
    assert rates == ([0.0, 0.01] if moves == "embeddings" else [0.001, 0.0])
    grouped = {id(p) for group in model.parameter_groups() for p in group["params"]}
    assert grouped == {id(p) for p in model.parameters()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling_steps": 51}, "`sampling_steps`: found 51, expected 1..50"),
        ({"noise_max": 1.0, "noise_scale": 2.0}, "DDRM.*`noise_scale`"),
        ({"pretrained_user_embedding": "users.npz"}, "only one is set, but DDRM begins with both"),
        ({"embedding_size": 7}, "`pretrained_user_embedding`: .*of width 7 .*, not 6"),
    ],
)
def test_what_does_not_fit_is_refused(
    planted: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for side in ("user", "item"):
        ids = np.array([f"{side[0]}{n:03d}" for n in range(200)])
        np.savez(f"{side}s.npz", ids=ids, matrix=np.zeros((200, 6), np.float32))
        if "embedding_size" in changes:
            changes = {**changes, f"pretrained_{side}_embedding": f"{side}s.npz"}
    with pytest.raises(UserError, match=message):
        run_recbole_diffusion("DDRM", "planted", (), {**planted, **changes})
