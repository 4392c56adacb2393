"""Matrices joined by original id: the join itself, and every refusal with its message."""

import pickle
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from recbole.utils import InputType

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.feature_files import write_features
from recbole_diffusion.data.features import load_item_features, load_matrix
from recbole_diffusion.data.split import load_split
from recbole_diffusion.models.base import EmbeddingRecommender
from recbole_diffusion.runs.quick_start import evaluate_run, run_recbole_diffusion
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.item_features import feature_names
from recbole_diffusion.settings.registry import register

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
    with pytest.raises(UserError) as caught:
        load_matrix(path, dataset, "item_id")
    told = f"{path.with_suffix('.ids')}: not UTF-8 text, one id a line: "
    assert str(caught.value).startswith(told)


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
    beside = " in the file of ids beside it" if kind == "npy" else ""
    assert refusal(path, dataset).startswith(
        f"found {n_ids} ids{beside} and a float32 matrix of shape (6, 4), expected"
    )


def test_matrix_without_columns(tmp_path, dataset):
    path = write(tmp_path, "npz", IDS, np.ones((N_IDS, 0)))
    assert "matrix of shape (6, 0), expected" in refusal(path, dataset)


# From here on: the key item_features, on data that RecBole has filtered and numbered anew.

HEAD = ["user_id:token", "item_id:token"]
N_ITEMS = 12
PAIRS = [[f"u{u}", f"i{(5 * u + 7 * i) % N_ITEMS}"] for u in range(8) for i in range(10)]
RARE = [["u0", "rare-1"], ["u1", "rare-2"]]  # filtered out by a k-core
SMALL = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False}


@pytest.fixture
def mine(write_dataset):
    """A data set of twelve items and two rare ones, in an order of its own."""
    rows = [PAIRS[i] for i in np.random.default_rng(3).permutation(len(PAIRS))]
    return write_dataset("mine", inter=[HEAD, *RARE, *rows])


def load(path, name="image", kept="[3,inf)", **features):
    """The dataset after RecBole's filters, and the vectors of one name."""
    keys = {"data_path": str(path), **SMALL, "item_inter_num_interval": kept}
    config = Config("BPR", "mine", (), {**keys, "item_features": {name: features}})
    dataset = load_split(config).train._dataset
    return dataset, load_item_features(config, dataset, name)


def vectors(rng, ids, width=3):
    return {i: rng.normal(size=width).astype(np.float32) for i in ids}


def save(path, by_id, order=None):
    ids = list(by_id) if order is None else order
    write_features(path, ids, np.array([by_id[i] for i in ids]))


def refused(path, **features):
    with pytest.raises(UserError) as caught:
        load(path, **features)
    return str(caught.value)


ALL = [f"i{i}" for i in range(N_ITEMS)]


@pytest.mark.compat
@pytest.mark.parametrize("kept", ["[0,inf)", "[3,inf)"])
def test_every_vector_is_its_items_after_filters_and_renumbering(mine, rng, kept):
    ids = [*ALL, "rare-1", "rare-2"]
    by_id = vectors(rng, [*ids, "other-1", "other-2"])
    save(mine / "mine" / "a.npz", by_id, rng.permutation(list(by_id)).tolist())
    dataset, found = load(mine, kept=kept, file="a.npz")
    tokens = dataset.field2id_token["item_id"]
    assert len(tokens) == len(found) == (13 if kept == "[3,inf)" else 15)
    assert tokens[1:].tolist() != sorted(tokens[1:])
    assert ("rare-1" in tokens) == (kept == "[0,inf)")
    assert found.dtype == np.float32
    assert not found[0].any()
    for row, token in enumerate(tokens[1:], start=1):
        np.testing.assert_array_equal(found[row], by_id[token])


