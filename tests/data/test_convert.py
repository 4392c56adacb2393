"""The converter: what it writes, what it counts, and what it refuses without leaving a trace."""

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conversion_tools import next_run, refused, snapshot

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import remove_unfinished
from recbole_diffusion.commands.convert import main
from recbole_diffusion.convert import sources, writing
from recbole_diffusion.convert.released_splits import ConversionReport, convert_split
from recbole_diffusion.convert.user_columns import CsvOptions
from recbole_diffusion.convert.user_tables import convert_csv
from recbole_diffusion.convert.writing import check_targets, write_files
from recbole_diffusion.data.split import load_split

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
OFFICE, ML_1M = SHARED / "infodcl_office", SHARED / "diffrec_ml-1m_clean"

SPLIT = {
    "train.txt": "0 7\n0 3\n12 7\n",
    "valid.txt": "0 5\n",
    "test.txt": "12 0\n7 5\n",
}
ITEM_TEXT = 'item\tasin\ttext\n7\tB01\t24" Écran, ½ off\n0\tB02\tDesk  lamp\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a valid split."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name, text in SPLIT.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


def refusal(tmp_path: Path, source: Path, output: Path, **options: Any) -> str:
    return refused(tmp_path, convert_split, source, output, "toy", **options)


def read_as_host(path: Path) -> pd.DataFrame:
    """Reads an atomic file with the options of RecBole's loader."""
    return pd.read_csv(path, delimiter="\t", dtype=str, encoding="utf-8", engine="python")


def test_round_trip_keeps_ids_and_order(source: Path, output: Path) -> None:
    report = convert_split(source, output, "toy")

    for split in ("train", "valid", "test"):
        frame = read_as_host(output / "toy" / f"toy.{split}.inter")
        assert list(frame.columns) == ["user_id:token", "item_id:token"]
        expected = [line.split() for line in SPLIT[f"{split}.txt"].splitlines()]
        assert frame.to_numpy().tolist() == expected
    assert report == ConversionReport(
        users=3,
        items=4,
        interactions={"train": 3, "valid": 1, "test": 2},
        duplicates={"train": 0, "valid": 0, "test": 0},
        cross_duplicates={"train": 0, "valid": 0, "test": 0},
    )


def test_files_are_written_to_the_byte_and_nothing_else(source: Path, output: Path) -> None:
    convert_split(source, output, "toy")

    header = b"user_id:token\titem_id:token\n"
    assert snapshot(output) == {
        "toy": None,
        "toy/toy.train.inter": header + b"0\t7\n0\t3\n12\t7\n",
        "toy/toy.valid.inter": header + b"0\t5\n",
        "toy/toy.test.inter": header + b"12\t0\n7\t5\n",
        "toy/toy.yaml": b"""\
# Converted from source; keys given in a run override these.
# convert --overwrite writes this file anew until you edit it (aabc017050d420ab).
USER_ID_FIELD: user_id  # str; column of the users
ITEM_ID_FIELD: item_id  # str; column of the items
load_col:  # dict; columns to read, by file suffix
  inter: [user_id, item_id]
benchmark_filename: [train, valid, test]  # list of str; the split, a file each
""",
    }


@pytest.mark.parametrize(
    "text",
    ["0 7\r\n0 3\r\n12 7\r\n", "0\t7\n0   3\n12 7", "0 7\n0 3\n12 7\n\n\n"],
    ids=["windows line ends", "other white space, open end", "empty lines at the end"],
)
def test_harmless_variants_give_the_same_file(source: Path, output: Path, text: str) -> None:
    (source / "train.txt").write_bytes(text.encode())

    convert_split(source, output, "toy")

    written = (output / "toy" / "toy.train.inter").read_bytes()
    assert written == b"user_id:token\titem_id:token\n0\t7\n0\t3\n12\t7\n"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_item_texts_become_token_sequences(source: Path, output: Path, line_end: str) -> None:
    text = ITEM_TEXT.replace("\n", line_end) + line_end
    (source / "item_text.tsv").write_bytes(text.encode())

    convert_split(source, output, "toy")

    frame = read_as_host(output / "toy" / "toy.item")
    assert list(frame.columns) == ["item_id:token", "text:token_seq"]
    assert frame.to_numpy().tolist() == [["7", '24" Écran, ½ off'], ["0", "Desk  lamp"]]


