"""What a patch of RecBole is, and which versions are installed."""

import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from types import ModuleType
from typing import Any


def _host_folder() -> Path:
    spec = find_spec("recbole")  # without importing it
    if spec is None or spec.origin is None:
        raise ImportError("recbole_diffusion needs the package `recbole`: pip install recbole")
    return Path(spec.origin).parent


HOST_FOLDER = _host_folder()
# What the host calls the models of each of its packages.
HOST_KINDS = {
    "general_recommender": "general",
    "context_aware_recommender": "context-aware",
    "sequential_recommender": "sequential",
    "knowledge_aware_recommender": "knowledge-based",
    "exlib_recommender": "decision tree",
}


@dataclass(frozen=True)
class Patch:
    """One repair of the host.

    Attributes:
        name: What it is called in tests and docs.
        reason: The fault that it mends, in a sentence.
        is_needed: Whether the installed packages show the fault.
        apply: Mends it.
    """

    name: str
    reason: str
    is_needed: Callable[[], bool]
    apply: Callable[[], None]


class Overlay(ModuleType):
    """A module as the host sees it: some names replaced, every other one the module's own."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        super().__init__(module.__name__)
        self._module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@cache
def _host_sources() -> dict[str, str]:
    """Source text of every module of RecBole, but for models of packages that it does not bring."""
    paths = [path for path in HOST_FOLDER.rglob("*.py") if "exlib_recommender" not in path.parts]
    names = {path: path.relative_to(HOST_FOLDER.parent).with_suffix("").parts for path in paths}
    return {
        ".".join(part for part in names[path] if part != "__init__"): path.read_text("utf-8")
        for path in paths
    }


def host_modules_with(pattern: str) -> Iterator[Any]:
    """Modules of RecBole whose source has what a regular expression finds, imported.

    A pattern that begins with plain characters is found twenty times as fast.
    """
    for name, source in _host_sources().items():
        if re.search(pattern, source):
            yield importlib.import_module(name)


def host_kind(model: str) -> str | None:
    """Kind of a model of RecBole by its name, in any case: "sequential", say; None if unknown."""
    for folder, kind in HOST_KINDS.items():
        if (HOST_FOLDER / "model" / folder / f"{model.lower()}.py").is_file():
            return kind
    return None


def host_arguments() -> dict[str, list[str]]:
    """RecBole's lists of keys by name, such as ``dataset_arguments``, without importing it."""
    path = HOST_FOLDER / "utils" / "argument_list.py"
    return {k: v for k, v in run_path(str(path)).items() if k.endswith("_arguments")}


def host_version() -> tuple[int, ...]:
    """Of RecBole, such as (1, 2, 0)."""
    found = re.search(r"__version__ = .(\d+)\.(\d+)\.(\d+)", _host_sources()["recbole"])
    if found is None:
        raise ImportError(f"{HOST_FOLDER}: found a RecBole without __version__")
    return tuple(int(part) for part in found.groups())


def has_pandas_3() -> bool:
    """Whether pandas is 3 or later."""
    return int(version("pandas").split(".")[0]) >= 3


def is_1_2_0() -> bool:
    """Whether RecBole is older than 1.2.1."""
    return host_version() < (1, 2, 1)


def is_1_2_1_on() -> bool:
    """Whether RecBole is 1.2.1 or later."""
    return not is_1_2_0()


def in_every_version() -> bool:
    """Both 1.2.0 and 1.2.1 have the fault, whatever is installed beside them."""
    return True