def test_features_change_nothing_of_the_data(mine, rng):
    by_id = vectors(rng, [*ALL[:11], "new-1", "new-2"])
    save(mine / "mine" / "a.npz", by_id)
    items = [["item_id:token", "emb:float_seq"], *([i, "1 2 3"] for i in [*ALL[3:], "new-3"])]
    with_column = {"a": {"file": "a.npz"}, "b": {"field": "emb"}}

    def data(features):
        keys = {"data_path": str(mine), **SMALL, "item_features": features}
        config = Config("BPR", "mine", (), keys)
        split = load_split(config)
        for name in features or ():
            load_item_features(config, split.train._dataset, name)
        batch = next(iter(split.train))
        return split, sorted(batch.columns)

    without, columns = data(None)
    lines = "".join("\t".join(row) + "\n" for row in items)
    (mine / "mine" / "mine.item").write_text(lines)
    for key in with_column.values():
        key["max_missing"] = 0.5
    split, with_columns = data(with_column)
    assert split.digest == without.digest
    assert split.data_digest == without.data_digest
    assert split.dataset.item_num == without.dataset.item_num == 15
    assert split.dataset.field2token_id == without.dataset.field2token_id
    assert with_columns == columns


def test_items_without_a_vector_have_the_mean_of_the_others(mine, rng, caplog):
    caplog.set_level("INFO")
    by_id = vectors(rng, [*ALL[1:], "x1", "x2", "x3"])
    save(mine / "mine" / "a.npz", by_id)
    dataset, found = load(mine, file="a.npz", max_missing=0.1)
    row = dataset.field2token_id["item_id"]["i0"]
    expected = np.mean([by_id[i].astype(np.float64) for i in ALL[1:]], axis=0)
    np.testing.assert_allclose(found[row], expected, rtol=1e-6)
    assert not found[0].any()
    assert [r.getMessage() for r in caplog.records if "item_features" in r.getMessage()] == [
        "item_features.image: 11 items with features, 1 without (mean), 3 further rows left out; "
        f"width 3, float32 read as float32, {mine / 'mine' / 'a.npz'}"
    ]


def test_items_without_a_vector_may_be_zero(mine, rng):
    by_id = vectors(rng, ALL[2:])
    save(mine / "mine" / "a.npz", by_id)
    dataset, found = load(mine, file="a.npz", missing="zero", max_missing=1.0)
    for token, row in dataset.field2token_id["item_id"].items():
        np.testing.assert_array_equal(found[row], by_id.get(token, np.zeros(3)))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("scale", ["standard", "unit"])
def test_vectors_may_be_scaled(mine, rng, scale, dtype):
    # One item has none, further rows count for nothing, and one column is the same for all items.
    by_id = {i: 30 + 5 * v for i, v in vectors(rng, [*ALL[1:], "x1", "x2"]).items()}
    for vector in by_id.values():
        vector[2] = 0.1
    save(mine / "mine" / "a.npz", by_id)
    dataset, found = load(mine, file="a.npz", scale=scale, dtype=dtype, max_missing=0.1)
    plain = np.array([by_id[i] for i in ALL[1:]], dtype=dtype).astype(np.float64)
    if scale == "unit":
        expected = plain / np.sqrt((plain**2).sum(axis=1, keepdims=True))
    else:
        centred = plain - plain.mean(axis=0)
        expected = centred / np.sqrt((centred**2).mean(axis=0))
        expected[:, 2] = 0
    rows = [dataset.field2token_id["item_id"][i] for i in ALL]
    tolerance = {"float32": 1e-5, "float16": 2e-3}[dtype]
    np.testing.assert_allclose(found[rows[1:]], expected, atol=tolerance)
    np.testing.assert_allclose(found[rows[0]], expected.mean(axis=0), atol=tolerance)
    assert found.dtype == dtype
    assert not found[0].any()


@pytest.mark.parametrize(
    ("n_absent", "options", "share", "allowed"),
    [
        (1, {}, "8.3%", "5.0%"),
        (1, {"missing": "zero"}, "8.3%", "5.0%"),
        (1, {"missing": "error", "max_missing": 1.0}, "8.3%", "0.0%"),
        (3, {"max_missing": 0.2}, "25.0%", "20.0%"),
    ],
)
def test_more_items_without_a_vector_than_allowed(mine, rng, n_absent, options, share, allowed):
    save(mine / "mine" / "a.npz", vectors(rng, ALL[n_absent:]))
    message = refused(mine, file="a.npz", **options)
    assert message.startswith(f"{mine / 'mine' / 'a.npz'}: no features for {n_absent} id")
    assert f"'i{n_absent - 1}'" in message
    assert f" of 12 items ({share}), expected at most {allowed}" in message
    assert "`max_missing`" in message


