"""What atomic files hold: values that do not fit their column are refused with their line."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data import atomic
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat

HEAD = ["user_id:token", "item_id:token"]
N_USERS, N_ROWS = 6, 60
SMALL = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False, "load_col": None}


def rows_with(values: list[str]) -> list[list[str]]:
    """Six users of ten items each; values of a third column, the last one for all further rows."""
    pairs = [[f"u{u}", f"i{(u + i) % 12}"] for u in range(N_USERS) for i in range(10)]
    padded = [*values, *values[-1:] * (N_ROWS - len(values))]
    return [[*pair, value] for pair, value in zip(pairs, padded, strict=True)]


@pytest.fixture
def split_of(write_dataset: Callable[..., Path]) -> Callable[..., Split]:
    """Load a data set whose interactions have a third column, under some keys."""

    def load(column: str, values: list[str], keys: Any = None, **files: Any) -> Split:
        path = write_dataset("mine", inter=[[*HEAD, column], *rows_with(values)], **files)
        settings = {"data_path": str(path), **SMALL, **(keys or {})}
        return load_split(Config("BPR", "mine", (), settings))

    return load


def refusal(load: Callable[..., Split], *arguments: Any, **files: Any) -> str:
    with pytest.raises(UserError) as error:
        load(*arguments, **files)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("column", ["rating:float", "rating:float_seq"])
@pytest.mark.parametrize(
    "value", ["inf", "-Infinity", "1e400", "nan", "NaN", "true", "abc", "-0.19:4", "0x10"]
)
def test_what_is_no_finite_number_is_refused_with_its_line(
    split_of: Callable[..., Split], column: str, value: str
) -> None:
    text = refusal(split_of, column, ["1", "2", value, "4"])
    assert f"mine.inter, line 4: column {column}: found '{value}'" in text
    assert "(1 such row" in text
    assert "a finite number" in text


@pytest.mark.parametrize("value", ["true", "FALSE", "inf", "nan", "1_0", "٣"])
def test_a_column_of_no_numbers_throughout_is_refused(
    split_of: Callable[..., Split], value: str
) -> None:
    text = refusal(split_of, "rating:float", [value])
    assert f"mine.inter, line 2: column rating:float: found '{value}' (60 such rows)" in text


def test_blank_lines_count_as_lines(split_of: Callable[..., Split], tmp_path: Path) -> None:
    split_of("rating:float", ["1", "2", "3"])
    file = tmp_path / "data" / "mine" / "mine.inter"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:3], "", *lines[3:], "u0\ti11\tx"]) + "\n")
    with pytest.raises(UserError, match=r"mine.inter, line 63: column rating:float: found 'x'"):
        load_split(Config("BPR", "mine", (), {"data_path": str(file.parents[1]), **SMALL}))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "0", "1"], [1, 0, 1]),
        (["+1", "-.5", "2e-3", "7."], [1, -0.5, 0.002, 7]),
        (["9007199254740993", "18446744073709551615", "1"], [2.0**53, 2.0**64, 1]),
        (["-1", "18446744073709551615", "1"], [-1, 2.0**64, 1]),
    ],
)
def test_numbers_are_read_as_they_are(
    split_of: Callable[..., Split], values: list[str], expected: list[float]
) -> None:
    found = split_of("rating:float", values).dataset.inter_feat["rating"].numpy()
    np.testing.assert_array_equal(np.unique(found), np.unique(np.float32(expected)))


def test_rows_without_a_value_are_told_with_their_filter(
    split_of: Callable[..., Split], caplog: pytest.LogCaptureFixture
) -> None:
    keys = {"val_interval": {"rating": "[1,5]"}}
    split = split_of("rating:float", ["", "9", "", "4"], keys)
    assert sum(split.sizes.values()) == N_ROWS - 3
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [t for t in told if "2 rows of inter without rating" in t and "`val_interval`" in t]


@pytest.mark.parametrize(
    ("column", "wanted"), [("vec:float_seq", "[1,5]"), ("tags:token_seq", ["a"])]
)
def test_no_rows_are_chosen_by_a_column_of_sequences(
    split_of: Callable[..., Split], column: str, wanted: Any
) -> None:
    field = column.split(":")[0]
    text = refusal(split_of, column, ["1 2"], {"val_interval": {field: wanted}})
    assert text.startswith(f"key `val_interval`: found {column}, expected a column of float")


@pytest.mark.parametrize("place", [0, 1])
def test_no_row_with_ids_is_told_as_such(write_dataset: Callable[..., Path], place: int) -> None:
    rows = [[*row[:place], "", *row[place + 1 : 2]] for row in rows_with(["1"])]
    path = write_dataset("mine", inter=[HEAD, *rows])
    with pytest.raises(UserError) as error:
        load_split(Config("BPR", "mine", (), {"data_path": str(path), **SMALL}))
    assert "no interaction is left of 60" in str(error.value)
    assert "60 without user or item" in str(error.value)


@pytest.mark.parametrize(("suffix", "field"), [("item", "item_id"), ("user", "user_id")])
def test_an_id_twice_in_features_is_refused(
    split_of: Callable[..., Split], suffix: str, field: str
) -> None:
    rows = [[f"{field}:token", "year:float"], *([f"{field[0]}{n}", "1"] for n in (0, 1, 2, 1, 2))]
    text = refusal(split_of, "rating:float", ["1"], **{suffix: rows})
    assert f"mine.{suffix}: column {field}: ids given more than once: 2 ids ('" in text


def test_a_column_of_two_types_in_two_parts_is_refused(write_dataset: Callable[..., Path]) -> None:
    parts = {"a": "rating:float", "b": "rating:token", "c": "rating:float"}
    rows = rows_with(["1"])
    files = {
        f"{part}__inter": [[*HEAD, column], *rows[n::3]]
        for n, (part, column) in enumerate(parts.items())
    }
    path = write_dataset("mine", **files)
    keys = {"data_path": str(path), **SMALL, "benchmark_filename": list(parts)}
    for load_col in (None, {"inter": "*"}, {"inter": ["user_id", "item_id", "rating"]}):
        with pytest.raises(UserError) as error:
            load_split(Config("BPR", "mine", (), {**keys, "load_col": load_col}))
        for word in ("mine.a.inter", "rating:float", "mine.b.inter", "rating:token"):
            assert word in str(error.value)
    given = {**keys, "load_col": {"inter": ["user_id", "item_id"]}}
    assert load_split(Config("BPR", "mine", (), given)).sizes["train"] == 20


OWNED = [["item_id:token", "user_id:token"], *([f"i{n}", "g0"] for n in range(12))]
LIKED = [["user_id:token", "item_id:token"], *([f"u{n}", "g0"] for n in range(6))]
RATED = [["item_id:token", "rating:token"], *([f"i{n}", "a"] for n in range(12))]
ALIKE = [["item_id:token", "rating:float"], *([f"i{n}", "1"] for n in range(12))]


@pytest.mark.parametrize("load_col", ["*", None], ids=str)
@pytest.mark.parametrize(
    ("suffix", "rows", "field"),
    [
        ("item", OWNED, "user_id"),
        ("user", LIKED, "item_id"),
        ("item", RATED, "rating"),
        ("item", ALIKE, "rating"),
    ],
)
def test_a_field_in_two_files_is_refused(
    split_of: Callable[..., Split], suffix: str, rows: Any, field: str, load_col: Any
) -> None:
    wanted = load_col and {"inter": "*", suffix: "*"}
    text = refusal(split_of, "rating:float", ["1"], {"load_col": wanted}, **{suffix: rows})
    for word in (field, "mine.inter", f"mine.{suffix}", "unload_col"):
        assert word in text


def test_a_field_in_two_files_may_be_read_of_one(split_of: Callable[..., Split]) -> None:
    split = split_of("rating:float", ["3"], {"unload_col": {"item": ["rating"]}}, item=RATED)
    assert split.dataset.inter_feat["rating"].max() == 3


def test_an_empty_separator_of_sequences_is_refused(split_of: Callable[..., Split]) -> None:
    text = refusal(split_of, "tags:token_seq", ["a b"], {"seq_separator": ""})
    assert text.startswith("key `seq_separator`: found ''")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_longer_than_a_block_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: bytes
) -> None:
    path = tmp_path / "long.inter"
    rows = [f"u{n}\t{' '.join('abc' for _ in range(30))}\t{n}.5\n" for n in range(5)]
    header = "user_id:token\twords:token_seq\trating:float\n"
    path.write_bytes(mark + "".join([header, *rows]).encode())
    columns = header.split()
    whole = atomic.read_atomic_file(path, columns, "\t", "utf-8-sig", columns[2:])
    monkeypatch.setattr(atomic, "BLOCK", 64)
    again = atomic.read_atomic_file(path, columns, "\t", "utf-8-sig", columns[2:])
    assert whole.equals(again)
    assert again[columns[2]].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert again[columns[0]].tolist() == ["u0", "u1", "u2", "u3", "u4"]