@pytest.mark.parametrize(
    ("content", "line", "found"),
    [
        (b"0 7\n0 3 1\n", 2, "3 fields"),
        (b"0 7\n5\n", 2, "1 fields"),
        (b"0 7\n  \n", 2, "0 fields"),
        (b"0 7\n0 x\n", 2, "'x'"),
        (b"0 7\n0 1.0\n", 2, "'1.0'"),
        (b"+1 7\n", 1, "'+1'"),
        (b"1_0 7\n", 1, "'1_0'"),
        (b"00 7\n", 1, "'00'"),
        (b"0 7\n0 03\n", 2, "'03'"),
        ("٣ 7\n".encode(), 1, "'٣'"),
        (b"0 7\n0 3\n-1 7\n", 3, "'-1'"),
        (b"0 7\n" + b"9" * 19 + b" 7\n", 2, "'" + "9" * 19 + "'"),
        (b"0 " + b"9" * 5000 + b"\n", 1, "999...'"),
        (b"0 7\n\n0 3\n", 2, "an empty line"),
        (b"\n0 3\n", 1, "an empty line"),
        (b"0 7\n0 3\n0 \xff\n", 3, "the byte 0xff at column 3"),
    ],
)
@pytest.mark.parametrize("file", ["train.txt", "test.txt"])
def test_malformed_line_is_refused_with_file_and_line(
    tmp_path: Path, source: Path, output: Path, file: str, content: bytes, line: int, found: str
) -> None:
    (source / file).write_bytes(content)

    message = refusal(tmp_path, source, output)

    assert message.startswith(f"{source / file}, line {line}: found ")
    assert found in message
    assert "expected" in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("item\ttext\n7\tLamp\n", 1, r"'item\ttext'"),
        ("item\tasin\ttext\n7\tLamp\n", 2, "2 fields"),
        (
            "item\tasin\ttext\n7\tB01\tLamp\n0\tB02\tDesk\tlamp\n",
            3,
            "4 fields in '0 B02 Desk lamp'",
        ),
        ("item\tasin\ttext\n7\tB01\tDesk\rlamp\n", 2, "a carriage return inside a line"),
        ("item\tasin\ttext\nB01\t7\tLamp\n", 2, "'B01'"),
        ("item\tasin\ttext\n7\tB01\tLamp\n7\tB02\tLamp\n", 3, "the id '7' again"),
    ],
)
def test_malformed_item_text_is_refused_with_file_and_line(
    tmp_path: Path, source: Path, output: Path, text: str, line: int, found: str
) -> None:
    path = source / "item_text.tsv"
    path.write_bytes(text.encode())

    message = refusal(tmp_path, source, output)

    assert message.startswith(f"{path}, line {line}: found ")
    assert found in message


@pytest.mark.parametrize("file", [*SPLIT, "item_text.tsv"])
@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_empty_file_is_refused(
    tmp_path: Path, source: Path, output: Path, file: str, content: bytes
) -> None:
    (source / file).write_bytes(content)

    assert refusal(tmp_path, source, output).startswith(f"{source / file}: found no line")


def test_item_text_with_header_only_is_refused(tmp_path: Path, source: Path, output: Path) -> None:
    (source / "item_text.tsv").write_text("item\tasin\ttext\n")

    message = refusal(tmp_path, source, output)

    assert message.startswith(f"{source / 'item_text.tsv'}: found a header only")


@pytest.mark.parametrize("file", SPLIT)
def test_missing_file_is_refused(tmp_path: Path, source: Path, output: Path, file: str) -> None:
    (source / file).unlink()

    message = refusal(tmp_path, source, output)

    assert message.startswith(f"{source / file}: cannot be read (No such file")


