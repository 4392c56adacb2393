"""Random interactions in the train part: how many, for whom, which, and nothing else."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.randomness import seed_everything
from recbole_diffusion.data.noise import _draw_distinct, _free_items, add_random_interactions
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.config import Config

HEAD = ["user_id:token", "item_id:token"]
TIMED = [*HEAD, "timestamp:float", "weight:float"]
SMALL = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False}
Pair = tuple[str, str]


def split_planted(planted: dict[str, Any], **keys: Any) -> Split:
    return load_split(Config("BPR", "planted", (), {**planted, **keys}))


def split_own(path: Path, **keys: Any) -> Split:
    return load_split(Config("BPR", "mine", (), {"data_path": str(path), **SMALL, **keys}))


def rows_of(split: Split, part: str) -> list[Pair]:
    """A part's pairs of original ids, in the order of its rows."""
    data = getattr(split, part)._dataset
    names = [data.field2id_token[field] for field in ("user_id", "item_id")]
    ids = (data.inter_feat[field].tolist() for field in ("user_id", "item_id"))
    return [(str(names[0][u]), str(names[1][i])) for u, i in zip(*ids, strict=True)]


def columns_of(split: Split, part: str) -> dict[str, list[Any]]:
    inter = getattr(split, part)._dataset.inter_feat
    return {name: inter[name].tolist() for name in inter.columns}


@pytest.fixture
def given(write_dataset: Callable[..., Path], rng: np.random.Generator) -> Path:
    """A given split of 30 users and 100 items; user n has n + 1 train rows, in order of time."""
    parts: dict[str, list[list[str]]] = {"train": [], "valid": [], "test": []}
    for user in range(30):
        items = rng.permutation(100)[: user + 3]
        for row, item in enumerate(items):
            part = "valid" if row == user + 1 else "test" if row == user + 2 else "train"
            time = 1_700_000_000 + 100 * row + user
            parts[part].append([f"u{user}", f"i{item}", str(time), str(row / 8)])
    files = {f"{part}__inter": [TIMED, *sorted(p, key=lambda r: r[2])] for part, p in parts.items()}
    return write_dataset("mine", **files)


GIVEN = {"benchmark_filename": ["train", "valid", "test"], "load_col": None}


@pytest.mark.compat
@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.5, 1, 1.0])
@pytest.mark.parametrize("order", ["RO", "TO"])
def test_each_user_gets_the_share_of_new_items(
    planted: dict[str, Any], ratio: float, order: str
) -> None:
    rules = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": order, "group_by": "user", "mode": "full"}
    plain = split_planted(planted, eval_args=rules)
    noisy = split_planted(planted, eval_args=rules, train_noise_ratio=ratio)
    for part in ("valid", "test"):
        assert columns_of(noisy, part) == columns_of(plain, part)
    before, after = rows_of(plain, "train"), rows_of(noisy, "train")
    assert len(set(after)) == len(after)
    assert set(before) < set(after)
    added = set(after) - set(before)
    assert not added & {*rows_of(plain, "valid"), *rows_of(plain, "test")}
    assert len(added) == noisy.n_added == int(ratio * len(before) + 0.5)
    assert noisy.sizes == {**plain.sizes, "train": len(before) + len(added)}
    n_before, n_added = Counter(u for u, _ in before), Counter(u for u, _ in added)
    assert set(n_added) <= set(n_before)
    assert all(abs(n_added[u] - ratio * n) <= 1 for u, n in n_before.items())
    # Of all 150 items, few of which a user has met.
    assert len({item for _, item in added}) > 120
    assert noisy.digest != plain.digest


@pytest.mark.compat
def test_given_split_keeps_its_rows_and_order(given: Path) -> None:
    plain, noisy = split_own(given, **GIVEN), split_own(given, **GIVEN, train_noise_ratio=0.3)
    assert noisy.n_added == int(0.3 * 465 + 0.5)
    for part in ("valid", "test"):
        assert columns_of(noisy, part) == columns_of(plain, part)
    before, after = rows_of(plain, "train"), rows_of(noisy, "train")
    assert [pair for pair in after if pair in set(before)] == before
    times = columns_of(noisy, "train")["timestamp"]
    assert times == sorted(times)


