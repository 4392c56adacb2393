"""Matrices joined by original id: the join itself, and every refusal with its message."""

import pickle
import types
from pathlib import Path

import numpy as np
import pytest

from recbole_diffusion.data.features import load_matrix
from recbole_diffusion.errors import UserError

# Ids that a number or a sloppy comparison would confuse.
TOKENS = ["[PAD]", "10", "001", "1", "9", "Café", "B 2"]
IDS = TOKENS[1:]
N_IDS, WIDTH = len(IDS), 4
FIELD = "item_id"


@pytest.fixture
def dataset():
    return types.SimpleNamespace(
        field2id_token={
            FIELD: np.array(TOKENS),
            "user_id": np.array(["[PAD]", "1", "001"]),
        }
    )


@pytest.fixture
def matrix(rng):
    return rng.normal(size=(N_IDS, WIDTH)).astype(np.float32)


def write(folder, kind, ids, matrix):
    """Write the file of one kind; returns its path."""
    path = folder / f"features.{kind}"
    if kind == "npz":
        np.savez(path, ids=ids, matrix=matrix)
    else:
        np.save(path, matrix)
        path.with_suffix(".ids").write_text("".join(f"{i}\n" for i in ids), encoding="utf-8")
    return path


def refusal(path, dataset, field=FIELD):
    with pytest.raises(UserError) as caught:
        load_matrix(path, dataset, field)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("order", ["same", "reversed", "shuffled"])
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_rows_are_joined_by_original_id(tmp_path, dataset, matrix, rng, kind, order):
    rows = {
        "same": np.arange(N_IDS),
        "reversed": np.arange(N_IDS)[::-1],
        "shuffled": rng.permutation(N_IDS),
    }[order]
    path = write(tmp_path, kind, np.array(IDS)[rows], matrix[rows])
    joined = load_matrix(path, dataset, FIELD)
    assert joined.dtype == np.float32
    assert joined.shape == (N_IDS + 1, WIDTH)
    np.testing.assert_array_equal(joined[1:], matrix)
    assert not joined[0].any()


def test_path_may_be_a_text(tmp_path, dataset, matrix):
    path = write(tmp_path, "npz", IDS, matrix)
    np.testing.assert_array_equal(load_matrix(str(path), dataset, FIELD)[1:], matrix)


