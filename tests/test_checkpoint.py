"""Checkpoints: nothing is lost or changed, nothing runs, and a failed write harms nothing."""

import io
import os
import pickle
from contextlib import nullcontext
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.training import checkpoint
from recbole_diffusion.training.checkpoint import check_origin, read_checkpoint, save_checkpoint


class Level(IntEnum):
    LOW = 1


class Name(str):
    pass


class Pair(NamedTuple):
    first: int
    second: int


class Payload:
    """What an attacker would put into a file: unpickling it makes ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def round_trip(folder: Path, value: Any) -> Any:
    save_checkpoint(folder / "c.pth", {"value": value})
    return read_checkpoint(folder / "c.pth")["value"]


def test_nested_plain_values_and_tensors(tmp_path: Path) -> None:
    content = {
        "none": None,
        "numbers": [True, 3, -0.1, float("inf"), 1e-300],
        "text": "Größe\n",
        "deep": {"list": [{"tuple": (1, "a", None)}, []], 7: {}},
        "weight": torch.arange(6, dtype=torch.float64).reshape(2, 3),
        "steps": (torch.tensor(4), torch.tensor([], dtype=torch.int32)),
        "half": torch.tensor([0.1], dtype=torch.bfloat16),
    }
    save_checkpoint(tmp_path / "c.pth", content)
    found = read_checkpoint(tmp_path / "c.pth")
    assert {k: found[k] for k in ("none", "numbers", "text", "deep")} == {
        k: content[k] for k in ("none", "numbers", "text", "deep")
    }
    assert type(found["numbers"][0]) is bool
    assert type(found["deep"]["list"][0]["tuple"]) is tuple
    pairs = [(found[k], content[k]) for k in ("weight", "half")]
    pairs += list(zip(found["steps"], content["steps"], strict=True))
    for was, expected in pairs:
        assert was.dtype == expected.dtype
        assert torch.equal(was, expected)


def test_nan_survives(tmp_path: Path) -> None:
    assert np.isnan(round_trip(tmp_path, float("nan")))


@pytest.mark.parametrize(
    "value", [np.float64(0.1), np.float32(0.1), np.int64(2**62), np.bool_(True), np.str_("a")]
)
def test_numpy_scalars_become_plain_values(tmp_path: Path, value: Any) -> None:
    found = round_trip(tmp_path, value)
    assert found == value
    assert type(found) in (bool, int, float, str)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10)[::3],
        np.zeros((0, 4), dtype=np.float32),
        np.array([True, False]),
        np.array(2.5),
    ],
    ids=["int", "fortran", "strided", "empty", "bool", "scalar"],
)
def test_arrays(tmp_path: Path, array: np.ndarray) -> None:
    found = round_trip(tmp_path, array)
    assert type(found) is np.ndarray
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert np.array_equal(found, array)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_matrix_stays_a_matrix(tmp_path: Path) -> None:
    matrix = np.asmatrix(np.arange(6.0).reshape(2, 3))
    found = round_trip(tmp_path, matrix)
    assert isinstance(found, np.matrix)
    assert np.array_equal(found, matrix)


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("layout", ["csr", "csc", "lil", "coo", "dok"])
def test_sparse_matrices(tmp_path: Path, rng: np.random.Generator, layout: str, kind: str) -> None:
    dense = np.where(rng.random((5, 4)) < 0.4, rng.random((5, 4)), 0).astype(np.float32)
    dense[2] = 0
    matrix = getattr(sp, f"{layout}_{kind}")(dense)
    found = round_trip(tmp_path, {"inside": [matrix]})["inside"][0]
    assert type(found) is type(matrix)
    assert found.dtype == np.float32
    assert np.array_equal(found.toarray(), dense)


def test_content_is_not_changed_by_saving(tmp_path: Path) -> None:
    array, matrix = np.arange(3.0), sp.lil_matrix((2, 3))
    content = {"array": array, "matrix": matrix}
    save_checkpoint(tmp_path / "c.pth", content)
    assert content == {"array": array, "matrix": matrix}
    assert content["matrix"].format == "lil"


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        b"bytes",
        1j,
        torch.float32,
        object(),
        lambda: None,
        np.array([{}], dtype=object),
        np.array(["text"]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
    ],
    ids=lambda v: str(getattr(v, "dtype", type(v).__name__)),
)
def test_other_types_are_refused_by_place(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match=r"checkpoint\.state\.parts\[1\]"):
        save_checkpoint(tmp_path / "c.pth", {"state": {"parts": [0, value]}})
    assert list(tmp_path.iterdir()) == []


def test_key_of_another_type_is_refused_by_place(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"checkpoint\.state: found key \(1, 2\)"):
        save_checkpoint(tmp_path / "c.pth", {"state": {(1, 2): 0}})


@pytest.mark.parametrize(
    "value",
    [
        Level.LOW,
        Name("a"),
        Pair(1, 2),
        {np.str_("a"): 1},
        {Level.LOW: 1},
        np.datetime64("2020-01-01"),
        np.array([1.5], dtype=">f8"),
        np.array([1.5], dtype=np.longdouble),
    ],
    ids=["enum", "text", "pair", "text-key", "enum-key", "date", "swapped", "long"],
)
def test_what_is_written_can_be_read(tmp_path: Path, value: Any) -> None:
    """What is no plain value is stored as one that is equal, or refused when it is saved."""
    refused = ""
    try:
        save_checkpoint(tmp_path / "c.pth", {"value": value})
    except (TypeError, ValueError) as error:
        refused = str(error)
    if refused:
        assert "checkpoint.value" in refused
    else:
        assert read_checkpoint(tmp_path / "c.pth")["value"] == value


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", ["torch", "pickle"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, write: str) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    content = {"format": checkpoint.FORMAT, "state_dict": Payload(trace)}
    if write == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"evil\.pth: cannot be read"):
        read_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False) if write == "torch" else pickle.loads(path.read_bytes())
    assert trace.is_dir()  # so the payload works, and was not run above


@pytest.mark.parametrize("held", [Name("a"), torch.optim.SGD([torch.zeros(1)])], ids=type)
def test_host_checkpoint_is_refused_with_the_reason(tmp_path: Path, held: Any) -> None:
    torch.save({"config": held, "state_dict": {}}, tmp_path / "host.pth")
    with pytest.raises(UserError, match="RecBole's own hold pickled objects") as error:
        read_checkpoint(tmp_path / "host.pth")
    text = str(error.value)
    assert "\n" not in text
    assert "\x1b" not in text
    assert "you have two options" not in text  # PyTorch's advice to run the code in the file


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pth: no such file"):
        read_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken zip"])
def test_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"other\.pth: cannot be read"):
        read_checkpoint(tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"format": "recbole_diffusion checkpoint 0"}, "recbole_diffusion checkpoint 0"),
        ({"state_dict": {}}, "None"),
        ([1, 2], "list"),
    ],
)
def test_tensors_of_another_program(tmp_path: Path, content: Any, found: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match=found) as error:
        read_checkpoint(tmp_path / "other.pth")
    assert checkpoint.FORMAT in str(error.value)


def test_file_with_broken_parts(tmp_path: Path) -> None:
    broken = {"format": checkpoint.FORMAT, "matrix": {checkpoint._KIND: "array"}}
    torch.save(broken, tmp_path / "broken.pth")
    with pytest.raises(UserError, match=r"broken\.pth"):
        read_checkpoint(tmp_path / "broken.pth")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_file(tmp_path: Path, share: float) -> None:
    path = tmp_path / "c.pth"
    save_checkpoint(path, {"weight": torch.arange(1000)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"c\.pth: cannot be read"):
        read_checkpoint(path)


@pytest.mark.parametrize("step", ["save", "sync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
def test_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Any
) -> None:
    path = tmp_path / "last.pth"
    save_checkpoint(path, {"epoch": 1})
    old = path.read_bytes()

    def fail(first: Any, *rest: Any) -> None:
        if step == "save":
            rest[0].write(b"half of it")
        raise error

    owner, name = {
        "save": (torch, "save"),
        "sync": (os, "fsync"),
        "replace": (os, "replace"),
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises((KeyboardInterrupt, OSError)):
            save_checkpoint(path, {"epoch": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["last.pth"]
    assert path.read_bytes() == old
    assert read_checkpoint(path)["epoch"] == 1
    save_checkpoint(path, {"epoch": 3})
    assert read_checkpoint(path)["epoch"] == 3


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("n_writes", [0, 1, 3])
def test_what_stopped_a_write_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException], n_writes: int
) -> None:
    """PyTorch's writer has a complaint of its own about the half file."""

    class Stopped(io.BytesIO):
        left = n_writes

        def write(self, data: Any) -> int:
            self.left -= 1
            if self.left == -1:  # once: closing writes on
                raise kind("stopped")
            return super().write(data)

    monkeypatch.setattr(checkpoint, "written_whole", lambda path: nullcontext(Stopped()))
    with pytest.raises(kind, match="stopped"):
        save_checkpoint(tmp_path / "last.pth", {"weights": [torch.ones(1000)] * 5})