def test_added_rows_have_the_columns_of_a_row_of_their_user(given: Path) -> None:
    """And follow it, or another one that was added to it."""
    plain, noisy = split_own(given, **GIVEN), split_own(given, **GIVEN, train_noise_ratio=0.8)
    real = set(rows_of(plain, "train"))
    columns = columns_of(noisy, "train")
    assert noisy.train._dataset.inter_feat["timestamp"].dtype == torch.float64
    last: tuple[Any, ...] = ()
    n_added = 0
    rows = rows_of(noisy, "train")
    others = zip(columns["user_id"], columns["timestamp"], columns["weight"], strict=True)
    for pair, other in zip(rows, others, strict=True):
        if pair in real:
            last = other
        else:
            n_added += 1
            assert other == last
    assert n_added == noisy.n_added == int(0.8 * 465 + 0.5)
    # More than one of a user's rows is followed.
    u29 = zip(rows, columns["timestamp"], strict=True)
    followed = {time for pair, time in u29 if pair[0] == "u29" and pair not in real}
    assert len(followed) > 5


def test_draws_follow_split_seed_alone(given: Path, planted: dict[str, Any]) -> None:
    """And leave those of the split and of the run as they were."""
    first = split_own(given, **GIVEN, train_noise_ratio=0.5)
    seed_everything(5)
    again = split_own(given, **GIVEN, train_noise_ratio=0.5, seed=77)
    state = torch.rand(1), np.random.rand()
    assert columns_of(again, "train") == columns_of(first, "train")
    assert again.digest == first.digest
    other = split_own(given, **GIVEN, train_noise_ratio=0.5, split_seed=1)
    assert rows_of(other, "train") != rows_of(first, "train")
    assert other.digest != first.digest
    seed_everything(5)
    split_own(given, **GIVEN)
    assert (torch.rand(1), np.random.rand()) == state


def test_no_share_leaves_everything_as_it_is(planted: dict[str, Any]) -> None:
    plain, zero = split_planted(planted), split_planted(planted, train_noise_ratio=0)
    assert plain.digest == zero.digest
    assert plain.n_added == zero.n_added == 0
    for part in ("train", "valid", "test"):
        assert columns_of(zero, part) == columns_of(plain, part)
    parts = [getattr(plain, part)._dataset for part in ("train", "valid", "test")]
    assert add_random_interactions(parts, 0.0, 1) is parts[0]


def test_user_with_few_free_items_keeps_one(write_dataset: Callable[..., Path]) -> None:
    """u0 lacks three items, u1 one; as negatives are drawn, RecBole refuses a user without any."""
    pairs = {f"u{u}": [[f"u{u}", f"i{i}"] for i in range(12 - n)] for u, n in enumerate((3, 1, 7))}
    files = {
        "train__inter": [HEAD, ["u2", "i11"], *(p for rows in pairs.values() for p in rows[2:])],
        "valid__inter": [HEAD, *(rows[0] for rows in pairs.values())],
        "test__inter": [HEAD, *(rows[1] for rows in pairs.values())],
    }
    path = write_dataset("mine", **files)
    keys = {"benchmark_filename": ["train", "valid", "test"]}
    for seed in range(20):
        split = split_own(path, **keys, train_noise_ratio=1.0, split_seed=seed)
        added = set(rows_of(split, "train")) - {tuple(row) for row in files["train__inter"]}
        assert Counter(user for user, _ in added) == {"u0": 2, "u2": 4}
        assert {item for user, item in added if user == "u0"} < {"i9", "i10", "i11"}
        assert {item for user, item in added if user == "u2"} < {f"i{n}" for n in range(5, 11)}


