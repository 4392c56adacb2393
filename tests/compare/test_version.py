"""Cells are those of the code that computed them."""

from pathlib import Path

from recbole_diffusion.studies.compare import plan

source_digest = plan.source_digest.__wrapped__  # each time anew


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.py").write_bytes(text.encode())
    return folder


def test_digest_is_of_the_sources(tmp_path: Path) -> None:
    first = write(tmp_path / "first", a="x = 1\n", b="y = 2\n")
    digest = source_digest(first)
    assert source_digest(write(tmp_path / "same", a="x = 1\r\n", b="y = 2\n")) == digest
    (first / "__pycache__").mkdir()
    (first / "__pycache__" / "a.pyc").write_bytes(b"made")
    (first / "notes.txt").write_text("no code")
    assert source_digest(first) == digest
    others = [
        write(tmp_path / "changed", a="x = 2\n", b="y = 2\n"),
        write(tmp_path / "renamed", a="x = 1\n", c="y = 2\n"),
        write(tmp_path / "moved", a="x = 1\ny = 2\n", b=""),
        write(tmp_path / "less", a="x = 1\n"),
    ]
    assert len({digest, *map(source_digest, others)}) == 5


def test_version_holds_the_digest() -> None:
    assert source_digest(plan.PACKAGE) in plan.code_version()
