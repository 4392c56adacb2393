"""The version that is installed, which git's tags gave it, and a digest of its sources."""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    __version__ = version("recbole_diffusion")
except PackageNotFoundError:  # imported from a clone that is not installed
    __version__ = "0+unknown"


@cache
def source_digest(folder: Path) -> str:
    """Digest of the Python files of a package. Property files count by the settings they give.

    Args:
        folder: Of the package.
    """
    return digest_of_files(folder, sorted(folder.rglob("*.py")))


def digest_of_files(folder: Path, files: Sequence[Path]) -> str:
    """Of names and texts, whatever their line ends.

    Args:
        folder: That the names are relative to.
        files: Below it.
    """
    texts = {
        path.relative_to(folder).as_posix(): path.read_bytes().replace(b"\r\n", b"\n").hex()
        for path in files
    }
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:16]