def test_exactly_the_share_allowed_passes(mine, rng):
    save(mine / "mine" / "a.npz", vectors(rng, ALL[3:]))
    load(mine, file="a.npz", max_missing=0.25)


@pytest.mark.parametrize("first", [0, 1])
def test_row_numbers_in_place_of_ids_are_warned_of(write_dataset, rng, caplog, first):
    """A file of rows 0..n-1 for items 1..n would be joined one row off."""
    pairs = [[f"u{u}", str(1 + (5 * u + 7 * i) % 40)] for u in range(30) for i in range(20)]
    root = write_dataset("mine", inter=[HEAD, *pairs])
    save(root / "mine" / "a.npz", vectors(rng, [str(first + i) for i in range(40)]))
    load(root, file="a.npz")
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any("if they are row numbers" in message for message in warned) == (first == 0)


def test_too_few_ids_of_the_data_shows_both_kinds(mine, rng):
    by_id = vectors(rng, ["i0", *(f"item-{i}" for i in range(9))])
    save(mine / "mine" / "a.npz", by_id)
    message = refused(mine, file="a.npz")
    assert "no features for 11 ids ('i" in message
    assert "the ids of the file look like 'i0', 'item-0', 'item-1'" in message


def test_no_id_of_the_data_shows_both_kinds(mine, rng):
    save(mine / "mine" / "a.npz", vectors(rng, ["0", "1", "2", "3"]))
    message = refused(mine, file="a.npz", max_missing=1.0)
    assert "none of its 4 ids ('0', '1', '2', ...) is a `item_id` of the data set" in message
    assert "whose ids look like 'i" in message


def test_mean_of_half_precision_does_not_overflow(mine):
    """The sum of a column is beyond float16, as in released image features."""
    matrix = np.full((11, 2), 30_000, dtype=np.float16)
    matrix[:, 1] = -matrix[:, 1]
    write_features(mine / "mine" / "a.npz", ALL[1:], matrix)
    with np.errstate(over="ignore"):
        assert np.isinf(matrix.sum(axis=0)).all()
    for dtype in ("float32", "float16"):
        dataset, found = load(mine, file="a.npz", max_missing=0.1, dtype=dtype)
        assert found.dtype == dtype
        row = dataset.field2token_id["item_id"]["i0"]
        np.testing.assert_array_equal(found[row], matrix[0])


def test_values_beyond_half_precision_are_refused(mine):
    matrix = np.ones((12, 2), dtype=np.float32)
    matrix[4, 1] = 70_000
    write_features(mine / "mine" / "a.npz", ALL, matrix)
    assert "NaN or infinite values in 1 id ('i4')" in refused(mine, file="a.npz", dtype="float16")
    load(mine, file="a.npz")


def test_another_width_than_expected(mine, rng):
    save(mine / "mine" / "a.npz", vectors(rng, ALL))
    message = refused(mine, file="a.npz", width=4)
    assert message.endswith("a.npz: found width 3, expected 4 (item_features.image.width)")
    load(mine, file="a.npz", width=3)


