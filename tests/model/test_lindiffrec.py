"""LinDiffRec: every step against float64 NumPy, RecBole's EASE, and what a run relies on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_diffusion import evaluate_run, load_run, resume_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models.lindiffrec import linear, local
from recbole_diffusion.models.lindiffrec import model as lindiffrec
from recbole_diffusion.models.lindiffrec.model import LinDiffRec
from recbole_diffusion.runs.run import Run
from recbole_diffusion.settings.config import Config
from recbole_diffusion.training.checkpoint import read_checkpoint

N_USERS, N_ITEMS, WIDTH = 40, 25, 6
HEAD = ("user_id:token", "item_id:token", "timestamp:float")
TEXTS = ["red fox", "red dog", "blue fox", "blue dog night"]
# Everything off: EASE, whose penalty is 3 in units of the mean diagonal.
OFF: dict[str, Any] = {
    "history_power": 0.0, "popularity_power": 0.0, "feature_weights": 0, "steps": 1,
    "reg_weight": 3.0, "recency": "none",
}  # fmt: skip
SMALL = {
    "topk": [5], "valid_metric": "Recall@5", "show_progress": False, "state": "WARNING",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
}  # fmt: skip


def histories(rng: np.random.Generator) -> list[np.ndarray]:
    """Items of each user, in the order of time."""
    sizes = rng.integers(4, 12, size=N_USERS)
    return [rng.choice(N_ITEMS, size, replace=False) for size in sizes]


@pytest.fixture
def own(write_dataset: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    """Settings of a run on made data: the last interaction of a user is for test."""
    rng = np.random.default_rng(5)
    rows = [HEAD]
    for user, items in enumerate(histories(rng)):
        times = np.sort(rng.choice(1000, len(items), replace=False))
        rows += [(f"u{user}", f"i{i}", str(t)) for i, t in zip(items, times, strict=True)]
    order = rng.permutation(len(rows) - 1) + 1  # the file is in no order
    items = [("item_id:token", "title:token_seq")]
    items += [(f"i{i}", f"{TEXTS[i % 4]} {'abcde'[i % 5] * 2}") for i in range(N_ITEMS)]
    path = write_dataset("made", inter=[HEAD, *(rows[i] for i in order)], item=items)
    vectors = rng.normal(size=(N_ITEMS, WIDTH)).astype(np.float32)
    np.savez(
        tmp_path / "dense.npz", ids=np.array([f"i{i}" for i in range(N_ITEMS)]), matrix=vectors
    )
    return {
        **SMALL, "data_path": str(path), "output_dir": str(tmp_path / "runs"),
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        "item_features": {
            "dense": {"file": str(tmp_path / "dense.npz")}, "words": {"fields": ["title"]},
        },
    }  # fmt: skip


def solved(keys: dict[str, Any], **changes: Any) -> tuple[Any, Any]:
    """The model of these settings, and RecBole's dataset of the train part."""
    run = Run(Config("LinDiffRec", "made", (), {**keys, **OFF, **changes}))
    run.network.solve()
    return run.network.eval(), run.split.train._dataset


def scores(model: Any) -> np.ndarray:
    everyone = {"user_id": torch.arange(model.n_users)}
    return model.full_sort_predict(everyone).detach().numpy()


