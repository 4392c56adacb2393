"""Fixtures of the tests of the command `convert`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_diffusion.commands.cli import main

Convert = Callable[..., tuple[int, str, str]]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def convert(tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> Convert:
    """Writes files and converts them, or their folder; gives exit code, stdout and stderr."""

    def run(files: dict[str, bytes | str], *options: str, folder: bool = False) -> Any:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        for name, content in files.items():
            is_text = isinstance(content, str)
            (source / name).write_bytes(content.encode() if is_text else content)
        paths = [str(source)] if folder else [str(source / name) for name in files]
        code = main(["convert", *paths, "--name=toy", f"--output={output}", *options])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run
