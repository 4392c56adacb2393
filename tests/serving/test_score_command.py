"""The command ``score`` puts a score beside each row of a file."""

import functools
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from odd_ids import ITEMS, USERS

from recbole_diffusion import load
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.cli import main
from recbole_diffusion.serving import tables


@pytest.fixture
def pairs() -> pd.DataFrame:
    """Rows in no order, one twice, with ids that are not in the data and a column of its own."""
    draw = np.random.default_rng(7)
    rows = [(USERS[draw.integers(40)], ITEMS[draw.integers(25)]) for _ in range(30)]
    frame = pd.DataFrame([*rows, rows[0], ("nobody", "i1"), ("ü", "nothing")])
    frame.columns = ["user", "item"]
    return frame.assign(note=[f"n{n:02}" for n in range(len(frame))])


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    elif path.suffix == ".jsonl":
        rows = frame.to_dict("records")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("given", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_each_row_gets_its_score(
    run_of: Callable[..., Path],
    pairs: pd.DataFrame,
    given: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tables, "BLOCK", 7)
    file, out = write(pairs, tmp_path / f"pairs{given}"), tmp_path / "out.parquet"
    words = ["score", str(run_of("LightGCN")), f"--pairs={file}", f"--out={out}"]
    assert main(words) == 0
    found = pd.read_parquet(out)
    expected = load(run_of("LightGCN")).score(pairs["user"][:-2], pairs["item"][:-2])
    assert found[["user", "item", "note"]].to_numpy().tolist() == pairs.to_numpy().tolist()
    np.testing.assert_allclose(found["score"][:-2], expected, rtol=1e-5)
    assert found["score"][-2:].isna().all()
    assert "2 pairs have an id that is not in the data" in caplog.text
    assert main(words) == 2  # never overwritten
    assert main([*words[:-1], "--unknown=error", f"--out={tmp_path / 'other.csv'}"]) == 2
    assert not (tmp_path / "other.csv").exists()


def test_forms_of_the_output(
    run_of: Callable[..., Path],
    pairs: pd.DataFrame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, file = str(run_of("LightGCN")), write(pairs[:5], tmp_path / "pairs.csv")
    scores = load(run).score(pairs["user"][:5], pairs["item"][:5])
    for suffix in (".csv", ".jsonl"):
        out = tmp_path / f"out{suffix}"
        assert main(["score", run, f"--pairs={file}", f"--out={out}"]) == 0
        read = pd.read_csv if suffix == ".csv" else lambda path: pd.read_json(path, lines=True)
        np.testing.assert_allclose(read(out)["score"], scores, rtol=1e-5)
    assert main(["score", run, f"--pairs={file}"]) == 0
    assert pairs["note"][4] in capsys.readouterr().out


def test_rows_that_change_their_columns_are_refused(
    run_of: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tables, "BLOCK", 1)
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"user": "u13", "item": "i1"}\n{"user": "u13", "item": "i2", "more": 1}\n')
    out = tmp_path / "out.parquet"
    assert main(["score", str(run_of("LightGCN")), f"--pairs={file}", f"--out={out}"]) == 2
    assert "other columns or types than in the first block" in capsys.readouterr().err
    assert not out.exists()


def test_files_that_hold_no_pairs_are_refused(
    run_of: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(run_of("LightGCN"))
    wrong, lines = tmp_path / "wrong.csv", tmp_path / "wrong.jsonl"
    wrong.write_text("user,product\nü,i1\n", encoding="utf-8")
    lines.write_text("[1, 2]\n")
    for words, told in (
        ([f"--pairs={wrong}"], "found the columns user, product, expected user and item"),
        ([f"--pairs={lines}"], "not a table"),
        ([f"--pairs={tmp_path / 'none.csv'}"], "none.csv"),
        ([f"--pairs={tmp_path / 'pairs.xls'}"], "expected a .csv, .tsv, .parquet or .jsonl"),
        ([], "score: found no pairs, expected run, pairs"),
    ):
        assert main(["score", run, *words]) == 2
        assert told in capsys.readouterr().err
    wrong.write_text("user,item\n")
    assert main(["score", run, f"--pairs={wrong}", f"--out={tmp_path / 'out.parquet'}"]) == 0
    assert pd.read_parquet(tmp_path / "out.parquet").empty


def test_a_row_without_an_id_is_refused(
    run_of: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = str(run_of("LightGCN")), tmp_path / "pairs.parquet"
    lines, histories = tmp_path / "pairs.jsonl", tmp_path / "histories.jsonl"
    for column in ("user", "item"):
        row = {"user": "ü", "item": "i1"}
        pd.DataFrame([row, {**row, column: None}]).to_parquet(file)
        lines.write_text(f"{json.dumps({**row, column: None})}\n")
        for words in (["score", run, "--pairs"], ["recommend", run, "--history"]):
            assert main([*words, str(file)]) == 2
            assert f"found a row without {column}, expected ids" in capsys.readouterr().err
        assert main(["score", run, "--pairs", str(lines)]) == 2
    for row in ({"user": None, "items": ["i1"]}, {"user": "ann", "items": ["i1", None]}):
        histories.write_text(json.dumps(row))
        assert main(["recommend", run, "--history", str(histories)]) == 2
        assert "not histories: found" in capsys.readouterr().err


def test_columns_of_later_lines_stay(run_of: Callable[..., Path], tmp_path: Path) -> None:
    file, out = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl"
    rows = [{"user": "ü", "item": "i1"}, {"item": "i2", "user": "ü", "note": "x"}]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert main(["score", str(run_of("LightGCN")), f"--pairs={file}", f"--out={out}"]) == 0
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["note"] for row in found] == [None, "x"]


def test_other_columns_keep_their_values(run_of: Callable[..., Path], tmp_path: Path) -> None:
    file = tmp_path / "pairs.parquet"
    times = pd.to_datetime(["2020-01-02 03:04:05", None])
    ids = pa.table({"user": ["ü", "ü"], "item": ["i1", "i2"]})
    numbers = pa.array([2**53 + 1, None])
    pq.write_table(ids.append_column("number", numbers).append_column("at", [times]), file)
    for suffix in (".csv", ".jsonl"):
        out = tmp_path / f"out{suffix}"
        assert main(["score", str(run_of("LightGCN")), f"--pairs={file}", f"--out={out}"]) == 0
        text = out.read_text(encoding="utf-8")
        assert f"{2**53 + 1}" in text
        assert "2020-01-02" in text


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_small_scores_are_not_rounded(suffix: str) -> None:
    scores = np.array([1.2345678e-6, -7.6543212e-9, 0.12345679], dtype=np.float32)
    stream = io.BytesIO()
    tables.write_blocks([pa.table({"score": scores})], suffix, stream)
    stream.seek(0)
    read = pd.read_csv if suffix == ".csv" else functools.partial(pd.read_json, lines=True)
    assert read(stream)["score"].to_numpy(np.float32).tolist() == scores.tolist()


def test_tables_with_other_columns_are_refused_for_csv() -> None:
    blocks = [pa.table({"a": ["1"], "b": ["2"]}), pa.table({"b": ["2"], "a": ["1"]})]
    with pytest.raises(UserError, match="other columns or types than in the first block"):
        tables.write_blocks(blocks, ".csv", io.BytesIO())
