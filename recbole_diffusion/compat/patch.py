"""What a patch of RecBole is, and which versions are installed."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pandas as pd


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


def host_version() -> tuple[int, ...]:
    """Of RecBole, such as (1, 2, 0)."""
    import recbole

    return tuple(int(part) for part in re.findall(r"\d+", recbole.__version__)[:3])


def has_pandas_3() -> bool:
    """Whether pandas is 3 or later."""
    return int(pd.__version__.split(".")[0]) >= 3


def is_1_2_0() -> bool:
    """Whether RecBole is older than 1.2.1."""
    return host_version() < (1, 2, 1)


def is_1_2_1_on() -> bool:
    """Whether RecBole is 1.2.1 or later."""
    return not is_1_2_0()


def in_every_version() -> bool:
    """Both 1.2.0 and 1.2.1 have the fault, whatever is installed beside them."""
    return True