def test_a_relative_path_starts_at_the_data_then_at_the_working_directory(
    mine, rng, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    here, beside = tmp_path / "a.npz", mine / "mine" / "a.npz"
    message = refused(mine, file="a.npz")
    assert message.startswith("key `item_features`: file 'a.npz': ")
    assert str(here) in message
    assert str(beside) in message
    save(here, vectors(rng, ALL, width=2))
    assert load(mine, file="a.npz")[1].shape[1] == 2
    save(beside, vectors(rng, ALL, width=5))
    assert load(mine, file="a.npz")[1].shape[1] == 5
    assert load(mine, file=str(here))[1].shape[1] == 2


def test_a_parquet_and_ids_elsewhere_by_options(mine, rng):
    by_id = vectors(rng, ALL, width=2)
    matrix = np.array(list(by_id.values()))
    table = pa.table({"asin": ALL, "x": matrix[:, 0], "y": matrix[:, 1], "year": range(N_ITEMS)})
    pq.write_table(table, mine / "mine" / "a.parquet")
    np.save(mine / "mine" / "a.npy", matrix)
    (mine / "mine" / "names.txt").write_text("\n".join(ALL))
    for options in (
        {"file": "a.parquet", "ids": "asin", "columns": ["x", "y"]},
        {"file": "a.npy", "ids": "names.txt"},
    ):
        dataset, found = load(mine, **options)
        for token, vector in by_id.items():
            row = dataset.field2token_id["item_id"][token]
            np.testing.assert_array_equal(found[row], vector)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.npz", {"ids": "names.txt"}, "found the option `ids`, expected it with .npy or .parqu"),
        ("a.npy", {"columns": ["x"]}, "found the option `columns`, expected it with .parquet only"),
    ],
)
def test_options_of_other_files(mine, name, options, message):
    (mine / "mine" / name).touch()
    assert message in refused(mine, file=name, **options)


def write_items(path, header, rows):
    lines = "".join("\t".join(row) + "\n" for row in [header, *rows])
    (path / "mine" / "mine.item").write_text(lines, encoding="utf-8")


def test_a_column_of_numbers_of_the_item_file(mine, rng):
    """Whether or not the run loads that column, or any of the file."""
    by_id = vectors(rng, [*ALL[1:], "not in the data"])
    rows = [[i, "a", " ".join(map(str, v.tolist()))] for i, v in by_id.items()] + [["i0", "a", ""]]
    write_items(mine, ["item_id:token", "title:token", "emb:float_seq"], rows)
    dataset, found = load(mine, field="emb", missing="zero", max_missing=0.1)
    assert dataset.item_feat is None
    for token, row in list(dataset.field2token_id["item_id"].items())[1:]:
        np.testing.assert_array_equal(found[row], by_id.get(token, np.zeros(3)))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("emb:float_seq", ["1 2", "1 2 3"], "a vector of 3 numbers for 'i1', expected 2"),
        ("emb:float_seq", ["1 2", "1 x"], "found 'x' for 'i1', expected numbers"),
        ("emb:float_seq", ["1 2", "1 nan"], "NaN or infinite values in 1 id ('i1')"),
        ("emb:float_seq", ["", ""], "column emb: found no numbers"),
        ("emb:token_seq", ["1 2", "1 2"], "found the column emb:token_seq, expected emb:float_seq"),
        ("vec:float_seq", ["1 2", "1 2"], "found the columns item_id:token, vec:float_seq, expect"),
    ],
)
def test_a_malformed_column(mine, column, values, message):
    write_items(mine, ["item_id:token", column], [["i0", values[0]], ["i1", values[1]]])
    found = refused(mine, field="emb", max_missing=1.0)
    assert message in found
    assert str(mine / "mine" / "mine.item") in found


def test_no_item_file(mine):
    assert "mine.item: no such file, expected it for its columns emb" in refused(mine, field="emb")


@pytest.mark.parametrize("declared", [None, {}])
def test_nothing_declared(declared):
    assert feature_names({"item_features": declared}) == []


def test_names_are_in_their_order():
    declared = {"text": {"fields": ["title"]}, "image": {"file": "a"}, "audio": {"field": "b"}}
    assert feature_names({"item_features": declared}) == ["text", "image", "audio"]


