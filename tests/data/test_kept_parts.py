"""Data that are kept as read and split: equal to those read anew, and never stale."""

import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recbole.data.dataset.dataset as host
import torch
from recbole.data.interaction import Interaction

from recbole_diffusion import evaluate_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data import atomic, columns, dataset, fields, kept_parts, noise
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat

# Read by the data's code, and without an effect on what is kept.
WITHOUT_EFFECT = {
    "data_path",  # the content of the files counts
    *("train_neg_sample_args", "eval_neg_sample_args"),  # of RecBole's way to build negatives
}
ROWS = [
    [f"u{u}", f"i{(u * 3 + k * k) % 23}", str(k % 5 + 1), str(1000 * u + k)]
    for u in range(12)
    for k in range(5)
]
ITEMS = [
    [f"i{i}", "red blue" if i % 2 else "green", str(i * 0.5), f"{i % 3}.5 {i}"] for i in range(23)
]


@pytest.fixture
def settings(write_dataset: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    header = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
    items = ["item_id:token", "class:token_seq", "price:float", "vector:float_seq"]
    parts = {f"part{n}__inter": [header, *ROWS[n::3]] for n in range(3)}
    folder = write_dataset("shop", inter=[header, *ROWS], item=[items, *ITEMS], **parts)
    return {
        "data_path": str(folder),
        "output_dir": str(tmp_path / "out"),
        "data_cache_mb": 0.0,
        "rm_dup_inter": "first",
        "load_col": None,
        "topk": [3],
        "valid_metric": "Recall@3",
        "show_progress": False,
    }


def split_of(settings: dict[str, Any], may_write: bool = True, **others: Any) -> Split:
    return load_split(Config("BPR", "shop", (), settings | others), may_write)


def contents(split: Split) -> list[dict[str, Any]]:
    """All that the datasets of the three parts hold."""
    parts = [loader._dataset for loader in (split.train, split.valid, split.test)]
    return [{name: plain(value) for name, value in vars(part).items()} for part in parts]


def plain(value: Any) -> Any:
    if isinstance(value, Interaction):
        return {field: (value[field].dtype, value[field].tolist()) for field in value}
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def kept_files(settings: dict[str, Any]) -> list[Path]:
    return sorted(Path(settings["output_dir"], "cache").glob("*"))


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}},
        {"benchmark_filename": ["part0", "part1", "part2"]},
        {"train_noise_ratio": 0.5},
        {"load_col": {"inter": ["user_id", "item_id"]}},
        {"val_interval": {"price": "[2,inf)"}, "filter_inter_by_user_or_item": True},
        {"seq_len": {"class": 1}, "normalize_field": ["rating"]},
    ],
    ids=["plain", "by time", "given", "noise", "two columns", "interval", "lengths"],
)
def test_kept_parts_are_those_that_were_read(
    settings: dict[str, Any], others: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = split_of(settings, data_cache_mb=None, **others)
    assert not kept_files(settings)
    split_of(settings, **others)
    assert len(kept_files(settings)) == 1
    # From here on nothing can be read but what is kept.
    monkeypatch.setattr(dataset.AtomicDataset, "_from_scratch", None)
    found = split_of(settings, **others)
    attributes = ("sizes", "n_added", "digest", "data_digest")
    assert [getattr(found, a) for a in attributes] == [getattr(expected, a) for a in attributes]
    for kept, read in zip(contents(found), contents(expected), strict=True):
        not_kept = {"config", "logger", "file_size_list", "n_read", "n_without_ids"}
        assert kept.keys() - not_kept == read.keys() - not_kept
        for name in kept.keys() - not_kept:
            assert kept[name] == read[name], name


def test_other_contents_and_settings_are_read_anew(settings: dict[str, Any]) -> None:
    first = split_of(settings)
    assert split_of(settings, split_seed=1).digest != first.digest
    path = Path(settings["data_path"], "shop", "shop.inter")
    lines = path.read_text().splitlines()
    before = path.stat()
    path.write_text("\n".join([*lines[:-1], lines[-1].replace("i", "j")]) + "\n")
    # As large as it was, and as old.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    changed = split_of(settings)
    assert changed.digest != first.digest
    assert len(kept_files(settings)) == 3
    assert split_of(settings, seed=7, epochs=2).digest == changed.digest
    assert len(kept_files(settings)) == 3


def test_every_setting_that_the_datas_code_reads_is_part_of_the_name() -> None:
    texts = [Path(str(m.__file__)).read_text() for m in (atomic, columns, dataset, noise, host)]
    read = {key for text in texts for key in re.findall(r'config\["(\w+)"\]', text)}
    read |= {"seq_len", "user_inter_num_interval"} | set(fields.IDS)  # by other ways
    assert len(read) > 20
    expected = {*kept_parts.SETTINGS, *kept_parts.NOT_KEPT_WITH} | WITHOUT_EFFECT
    of_other_steps = {"save_dataset", "dataset_save_path", "checkpoint_dir", "local_rank"}
    assert read - expected - of_other_steps == set()


def test_a_damaged_file_is_told_and_made_anew(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    first = split_of(settings)
    (path,) = kept_files(settings)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert split_of(settings).digest == first.digest
    assert f"{path}: found a changed or damaged" in caplog.text
    caplog.clear()
    split_of(settings)
    assert "damaged" not in caplog.text


def test_what_reading_told_is_told_again(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = Path(settings["data_path"], "shop", "shop.inter")
    path.write_text(path.read_text() + "\ti1\t1\t1\n")
    split_of(settings)
    assert "left out 1 rows without user or item" in caplog.text
    caplog.clear()
    split_of(settings)
    assert "left out 1 rows without user or item" in caplog.text
    assert "as read and split before" in caplog.text


def test_small_data_further_files_and_evaluations_keep_nothing(settings: dict[str, Any]) -> None:
    split_of(settings, data_cache_mb=1.0)
    split_of(settings, may_write=False)
    assert not kept_files(settings)
    result = run_recbole_diffusion("BPR", "shop", (), settings | {"epochs": 1})
    (kept,) = kept_files(settings)
    kept.unlink()
    assert evaluate_run(result["run_folder"])["test"] == result["test"]
    assert not kept_files(settings)


def test_a_run_on_kept_data_is_the_same_run(settings: dict[str, Any]) -> None:
    results = [
        run_recbole_diffusion("DiffRec", "shop", (), settings | {"epochs": 3, **others})
        for others in ({"data_cache_mb": None}, {}, {})
    ]
    assert len(kept_files(settings)) == 1
    assert results[0]["test"] == results[1]["test"] == results[2]["test"]
    states = [torch.load(Path(r["run_folder"], "best.pth"), weights_only=True) for r in results]
    weights = [state["state_dict"] for state in states]
    for name, tensor in weights[0].items():
        assert all(torch.equal(tensor, other[name]) for other in weights[1:]), name


def test_what_is_kept_for_other_data_is_not_taken(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    first = split_of(settings)
    (path,) = kept_files(settings)
    other = split_of(settings, split_seed=1)
    (other_path,) = set(kept_files(settings)) - {path}
    path.write_bytes(other_path.read_bytes())
    assert split_of(settings).digest == first.digest != other.digest
    assert f"{path}: found what is kept for other data or settings" in caplog.text


@pytest.mark.parametrize("content", ["archive of texts", "other arrays", "no arrays"])
def test_a_foreign_archive_is_told_and_made_anew(
    settings: dict[str, Any], content: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = split_of(settings)
    (path,) = kept_files(settings)
    if content == "archive of texts":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", b"hello")
    else:
        np.savez(path, **({"a": np.arange(3)} if content == "other arrays" else {}))
    assert split_of(settings).digest == first.digest
    assert f"{path}: " in caplog.text
    assert "the data are read anew" in caplog.text


def test_a_file_in_the_place_of_the_folder_is_refused(settings: dict[str, Any]) -> None:
    output = Path(settings["output_dir"])
    output.mkdir()
    (output / "cache").touch()
    with pytest.raises(UserError, match=r"cache: found a file, expected a folder"):
        split_of(settings)
