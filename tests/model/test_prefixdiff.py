"""PrefixDiff: its steps against plain NumPy, planted orders, and what a run relies on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from history_tools import histories, made_histories

from recbole_diffusion import evaluate_run, load_run, resume_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models.prefixdiff.model import PrefixDiff
from recbole_diffusion.models.prefixdiff.prefixes import Prefixes, extended, likelihood, mean_loss
from recbole_diffusion.nn.rows import RowBatch
from recbole_diffusion.nn.softmax import drawn_items, sampled_likelihood
from recbole_diffusion.runs.run import Run
from recbole_diffusion.settings.config import Config

N_USERS, N_ITEMS = 30, 20
VIEWS = [["power", 0.75], ["exponential", 0.5], ["none", 0.0]]
TINY = {
    "topk": [5], "valid_metric": "Recall@5", "show_progress": False, "state": "WARNING",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "epochs": 2,
    "hidden_sizes": [8], "embedding_size": 8, "inner_size": 8, "views": VIEWS,
    "denoiser": "views", "absorbed_share": 0.5, "prefix_share": 0.06, "levels": [0.0, 0.7],
    "horizon": 10, "horizon_decay": 0.5, "dropout": 0.0,
}  # fmt: skip
BOTH = pytest.mark.parametrize("denoiser", ["views", "attention"])


@pytest.fixture
def own(write_dataset: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    """Settings of a run on made data: the last interaction of a user is for test."""
    path = write_dataset("made", inter=made_histories(5, N_USERS, N_ITEMS, (4, 10)))
    return {
        **TINY, "data_path": str(path), "output_dir": str(tmp_path / "runs"),
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
    }  # fmt: skip


def made(keys: dict[str, Any], **changes: Any) -> tuple[Any, Any]:
    """A model with random weights in every part, and RecBole's dataset of the train part."""
    run = Run(Config("PrefixDiff", "made", (), {**keys, **changes}))
    model = run.network
    torch.manual_seed(3)
    model.prepare()
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.averaged.load_state_dict(model.network.state_dict())
    model.n_updates = 1  # as after training
    return model.eval(), run.split.train._dataset