def test_check_origin_names_file_entry_and_both_values() -> None:
    content = {"model": "EASE", "split_hash": "aa"}
    check_origin("best.pth", content, model="EASE", split_hash="aa")
    with pytest.raises(UserError, match=r"best\.pth.*split_hash.*'aa'.*'bb'"):
        check_origin("best.pth", content, model="EASE", split_hash="bb")
    with pytest.raises(UserError, match=r"best\.pth.*dataset.*None.*'planted'"):
        check_origin("best.pth", content, dataset="planted")


@pytest.mark.parametrize("seed", range(40))
def test_changed_bytes_are_never_other_numbers(tmp_path: Path, seed: int) -> None:
    path, draw = tmp_path / "c.pth", np.random.default_rng(seed)
    content = {"weight": torch.arange(5000.0), "matrix": sp.eye(50, format="csr"), "epoch": 3}
    save_checkpoint(path, content)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    places = draw.choice(len(whole), 1 if seed % 2 else 40, replace=False)
    changed = whole.copy()
    changed[places] ^= draw.integers(1, 256, len(places)).astype(np.uint8)
    path.write_bytes(changed.tobytes())
    try:
        found = read_checkpoint(path)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:  # what stands between the parts
        assert torch.equal(found["weight"], content["weight"])
        assert (found["matrix"] != content["matrix"]).nnz == 0
        assert found["epoch"] == 3