def test_duplicates_within_a_split_are_kept_once_and_counted(source: Path, output: Path) -> None:
    (source / "train.txt").write_text("4 1\n0 7\n4 1\n0 7\n4 1\n1 4\n")

    report = convert_split(source, output, "toy")

    written = (output / "toy" / "toy.train.inter").read_text()
    assert written.splitlines()[1:] == ["4\t1", "0\t7", "1\t4"]
    assert report.duplicates == {"train": 3, "valid": 0, "test": 0}
    assert report.interactions == {"train": 3, "valid": 1, "test": 2}
    assert report.cross_duplicates == {"train": 0, "valid": 0, "test": 0}


@pytest.fixture
def overlapping(source: Path) -> Path:
    """0 7 is in all three splits, 3 3 in valid and test."""
    (source / "valid.txt").write_text("3 3\n0 7\n0 5\n")
    (source / "test.txt").write_text("12 0\n0 7\n3 3\n3 3\n")
    return source


def test_duplicates_across_splits_are_refused(
    tmp_path: Path, overlapping: Path, output: Path
) -> None:
    message = refusal(tmp_path, overlapping, output)

    assert message.startswith(f"{overlapping}: found 2 pair(s) in more than one split")
    assert "user 0 with item 7 in train and valid" in message
    assert "--drop-cross-duplicates" in message


def test_duplicates_across_splits_stay_in_the_first(overlapping: Path, output: Path) -> None:
    report = convert_split(overlapping, output, "toy", drop_cross_duplicates=True)

    lines = {
        split: (output / "toy" / f"toy.{split}.inter").read_text().splitlines()[1:]
        for split in ("train", "valid", "test")
    }
    assert lines == {
        "train": ["0\t7", "0\t3", "12\t7"],
        "valid": ["3\t3", "0\t5"],
        "test": ["12\t0"],
    }
    assert report.interactions == {"train": 3, "valid": 2, "test": 1}
    assert report.duplicates == {"train": 0, "valid": 0, "test": 1}
    assert report.cross_duplicates == {"train": 0, "valid": 1, "test": 2}


def test_split_that_dropping_empties_is_refused(tmp_path: Path, source: Path, output: Path) -> None:
    (source / "valid.txt").write_text(SPLIT["train.txt"])

    message = refusal(tmp_path, source, output, drop_cross_duplicates=True)

    assert "every pair of the valid split in an earlier split" in message


@pytest.mark.parametrize(
    "taken", ["toy.train.inter", "toy.valid.inter", "toy.test.inter", "toy.item"]
)
def test_existing_file_is_refused_unless_overwritten(
    tmp_path: Path, source: Path, output: Path, taken: str
) -> None:
    (source / "item_text.tsv").write_text(ITEM_TEXT, encoding="utf-8")
    (output / "toy").mkdir(parents=True)
    (output / "toy" / taken).write_text("old")
    (output / "toy" / "notes.txt").write_text("mine")

    message = refusal(tmp_path, source, output)
    assert message.startswith(f"{output / 'toy' / taken}: found an existing file")
    assert "--overwrite" in message

    convert_split(source, output, "toy", overwrite=True)
    fresh = tmp_path / "fresh"
    convert_split(source, fresh, "toy")
    assert snapshot(output) == {**snapshot(fresh), "toy/notes.txt": b"mine"}


def test_bad_input_leaves_files_to_be_overwritten_as_they_were(
    tmp_path: Path, source: Path, output: Path
) -> None:
    convert_split(source, output, "toy")
    (source / "train.txt").write_text("8 8\n")
    (source / "test.txt").write_text("broken\n")

    message = refusal(tmp_path, source, output, overwrite=True)

    assert message.startswith(f"{source / 'test.txt'}, line 1: ")


def test_overwriting_does_not_leave_the_texts_of_other_items(
    tmp_path: Path, source: Path, output: Path
) -> None:
    (source / "item_text.tsv").write_text(ITEM_TEXT, encoding="utf-8")
    convert_split(source, output, "toy")
    (source / "item_text.tsv").unlink()

    message = refusal(tmp_path, source, output, overwrite=True)

    assert message.startswith(f"{output / 'toy' / 'toy.item'}: found features of an earlier")


