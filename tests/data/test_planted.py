"""The planted set: it can be made again, and it has the structure that its README states."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

DATASETS = Path(__file__).resolve().parents[2] / "dataset_atomic"
COMMITTED = DATASETS / "planted"


@pytest.fixture(scope="module")
def interactions() -> pd.DataFrame:
    return pd.read_csv(COMMITTED / "planted.inter", sep="\t")


@pytest.fixture(scope="module")
def items() -> pd.DataFrame:
    return pd.read_csv(COMMITTED / "planted.item", sep="\t")


@pytest.fixture(scope="module")
def taken_by_genre(interactions: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """Number of items that each user took from each genre, [200, 5]."""
    genre = items.set_index("item_id:token")["genre:token_seq"]
    return pd.crosstab(interactions["user_id:token"], interactions["item_id:token"].map(genre))


def test_script_reproduces_the_committed_files(tmp_path: Path) -> None:
    script = DATASETS / "make_planted.py"
    subprocess.run([sys.executable, str(script), "--output", str(tmp_path)], check=True)

    names = ["planted.inter", "planted.item"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (COMMITTED / name).read_bytes()


def test_files_are_small_enough_to_commit() -> None:
    sizes = [(COMMITTED / name).stat().st_size for name in ("planted.inter", "planted.item")]
    assert sum(sizes) < 150_000


def test_columns_and_counts(interactions: pd.DataFrame, items: pd.DataFrame) -> None:
    assert list(interactions) == ["user_id:token", "item_id:token", "timestamp:float"]
    assert list(items) == ["item_id:token", "title:token_seq", "genre:token_seq"]
    assert set(interactions["user_id:token"]) == {f"u{user:03d}" for user in range(200)}
    assert list(items["item_id:token"]) == [f"i{item:03d}" for item in range(150)]
    assert set(interactions["item_id:token"]) == set(items["item_id:token"])
    assert len(interactions) == 4015


def test_users_take_about_twenty_distinct_items(interactions: pd.DataFrame) -> None:
    assert not interactions.duplicated(["user_id:token", "item_id:token"]).any()
    taken = interactions.groupby("user_id:token").size()
    assert taken.min() == 16
    assert taken.max() == 24
    assert taken.mean() == pytest.approx(20, abs=0.5)


def test_five_groups_of_equal_size(taken_by_genre: pd.DataFrame, items: pd.DataFrame) -> None:
    assert items["genre:token_seq"].value_counts().tolist() == [30] * 5
    assert taken_by_genre.idxmax(axis=1).value_counts().tolist() == [40] * 5


def test_nine_of_ten_items_come_from_the_own_group(taken_by_genre: pd.DataFrame) -> None:
    own = taken_by_genre.max(axis=1)
    total = taken_by_genre.sum(axis=1)
    assert own.sum() / total.sum() == pytest.approx(0.9, abs=0.01)
    assert (own / total).min() > 0.85


def test_choice_within_the_group_is_uniform(
    interactions: pd.DataFrame, items: pd.DataFrame
) -> None:
    # An item has 40 own users who take it with probability 18/30, and about 160 * 2/120 others.
    popularity = interactions["item_id:token"].value_counts()
    assert len(popularity) == len(items)
    assert popularity.mean() == pytest.approx(26.8, abs=0.1)
    assert popularity.std() < 5  # 3.4 expected; twice as popular items would exceed it


def test_order_of_ids_and_lines_tells_nothing_about_the_group(
    interactions: pd.DataFrame, items: pd.DataFrame, taken_by_genre: pd.DataFrame
) -> None:
    genre = items.set_index("item_id:token")["genre:token_seq"]
    first_seen = interactions["item_id:token"].drop_duplicates().map(genre)
    for groups in (items["genre:token_seq"], taken_by_genre.idxmax(axis=1), first_seen):
        codes = pd.factorize(groups.to_numpy(), sort=True)[0]
        same_as_next = np.mean(codes[1:] == codes[:-1])
        assert same_as_next == pytest.approx(0.2, abs=0.1)
        assert abs(np.corrcoef(np.arange(len(codes)), codes)[0, 1]) < 0.2
        # Ids modulo the number of groups would give the group away, too.
        assert np.mean(codes == np.arange(len(codes)) % 5) == pytest.approx(0.2, abs=0.1)


def test_titles_hold_words_of_the_group_and_common_ones(items: pd.DataFrame) -> None:
    words = items["title:token_seq"].str.split()
    genres_of = words.explode().to_frame("word").join(items["genre:token_seq"])
    spread = genres_of.groupby("word")["genre:token_seq"].nunique()
    own_words = set(spread.index[spread == 1])
    common_words = set(spread.index[spread == 5])
    assert own_words | common_words == set(spread.index)
    assert words.map(lambda title: len(own_words & set(title))).eq(3).all()
    assert words.map(lambda title: len(common_words & set(title))).eq(2).all()


def test_timestamps_increase_and_are_exact_in_single_precision(interactions: pd.DataFrame) -> None:
    times = interactions["timestamp:float"]
    assert times.groupby(interactions["user_id:token"]).is_monotonic_increasing.all()
    assert not interactions.duplicated(["user_id:token", "timestamp:float"]).any()
    assert (times.to_numpy(np.float32).astype(np.int64) == times).all()


def test_time_tells_nothing_about_the_group(
    interactions: pd.DataFrame, items: pd.DataFrame, taken_by_genre: pd.DataFrame
) -> None:
    genre = items.set_index("item_id:token")["genre:token_seq"]
    own = (
        interactions["item_id:token"]
        .map(genre)
        .eq(interactions["user_id:token"].map(taken_by_genre.idxmax(axis=1)))
    )
    position = interactions.groupby("user_id:token").cumcount()
    assert abs(np.corrcoef(own, position)[0, 1]) < 0.05