def test_ids_are_those_of_the_field(tmp_path, dataset, matrix):
    path = write(tmp_path, "npz", ["001", "1"], matrix[:2])
    np.testing.assert_array_equal(load_matrix(path, dataset, "user_id")[1:], matrix[[1, 0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_float_type_gives_float32(tmp_path, dataset, matrix, dtype):
    path = write(tmp_path, "npy", IDS, matrix.astype(dtype))
    joined = load_matrix(path, dataset, FIELD)
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined[1:], matrix.astype(dtype).astype(np.float32))


def test_ids_may_be_integers(tmp_path, matrix):
    dataset = types.SimpleNamespace(field2id_token={FIELD: np.array(["[PAD]", "7", "0", "12"])})
    path = write(tmp_path, "npz", np.array([12, 7, 0]), matrix[:3])
    np.testing.assert_array_equal(load_matrix(path, dataset, FIELD)[1:], matrix[[1, 2, 0]])


def test_ids_file_may_have_windows_line_ends_and_an_open_end(tmp_path, dataset, matrix):
    path = write(tmp_path, "npy", IDS, matrix)
    path.with_suffix(".ids").write_bytes("\r\n".join(IDS).encode())
    np.testing.assert_array_equal(load_matrix(path, dataset, FIELD)[1:], matrix)


@pytest.mark.parametrize("name", ["absent.npz", "absent.npy"])
def test_missing_file(tmp_path, dataset, name):
    assert refusal(tmp_path / name, dataset) == "no such file"


def test_missing_file_of_ids(tmp_path, dataset, matrix):
    path = write(tmp_path, "npy", IDS, matrix)
    path.with_suffix(".ids").unlink()
    message = refusal(path, dataset)
    assert message == f"expected the file {tmp_path / 'features.ids'} beside it, one id a line"


@pytest.mark.parametrize(
    ("name", "found"), [("a.csv", ".csv"), ("a.pkl", ".pkl"), ("a", "suffixless")]
)
def test_wrong_suffix(tmp_path, dataset, name, found):
    (tmp_path / name).write_text("ids")
    message = refusal(tmp_path / name, dataset)
    assert message == f"found a {found} file, expected .npz, .npy or .parquet"


@pytest.mark.parametrize("present", ["ids", "matrix"])
def test_missing_array(tmp_path, dataset, matrix, present):
    path = tmp_path / "features.npz"
    np.savez(path, **{present: {"ids": np.array(IDS), "matrix": matrix}[present]})
    message = refusal(path, dataset)
    assert message.startswith("expected the arrays `ids` and `matrix`: ")
    missing = {"ids": "matrix", "matrix": "ids"}[present]
    assert missing in message.split(":", maxsplit=1)[1]


@pytest.mark.parametrize("where", ["ids", "matrix"])
def test_object_arrays_are_refused_and_never_unpickled(tmp_path, dataset, matrix, where):
    mark = tmp_path / "unpickled"
    arrays = {"ids": np.array(IDS), "matrix": matrix}
    arrays[where] = np.array([Payload(mark)] * N_IDS, dtype=object)
    np.savez(tmp_path / "features.npz", **arrays)
    assert "Object arrays cannot be loaded" in refusal(tmp_path / "features.npz", dataset)
    assert not mark.exists()


def test_object_array_in_a_plain_file_is_refused_and_never_unpickled(tmp_path, dataset):
    mark = tmp_path / "unpickled"
    path = write(tmp_path, "npy", IDS, np.array([Payload(mark)] * N_IDS, dtype=object))
    assert "Object arrays cannot be loaded" in refusal(path, dataset)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_pickle_under_another_name_is_refused_and_never_unpickled(tmp_path, dataset, matrix, kind):
    mark = tmp_path / "unpickled"
    path = write(tmp_path, kind, IDS, matrix)
    path.write_bytes(pickle.dumps(Payload(mark)))
    assert refusal(path, dataset).startswith("not a readable array file: ")
    assert not mark.exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "text"])
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_damaged_file(tmp_path, dataset, matrix, kind, damage):
    path = write(tmp_path, kind, IDS, matrix)
    content = bytearray(path.read_bytes())
    if damage == "changed":  # an archive has a checksum, a plain file has its magic bytes
        place = content.find(matrix.tobytes()) if kind == "npz" else 1
        content[place] ^= 0xFF
    else:
        content = {"empty": b"", "cut": content[:-30], "text": b"no array"}[damage]
    path.write_bytes(content)
    assert refusal(path, dataset).startswith("not a readable array file: ")


def test_archive_named_as_a_plain_file_and_the_reverse(tmp_path, dataset, matrix):
    archive, plain = write(tmp_path, "npz", IDS, matrix), write(tmp_path, "npy", IDS, matrix)
    contents = archive.read_bytes(), plain.read_bytes()
    plain.write_bytes(contents[0])
    archive.write_bytes(contents[1])
    assert "not a readable array file" in refusal(plain, dataset)
    assert "not a readable array file" in refusal(archive, dataset)


def test_ids_that_are_not_utf8(tmp_path, dataset, matrix):
    path = write(tmp_path, "npy", IDS, matrix)
    path.with_suffix(".ids").write_bytes(b"10\n\xff\n")
    assert "can't decode byte 0xff" in refusal(path, dataset)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_values_that_are_not_finite(tmp_path, dataset, matrix, kind, value):
    matrix[1, 3] = matrix[4, 0] = matrix[4, 1] = value
    path = write(tmp_path, kind, IDS, matrix)
    assert refusal(path, dataset) == "NaN or infinite values in 2 ids ('001', 'Café')"


def test_values_that_are_not_finite_in_single_precision(tmp_path, dataset, matrix):
    wide = matrix.astype(np.float64)
    wide[2, 1] = 1e39  # finite in float64 only
    path = write(tmp_path, "npz", IDS, wide)
    assert "in 1 id ('1')" in refusal(path, dataset)


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_ids_given_twice(tmp_path, dataset, matrix, kind):
    ids = [*IDS, "9", "001", "9"]
    path = write(tmp_path, kind, ids, np.concatenate([matrix, matrix[:3]]))
    assert refusal(path, dataset) == "ids given more than once: 2 ids ('001', '9')"


