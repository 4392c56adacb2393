"""What the tests of converters share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_diffusion.errors import UserError


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its content; None marks a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def refused(folder: Path, convert: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """The message of a refused conversion, which must not touch the folder."""
    before = snapshot(folder)
    with pytest.raises(UserError) as caught:
        convert(*arguments, **options)
    assert snapshot(folder) == before
    return str(caught.value)


def lines_of(output: Path, suffix: str) -> list[str]:
    """Lines of a file of the data set ``toy``."""
    return (output / "toy" / f"toy.{suffix}").read_text(encoding="utf-8").splitlines()
