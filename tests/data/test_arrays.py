"""Arrays whose headers or archives are not what numpy or zipfile expect."""

import io
import struct
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.reading import open_matrix, read_array_pairs
from recbole_diffusion.data.features import load_matrix

DATASET = types.SimpleNamespace(field2id_token={"item_id": np.array(["[PAD]", "i0", "i1"])})
METHOD = {"central": 10, "local": 8}  # where an archive's entries name how they are packed
FLAGS = {"central": 8, "local": 6}


def npy(shape: str, kind: str = "<f4", content: bytes = bytes(16)) -> bytes:
    """A file whose header says what it likes."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}\n".encode("latin-1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def npz(
    ids: bytes = npy("(2,)", "<U2", "i0i1".encode("utf-32-le")),
    matrix: bytes = npy("(2, 2)"),
) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("ids.npy", ids)
        archive.writestr("matrix.npy", matrix)
    return stream.getvalue()


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_matrix(path, DATASET, "item_id")
    return str(caught.value)


def test_the_sound_archive_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(npz())
    assert load_matrix(path, DATASET, "item_id").tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("shape", ["(2, 2", "(2, 2)\0", "(True, 2)", "(-1, -4)", "((((", "2"])
def test_a_malformed_header_is_refused(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "a.npy"
    path.with_suffix(".ids").write_text("i0\ni1\n")
    path.write_bytes(npy(shape))
    assert refusal(path).startswith(f"{path}: ")
    for read in (open_matrix, lambda path: list(read_array_pairs(path))):
        with pytest.raises(UserError, match=r"a\.npy: found (?!found).*, expected a \.npy file of"):
            read(path)


def test_a_header_cannot_ask_for_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(npy(f"({2**45}, 2)", "<i8"))
    with pytest.raises(UserError, match="found 16 bytes of values, expected"):
        list(read_array_pairs(path))
    path = tmp_path / "a.npz"
    path.write_bytes(npz(ids=npy(f"({2**45},)", "<U2")))
    assert "found 16 bytes of values, expected" in refusal(path)


def test_rows_and_columns_in_either_order(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for order in ("C", "F"):
        np.save(path, np.array([[1, 2], [3, 4], [5, 6]], order=order))
        assert read_array_pairs(path).tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("places", "value"),
    [(FLAGS, 1), (METHOD, 99), (METHOD, zipfile.ZIP_LZMA), (METHOD, zipfile.ZIP_BZIP2)],
)
def test_an_archive_that_cannot_be_unpacked(
    tmp_path: Path, places: dict[str, int], value: int
) -> None:
    content = bytearray(npz())
    for mark, place in ((b"PK\x01\x02", places["central"]), (b"PK\x03\x04", places["local"])):
        start = content.index(mark) + place
        content[start : start + 2] = struct.pack("<H", value)
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: not a readable array file: ")


def test_an_archive_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    width = 2**60
    matrix = npy(f"(2, {width})")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", allowZip64=True) as archive:
        archive.writestr("ids.npy", npy("(2,)", "<U2", "i0i1".encode("utf-32-le")))
        archive.writestr("matrix.npy", matrix)
        archive.filelist[1].file_size = len(matrix) - 16 + 8 * width
    path = tmp_path / "a.npz"
    path.write_bytes(stream.getvalue())
    assert refusal(path).startswith(f"{path}: ")