def test_folder_in_the_place_of_a_file_is_refused(
    tmp_path: Path, source: Path, output: Path
) -> None:
    (output / "toy" / "toy.test.inter").mkdir(parents=True)

    message = refusal(tmp_path, source, output, overwrite=True)

    assert message.startswith(f"{output / 'toy' / 'toy.test.inter'}: found something that is no")


def test_file_in_the_place_of_the_output_folder_is_refused(
    tmp_path: Path, source: Path, output: Path
) -> None:
    output.write_text("a file")

    message = refusal(tmp_path, source, output)

    assert message.startswith("output files: cannot be written")
    assert str(output) in message


@pytest.mark.parametrize("name", ["", ".", "..", "../toy", "a/b", ".toy", "-toy", "a b", "toy\n"])
def test_name_that_is_no_file_name_is_refused(
    tmp_path: Path, source: Path, output: Path, name: str
) -> None:
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="^name: found "):
        convert_split(source, output, name)
    assert snapshot(tmp_path) == before


def test_reader_of_a_replaced_file_keeps_the_whole_old_file(source: Path, output: Path) -> None:
    convert_split(source, output, "toy")
    with (output / "toy" / "toy.train.inter").open() as reader:
        (source / "train.txt").write_text("8 8\n")
        convert_split(source, output, "toy", overwrite=True)
        assert reader.read().splitlines()[1:] == ["0\t7", "0\t3", "12\t7"]


def test_failure_while_writing_leaves_the_old_files_and_no_others(tmp_path: Path) -> None:
    def broken() -> Iterator[str]:
        yield "new"
        raise RuntimeError("stopped")

    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("old")
    before = snapshot(tmp_path)

    with pytest.raises(RuntimeError, match="stopped"):
        write_files({first: ["new"], second: broken()})

    assert snapshot(tmp_path) == before


