"""What the tests of converters share."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.cli import parse_arguments
from recbole_diffusion.settings.config import Config


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


def next_run(printed: str, folder: Path) -> Config:
    """Settings of the run that the last line of a conversion's report advises for its folder."""
    words = shlex.split(printed.splitlines()[-1])
    assert words[:6] == ["written:", f"{folder};", "next:", "python", "-m", "recbole_diffusion"]
    keys = parse_arguments(words[6:])
    return Config(keys.pop("model"), keys.pop("dataset"), (), keys)


def lines_of(output: Path, suffix: str) -> list[str]:
    """Lines of a file of the data set ``toy``."""
    return (output / "toy" / f"toy.{suffix}").read_text(encoding="utf-8").splitlines()
