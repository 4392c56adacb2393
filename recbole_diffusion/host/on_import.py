"""Something that is done right after a package is imported, by whomever."""

import importlib.util
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any


def after_import(package: str, action: Callable[[], None]) -> None:
    """Call a function once: now if the package is imported, else as soon as it is.

    Args:
        package: Name of a top-level package.
        action: May import modules of the package.
    """
    if package in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _Finder(package, action))


class _Finder(MetaPathFinder):
    """Finds one package as the others do, and has its loader call the function.

    Many ask where a package is without importing it, so that this one stays until it is imported.
    """

    def __init__(self, package: str, action: Callable[[], None]) -> None:
        self._package, self._action = package, action
        self._asks_others = False

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != self._package or self._asks_others:
            return None
        self._asks_others = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asks_others = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._act)
        return spec

    def _act(self) -> None:
        sys.meta_path.remove(self)
        self._action()


class _Loader(Loader):
    """A package's own loader, and the function behind it."""

    def __init__(self, loader: Any, action: Callable[[], None]) -> None:
        self._loader, self._action = loader, action

    def create_module(self, spec: ModuleSpec) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._action()