def test_interactions_are_moved_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process that is killed midway leaves is no data set, and is told of as half."""
    names = ["a.train.inter", "a.test.inter", "a.item", "a.yaml"]
    moved: list[Path] = []

    def kill_at_the_first(source: Path, target: Path) -> None:
        if target.suffix == ".inter":
            shutil.copy(
                source, source.with_name(source.name.replace(str(os.getpid()), "999999999"))
            )
            raise KeyboardInterrupt
        moved.append(target)

    monkeypatch.setattr(writing.os, "replace", kill_at_the_first)
    with pytest.raises(KeyboardInterrupt):
        write_files({tmp_path / name: ["x"] for name in names})
    assert sorted(path.name for path in moved) == ["a.item", "a.yaml"]
    (tmp_path / "a.item").touch()
    with pytest.raises(UserError, match=r"a\.item: .*\(--overwrite.*stopped midway"):
        check_targets([tmp_path / "a.item"], overwrite=False)
    remove_unfinished(tmp_path)
    with pytest.raises(UserError, match=r"replaces it\)\.$"):
        check_targets([tmp_path / "a.item"], overwrite=False)


def test_command_line_prints_the_counts(
    overlapping: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["text-split", str(overlapping), "--name=toy", f"--output={output}"]

    assert main([*arguments, "--drop-cross-duplicates"]) == 0

    printed = capsys.readouterr()
    assert printed.err == ""
    first, _, *rows, _ = printed.out.splitlines()
    assert first == "3 users, 4 items"
    config = next_run(printed.out, output / "toy")
    assert config["topk"] == [1]
    assert sum(load_split(config).sizes.values()) == 6
    assert [row.split() for row in rows] == [
        ["train", "3", "0", "0"],
        ["valid", "2", "0", "1"],
        ["test", "1", "1", "2"],
    ]
    # The second time the files are there.
    assert main([*arguments, "--drop-cross-duplicates"]) == 2
    assert main([*arguments, "--drop-cross-duplicates", "--overwrite"]) == 0


def test_command_line_explains_bad_input_and_exits_with_2(
    tmp_path: Path, source: Path, output: Path
) -> None:
    (source / "valid.txt").write_text("0 5\n0 five\n")
    before = snapshot(tmp_path)

    command = [sys.executable, "-m", "recbole_diffusion.data.convert", "text-split", str(source)]
    done = subprocess.run(
        [*command, "--name=toy", f"--output={output}"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"error: {source / 'valid.txt'}, line 2: found 'five', "
        "expected a non-negative integer of at most 18 digits, no leading zeros.\n"
    )
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--nosuch"], ["unrecognized arguments: --nosuch", "--help"]),
        (["--output=a\0b"], ["argument output", "expected at most"]),
    ],
    ids=str,
)
def test_command_line_tells_of_an_argument_on_one_line(
    source: Path, capsys: pytest.CaptureFixture[str], change: list[str], words: list[str]
) -> None:
    assert main(["text-split", str(source), "--name=toy", *change]) == 2
    told = capsys.readouterr().err
    assert [word for word in ("error: ", *words) if word not in told] == [], told
    assert told.count("\n") == 1


def test_command_line_writes_below_dataset_atomic_by_default(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["text-split", str(source), "--name=toy"]) == 0

    assert (tmp_path / "dataset_atomic" / "toy" / "toy.train.inter").is_file()


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """The split of ``source`` as arrays, of another width of integers each."""
    folder = tmp_path / "arrays"
    folder.mkdir()
    for (name, text), kind in zip(SPLIT.items(), (np.int64, np.int32, np.uint16), strict=True):
        pairs = [line.split() for line in text.splitlines()]
        np.save(folder / name.replace(".txt", "_list.npy"), np.array(pairs).astype(kind))
    return folder


def test_arrays_give_the_same_pairs_with_their_row_as_time(
    source: Path, arrays: Path, output: Path
) -> None:
    np.save(arrays / "train_list.npy", np.array([[0, 7], [0, 3], [0, 7], [12, 7]], order="F"))
    report = convert_split(arrays, output, "toy", "npy-split")
    convert_split(source, output, "text")

    for split in ("train", "valid", "test"):
        timed = (output / "toy" / f"toy.{split}.inter").read_text().splitlines()
        plain = (output / "text" / f"text.{split}.inter").read_text().splitlines()
        times = ["timestamp:float", *map(str, range(len(plain) - 1))]
        assert timed == ["\t".join(row) for row in zip(plain, times, strict=True)]
    assert report.interactions == {"train": 3, "valid": 1, "test": 2}
    assert report.duplicates == {"train": 1, "valid": 0, "test": 0}
    assert (report.users, report.items) == (3, 4)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            np.array([[0.0, 7.0]]),
            ": found float64 of shape (1, 2), expected a .npy file",
        ),
        (np.array([[True, False]]), ": found bool of shape (1, 2)"),
        (np.array([0, 7]), ": found int64 of shape (2,)"),
        (np.array([[0, 7, 1]]), ": found int64 of shape (1, 3)"),
        (np.zeros((0, 2), dtype=int), ": found no row"),
        (np.array([[0, 7], [3, -1], [-2, 0]]), ", row 1: found [3, -1] (2 such rows)"),
        (np.array([[0, "a"]], dtype=object), ": found Object arrays cannot be loaded"),
        (b"0 7\n", ": found"),
        (b"", ": found"),
        (None, ": cannot be read (No such file"),
    ],
    ids=str,
)
def test_malformed_array_is_refused_with_file_and_row(
    tmp_path: Path, arrays: Path, output: Path, content: Any, found: str
) -> None:
    path = arrays / "valid_list.npy"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    message = refusal(tmp_path, arrays, output, kind="npy-split")
    assert message.startswith(f"{path}{found}"), message
    assert "expected" in message


def test_command_line_takes_arrays(
    arrays: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["npy-split", str(arrays), "--name=toy", f"--output={output}"]) == 0
    assert capsys.readouterr().out.startswith("3 users, 4 items\n")
    assert main(["npy-split", str(arrays), "--name=toy", f"--output={output}"]) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert main(["text-split", str(arrays), "--name=other", f"--output={output}"]) == 2
    assert "train.txt: cannot be read" in capsys.readouterr().err


@pytest.fixture
def carried(tmp_path: Path) -> Path:
    """Sources of every form, under a working directory of its own."""
    folder = tmp_path / "sources"
    (folder / "mine").mkdir(parents=True)
    rows = [f"{u}\t{i}\t5\t{i}" for u in range(4) for i in range(8)]
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    (folder / "mine" / "mine.inter").write_text("\n".join([head, *rows]) + "\n")
    for name, text in SPLIT.items():
        (folder / name).write_text(text)
    (folder / "clicks.csv").write_text("user,item\nu,1\n")
    review = '{"reviewerID": "A", "asin": "B", "overall": 5, "unixReviewTime": 1}\n'
    (folder / "reviews.json").write_text(review)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["text-split", "."],
        ["csv", "clicks.csv"],
        ["amazon", "reviews.json"],
        ["rated-split", "clean", "mine", "--core=1"],
    ],
    ids=" ".join,
)
def test_data_set_that_recbole_carries_is_not_hidden(
    carried: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(carried)
    before = snapshot(carried)

    assert main([*words, "--name=ml-100k"]) == 2

    assert snapshot(carried) == before
    text = capsys.readouterr().err
    assert "'ml-100k', which RecBole carries" in text
    assert "--name=my-ml-100k" in text
    (carried / "dataset_atomic" / "ml-100k").mkdir(parents=True)
    assert main([*words, "--name=ml-100k"]) == 0, capsys.readouterr().err


def test_link_that_leads_nowhere_is_not_replaced(
    tmp_path: Path, source: Path, output: Path
) -> None:
    (output / "toy").mkdir(parents=True)
    (output / "toy" / "toy.train.inter").symlink_to(tmp_path / "absent")
    assert "toy.train.inter: found something that is no file" in refusal(tmp_path, source, output)
    assert (output / "toy" / "toy.train.inter").is_symlink()


def test_line_without_end_is_not_read_whole(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_LINE", 1000)
    monkeypatch.setattr(sources, "CHUNK", 10)
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\nu,1\n" + bytes(10**6)))
    message = refused(tmp_path, convert_csv, path, output, "toy", CsvOptions())
    assert message.startswith(f"{path}, line 3: found more than 1000 bytes")


def test_byte_order_mark_is_no_part_of_a_split(tmp_path: Path, source: Path) -> None:
    for name, text in {**SPLIT, "item_text.tsv": ITEM_TEXT}.items():
        (source / name).write_text(text, encoding="utf-8")
    convert_split(source, tmp_path / "plain", "toy")
    for name, text in {**SPLIT, "item_text.tsv": ITEM_TEXT}.items():
        (source / name).write_text(text, encoding="utf-8-sig")
    convert_split(source, tmp_path / "marked", "toy")
    assert snapshot(tmp_path / "marked") == snapshot(tmp_path / "plain")


@pytest.mark.data
@pytest.mark.skipif(not ML_1M.is_dir(), reason="the released ML-1M split is not beside the clone")
def test_released_ml_1m_split(output: Path) -> None:
    report = convert_split(ML_1M, output, "ml-1m_clean", "npy-split")

    assert (report.users, report.items) == (5949, 2810)
    assert report.interactions == {"train": 403277, "valid": 110722, "test": 57532}
    assert set(report.duplicates.values()) == set(report.cross_duplicates.values()) == {0}
    assert len(read_as_host(output / "ml-1m_clean" / "ml-1m_clean.train.inter")) == 403277


@pytest.mark.data
@pytest.mark.skipif(not OFFICE.is_dir(), reason="the released Office split is not beside the clone")
def test_released_office_split(output: Path) -> None:
    report = convert_split(OFFICE, output, "office")

    assert (report.users, report.items) == (4905, 2420)
    assert report.interactions == {"train": 40877, "valid": 5880, "test": 6501}
    assert set(report.duplicates.values()) == set(report.cross_duplicates.values()) == {0}
    assert len(read_as_host(output / "office" / "office.train.inter")) == 40877
    assert len(read_as_host(output / "office" / "office.item")) == 2420