def refusal(keys: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        solved(keys, **changes)
    return str(error.value)


# The formulas


class Reference:
    """The numbered steps in float64, from the interactions, one user and one prefix at a time."""

    def __init__(self, dataset: Any, keys: dict[str, Any]) -> None:
        self.keys = {**OFF, **keys}
        self.n = dataset.item_num
        users, items, times = (
            dataset.inter_feat[f].numpy() for f in ("user_id", "item_id", "timestamp")
        )
        of_user = [np.flatnonzero(users == user) for user in range(dataset.user_num)]
        self.histories = [items[own[np.argsort(times[own])]] for own in of_user]

    def age_weights(self, length: int) -> np.ndarray:
        kind, decay = self.keys["recency"], self.keys.get("recency_decay", 0.75)
        age = np.arange(length)[::-1]
        if kind == "power":
            return (1.0 + age) ** -decay
        if kind == "exponential":
            return np.exp(-decay * age)
        if kind == "linear" and length:
            return np.linspace(1 - decay, 1, length) if length > 1 else np.array([1 - decay])
        return np.ones(length)

    def rows(self, is_weighted: bool) -> np.ndarray:
        y = np.zeros((len(self.histories), self.n))
        for user, items in enumerate(self.histories):
            weights = self.age_weights(len(items)) if is_weighted else 1.0
            y[user, items] = weights * max(len(items), 1) ** -self.keys["history_power"]
        return y

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Of what a denoiser sees, and with what it predicts."""
        if self.keys.get("target") != "future":
            y = self.rows(self.keys.get("recency_in_training", False))
            return y.T @ y, y.T @ y
        seen, after = np.zeros((2, self.n, self.n))
        for items in self.histories:
            for cut in range(1, len(items)):
                s, t = np.zeros((2, self.n))
                s[items[:cut]] = self.age_weights(cut)
                t[items[cut:]] = 1
                scale = len(items) ** (-2 * self.keys["history_power"])
                seen += scale * np.outer(s, s)
                after += scale * np.outer(s, t)
        return seen, after

    def denoiser(self, moment: np.ndarray, target: np.ndarray, growth: float) -> np.ndarray:
        strength = self.keys["reg_weight"] * growth
        penalty = strength * self.tau * np.ones(self.n)
        if self.keys.get("noise") == "dropout":
            penalty = np.where(moment.diagonal() > 0, strength * moment.diagonal(), 1)
        inverse = np.linalg.inv(moment + np.diag(penalty))
        free = inverse @ (target + np.diag(penalty) * (target is moment))
        if target is moment:
            return free - inverse / inverse.diagonal()  # I - P diag(P)^-1
        return free - inverse * (free.diagonal() / inverse.diagonal())

    def scores(self, features: list[tuple[float, np.ndarray]]) -> np.ndarray:
        moment, target = self.moments()
        is_same = self.keys.get("target") != "future"
        self.tau = np.trace(moment) / (self.n - 1)
        guidance = sum(
            (alpha * self.tau * f @ f.T for alpha, f in features), np.zeros((self.n, self.n))
        )
        moment = moment + guidance
        target = moment if is_same else target + guidance
        ratio, is_growing = self.keys.get("step_ratio", 0.2), "noise_schedule" in self.keys
        x = self.rows(True)
        for step in range(self.keys["steps"], 0, -1):
            growth = ratio ** (-2 * (step - 1)) if is_growing else 1.0
            estimate = x @ self.denoiser(moment, target, growth)
            r = ratio if step > 1 else 0.0
            x = estimate + r * (x - estimate)
        counts = np.zeros(self.n)
        for items in self.histories:
            counts[items] += 1
        x = x * np.maximum(counts, 1) ** self.keys["popularity_power"]
        x[[len(items) == 0 for items in self.histories]] = counts
        return x


def unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def dense_vectors(keys: dict[str, Any], dataset: Any) -> np.ndarray:
    with np.load(keys["item_features"]["dense"]["file"]) as file:
        by_id = dict(zip(file["ids"], file["matrix"].astype(np.float64), strict=True))
    tokens = dataset.field2id_token["item_id"]
    vectors = np.stack([by_id[token] for token in tokens[1:]])
    return np.vstack([np.zeros(WIDTH), unit(vectors - vectors.mean(axis=0))])


def word_vectors(dataset: Any) -> np.ndarray:
    """TF-IDF by its definition: (1 + log tf) (1 + log((1 + n) / (1 + df))), at length 1."""
    texts = [f"{TEXTS[i % 4]} {'abcde'[i % 5] * 2}".split() for i in range(N_ITEMS)]
    grams = [[*words, *map(" ".join, zip(words, words[1:], strict=False))] for words in texts]
    in_texts = {g: sum(g in own for own in grams) for own in grams for g in own}
    kept = sorted(g for g, count in in_texts.items() if count >= 2)
    table = np.zeros((N_ITEMS, len(kept)))
    for item, own in enumerate(grams):
        for column, gram in enumerate(kept):
            count = own.count(gram)
            idf = 1 + np.log((1 + N_ITEMS) / (1 + in_texts[gram]))
            table[item, column] = (1 + np.log(count)) * idf if count else 0
    tokens = dataset.field2id_token["item_id"]
    return np.vstack([np.zeros(len(kept)), unit(table)[[int(t[1:]) for t in tokens[1:]]]])


PARTS: list[dict[str, Any]] = [
    {},
    {"history_power": 0.5},
    {"popularity_power": -0.2},
    {"noise": "dropout"},
    {"steps": 2},
    {"steps": 4, "step_ratio": 0.5},
    {"steps": 3, "step_ratio": 0.5, "noise_schedule": "geometric"},
    {"steps": 2, "step_ratio": 0.5, "noise_schedule": "geometric", "noise": "dropout"},
    {"recency": "power"},
    {"recency": "exponential", "recency_decay": 0.3, "recency_in_training": True},
    {"recency": "linear", "recency_decay": 0.9},
    {"target": "future"},
    {"target": "future", "recency": "power", "history_power": 0.25, "steps": 3},
    {"feature_weights": {"dense": 0.5}},
    {"feature_weights": {"words": 0.5}, "steps": 2},
    {"feature_weights": {"dense": 0.2, "words": 0.7}, "target": "future", "noise": "dropout"},
]


@pytest.mark.parametrize("keys", PARTS, ids=str)
def test_scores_are_those_of_the_steps_one_by_one(
    own: dict[str, Any], keys: dict[str, Any]
) -> None:
    model, dataset = solved(own, **keys)
    weights = keys.get("feature_weights", {})
    vectors = {"dense": lambda: dense_vectors(own, dataset), "words": lambda: word_vectors(dataset)}
    features = [(weight, vectors[name]()) for name, weight in weights.items()]
    expected = Reference(dataset, keys).scores(features)
    found = scores(model)
    np.testing.assert_allclose(found[:, 1:], expected[:, 1:], atol=2e-5)


def test_one_step_with_all_else_off_is_ease(own: dict[str, Any]) -> None:
    model, dataset = solved(own)
    tau = len(dataset.inter_feat) / (dataset.item_num - 1)
    ease = Run(Config("EASE", "made", (), {**own, "reg_weight": 3.0 * tau})).network
    users = {"user_id": torch.arange(1, model.n_users)}
    expected = ease.full_sort_predict(users).reshape(model.n_users - 1, -1)
    found = model.full_sort_predict(users).detach()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("block", [1, 60, 2**20])
def test_blocks_change_nothing(
    own: dict[str, Any], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"steps": 3, "noise_schedule": "geometric", "feature_weights": 0.3}
    expected = scores(solved(own, **keys)[0])
    monkeypatch.setattr(linear, "BLOCK_BYTES", block)
    np.testing.assert_allclose(scores(solved(own, **keys)[0]), expected, atol=1e-6)


def test_the_order_in_memory_changes_nothing(rng: np.random.Generator) -> None:
    rows = (rng.random((50, 12)) < 0.4).astype(np.float32)
    penalties = [np.full(12, 2.0, np.float32)] * 2
    by_row, by_column = (np.array(rows.T @ rows, order=order) for order in ("C", "F"))
    expected = linear.solve_chain(by_row, penalties, [0.2], torch.device("cpu"))
    found = linear.solve_chain(by_column, penalties, [0.2], torch.device("cpu"))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("n_steps", [1, 4])
def test_the_form_for_gpus_is_the_same(rng: np.random.Generator, n_steps: int) -> None:
    """PyTorch's functions, here on the CPU, with a penalty of two kinds."""
    rows = (rng.random((50, 12)) < 0.3).astype(np.float32)
    few, many = (np.full(12, value, np.float32) for value in (2.0, 9.0))
    penalties, ratios = [few, few, many, many][:n_steps], [0.2, 0.5, 0.3][: n_steps - 1]
    expected = linear.solve_chain(
        linear.second_moment(rows), penalties, ratios, torch.device("cpu")
    )
    moment = torch.from_numpy(linear.second_moment(rows))
    found = linear._solve_chain_gpu(moment, penalties, ratios)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


# What a run relies on


@pytest.mark.parametrize("keys", [{}, {"recency": "power"}, {"target": "future"}], ids=str)
def test_a_history_of_the_data_has_the_scores_of_its_user(
    own: dict[str, Any], keys: dict[str, Any]
) -> None:
    model, dataset = solved(own, history_power=0.5, steps=2, **keys)
    folded = model.score_histories(Reference(dataset, keys).histories).numpy()
    np.testing.assert_allclose(folded, scores(model), atol=1e-6)


def test_explanation_adds_up_to_the_score(own: dict[str, Any]) -> None:
    keys = {"history_power": 0.5, "steps": 2, "recency": "power", "popularity_power": 0.2}
    model, _ = solved(own, **keys)
    history = [3, 9, 4]
    parts = torch.stack([model.explain(history, item) for item in range(1, model.n_items)])
    torch.testing.assert_close(parts.sum(dim=1), model.score_histories([history])[0, 1:])
    # Alone, at the weight that it has within the history.
    alone = model.score_histories([[4]])[0, 1:] * (1 / 3) ** 0.5
    torch.testing.assert_close(parts[:, 2], alone)


@pytest.mark.parametrize("item", [-1, 0, 26, 99])
def test_an_item_outside_the_data_is_not_explained(own: dict[str, Any], item: int) -> None:
    model, _ = solved(own)
    with pytest.raises(UserError, match=rf"found item {item}, expected 1\.\.25"):
        model.explain([3, 4], item)


def test_a_user_without_history_is_given_what_is_popular(own: dict[str, Any]) -> None:
    model, _ = solved(own)
    np.testing.assert_array_equal(model.score_histories([[]])[0], model.counts)


def test_names_of_users_and_items_do_not_matter(own: dict[str, Any], tmp_path: Path) -> None:
    keys = {"steps": 2, "recency": "power", "history_power": 0.5}
    model, dataset = solved(own, **keys)
    lines = (Path(own["data_path"]) / "made" / "made.inter").read_text().splitlines()[1:]
    renamed = {f"{kind}{i}": f"{kind}{(7 * i) % 40}" for kind in "ui" for i in range(40)}
    rows = [[renamed[u], renamed[i], t] for u, i, t in (line.split("\t") for line in lines)]
    folder = tmp_path / "renamed" / "made"
    folder.mkdir(parents=True)
    text = "\n".join("\t".join(row) for row in [HEAD, *sorted(rows)])
    (folder / "made.inter").write_text(f"{text}\n")
    keys |= {"data_path": str(folder.parent), "item_features": None}
    other, its_dataset = solved(own, **keys)
    places = [
        its_dataset.token2id(field, [renamed[t] for t in dataset.field2id_token[field][1:]])
        for field in ("user_id", "item_id")
    ]
    found = scores(other)[np.ix_(*places)]
    np.testing.assert_allclose(found, scores(model)[1:, 1:], atol=1e-5)


def test_saved_run_scores_as_the_run_did(own: dict[str, Any]) -> None:
    keys = {**own, "steps": 2, "epochs": 5}
    result = run_recbole_diffusion("LinDiffRec", "made", config_dict=keys)
    assert result["epochs_trained"] == 1
    assert result["parameters"] is None
    again = evaluate_run(result["run_folder"])
    assert (again["valid"], again["test"]) == (result["valid"], result["test"])
    loaded, _ = load_run(result["run_folder"])
    saved = read_checkpoint(Path(result["run_folder"]) / "best.pth")["state_dict"]
    assert torch.equal(loaded.weights, saved["weights"])
    assert loaded.weights.abs().sum() > 0
    repeated = run_recbole_diffusion("LinDiffRec", "made", config_dict=keys)
    assert repeated["test"] == result["test"]


def test_run_that_is_stopped_while_it_is_solved_goes_on(
    own: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_recbole_diffusion("LinDiffRec", "made", config_dict=own)

    def stopped(self: LinDiffRec) -> None:
        raise KeyboardInterrupt

    keys = {**own, "output_dir": f"{own['output_dir']}/stopped"}
    with monkeypatch.context() as patch:
        patch.setattr(LinDiffRec, "solve", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_recbole_diffusion("LinDiffRec", "made", config_dict=keys)
    (folder,) = (p for p in Path(keys["output_dir"]).iterdir() if p.name != "cache")
    resumed = resume_run(folder)
    assert (resumed["valid"], resumed["test"]) == (whole["valid"], whole["test"])


def test_too_many_items_for_the_memory_are_told(
    own: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """26 items: two or three arrays of 2704 bytes, and a block; or what is kept of each item."""
    monkeypatch.setattr(lindiffrec, "machine_memory_mb", lambda: 2 * 26**2 * 4 / 2**20)
    text = refusal(own)
    assert "26 items need 0.0 GiB, and this machine has 0.0 GiB" in text
    assert "`local_items`" in text
    assert "`kept_weights`" in refusal(own, local_items=5)
    monkeypatch.setattr(lindiffrec, "machine_memory_mb", lambda: 3 * 26**2 * 4 / 2**20)
    solved(own)
    assert "`local_items`" in refusal(own, steps=2)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"noise": "salt"}, ["`noise`", "'salt'", "gaussian, dropout"]),
        ({"target": "past"}, ["`target`", "'past'"]),
        ({"recency": "cubic"}, ["`recency`", "'cubic'", "exponential"]),
        ({"recency": "linear", "recency_decay": 1.5}, ["`recency_decay`", "1.5", "0 to 1"]),
        ({"recency": "linear", "target": "future"}, ["`recency`", "'linear'", "target: future"]),
        ({"step_ratio": 1.0}, ["`step_ratio`", "1.0", "below 1"]),
        ({"step_ratio": 0.0, "noise_schedule": "geometric"}, ["`step_ratio`", "geometric"]),
        (
            {"steps": 300, "noise_schedule": "geometric"},
            ["`step_ratio`", "0.2", "0.955 or more", "steps: 300"],
        ),
        ({"popularity_power": 1000.0}, ["`popularity_power`", "1000.0"]),
        ({"history_power": 1000.0}, ["`history_power`", "1000.0", "all rows are 0"]),
        ({"history_power": 1000.0, "local_items": 5}, ["`history_power`", "all rows are 0"]),
        ({"reg_weight": 0.0}, ["`reg_weight`", "0.0", "above 0"]),
        ({"target": "future", "noise_schedule": "geometric"}, ["`noise_schedule`", "constant"]),
        ({"target": "future", "local_items": 5}, ["`local_items`", "5", "target: future"]),
        ({"local_items": 0}, ["`local_items`", "0"]),
        ({"kept_weights": 0}, ["`kept_weights`", "0"]),
        ({"feature_weights": {"sound": 1}}, ["`feature_weights`", "sound", "dense, words"]),
        ({"feature_weights": -1}, ["`feature_weights`", "-1"]),
        ({"reg_weight": 1e-60}, ["`reg_weight`", "positive definite"]),
        (
            {"recency": "power", "load_col": {"inter": ["user_id", "item_id"]},
             "eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "RO"}},
            ["TIME_FIELD", "timestamp"],
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused(
    own: dict[str, Any], keys: dict[str, Any], words: list[str]
) -> None:
    text = refusal(own, **keys)
    assert [word for word in words if word not in text] == [], text


# The form for large catalogues


LOCAL: list[dict[str, Any]] = [
    {},
    {"steps": 3, "step_ratio": 0.5, "noise_schedule": "geometric", "noise": "dropout"},
    {"feature_weights": {"dense": 0.2, "words": 0.7}, "recency": "power", "steps": 2},
]


@pytest.mark.parametrize("keys", LOCAL, ids=str)
def test_solved_among_all_items_the_local_form_is_the_dense_one(
    own: dict[str, Any], keys: dict[str, Any]
) -> None:
    dense, _ = solved(own, **keys)
    local, _ = solved(own, local_items=26, kept_weights=26, **keys)
    np.testing.assert_allclose(scores(local), scores(dense), atol=1e-5)
    history = [3, 17, 5]
    parts = local.explain(history, item=9)
    np.testing.assert_allclose(parts, dense.explain(history, item=9), atol=1e-5)
    torch.testing.assert_close(parts.sum(), local.score_histories([history])[0, 9])


def test_a_column_of_the_local_form_is_the_best_among_its_items(rng: np.random.Generator) -> None:
    """Against a ridge regression of each item on the others of its neighbourhood."""
    n, n_local, strength = 60, 24, 2.0
    rows = (rng.random((200, n)) < 0.15).astype(np.float32)
    features = rng.standard_normal((4, n)).astype(np.float32)
    asked: list[np.ndarray] = []

    def solve(moment: np.ndarray) -> np.ndarray:
        asked.append(moment.copy())
        penalty = np.full(len(moment), strength, np.float32)
        return linear.solve_chain(moment, [penalty], [], torch.device("cpu")).numpy()

    found, values = local.solve_local(
        [sp.csr_matrix(rows), features], lambda d: np.full_like(d, strength), solve, n_local, 24
    )
    assert {len(moment) for moment in asked} == {n_local}
    seen = np.vstack([rows, features]).astype(np.float64)
    for item in range(n):
        assert item in found[item]
        others = [other for other in found[item] if other != item]
        own = seen[:, others]
        expected = np.linalg.solve(
            own.T @ own + strength * np.eye(len(others)), own.T @ seen[:, item]
        )
        column = dict(zip(found[item].tolist(), values[item], strict=True))
        np.testing.assert_allclose([column[o] for o in others], expected, atol=1e-4)
        assert column[item] == 0
    correlations = (seen.T @ seen) ** 2 / np.diag(seen.T @ seen + strength * np.eye(n))
    chosen = np.mean([correlations[found[i], i].sum() for i in range(n)])
    drawn = np.mean([correlations[rng.permutation(n)[:n_local], i].sum() for i in range(n)])
    assert chosen > 1.2 * drawn


def test_items_of_separate_tastes_need_no_others(tmp_path: Path) -> None:
    """Three catalogues that share no user: each solved alone is all solved at once."""
    draw = np.random.default_rng(1)
    tastes = [np.flatnonzero(np.arange(96) % 3 == t) for t in range(3)]
    rows = np.zeros((600, 96), np.float32)
    for user in range(600):
        rows[user, draw.choice(tastes[user % 3], 12, replace=False)] = 1

    def solve(moment: np.ndarray) -> np.ndarray:
        penalty = np.full(len(moment), 3.0, np.float32)
        return linear.solve_chain(moment, [penalty] * 2, [0.2], torch.device("cpu")).numpy()

    found, values = local.solve_local([sp.csr_matrix(rows)], np.ones_like, solve, 32, 32)
    dense = np.zeros((96, 96))
    np.put_along_axis(dense.T, found, values, axis=1)
    np.testing.assert_allclose(dense, solve(rows.T @ rows), atol=1e-5)


def test_the_greatest_entries_are_kept(own: dict[str, Any]) -> None:
    dense, _ = solved(own)
    some, _ = solved(own, local_items=26, kept_weights=4)
    for item in range(1, 26):
        column = dense.weights[:, item]
        smallest = column.abs().sort().values[-4]
        expected = torch.where(column.abs() >= smallest, column, 0)
        torch.testing.assert_close(some.local_weights.column(item), expected, atol=1e-6, rtol=1e-4)


def test_saved_run_of_the_local_form_scores_as_the_run_did(own: dict[str, Any]) -> None:
    keys = {**own, **OFF, "local_items": 12, "kept_weights": 6, "steps": 2}
    result = run_recbole_diffusion("LinDiffRec", "made", config_dict=keys)
    model, _ = load_run(result["run_folder"])
    assert model.local_weights.values.shape == (26, 6)
    direct, _ = solved(own, local_items=12, kept_weights=6, steps=2)
    np.testing.assert_allclose(scores(model), scores(direct), atol=1e-6)
    assert evaluate_run(result["run_folder"])["test"] == result["test"]


# Planted sets: a part decides, and without it the model fails


def recall(path: Path, tmp_path: Path, k: int = 2, **keys: Any) -> float:
    settings = {
        **SMALL, **OFF, "data_path": str(path), "output_dir": str(tmp_path / "runs"),
        "benchmark_filename": ["train", "valid", "test"], "topk": [k],
        "valid_metric": f"Recall@{k}", **keys,
    }  # fmt: skip
    result = run_recbole_diffusion("LinDiffRec", "planted", config_dict=settings)
    return result["test"][f"recall@{k}"]


def parts(rows: dict[str, list[tuple[str, ...]]]) -> dict[str, list[tuple[str, ...]]]:
    return {f"{name}__inter": [HEAD, *own] for name, own in rows.items()}


def test_two_steps_reach_what_one_step_cannot(
    write_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    """Some have A and B, others B and C; who has A wants B, then C, which no one has with A."""
    rows: dict[str, list[tuple[str, ...]]] = {"train": [], "valid": [], "test": []}
    for group in range(20):
        for user in range(6):
            pair = "AB" if user % 2 else "BC"
            rows["train"] += [
                (f"p{group}.{user}", f"{x}{group}", str(t)) for t, x in enumerate(pair)
            ]
        rows["train"].append((f"u{group}", f"A{group}", "0"))
        rows["valid"].append((f"u{group}", f"B{group}", "1"))
        rows["test"].append((f"u{group}", f"C{group}", "2"))
    path = write_dataset("planted", **parts(rows))
    assert recall(path, tmp_path, steps=1) < 0.1
    assert recall(path, tmp_path, steps=2) == 1.0


def test_recency_decides_where_tastes_change(
    write_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    """A history of one group ends with an item of another, to which what follows belongs."""
    draw = np.random.default_rng(1)
    rows: dict[str, list[tuple[str, ...]]] = {"train": [], "valid": [], "test": []}
    for user in range(200):  # what goes together
        items = draw.choice(6, 5, replace=False) + 6 * (user % 8)
        rows["train"] += [(f"p{user}", f"i{i}", str(t)) for t, i in enumerate(items)]
    for user in range(200):
        early, late = draw.choice(8, 2, replace=False)
        before, after = draw.choice(6, 4, replace=False), draw.choice(6, 3, replace=False)
        items = [*(before + 6 * early), *(after + 6 * late)]
        for t, item in enumerate(items):
            part = "train" if t < 5 else ("valid" if t == 5 else "test")
            rows[part].append((f"u{user}", f"i{item}", str(t)))
    path = write_dataset("planted", **parts(rows))
    plain = recall(path, tmp_path)
    assert recall(path, tmp_path, recency="power", recency_decay=2.0) > 2 * plain
    assert recall(path, tmp_path, recency="exponential", recency_decay=2.0) > 2 * plain


def test_features_decide_where_items_are_new(
    write_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    """Items of the test part have one interaction, with a stranger; their titles tell the group.

    Three new items of a group and an old one are left to rank, the new ones nearly alike.
    """
    draw = np.random.default_rng(2)
    rows: dict[str, list[tuple[str, ...]]] = {"train": [], "valid": [], "test": []}
    items = [("item_id:token", "title:token_seq")]
    for group in range(10):
        items += [(f"{kind}{group}.{i}", f"word{group}") for kind in ("i", "n") for i in range(4)]
    for user in range(100):
        group = user % 10
        own = draw.choice(4, 3, replace=False)
        rows["train"] += [(f"u{user}", f"i{group}.{i}", str(t)) for t, i in enumerate(own)]
        new = draw.choice(4, 2, replace=False)
        rows["valid"].append((f"u{user}", f"n{group}.{new[0]}", "8"))
        rows["test"].append((f"u{user}", f"n{group}.{new[1]}", "9"))
    for group in range(10):
        rows["train"] += [(f"stranger{group}", f"n{group}.{i}", str(i)) for i in range(4)]
    path = write_dataset("planted", **parts(rows), item=items)
    keys = {"item_features": {"words": {"fields": ["title"], "encoder": "tfidf"}}}
    assert recall(path, tmp_path, k=4, **keys) < 0.4
    assert recall(path, tmp_path, k=4, feature_weights=0.5, **keys) == 1.0
