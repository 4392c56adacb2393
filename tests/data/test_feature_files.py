"""Files of feature vectors: each format against what was written, refusals, and memory."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forked import Served

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data import feature_table
from recbole_diffusion.data.feature_files import read_table, write_features

IDS = ["10", "001", "1", "9", "Café", "B 2", "x"]
WIDTH = 5
COLUMNS = [f"c{i}" for i in range(WIDTH)]


@pytest.fixture
def matrix(rng):
    return rng.normal(size=(len(IDS), WIDTH)).astype(np.float32)


def write_list(path, matrix, kind):
    lists = pa.array(matrix.tolist(), kind)
    pq.write_table(pa.table({"emb": lists, "item_id": IDS}), path, row_group_size=3)


def write(folder, form, matrix):
    """A file of one form; returns its path."""
    suffix = {"npz": ".npz", "packed npz": ".npz", "npy": ".npy", "fortran npy": ".npy"}
    path = folder / f"features{suffix.get(form, '.parquet')}"
    if form == "npz":
        write_features(path, IDS, matrix)
    elif form == "packed npz":
        np.savez_compressed(path, ids=np.array(IDS), matrix=matrix)
    elif form in ("npy", "fortran npy"):
        np.save(path, np.asfortranarray(matrix) if form == "fortran npy" else matrix)
        path.with_suffix(".ids").write_text("\n".join(IDS), encoding="utf-8")
    elif form == "lists":
        write_list(path, matrix, pa.list_(pa.float32()))
    elif form == "large lists":
        write_list(path, matrix, pa.large_list(pa.float64()))
    elif form == "fixed lists":
        write_list(path, matrix, pa.list_(pa.float32(), WIDTH))
    else:
        table = pd.DataFrame(matrix, columns=COLUMNS).assign(item_id=IDS, title="any text")
        table.index += 100  # pandas writes such an index as one more column
        table.to_parquet(path)
    return path


FORMS = [
    "npz",
    "packed npz",
    "npy",
    "fortran npy",
    "lists",
    "large lists",
    "fixed lists",
    "numbers",
]


def filled(table):
    """All values of a table, put together from its blocks; each is written once."""
    whole = np.zeros((len(table.ids), table.width))
    n_written = np.zeros(whole.shape, dtype=int)
    for rows, columns, values in table.blocks:
        whole[rows, columns] = values
        n_written[rows, columns] += 1
    assert (n_written == 1).all()
    return whole


def refusal(path, **options):
    with pytest.raises(UserError) as caught:
        filled(read_table(path, **options))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.compat
@pytest.mark.parametrize("block_values", [1, 2 * WIDTH + 1, 2**19])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same(tmp_path, monkeypatch, matrix, form, block_values):
    monkeypatch.setattr(feature_table, "BLOCK_VALUES", block_values)
    table = read_table(write(tmp_path, form, matrix))
    assert table.ids.tolist() == IDS
    assert table.width == WIDTH
    assert table.dtype == {"large lists": "double"}.get(form, table.dtype)
    np.testing.assert_array_equal(filled(table), matrix)


@pytest.mark.parametrize("form", ["npy", "fortran npy", "packed npz"])
def test_blocks_are_small(tmp_path, monkeypatch, form, rng):
    monkeypatch.setattr(feature_table, "BLOCK_VALUES", 2 * len(IDS))
    matrix = rng.normal(size=(len(IDS), WIDTH))
    blocks = list(read_table(write(tmp_path, form, matrix)).blocks)
    assert len(blocks) > 2
    assert max(values.size for _, _, values in blocks) <= 2 * len(IDS)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f2"])
def test_arrays_of_other_byte_orders_and_widths(tmp_path, matrix, dtype):
    np.savez(tmp_path / "a.npz", ids=np.array(IDS), matrix=matrix.astype(dtype))
    np.testing.assert_array_equal(filled(read_table(tmp_path / "a.npz")), matrix.astype(dtype))


def test_ids_of_a_plain_file_may_lie_elsewhere(tmp_path, matrix):
    path = write(tmp_path, "npy", matrix)
    other = path.with_suffix(".ids").rename(tmp_path / "names.txt")
    assert read_table(path, ids=other).ids.tolist() == IDS
    assert str(tmp_path / "features.ids") in refusal(path)


@pytest.mark.parametrize(
    ("path", "told"),
    [("", "found an empty path"), ("/dev/null", "/dev/null: found no plain file")],
)
def test_what_is_no_file_is_told_as_such(path, told):
    with pytest.raises(UserError) as error:
        read_table(path)
    assert str(error.value) == f"{told}, expected a .npz, .npy or .parquet file"


def test_a_line_ends_at_its_line_end_only(tmp_path):
    """Not at other characters that Unicode takes for one."""
    np.save(tmp_path / "a.npy", np.ones((2, 1)))
    (tmp_path / "a.ids").write_text("a\u2028b\x0bc\nd\n", encoding="utf-8")
    assert read_table(tmp_path / "a.npy").ids.tolist() == ["a\u2028b\x0bc", "d"]


def test_what_is_written_is_plain_numpy(tmp_path, rng):
    matrix = rng.normal(size=(3, 2))
    write_features(tmp_path / "new" / "a.npz", np.array([7, 30, 1]), matrix)
    with np.load(tmp_path / "new" / "a.npz", allow_pickle=False) as content:
        assert set(content.files) == {"ids", "matrix"}
        assert content["ids"].tolist() == ["7", "30", "1"]
        assert content["matrix"].dtype == np.float32
        np.testing.assert_array_equal(content["matrix"], matrix.astype(np.float32))


def test_whole_numbers_and_half_precision_are_written(tmp_path):
    write_features(tmp_path / "a.npz", pd.Series(["a", "b"]), [[1, 0], [0, 1]])
    write_features(tmp_path / "b.npz", ["a", "b"], np.eye(2, dtype=np.float16))
    tables = read_table(tmp_path / "a.npz"), read_table(tmp_path / "b.npz")
    assert [table.dtype for table in tables] == ["float32", "float16"]
    for table in tables:
        np.testing.assert_array_equal(filled(table), np.eye(2))


def test_the_example_of_the_docs_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).resolve().parents[2] / "docs" / "features.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code, {})
    table = read_table(tmp_path / "mydata.image.npz")
    assert table.ids.tolist() == ["book-7", "book-9"]
    assert filled(table).shape == (2, 128)


@pytest.mark.parametrize(
    ("ids", "matrix", "message"),
    [
        (["a", "a"], np.eye(2), "more than once: 1 id ('a')"),
        (["a", "b"], [[1, np.nan], [0, 1]], "NaN or infinite values in 1 id ('a')"),
        (["a", "b"], [[1, 2], [0, 1e39]], "NaN or infinite values in 1 id ('b')"),
        (["a"], np.eye(2), "found 1 ids and a float32 matrix of shape (2, 2)"),
        (["a", "b"], [1.0, 2.0], "found 2 ids and a float32 matrix of shape (2,)"),
        (["a", "b"], [["x"], ["y"]], "not a matrix of numbers"),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, ids, matrix, message):
    path = tmp_path / "a.npz"
    write_features(path, ["old"], np.ones((1, 1)))
    before = path.read_bytes()
    with pytest.raises(UserError) as caught:
        write_features(path, ids, matrix)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_written_under_its_own_suffix_only(tmp_path):
    with pytest.raises(UserError, match=r"found a \.npy file, expected \.npz"):
        write_features(tmp_path / "a.npy", ["a"], np.ones((1, 1)))


@pytest.mark.parametrize("form", ["npz", "packed npz", "npy", "lists"])
@pytest.mark.parametrize("n_cut", [1, 40, 300])
def test_truncated(tmp_path, rng, form, n_cut):
    path = write(tmp_path, form, rng.normal(size=(len(IDS), WIDTH)))
    path.write_bytes(path.read_bytes()[:-n_cut])
    assert refusal(path).startswith("not a readable array file: ")


def test_size_is_checked_before_memory_is_asked_for(tmp_path):
    """A header can claim anything."""
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1000000000000), }"
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "<f4", "fortran_order": False, "shape": (1, 10**12)}
        )
    (tmp_path / "a.ids").write_text("a\n")
    assert header.encode() in (tmp_path / "a.npy").read_bytes()
    assert "found 0 bytes of values, expected 4000000000000" in refusal(tmp_path / "a.npy")


@pytest.mark.parametrize("lengths", [[2, 3, 2], [2, 2, 0], [0, 0, 0]])
def test_vectors_of_unequal_length(tmp_path, lengths):
    lists = [[1.0] * length for length in lengths]
    pq.write_table(pa.table({"item_id": ["a", "b", "c"], "emb": lists}), tmp_path / "a.parquet")
    where, found, width = {
        (2, 3, 2): ("b", 3, "2"),
        (2, 2, 0): ("c", 0, "2"),
        (0, 0, 0): ("a", 0, "at least one"),
    }[tuple(lengths)]
    if lengths == [0, 0, 0]:
        lists = pa.array(lists, pa.list_(pa.float32()))
        pq.write_table(pa.table({"item_id": ["a", "b", "c"], "emb": lists}), tmp_path / "a.parquet")
    assert refusal(tmp_path / "a.parquet") == (
        f"found a vector of {found} numbers for {where!r}, expected {width}, as for the first id"
    )


def test_a_vector_that_is_null(tmp_path):
    lists = pa.array([[1.0], None], pa.list_(pa.float32()))
    pq.write_table(pa.table({"item_id": ["a", "b"], "emb": lists}), tmp_path / "a.parquet")
    assert "found a vector of 0 numbers for 'b'" in refusal(tmp_path / "a.parquet")


def test_columns_of_a_parquet_by_name_and_in_order(tmp_path):
    table = pa.table({"asin": [7, 8], "c": [1, 2], "b": [True, False], "d": [0.5, 1.5]})
    pq.write_table(table, tmp_path / "a.parquet")
    chosen = read_table(tmp_path / "a.parquet", "asin", columns=["d", "c"])
    assert chosen.ids.tolist() == ["7", "8"]
    np.testing.assert_array_equal(filled(chosen), [[0.5, 1], [1.5, 2]])
    every = filled(read_table(tmp_path / "a.parquet", "asin"))
    np.testing.assert_array_equal(every, [[1, 1, 0.5], [2, 0, 1.5]])


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"asin": ["a"], "c": [1.0]}, {}, "found the columns asin, c, expected item_id among them"),
        ({"item_id": ["a"], "c": [1.0]}, {"columns": ["d"]}, "expected d among them"),
        (
            {"item_id": ["a"], "t": ["x"]},
            {},
            "expected beside item_id a column of lists of numbers, or columns of numbers",
        ),
        (
            {"item_id": ["a"], "t": ["x"]},
            {"columns": ["t"]},
            "found t (string), expected one column of lists, or columns of numbers",
        ),
        ({"item_id": ["a"], "e": [[1.0]], "f": [[1.0]]}, {}, "several columns of lists (e, f)"),
        ({"item_id": ["a", None], "c": [1.0, 2.0]}, {}, "found 1 rows without an id"),
        ({"item_id": pa.array([], pa.string()), "c": pa.array([], pa.float32())}, {}, "no row"),
    ],
)
def test_parquet_of_other_columns(tmp_path, columns, options, message):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert message in refusal(tmp_path / "a.parquet", **options)


PEAK = """
import re, sys, types
from pathlib import Path
import numpy as np
from recbole_diffusion.data.features import load_item_features