def test_every_set_of_free_items_is_equally_likely() -> None:
    """Users that want one, two, three and four of four, and none of one."""
    wanted, size = np.array([1, 2, 3, 4, 0]), np.array([4, 4, 4, 4, 1])
    found: list[Counter[frozenset[int]]] = [Counter() for _ in wanted]
    for seed in range(2400):
        owner, number = _draw_distinct(wanted, size, np.random.default_rng(seed))
        assert len(owner) == 10
        for user in range(4):
            found[user][frozenset(number[owner == user].tolist())] += 1
    assert [len(counts) for counts in found] == [4, 6, 4, 1, 0]
    for counts in found[:3]:
        expected = 2400 / len(counts)
        assert all(set_ <= {0, 1, 2, 3} for set_ in counts)
        # Five standard deviations of a binomial count.
        assert all(abs(n - expected) < 5 * expected**0.5 for n in counts.values())


def test_free_items_are_counted_as_in_a_list(rng: np.random.Generator) -> None:
    met = {user: sorted(rng.permutation(20)[: rng.integers(1, 20)] + 1) for user in (1, 2, 4, 7)}
    pairs = np.array([(user, item) for user, items in met.items() for item in items])
    free = {user: [i for i in range(1, 21) if i not in items] for user, items in met.items()}
    wanted = [(user, rank) for user, items in free.items() for rank in range(len(items))]
    owner, rank = rng.permutation(wanted).T
    expected = [free[user][n] for user, n in zip(owner, rank, strict=True)]
    assert _free_items(owner, rank, *pairs.T).tolist() == expected


def test_added_items_are_no_negatives(given: Path) -> None:
    split = split_own(given, **GIVEN, train_noise_ratio=1.0)
    met = {(u, i) for part in ("train", "valid", "test") for u, i in rows_of(split, part)}
    data = split.train._dataset
    train = set(rows_of(split, "train"))
    for _ in range(5):
        for batch in split.train:
            users = data.id2token("user_id", batch["user_id"].numpy())
            positive = data.id2token("item_id", batch["item_id"].numpy())
            negative = data.id2token("item_id", batch["neg_item_id"].numpy())
            assert set(zip(users, positive, strict=True)) <= train
            assert not set(zip(users, negative, strict=True)) & train
    u9 = data.field2token_id["user_id"]["u9"]
    used = split.valid.history.of(np.array([u9]))[1]
    items = {str(data.field2id_token["item_id"][i]) for i in used.tolist()}
    assert items == {item for user, item in train if user == "u9"}
    assert met > train


@pytest.mark.parametrize("ratio", [-0.1, 1.01, float("nan"), float("inf"), "0.1 ", True, [0.1]])
def test_share_out_of_range_is_refused(planted: dict[str, Any], ratio: Any) -> None:
    with pytest.raises(UserError, match="key `train_noise_ratio`: found"):
        split_planted(planted, train_noise_ratio=ratio)


@pytest.mark.compat
def test_run_says_what_it_added_and_learns_less(
    planted: dict[str, Any],
) -> None:
    """EASE finds the planted groups; as many random items as real ones blur them."""
    logs, recalls = {}, {}
    for ratio in (0.0, 1.0):
        keys = {**planted, "train_noise_ratio": ratio}
        result = run_recbole_diffusion("EASE", "planted", (), keys)
        logs[ratio] = (Path(result["run_folder"]) / "run.log").read_text()
        recalls[ratio] = result["test"]["recall@20"]
        assert f"split {result['split_hash']} (" in logs[ratio]
    assert "added at random" not in logs[0.0]
    n_train = split_planted(planted).sizes["train"]
    assert f"{4015 + n_train} interactions" in logs[1.0]
    assert f": train {2 * n_train}, validation" in logs[1.0]
    assert f"; {n_train} of train added at random\n" in logs[1.0]
    assert recalls[0.0] > recalls[1.0] + 0.03
