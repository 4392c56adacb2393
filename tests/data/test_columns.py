"""Columns that a run reads: what other keys need is loaded, and odd headers are refused."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.atomic import read_item_texts
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.runs.quick_start import resume_run, run_recbole_diffusion
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat

HEAD = ["user_id:token", "item_id:token"]
FULL = [*HEAD, "rating:float", "timestamp:float"]
ROWS = [
    [f"u{u}", f"i{(u + i) % 12}", str(i % 5 + 1), str(1000 * u + 7 * i % 60)]
    for u in range(6)
    for i in range(10)
]
ITEMS = [[f"i{i}", str(2000 + i)] for i in range(12)]
IDS = {"inter": ["user_id", "item_id"]}
SMALL = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False, "load_col": IDS}
BY_TIME: list[dict[str, Any]] = [
    {"eval_args": {"order": "TO"}},
    {"eval_args": {"order": "TO", "split": {"LS": "valid_and_test"}}},
]


@pytest.fixture
def path(write_dataset: Callable[..., Path]) -> Path:
    items = [["item_id:token", "year:float"], *ITEMS]
    return write_dataset("mine", inter=[FULL, *ROWS], item=items)


def split_own(path: Path, **keys: Any) -> Split:
    return load_split(Config("BPR", "mine", (), {"data_path": str(path), **SMALL, **keys}))


# What other keys need


@pytest.mark.parametrize("keys", BY_TIME, ids=str)
def test_order_of_time_loads_the_times(path: Path, keys: dict[str, Any]) -> None:
    """The split is the one of a run that names the column itself."""
    named = split_own(path, load_col={"inter": ["user_id", "item_id", "timestamp"]}, **keys)
    found = split_own(path, **keys)
    assert (found.digest, found.data_digest) == (named.digest, named.data_digest)
    assert found.digest != split_own(path).digest


@pytest.mark.parametrize(
    ("keys", "n_rows"),
    [
        ({"val_interval": {"rating": "[4,inf)"}}, 24),
        ({"val_interval": {"rating": "[4,inf)"}, "load_col": {"inter": ["item_id"]}}, 24),
        (
            {
                "val_interval": {"year": "[2001,inf)"},
                "filter_inter_by_user_or_item": True,
                "eval_args": {"split": {"RS": [0.5, 0.25, 0.25]}, "group_by": "none"},
            },
            sum(int(row[1][1:]) > 0 for row in ROWS),
        ),
    ],
    ids=str,
)
def test_filter_loads_its_column(path: Path, keys: dict[str, Any], n_rows: int) -> None:
    assert sum(split_own(path, **keys).sizes.values()) == n_rows


def test_column_to_drop_after_the_split_is_loaded(path: Path) -> None:
    keys = {"unused_col": {"inter": ["timestamp"]}, **BY_TIME[0]}
    split = split_own(path, **keys)
    assert "timestamp" not in split.train._dataset.inter_feat
    assert split.digest == split_own(path, **BY_TIME[0]).digest


def test_column_of_features_to_drop_is_loaded_with_its_ids(path: Path) -> None:
    split = split_own(path, unused_col={"item": ["year"]})
    assert list(split.train._dataset.item_feat.columns) == ["item_id"]
    assert split.digest == split_own(path).digest


def test_loaded_columns_are_told_in_one_line(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        split_own(path, val_interval={"rating": "[2,inf)"}, **BY_TIME[0])
    told = [record.getMessage() for record in caplog.records if "load_col" in record.getMessage()]
    assert told == [
        "key `load_col`: read too: timestamp of mine.inter for `eval_args`, rating of mine.inter "
        "for `val_interval`"
    ]


@pytest.mark.parametrize("load_col", [IDS, {"inter": "*"}, None], ids=str)
def test_nothing_is_told_or_loaded_that_nothing_needs(
    path: Path, caplog: pytest.LogCaptureFixture, load_col: Any
) -> None:
    with caplog.at_level(logging.INFO):
        split = split_own(path, load_col=load_col)
    assert "load_col" not in caplog.text
    assert split.dataset.config["load_col"] == load_col


def test_run_log_tells_and_a_resumed_run_has_the_columns(path: Path, tmp_path: Path) -> None:
    keys = {"data_path": str(path), **SMALL, "epochs": 1, "output_dir": str(tmp_path / "runs")}
    folder = run_recbole_diffusion("BPR", "mine", (), {**keys, **BY_TIME[0]})["run_folder"]
    assert "timestamp of mine.inter for `eval_args`" in (Path(folder) / "run.log").read_text()
    (Path(folder) / "result.json").unlink()
    assert resume_run(folder)["run_folder"] == folder


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"val_interval": {"price": "[4,inf)"}}, ["val_interval", "'price'", "mine.inter"]),
        ({"val_interval": {"year": "[4,inf)"}}, ["val_interval", "filter_inter_by_user_or_item"]),
        (
            {"load_col": None, "unload_col": {"inter": ["timestamp"]}, **BY_TIME[0]},
            ["unload_col", "timestamp of inter", "eval_args"],
        ),
        ({"load_col": None, "unload_col": {"inter": ["item_id"]}}, ["unload_col", "ITEM_ID_FIELD"]),
    ],
    ids=str,
)
def test_needed_columns_that_cannot_be_had(
    path: Path, keys: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        split_own(path, **keys)
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)


# Headers


@pytest.mark.parametrize("load_col", [None, "all"], ids=str)
@pytest.mark.parametrize("suffix", ["inter", "item", "user"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda head: [column.split(":")[0] for column in head], ["line 1", "field:type", "token"]),
        (lambda head: [*head, head[-1]], ["line 1", "more", "twice"]),
        (lambda head: [*head[:-1], f"{head[-1]} "], ["line 1", "'more:float '"]),
        (lambda head: [f"{head[0].split(':')[0]}:float", *head[1:]], ["line 1", "_ID_FIELD"]),
        (lambda head: [f"{head[0].split(':')[0]}:token_seq", *head[1:]], ["line 1", "_ID_FIELD"]),
        (lambda head: [",".join(head)], ["line 1", "field_separator"]),
        (None, ["header only"]),
    ],
    ids=["no types", "twice", "blank", "float ids", "ids in lists", "separator", "no rows"],
)
def test_odd_header_is_refused_with_its_file(
    write_dataset: Callable[..., Path],
    suffix: str,
    load_col: Any,
    change: Callable[[list[str]], list[str]] | None,
    words: Sequence[str],
) -> None:
    files = {
        "inter": [[*HEAD, "more:float"], *(row[:3] for row in ROWS)],
        "item": [["item_id:token", "more:float"], *ITEMS],
        "user": [["user_id:token", "more:float"], *([f"u{u}", "1"] for u in range(6))],
    }
    head, *rows = files[suffix]
    files[suffix] = [change(head), *rows] if change else [head]
    if load_col:
        names = {"inter": [*IDS["inter"], "more"]}
        load_col = {**names, "item": ["item_id", "more"], "user": ["user_id", "more"]}
    with pytest.raises(UserError) as error:
        split_own(write_dataset("mine", **files), load_col=load_col)
    text = str(error.value)
    assert [word for word in (f"mine.{suffix}", *words) if word not in text] == [], text
    assert "\n" not in text


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", None])
def test_byte_order_mark_is_no_part_of_a_header(path: Path, encoding: str | None) -> None:
    keys = {"load_col": None, "encoding": encoding}
    plain = split_own(path, **keys)
    for suffix in ("inter", "item"):
        file = path / "mine" / f"mine.{suffix}"
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    marked = split_own(path, **keys)
    assert marked.data_digest == plain.data_digest
    assert marked.digest == plain.digest
    assert list(marked.dataset.item_feat.columns) == ["item_id", "year"]
    _, texts = read_item_texts(marked.dataset.config, ["year"])
    assert texts["item_id"].tolist() == [row[0] for row in ITEMS]
