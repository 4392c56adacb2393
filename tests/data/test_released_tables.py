"""Released splits with tables and features: DiffMM's pickles, MMRec's table, DiffRec's titles."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from conversion_tools import lines_of, next_run, refused, snapshot

from recbole_diffusion.commands.convert import main
from recbole_diffusion.convert.released_splits import convert_split

TIKTOK = Path(__file__).resolve().parents[3] / "shared" / "data" / "diffmm_tiktok"
ML_1M = TIKTOK.parent / "diffrec_ml-1m_clean"

HEAD = "user_id:token\titem_id:token"
PARTS = {"trn": [(0, 2), (1, 0), (3, 2)], "val": [(1, 2)], "tst": [(3, 4)]}
IMAGE = np.arange(10, dtype=np.float16).reshape(5, 2)
MMREC = """userID\titemID\trating\ttimestamp\tx_label
0\t2\t5.0\t1400000000\t0
0\t0\t1.0\t1400000009\t2
1\t2\t3.5\t1400000001\t0
0\t3\t4.0\t1400000005\t1
"""


def features_of(output: Path, modality: str) -> tuple[list[str], np.ndarray]:
    with np.load(output / "toy" / f"toy.{modality}.npz", allow_pickle=False) as content:
        assert sorted(content.files) == ["ids", "matrix"]
        assert content["ids"].dtype.kind == "U"
        assert content["matrix"].dtype == np.float32
        return content["ids"].tolist(), content["matrix"]


def write_pickles(folder: Path, parts: Mapping[str, Any], shape: tuple[int, int] = (4, 5)) -> None:
    for name, pairs in parts.items():
        rows, columns = zip(*pairs, strict=True)
        matrix = sp.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
        (folder / f"{name}Mat.pkl").write_bytes(pickle.dumps(matrix, 4))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def diffmm(tmp_path: Path) -> Path:
    """Four users and five items, of which 1 and 3 have no pair."""
    folder = tmp_path / "diffmm"
    folder.mkdir()
    write_pickles(folder, PARTS)
    np.save(folder / "image_feat.npy", IMAGE)
    return folder


@pytest.fixture
def mmrec(tmp_path: Path) -> Path:
    folder = tmp_path / "mmrec"
    folder.mkdir()
    (folder / "toy.inter").write_text(MMREC)
    np.save(folder / "text_feat.npy", np.arange(8.0).reshape(4, 2) / 3)
    return folder


def refusal(tmp_path: Path, source: Path, output: Path, kind: str, **options: Any) -> str:
    return refused(tmp_path, convert_split, source, output, "toy", kind, **options)


def test_pickles_and_features(diffmm: Path, output: Path) -> None:
    np.save(diffmm / "audio_feat.npy", np.full((5, 3), 0.1))

    report = convert_split(diffmm, output, "toy", "diffmm")

    assert lines_of(output, "train.inter") == [HEAD, "0\t2", "1\t0", "3\t2"]
    assert lines_of(output, "valid.inter") == [HEAD, "1\t2"]
    assert lines_of(output, "test.inter") == [HEAD, "3\t4"]
    ids, image = features_of(output, "image")
    assert ids == ["0", "2", "4"]
    assert image.tolist() == [[0, 1], [4, 5], [8, 9]]
    _, audio = features_of(output, "audio")
    assert audio.tolist() == [[float(np.float32(0.1))] * 3] * 3
    assert not (output / "toy" / "toy.text.npz").exists()
    assert (report.users, report.items) == (3, 3)
    assert report.interactions == {"train": 3, "valid": 1, "test": 1}
    assert report.features == {"image": 2, "audio": 3}


def test_half_precision_is_left_before_anything_is_added_up(diffmm: Path, output: Path) -> None:
    image = np.full((5, 2), 65504, dtype=np.float16)  # the largest; twice it is infinite
    np.save(diffmm / "image_feat.npy", image)

    convert_split(diffmm, output, "toy", "diffmm")

    _, written = features_of(output, "image")
    assert written.sum() == 6 * 65504


def test_pairs_of_two_pickles(tmp_path: Path, diffmm: Path, output: Path) -> None:
    write_pickles(diffmm, {"val": [(1, 2), (3, 2), (1, 2)]})

    message = refusal(tmp_path, diffmm, output, "diffmm")
    assert "user 3 with item 2 in train and valid" in message

    report = convert_split(diffmm, output, "toy", "diffmm", drop_cross_duplicates=True)
    assert lines_of(output, "valid.inter") == [HEAD, "1\t2"]
    assert report.duplicates == {"train": 0, "valid": 1, "test": 0}
    assert report.cross_duplicates == {"train": 0, "valid": 1, "test": 0}


def test_pickles_of_other_shapes_are_refused(tmp_path: Path, diffmm: Path, output: Path) -> None:
    write_pickles(diffmm, {"tst": [(3, 4)]}, shape=(4, 6))

    message = refusal(tmp_path, diffmm, output, "diffmm")

    expected = "found the shape (4, 6), expected (4, 5) as in trnMat.pkl"
    assert message.startswith(f"{diffmm / 'tstMat.pkl'}: {expected}")


@pytest.mark.parametrize("part", PARTS)
def test_pickle_that_runs_something_is_refused(
    tmp_path: Path, diffmm: Path, output: Path, part: str
) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'opened'}",)

    path = diffmm / f"{part}Mat.pkl"
    path.write_bytes(pickle.dumps(Payload(), 4))

    message = refusal(tmp_path, diffmm, output, "diffmm")

    assert message.startswith(f"{path}: found '{os.system.__module__}.system' in the pickle")


@pytest.mark.parametrize(
    ("matrix", "found"),
    [
        (IMAGE[:4], ": found 4 rows, expected 5, one for each item"),
        (np.zeros((6, 2)), ": found 6 rows, expected 5, one for each item"),
        (np.zeros((5, 2), dtype=int), ": found int64 of shape (5, 2), expected a .npy file"),
        (np.zeros(5), ": found float64 of shape (5,)"),
        (np.zeros((5, 0)), ": found"),
        (np.array([["a"]] * 5, dtype=object), ": found"),
        (np.where(np.arange(5) < 4, 0.0, np.nan)[:, None], ", row 4: found NaN or infinite"),
        (np.array([[0], [np.inf], [1e39], [0], [0]]), ", row 2: found NaN or infinite"),
        (b"PK\x03\x04", ": found"),
    ],
    ids=str,
)
def test_malformed_features_are_refused(
    tmp_path: Path, diffmm: Path, output: Path, matrix: Any, found: str
) -> None:
    """Item 1 has no pair, so that its infinite row is not read."""
    path = diffmm / "image_feat.npy"
    path.unlink()
    if isinstance(matrix, bytes):
        path.write_bytes(matrix)
    else:
        np.save(path, matrix, allow_pickle=True)

    message = refusal(tmp_path, diffmm, output, "diffmm")

    assert message.startswith(f"{path}{found}"), message
    assert "expected" in message


@pytest.mark.parametrize("taken", ["toy.train.inter", "toy.image.npz", "toy.text.npz"])
def test_existing_files_are_refused_unless_overwritten(
    tmp_path: Path, diffmm: Path, output: Path, taken: str
) -> None:
    np.save(diffmm / "text_feat.npy", IMAGE)
    (output / "toy").mkdir(parents=True)
    (output / "toy" / taken).write_text("old")

    message = refusal(tmp_path, diffmm, output, "diffmm")
    assert message.startswith(f"{output / 'toy' / taken}: found an existing file")

    convert_split(diffmm, output, "toy", "diffmm", overwrite=True)
    convert_split(diffmm, tmp_path / "fresh", "toy", "diffmm")
    assert snapshot(output) == snapshot(tmp_path / "fresh")
    (diffmm / "text_feat.npy").unlink()
    message = refusal(tmp_path, diffmm, output, "diffmm", overwrite=True)
    assert message.startswith(f"{output / 'toy' / 'toy.text.npz'}: found features of an earlier")


def test_titles_of_an_earlier_conversion_are_refused(
    tmp_path: Path, diffmm: Path, output: Path
) -> None:
    (output / "toy").mkdir(parents=True)
    (output / "toy" / "toy.item").write_text("item_id:token\n2\n")

    message = refusal(tmp_path, diffmm, output, "diffmm", overwrite=True)

    assert message.startswith(f"{output / 'toy' / 'toy.item'}: found features of an earlier")


def test_table_with_labels(mmrec: Path, output: Path) -> None:
    report = convert_split(mmrec, output, "toy", "mmrec")

    head = f"{HEAD}\trating:float\ttimestamp:float"
    train = [head, "0\t2\t5\t1400000000", "1\t2\t3.5\t1400000001"]
    assert lines_of(output, "train.inter") == train
    assert lines_of(output, "valid.inter") == [head, "0\t3\t4\t1400000005"]
    assert lines_of(output, "test.inter") == [head, "0\t0\t1\t1400000009"]
    ids, text = features_of(output, "text")
    assert ids == ["0", "2", "3"]
    np.testing.assert_array_equal(text, (np.array([[0, 1], [4, 5], [6, 7]]) / 3).astype("f4"))
    assert (report.users, report.items, report.features) == (2, 3, {"text": 2})


def test_table_of_ids_and_labels_alone_in_another_order(mmrec: Path, output: Path) -> None:
    (mmrec / "toy.inter").write_text(
        "x_label\titemID\tuserID\n0\t1\t7\n1\t2\t7\n2\t3\t7\n0\t1\t7\n"
    )

    report = convert_split(mmrec, output, "toy", "mmrec")

    assert lines_of(output, "train.inter") == [HEAD, "7\t1"]
    assert lines_of(output, "test.inter") == [HEAD, "7\t3"]
    assert report.duplicates == {"train": 1, "valid": 0, "test": 0}


def test_of_a_repeated_pair_the_first_row_counts(mmrec: Path, output: Path) -> None:
    (mmrec / "toy.inter").write_text(MMREC + "0\t2\t1.0\t9\t0\n0\t3\t2.0\t8\t2\n")

    report = convert_split(mmrec, output, "toy", "mmrec", drop_cross_duplicates=True)

    assert lines_of(output, "train.inter")[1] == "0\t2\t5\t1400000000"
    assert lines_of(output, "valid.inter")[1:] == ["0\t3\t4\t1400000005"]
    assert lines_of(output, "test.inter")[1:] == ["0\t0\t1\t1400000009"]
    assert (report.duplicates["train"], report.cross_duplicates["test"]) == (1, 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("userID\titemID\n0\t1\n", r", line 1: found 'userID\titemID'"),
        (MMREC + "0\t1\t5.0\t9\n", ", line 6: found 4 fields"),
        (MMREC + "0\t1\t5.0\t9\t3\n", ", line 6: found x_label '3'"),
        (MMREC + "0\t1\t5.0\t9\ttrain\n", ", line 6: found x_label 'train'"),
        (MMREC + "0\tB01\t5.0\t9\t0\n", ", line 6: found 'B01'"),
        (MMREC + "0\t1\tnan\t9\t0\n", ", line 6: found rating 'nan'"),
        (MMREC + "0\t1\t5.0\t\t0\n", ", line 6: found timestamp ''"),
        (MMREC + "0\t4\t5.0\t9\t0\n", "text_feat.npy: found 4 rows, expected one for each item up"),
        (MMREC.replace("\t1\n", "\t0\n"), ": found no row of valid"),
        ("", ": found no line"),
    ],
)
def test_malformed_table_is_refused(
    tmp_path: Path, mmrec: Path, output: Path, text: str, found: str
) -> None:
    (mmrec / "toy.inter").write_text(text)

    message = refusal(tmp_path, mmrec, output, "mmrec")

    assert message.startswith(f"{mmrec}/toy.inter{found}" if found[0] in ",:" else f"{mmrec}/")
    assert found in message


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    folder = tmp_path / "arrays"
    folder.mkdir()
    for split, pairs in zip(("train", "valid", "test"), PARTS.values(), strict=True):
        np.save(folder / f"{split}_list.npy", np.array(pairs))
    return folder


TITLES = "item\tmovie_id\ttitle\tgenres\n2\t9\tMisérables, Les (1998)\tDrama|Sci-Fi\n0\t7\tNA\t\n"


def test_titles_beside_arrays(arrays: Path, output: Path) -> None:
    (arrays / "item_titles.tsv").write_text(TITLES, encoding="utf-8")

    convert_split(arrays, output, "toy", "npy-split")

    assert lines_of(output, "train.inter")[1:] == ["0\t2\t0", "1\t0\t1", "3\t2\t2"]
    assert lines_of(output, "item") == [
        "item_id:token\ttitle:token_seq\tgenre:token_seq",
        "2\tMisérables, Les (1998)\tDrama Sci-Fi",
        "0\tNA\t",
    ]


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("item\ttitle\n", 1, r"'item\ttitle'"),
        (TITLES + "5\t1\tTitle\n", 4, "3 fields"),
        (TITLES + "5\t1\tTitle\tDrama\tmore\n", 4, "5 fields in '5 1 Title Drama more'"),
        (TITLES + "5\t1\tTi\rtle\tDrama\n", 4, "a carriage return inside a line"),
        (TITLES + "2\t1\tTitle\tDrama\n", 4, "the id '2' again"),
        (TITLES + "02\t1\tTitle\tDrama\n", 4, "'02'"),
    ],
)
def test_malformed_titles_are_refused(
    tmp_path: Path, arrays: Path, output: Path, text: str, line: int, found: str
) -> None:
    path = arrays / "item_titles.tsv"
    path.write_bytes(text.encode())

    message = refusal(tmp_path, arrays, output, "npy-split")

    assert message.startswith(f"{path}, line {line}: found {found}")


def test_command_line(diffmm: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["diffmm", str(diffmm), "--name=toy", f"--output={output}"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    first, *_, last, _ = printed.splitlines()
    assert (first, last) == ("3 users, 3 items", "image features: 3 x 2")
    assert next_run(printed, output / "toy")["benchmark_filename"] == ["train", "valid", "test"]
    (output / "toy" / "toy.yaml").write_text("benchmark_filename: [train, valid, test]")
    assert main([*arguments, "--overwrite"]) == 0
    assert "benchmark_filename" not in capsys.readouterr().out
    assert main(arguments) == 2
    assert main([*arguments, "--overwrite"]) == 0


@pytest.mark.data
@pytest.mark.skipif(not TIKTOK.is_dir(), reason="the released TikTok split is not beside the clone")
def test_released_tiktok_split(output: Path) -> None:
    report = convert_split(TIKTOK, output, "toy", "diffmm")

    assert (report.users, report.items) == (9308, 6710)
    assert report.interactions == {"train": 59541, "valid": 3051, "test": 6130}
    assert set(report.duplicates.values()) == set(report.cross_duplicates.values()) == {0}
    assert report.features == {"image": 128, "audio": 128}
    ids, image = features_of(output, "image")
    assert ids == [str(item) for item in range(6710)]
    assert np.array_equal(image, np.load(TIKTOK / "image_feat.npy").astype(np.float32))


@pytest.mark.data
@pytest.mark.skipif(not ML_1M.is_dir(), reason="the released ML-1M split is not beside the clone")
def test_released_ml_1m_titles(output: Path) -> None:
    convert_split(ML_1M, output, "toy", "npy-split")

    assert len(lines_of(output, "item")) == 1 + 2810
    assert lines_of(output, "item")[3] == "2\tBack to the Future (1985)\tComedy Sci-Fi"