@pytest.mark.parametrize("n_bytes", [1, 64, 5000])
@pytest.mark.parametrize("place", [0.0, 0.02, 0.1, 0.5, 0.9])
def test_bytes_that_are_missing_are_told(tmp_path: Path, place: float, n_bytes: int) -> None:
    path = tmp_path / "c.pth"
    save_checkpoint(path, {"weight": torch.arange(5000.0), "epoch": 3})
    whole = path.read_bytes()
    start = int(place * len(whole))
    path.write_bytes(whole[:start] + whole[start + n_bytes :])
    with pytest.raises(UserError, match=r"c\.pth: (cannot be read|found a changed)"):
        read_checkpoint(path)


@pytest.mark.parametrize("part", ["indices", "indptr", "shape"])
def test_sparse_parts_that_do_not_fit_are_refused(tmp_path: Path, part: str) -> None:
    """A product with them would read beyond their arrays."""
    encoded = checkpoint._encode({"matrix": sp.eye(50, format="csr")}, "checkpoint")
    if part == "shape":
        encoded["matrix"]["shape"] = [50, 20]
    else:
        encoded["matrix"][part] = encoded["matrix"][part] + 2_000_000_000
    torch.save({"format": checkpoint.FORMAT, **encoded}, tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"c\.pth: broken"):
        read_checkpoint(tmp_path / "c.pth")