def test_id_given_twice_in_place_of_another(tmp_path, dataset, matrix):
    """The number of rows is right, one id is not there."""
    path = write(tmp_path, "npz", [*IDS[:-1], IDS[0]], matrix)
    assert refusal(path, dataset) == "ids given more than once: 1 id ('10')"


@pytest.mark.parametrize("n_unknown", [1, 3, 5])
def test_unknown_ids(tmp_path, dataset, matrix, n_unknown):
    ids = [*(f"x{i}" for i in range(n_unknown)), *IDS]
    path = write(tmp_path, "npz", ids, np.ones((len(ids), WIDTH)))
    counted = {
        1: "1 id ('x0')",
        3: "3 ids ('x0', 'x1', 'x2')",
        5: "5 ids ('x0', 'x1', 'x2', ...)",
    }[n_unknown]
    assert refusal(path, dataset) == (
        f"{counted} match no `item_id` of the data set, whose ids look like '10', '001', '1'"
    )


@pytest.mark.parametrize("wrong", ["01", "1.0", " 1", "1 ", "+1", "[PAD]", "", "café"])
def test_near_misses_are_unknown(tmp_path, dataset, matrix, wrong):
    ids = [*IDS, wrong]
    path = write(tmp_path, "npz", ids, np.ones((len(ids), WIDTH)))
    assert refusal(path, dataset).startswith(f"1 id ({wrong!r}) match no `item_id`")


@pytest.mark.parametrize(
    ("kept", "counted"),
    [
        (["10", "1", "9", "Café", "B 2"], "1 id ('001')"),
        (["1", "10", "9", "Café", "B 2"], "1 id ('001')"),
        (["B 2"], "5 ids ('001', '1', '10', ...)"),
        ([], "6 ids ('001', '1', '10', ...)"),
    ],
)
def test_ids_without_a_row(tmp_path, dataset, kept, counted):
    path = write(tmp_path, "npz", np.array(kept, dtype=str), np.ones((len(kept), WIDTH)))
    assert refusal(path, dataset) == f"no row for {counted} of field `item_id`"


@pytest.mark.parametrize("shape", [(N_IDS,), (N_IDS, 2, 2), ()])
def test_matrix_of_another_rank(tmp_path, dataset, shape):
    path = write(tmp_path, "npz", IDS, np.ones(shape))
    assert refusal(path, dataset) == (
        f"found 6 ids and a float64 matrix of shape {shape}, "
        "expected floats of shape (number of ids, width)"
    )


@pytest.mark.parametrize("shape", [(1, N_IDS), (N_IDS, 1), ()])
def test_ids_of_another_rank(tmp_path, dataset, shape):
    ids = np.array(IDS).reshape(shape) if shape else np.array(IDS[0])
    path = write(tmp_path, "npz", ids, np.ones((ids.shape[0] if shape else 1, WIDTH)))
    assert "ids" in refusal(path, dataset)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.complex64, "U3"])
def test_matrix_of_another_type(tmp_path, dataset, matrix, dtype):
    values = np.ones((N_IDS, WIDTH)).astype(dtype)
    path = write(tmp_path, "npz", IDS, values)
    assert f"a {values.dtype} matrix of shape (6, 4), expected floats" in refusal(path, dataset)


@pytest.mark.parametrize("kind", ["npz", "npy"])
@pytest.mark.parametrize("n_ids", [N_IDS - 1, N_IDS + 1])
def test_as_many_ids_as_rows(tmp_path, dataset, matrix, kind, n_ids):
    path = write(tmp_path, kind, [*IDS, "more"][:n_ids], matrix)
    assert refusal(path, dataset).startswith(
        f"found {n_ids} ids and a float32 matrix of shape (6, 4), expected"
    )


def test_matrix_without_columns(tmp_path, dataset):
    path = write(tmp_path, "npz", IDS, np.ones((N_IDS, 0)))
    assert "matrix of shape (6, 0), expected" in refusal(path, dataset)
