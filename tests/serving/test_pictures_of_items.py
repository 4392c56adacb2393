"""Which files are pictures of items: names, links, and what cannot be read."""

import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient
from service_tools import PIXEL, service, train, write_data

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.serving.service.pictures import Pictures


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [train(write_data(tmp_path_factory.mktemp("pictures")), "LinDiffRec")]


def test_links_to_other_places_alone_are_no_pictures(runs: list[Path], tmp_path: Path) -> None:
    folder, secret = tmp_path / "by_id", tmp_path / "secret.png"
    folder.mkdir()
    secret.write_bytes(PIXEL)
    (folder / "i0.png").symlink_to(secret)
    (folder / "i1.png").symlink_to("i1.png")  # a loop
    with pytest.raises(UserError, match="no file in .*by_id that an item's id names"):
        service(runs, folder, picture_column="photo")


def test_files_are_named_by_ids_in_any_normal_form(runs: list[Path], tmp_path: Path) -> None:
    """As copied from a Mac, whose file system takes letters and their accents apart."""
    name = unicodedata.normalize("NFD", "é.png")
    (tmp_path / name).write_bytes(PIXEL)
    with TestClient(service(runs, tmp_path, picture_column="photo")) as client:
        assert client.get("/picture", params={"item": "é"}).content == PIXEL
    (tmp_path / "é.png").write_bytes(PIXEL)
    with pytest.raises(UserError, match=r"given more than once: 1 id \('é'\)$"):
        service(runs, tmp_path, picture_column="photo")


def test_ids_that_differ_by_normal_form_have_their_own_files(tmp_path: Path) -> None:
    ids = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    for item in ids:
        (tmp_path / f"{item}.png").write_bytes(PIXEL)
    found = Pictures(tmp_path, "photo").of(SimpleNamespace(items=ids, columns=()))
    assert found == {item: f"{item}.png" for item in ids}


def test_a_folder_that_cannot_be_read_is_told(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"key `pictures`: .*No such file or directory: .*gone"):
        service(runs, tmp_path / "gone", picture_column="photo")


@pytest.mark.parametrize("value", ["http://[x/a.png", "loop.png", "a\0.png", "", "..", "/"])
def test_what_names_no_file_has_no_picture(tmp_path: Path, value: str) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert Pictures(tmp_path, "image").file(value) is None


def test_a_file_that_may_not_be_read_is_no_picture() -> None:
    with TemporaryDirectory() as name:  # which others may enter, as those of pytest may not be
        folder = Path(name)
        folder.chmod(0o755)
        for path in (folder / "open.png", folder / "closed.png"):
            path.write_bytes(PIXEL)
        (folder / "closed.png").chmod(0)
        with without_privileges():
            pictures = Pictures(folder, "image")
            assert pictures.file("open.png") == folder.resolve() / "open.png"
            assert pictures.file("closed.png") is None


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read everything."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)