@pytest.mark.parametrize(
    "name",
    ["social", "knowledge", "title.en", "", "a b", "2d", 7, "keys", "training", "forward", "type"],
)
def test_names_that_cannot_be_used(name):
    with pytest.raises(UserError, match="key `item_features`: found the name"):
        feature_names({"item_features": {name: {"file": "a.npz"}}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("a.npz", "expected one of {file: path}"),
        (None, "expected one of {file: path}"),
        ({}, "expected one of {file: path}"),
        ({"path": "a"}, "expected one of {file: path}"),
        ({"file": "a", "field": "b"}, "expected one of {file: path}"),
        ({"file": None}, "file: found None, expected a text"),
        ({"file": ""}, "file: found '', expected a text"),
        ({"file": "a", "form": "npz"}, "unknown option 'form'"),
        ({"field": ["a"]}, "field: found ['a'], expected a text"),
        ({"fields": "title"}, "fields: found 'title', expected a list"),
        ({"fields": []}, "fields: found [], expected a list"),
        ({"fields": ["a", "a"]}, "each once"),
        ({"fields": ["a", 3]}, "expected a list of column names"),
        ({"file": "a", "encoder": "b"}, "found 'encoder' beside 'file'"),
        ({"field": "a", "ids": "b"}, "found 'ids' beside 'field'"),
        ({"fields": ["a"], "columns": ["b"]}, "found 'columns' beside 'fields'"),
        ({"file": "a", "dtype": "float64"}, "found 'float64', expected float32 or float16"),
        ({"file": "a", "width": True}, "found True, expected a whole number above 0"),
        ({"file": "a", "width": 0}, "found 0, expected a whole number above 0"),
        ({"file": "a", "missing": "drop"}, "found 'drop', expected mean, zero or error"),
        ({"file": "a", "scale": "log"}, "found 'log', expected none, unit or standard"),
        ({"file": "a", "max_missing": 1.5}, "found 1.5, expected a number from 0 to 1"),
        ({"file": "a", "max_missing": "5%"}, "found '5%', expected a number from 0 to 1"),
        ({"file": "a", "max_missing": float("nan")}, "expected a number from 0 to 1"),
    ],
)
def test_malformed_declarations(options, message):
    with pytest.raises(UserError) as caught:
        feature_names({"item_features": {"image": {"file": "a"}, "text": options}})
    assert str(caught.value).startswith("key `item_features`: text: ")
    assert message in str(caught.value)


def test_the_whole_key_is_of_one_kind():
    with pytest.raises(UserError, match="key `item_features`: found .*, expected name"):
        feature_names({"item_features": ["a.npz"]})


@pytest.mark.parametrize("model", ["LightGCN", "InfoDCL"])
def test_declared_beside_the_data_it_is_for_models_that_ask(mine, model):
    """Any model takes such a data set; the file need not be there for one that does not ask."""
    own = "item_features:\n  image: {file: absent.npz}\n"
    (mine / "mine" / "mine.yaml").write_text(own)
    config = Config(model, "mine", (), {"data_path": str(mine), **SMALL})
    assert feature_names(config) == ["image"]
    (mine / "mine" / "mine.yaml").write_text(own.replace("file:", "flie:"))
    with pytest.raises(UserError, match="key `item_features`: image: "):
        Config(model, "mine", (), {"data_path": str(mine), **SMALL})


class Asks(EmbeddingRecommender):
    """Scores by its features alone; nothing but a bias learns."""

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.features = torch.from_numpy(load_item_features(config, dataset, "image"))
        self.bias = torch.nn.Parameter(torch.zeros(1))

    def calculate_loss(self, interaction):
        return (self.bias - 1) ** 2 + 0 * interaction[self.ITEM_ID].sum()

    def scoring_embeddings(self):
        return torch.ones(self.n_users, self.features.shape[1]), self.features


def test_the_report_is_in_the_runs_log_once(mine, rng, own_registry, tmp_path, capfd):
    save(mine / "mine" / "a.npz", vectors(rng, ALL))
    register(Asks)
    keys = {"data_path": str(mine), "item_inter_num_interval": "[3,inf)", **SMALL}
    keys |= {"item_features": {"image": {"file": "a.npz"}}, "epochs": 1}
    keys |= {"output_dir": str(tmp_path / "runs")}
    result = run_recbole_diffusion("Asks", "mine", config_dict=keys)
    line = "item_features.image: 12 items with features, 0 without (mean)"
    log = (Path(result["run_folder"]) / "run.log").read_text()
    shown = capfd.readouterr()
    assert log.count(line) == (shown.out + shown.err).count(line) == 1
    evaluate_run(result["run_folder"])
    shown = capfd.readouterr()
    assert (shown.out + shown.err).count(line) == 1
