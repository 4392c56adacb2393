"""Packages at the name of a function, which hold commands at their earlier places."""

from importlib import import_module
from types import ModuleType
from typing import Any


class CommandPlace(ModuleType):
    """A package that is called as the function whose name it has.

    Its import takes the function's place in ``recbole_diffusion``.
    """

    def __call__(self, *arguments: Any, **keys: Any) -> Any:
        """What the function gives."""
        name = self.__name__.rpartition(".")[2]
        module = import_module(f"recbole_diffusion.studies.{name}.run")
        return getattr(module, name)(*arguments, **keys)
