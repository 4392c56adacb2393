"""Packages at the name of a function, which hold commands at their earlier places."""

import sys
from types import ModuleType
from typing import Any


class CommandPlace(ModuleType):
    """A package that is called as the function whose name it has.

    Its import takes the function's place in ``recbole_diffusion``.
    """

    def __call__(self, *arguments: Any, **keys: Any) -> Any:
        """What the function gives."""
        package, _, name = self.__name__.rpartition(".")
        return sys.modules[package].__getattr__(name)(*arguments, **keys)