def refusal(keys: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        made(keys, **changes)
    return str(error.value)


def weights(kind: str, decay: float, age: np.ndarray) -> np.ndarray:
    if kind == "power":
        return (1.0 + age) ** -decay
    return np.exp(-decay * age) if kind == "exponential" else np.ones(len(age))


# The steps


def reference_logits(model: PrefixDiff, items: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Step 3 in float64 for one history that is seen whole."""
    network = model.averaged
    arrays = {name: p.detach().double().numpy() for name, p in network.named_parameters()}
    hidden = arrays["denoiser.bias"].copy()
    for number, (kind, decay) in enumerate(VIEWS):
        w = weights(kind, decay, age)
        view = 4.0 * w / np.linalg.norm(w)
        hidden += view @ arrays[f"denoiser.tables.{number}"][items]
    logits = arrays["denoiser.outputs"] @ np.tanh(hidden) + arrays["bias"]
    w = weights("power", 0.75, np.arange(len(items))[::-1])
    skip = (w / np.linalg.norm(w)) @ model.skip.matrix().astype(np.float64)[items]
    return logits + network.gain.item() * skip


def log_likelihood(logits: np.ndarray, items: np.ndarray) -> np.ndarray:
    logits = logits.copy()
    logits[[0, *items]] = -np.inf
    return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


@pytest.mark.parametrize("age", ["rank", "time"])
def test_one_step_scores_are_those_of_the_formula(own: dict[str, Any], age: str) -> None:
    model, dataset = made(own, age=age, reverse_steps=1)
    found = model.full_sort_predict({"user_id": torch.arange(model.n_users)}).detach().numpy()
    own_histories = histories(dataset)
    gaps = np.concatenate([np.diff(times) for _, times in own_histories])
    for user, (items, times) in enumerate(own_histories):
        if not len(items):
            continue
        ages = np.arange(len(items))[::-1] if age == "rank" else times[-1] - times
        ages = ages / (1 if age == "rank" else np.sort(gaps[gaps > 0])[(len(gaps) - 1) // 2])
        expected = log_likelihood(reference_logits(model, items, ages), items)
        np.testing.assert_allclose(found[user], expected, rtol=1e-4, atol=1e-4)


def test_further_steps_take_the_likeliest_for_what_comes_next(own: dict[str, Any]) -> None:
    model, dataset = made(own, reverse_steps=3, given_back=2)
    for items, _ in histories(dataset)[1:6]:
        longer, total = items, np.zeros(model.n_items)
        for _ in range(3):
            age = np.arange(len(longer))[::-1]
            each = log_likelihood(reference_logits(model, longer, age), longer)
            total += np.exp(each)
            longer = np.append(longer, np.argsort(-each)[:2])
        found = model.score_histories([items])[0].numpy()
        np.testing.assert_allclose(np.exp(found), total, rtol=1e-3, atol=1e-6)


def test_longer_histories_keep_their_order() -> None:
    rows = RowBatch(torch.tensor([5, 6, 7]), torch.tensor([0, 2, 2, 3]), torch.ones(3))
    clock = torch.tensor([0.0, 4.0, 1.5])
    longer, times = extended(rows, clock, torch.tensor([[1, 2], [3, 4], [8, 9]]))
    assert longer.items.tolist() == [5, 6, 1, 2, 3, 4, 7, 8, 9]
    assert longer.offsets.tolist() == [0, 4, 6, 9]
    assert times.tolist() == [0.0, 4.0, 5.0, 6.0, 1.0, 2.0, 1.5, 2.5, 3.5]


@pytest.mark.parametrize("absorption", ["age", "both", "random"])
@pytest.mark.parametrize("share", [0.01, 0.6])
def test_prefixes_and_targets_are_parts_of_a_history(
    own: dict[str, Any], absorption: str, share: float
) -> None:
    model, dataset = made(own, absorption=absorption, prefix_share=share, horizon=2)
    users = torch.arange(1, model.n_users)
    prefixes, targets = model._absorb(users)
    own_histories = histories(dataset)
    rows = prefixes.rows
    counts = [int(np.ceil(share * len(items))) for items, _ in own_histories[1:]]
    assert prefixes.of.tolist() == np.repeat(np.arange(len(users)), counts).tolist()
    for number, of in enumerate(prefixes.of.tolist()):
        items = own_histories[of + 1][0].tolist()
        left = rows.items[rows.offsets[number] : rows.offsets[number + 1]].tolist()
        mine = targets.prefixes == number
        wanted, share = targets.items[mine].tolist(), targets.weights[mine]
        if absorption == "random":
            assert set(wanted) <= set(items) - set(left)
        else:
            assert left == items[: len(left)]
            assert 1 <= len(left) < len(items)
            assert wanted == items[len(left) : len(left) + 2]
            n_gone = len(items) - len(left)
            assert n_gone == max(1, np.ceil(np.float32(prefixes.level[number]) * len(items)))
        if len(wanted) == 2:
            np.testing.assert_allclose(share, [1 / (1 + 2**-0.5), 2**-0.5 / (1 + 2**-0.5)])
    if absorption != "both":
        assert (rows.values == 1).all()
    else:
        assert 0.3 < rows.values.mean() < 0.7


def test_levels_of_a_history_are_spread(own: dict[str, Any]) -> None:
    """One in each of as many equal parts of the range as the history has prefixes."""
    model, dataset = made(own, prefix_share=0.5, levels=[0.2, 0.6])
    prefixes, _ = model._absorb(torch.arange(1, model.n_users))
    for of, (items, _) in enumerate(histories(dataset)[1:]):
        level = prefixes.level[prefixes.of == of].numpy()
        most = min(0.6, (len(items) - 1) / len(items))
        parts = (level - 0.2) / (most - 0.2) * len(level)
        assert (np.floor(parts) == np.arange(len(level))).all()


def test_loss_is_the_likelihood_of_the_targets(own: dict[str, Any]) -> None:
    model, _ = made(own, absorbed_share=0.0, prefix_share=0.01)
    users = torch.arange(1, model.n_users)
    torch.manual_seed(7)
    loss = model.calculate_loss({"user_id": users})
    torch.manual_seed(7)
    prefixes, targets = model._absorb(users)
    total = 0.0
    for number in range(len(users)):
        items = prefixes.rows.items[
            prefixes.rows.offsets[number] : prefixes.rows.offsets[number + 1]
        ]
        items = items.numpy()
        each = log_likelihood(reference_logits(model, items, np.arange(len(items))[::-1]), items)
        mine = targets.prefixes == number
        total -= each[targets.items[mine].numpy()] @ targets.weights[mine].double().numpy()
    assert loss.item() == pytest.approx(total / len(users), rel=1e-4)


@pytest.mark.parametrize(
    ("denoiser", "absorption"), [("views", "both"), ("views", "random"), ("attention", "both")]
)
def test_gradients_are_those_of_the_softmax(
    own: dict[str, Any], denoiser: str, absorption: str
) -> None:
    """Also where a prefix has nothing to give back, which random absorption leaves to some."""
    model, _ = made(own, denoiser=denoiser, absorption=absorption, levels=[0.0, 0.4])
    users = {"user_id": torch.arange(1, model.n_users)}
    weights = [p for p in model.network.parameters() if p.requires_grad]
    torch.manual_seed(7)
    loss = model.calculate_loss(users)
    torch.manual_seed(7)
    prefixes, targets = model._absorb(users["user_id"])
    has_none = targets.prefixes.bincount(minlength=len(prefixes.of)) == 0
    assert has_none.any() == (absorption == "random")
    logits = model.network(prefixes, model.skip_scores(prefixes.rows))
    plain = mean_loss(likelihood(logits, prefixes, targets), prefixes, targets)
    torch.testing.assert_close(loss, plain)
    found, expected = (torch.autograd.grad(each, weights) for each in (loss, plain))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_the_average_of_the_weights_starts_quick_and_becomes_slow(own: dict[str, Any]) -> None:
    model, _ = made(own, weight_average=0.5)
    model.n_updates = 0
    draw, kept = np.random.default_rng(1), []
    expected = model.averaged.bias.numpy().copy()
    for number in range(1, 30):
        values = draw.normal(size=len(expected)).astype(np.float32)
        with torch.no_grad():
            model.network.bias.copy_(torch.from_numpy(values))
        model.update_average()
        kept.append(min(0.5, number / (10 + number)))
        expected = kept[-1] * expected + (1 - kept[-1]) * values
    np.testing.assert_allclose(model.averaged.bias.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert kept[0] < kept[5] < kept[-1] == 0.5


@BOTH
def test_without_times_each_epoch_has_an_order_of_its_own(
    own: dict[str, Any], denoiser: str
) -> None:
    model, _ = made(own, denoiser=denoiser, eval_args={"order": "RO"})
    users = torch.arange(1, model.n_users)
    first, second = (model._histories(users) for _ in range(2))
    assert not torch.equal(first.items, second.items)
    each = [rows.items.split(rows.lengths.tolist()) for rows in (first, second)]
    assert all(set(a.tolist()) == set(b.tolist()) for a, b in zip(*each, strict=True))


@BOTH
def test_histories_that_are_empty_or_full_have_scores(own: dict[str, Any], denoiser: str) -> None:
    model, _ = made(own, denoiser=denoiser, reverse_steps=3, given_back=100)
    assert model.score_histories([]).shape == (0, model.n_items)
    everything = list(range(1, model.n_items))
    for known in ([[]], [[], []], [[], [3]], [everything], [everything[:-1]]):
        found = model.score_histories(known)
        assert not found.isnan().any()
        for row, items in zip(found, known, strict=True):
            assert (row[items] == -torch.inf).all()
            assert torch.isfinite(row).sum() == model.n_items - 1 - len(items)


@pytest.mark.parametrize("local_items", [None, 12])
def test_sampled_softmax_estimates_the_whole(own: dict[str, Any], local_items: int | None) -> None:
    model, _ = made(own, sampled_items=6, local_items=local_items, kept_weights=8)
    torch.manual_seed(7)
    prefixes, targets = model._absorb(torch.arange(1, 6))
    logits = model.network(prefixes, model.skip_scores(prefixes.rows))
    whole = logits.clone()
    whole[:, 0] = -torch.inf
    whole[prefixes.rows.rows, prefixes.rows.items] = -torch.inf
    at = targets.prefixes, targets.items

    def likelihood_by(items: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        some = model.network(prefixes, model.skip_scores(prefixes.rows, items), items)
        return sampled_likelihood(some, targets, items, counts, prefixes.rows, model.n_items)

    # Of all items, each once: the softmax over all.
    everything = torch.arange(1, model.n_items)
    found = likelihood_by(everything, torch.ones(len(everything)))
    torch.testing.assert_close(found, whole.log_softmax(dim=1)[at])
    # Of draws: their mean normaliser is that of all.
    total = torch.zeros(len(targets.items), dtype=torch.float64)
    n_draws = 800
    for _ in range(n_draws):
        items, counts = drawn_items(model.item_shares, model.sampled_items, targets.items)
        found = likelihood_by(items, counts)
        total += (logits[at] - found).detach().double().exp()
    expected = whole.logsumexp(dim=1)[targets.prefixes].double().exp()
    torch.testing.assert_close(total / n_draws, expected, rtol=0.1, atol=0)


def test_training_by_a_sampled_softmax_learns(own: dict[str, Any]) -> None:
    keys = {**own, "softmax_items": 5, "sampled_items": 50, "epochs": 30, "eval_step": 0}
    losses = []
    for softmax_items in (5, 50000):
        changes = {**keys, "softmax_items": softmax_items}
        result = run_recbole_diffusion("PrefixDiff", "made", config_dict=changes)
        model, _ = load_run(result["run_folder"])
        torch.manual_seed(1)
        model.softmax_items = 50000
        users = {"user_id": torch.arange(1, model.n_users)}
        losses.append(sum(model.train().calculate_loss(users).item() for _ in range(20)) / 20)
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@BOTH
def test_training_starts_at_the_closed_form(own: dict[str, Any], denoiser: str) -> None:
    run = Run(Config("PrefixDiff", "made", (), {**own, "denoiser": denoiser}))
    model = run.network
    model.prepare()
    everyone = {"user_id": torch.arange(1, model.n_users)}
    found = model.eval().full_sort_predict(everyone)
    skip = model.skip.full_sort_predict(everyone)
    seen = torch.isinf(found)
    assert (found.masked_fill(seen, -1e9).argsort() == skip.masked_fill(seen, -1e9).argsort()).all()


def test_gain_is_the_likeliest(own: dict[str, Any]) -> None:
    run = Run(Config("PrefixDiff", "made", (), {**own, "skip_gain": 1.0, "absorbed_share": 0.0}))
    model = run.network
    torch.manual_seed(4)
    model.prepare()
    gain = model.network.gain.item()
    assert gain > 0
    model._trainable = lambda users: torch.arange(1, model.n_users)  # the same prefixes each time
    losses = []
    for factor in (0.6, 1.0, 1.6):
        total = 0.0
        for seed in range(40):
            torch.manual_seed(seed)
            with torch.no_grad():
                model.network.gain.fill_(gain * factor)
                total += model.calculate_loss({"user_id": torch.arange(1, model.n_users)}).item()
        losses.append(total)
    assert losses[1] < min(losses[0], losses[2])


@BOTH
def test_hidden_items_are_not_read(own: dict[str, Any], denoiser: str) -> None:
    model, dataset = made(own, denoiser=denoiser, skip=False)
    items = torch.tensor(histories(dataset)[1][0])
    shown = torch.ones(len(items))
    shown[1] = 0.0
    logits = []
    for hidden in (1, 2):
        changed = items.clone()
        changed[1] = hidden
        rows = RowBatch(changed, torch.tensor([0, len(items)]), shown)
        clock = torch.arange(len(items)).float()
        prefixes = Prefixes(rows, clock, torch.zeros(1), rows, torch.zeros(1, dtype=torch.int64))
        logits.append(model.network(prefixes, None))
    torch.testing.assert_close(*logits)


def test_attention_reads_no_later_item(own: dict[str, Any]) -> None:
    """All prefixes in one pass have the outputs that each has alone."""
    model, dataset = made(
        own, denoiser="attention", absorbed_share=0.0, prefix_share=0.5, skip=False
    )
    prefixes, _ = model._absorb(torch.arange(1, model.n_users))
    together = model.network.denoiser(prefixes)
    alone = prefixes._replace(histories=prefixes.rows, of=torch.arange(len(prefixes.of)))
    torch.testing.assert_close(together, model.network.denoiser(alone), atol=1e-5, rtol=1e-5)


def test_no_more_prefixes_than_items_are_read(own: dict[str, Any]) -> None:
    model, _ = made(own, denoiser="attention", max_length=3, prefix_share=1.0)
    prefixes, _ = model._absorb(torch.arange(1, model.n_users))
    assert prefixes.of.bincount().max() == 3


def test_attention_reads_the_latest_items_of_long_histories(own: dict[str, Any]) -> None:
    model, dataset = made(own, denoiser="attention", max_length=3, skip=False, reverse_steps=1)
    items = histories(dataset)[1][0]
    other = np.concatenate([np.setdiff1d(np.arange(1, 8), items)[:1], items[1:]])
    found = model.score_histories([items, other])
    both = ~(torch.isinf(found).any(dim=0))
    rest = found[:, both]
    torch.testing.assert_close(rest[0] - rest[0].max(), rest[1] - rest[1].max())


# What a run relies on


@pytest.mark.parametrize(
    ("denoiser", "age"), [("views", "rank"), ("views", "time"), ("attention", "rank")]
)
def test_a_history_of_the_data_has_the_scores_of_its_user(
    own: dict[str, Any], denoiser: str, age: str
) -> None:
    model, dataset = made(own, denoiser=denoiser, age=age)
    users = torch.arange(1, model.n_users)
    known = histories(dataset)[1:]
    times = [part for _, part in known] if age == "time" else None
    folded = model.score_histories([items for items, _ in known], times)
    torch.testing.assert_close(folded, model.full_sort_predict({"user_id": users}))


def test_explanation_is_what_is_lost_without_an_item(own: dict[str, Any]) -> None:
    model, _ = made(own)
    parts = model.explain([3, 5, 9], 12)
    whole = model.score_histories([[3, 5, 9]])[0, 12]
    without = model.score_histories([[5, 9], [3, 9], [3, 5]])[:, 12]
    torch.testing.assert_close(parts, whole - without)


@BOTH
def test_resume_equals_a_run_that_was_not_stopped(own: dict[str, Any], denoiser: str) -> None:
    keys = {**own, "denoiser": denoiser, "epochs": 4, "dropout": 0.1}
    whole = run_recbole_diffusion("PrefixDiff", "made", config_dict=keys)

    def stop(epoch: int, score: float) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recbole_diffusion("PrefixDiff", "made", config_dict=keys, on_validation=stop)
    runs = sorted(Path(own["output_dir"]).glob("PrefixDiff-*"))
    stopped = next(run for run in runs if not (run / "result.json").is_file())
    resumed = resume_run(stopped)
    assert resumed["test"] == whole["test"]
    first, second = (load_run(r["run_folder"])[0].state_dict() for r in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert evaluate_run(stopped)["test"] == whole["test"]


def test_names_of_items_do_not_matter(own: dict[str, Any], tmp_path: Path) -> None:
    """A model whose weights are moved with the items gives them the same scores."""
    model, dataset = made(own, reverse_steps=2)
    order = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randperm(model.n_items - 1) + 1])
    other, _ = made(own, reverse_steps=2)
    back = order.argsort()
    with torch.no_grad():
        for network in (other.averaged,):
            for name, p in network.named_parameters():
                if p.dim() and p.shape[0] == model.n_items:
                    p.copy_(dict(model.averaged.named_parameters())[name][back])
                else:
                    p.copy_(dict(model.averaged.named_parameters())[name])
    other.skip.weights = model.skip.weights[back][:, back]
    other.skip.popularity.copy_(model.skip.popularity[back])
    known = [torch.tensor(items) for items, _ in histories(dataset)[1:]]
    found = other.score_histories([order[items] for items in known])
    torch.testing.assert_close(found[:, order], model.score_histories(known))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"absorption": "oldest"}, "`absorption`: found 'oldest', expected one of age, random"),
        ({"levels": [0.7, 0.2]}, "`levels`: found [0.7, 0.2], expected two numbers"),
        ({"views": [["linear", 0.5]]}, "`views`: found [['linear', 0.5]], expected a list"),
        ({"views": []}, "`views`: found [], expected a list"),
        ({"embedding_size": 9, "denoiser": "attention"}, "`embedding_size`: found 9, expected a"),
        ({"absorption": "random", "denoiser": "attention"}, "`absorption`: found 'random'"),
        ({"max_length": 1, "denoiser": "attention"}, "`max_length`: found 1, expected from 2 to"),
        ({"age": "time", "denoiser": "attention"}, "`age`: found 'time', expected rank with"),
        ({"denoiser": "rnn"}, "`denoiser`: found 'rnn', expected one of attention, views"),
        ({"prefix_share": 0}, "`prefix_share`: found 0, expected above 0, to 1"),
        ({"weight_average": 1.0}, "`weight_average`: found 1.0, expected from 0 to below 1"),
        ({"reg_weight": 0}, "`reg_weight`: found 0, expected above 0"),
        (
            {"recency": "power", "eval_args": {"order": "RO"}},
            "`recency`: found 'power', expected auto or none where histories have no order; by "
            "eval_args: {order: TO} the split follows the times",
        ),
        (
            {"age": "time", "eval_args": {"order": "RO"}},
            "`age`: found 'time', expected rank where histories have no order; by eval_args",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    own: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    assert message in refusal(own, **changes)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (None, "times: found none"),
        ([[1.0]], "times: found [1] of the histories, expected [2]"),
        ([[2.0, 1.0]], "times: found an item before the one in front of it"),
    ],
)
def test_times_of_a_history_are_checked(own: dict[str, Any], times: Any, message: str) -> None:
    model, _ = made(own, age="time")
    with pytest.raises(UserError) as error:
        model.score_histories([[3, 4]], times)
    assert message in str(error.value)


@pytest.mark.parametrize("item", [0, N_ITEMS + 1, 3])
def test_an_item_that_cannot_follow_is_not_explained(own: dict[str, Any], item: int) -> None:
    model, _ = made(own)
    with pytest.raises(UserError, match=f"explain: found item {item}"):
        model.explain([3, 4], item)


def test_training_in_vain_is_told_and_the_closed_form_kept(
    own: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Steps that only do harm: the state before them is the best, and stays so."""
    harm = {**own, "learning_rate": 10.0, "epochs": 2}
    found = run_recbole_diffusion("PrefixDiff", "made", config_dict=harm)
    closed = run_recbole_diffusion("LinDiffRec", "made", config_dict=own)
    assert "the closed form alone is better" in caplog.text
    assert "best epoch before training" in caplog.text
    assert found["best_epoch"] == -1
    assert (found["valid"], found["test"]) == (closed["valid"], closed["test"])
    again = resume_run(found["run_folder"])
    assert (again["best_epoch"], again["test"]) == (-1, found["test"])
    again = evaluate_run(found["run_folder"])
    assert (again["best_epoch"], again["test"]) == (-1, found["test"])
    caplog.clear()
    found = run_recbole_diffusion("PrefixDiff", "made", config_dict={**harm, "skip": False})
    assert "the closed form" not in caplog.text
    assert found["best_epoch"] >= 0


def test_times_that_are_not_read_are_told(
    own: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    made(own)
    assert "random order" not in caplog.text
    made(own, eval_args={"order": "RO"})
    assert "the split does not follow them: by eval_args: {order: TO} it does" in caplog.text
    caplog.clear()
    made(own, eval_args={"order": "RO"}, load_col={"inter": ["user_id", "item_id"]})
    assert "no times are loaded (key `TIME_FIELD`)" in caplog.text


def test_two_kinds_of_decay_are_not_taken_for_one(
    own: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    run_recbole_diffusion("PrefixDiff", "made", config_dict={**own, "epochs": 1})
    assert "double regularization" not in caplog.text


def test_histories_without_items_have_scores_by_time_too(own: dict[str, Any]) -> None:
    model, _ = made(own, age="time")
    assert torch.isfinite(model.score_histories([[]], [[]])[0, 1:]).all()
    assert model.score_histories([], []).shape == (0, model.n_items)