n, tokens = int(sys.argv[2]), np.random.default_rng(1).permutation(int(sys.argv[2])).astype(str)
dataset = types.SimpleNamespace(field2id_token={"item_id": np.array(["[PAD]", *tokens])})
config = {
    "item_features": {"image": {"file": sys.argv[1]}},
    "ITEM_ID_FIELD": "item_id",
    "data_path": ".",
}
def peak():
    # In bytes; what getrusage tells begins with the parent's.
    return 2**10 * int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])

before = peak()
found = load_item_features(config, dataset, "image")
rise = peak() - before
assert found.shape[0] == n + 1
assert 0.9 < rise / found.nbytes < 1.5, rise / found.nbytes  # less would measure nothing
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("form", ["npz", "npy", "parquet"])
def test_a_matrix_is_never_in_memory_twice(tmp_path, form):
    n, width = 40_000, 1024  # 156 MiB
    matrix = np.broadcast_to(np.arange(n, dtype=np.float32)[:, None], (n, width))
    path = tmp_path / f"big.{form}"
    if form == "npz":
        write_features(path, np.arange(n), matrix)
    elif form == "npy":
        np.save(path, matrix)
        path.with_suffix(".ids").write_text("\n".join(map(str, range(n))))
    else:
        lists = pa.FixedSizeListArray.from_arrays(matrix.ravel(), width)
        pq.write_table(
            pa.table({"item_id": np.arange(n), "emb": lists}),
            path,
            use_dictionary=False,
            compression="none",
        )
    (tmp_path / "peak.py").write_text(PEAK)
    process = Served(tmp_path / "peak.py", (path, n))
    assert process.wait() == 0, process.communicate()
