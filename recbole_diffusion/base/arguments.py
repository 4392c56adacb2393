"""Arguments of the commands: those that ``argparse`` reads, and what is told of the others."""

import argparse
import inspect
from collections.abc import Callable
from importlib import import_module
from textwrap import dedent
from types import ModuleType
from typing import NoReturn

from recbole_diffusion.base.errors import UserError


class ArgumentParser(argparse.ArgumentParser):
    """Tells of a wrong argument on one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{message}; {self.prog} --help lists the arguments")


def described_keys(function: Callable[..., object], **forms: str) -> str:
    """What a function's docstring says of its arguments, as the keys of a command, one a line.

    Args:
        function: What the command calls; a default other than None stands behind its key.
        **forms: How an argument is given, where that is not ``--name=value``.
    """
    parameters = inspect.signature(function).parameters
    described = (inspect.getdoc(function) or "").partition("Args:\n")[2].partition("\n\n")[0]
    lines = []
    for line in dedent(described).replace("``", "").splitlines():
        name, _, text = line.partition(": ")
        if line.startswith(" "):
            lines.append(f"{'':<23}{line.strip()}")
            continue
        if name not in parameters:  # **keys, which the run's own help prints
            continue
        default = parameters[name].default
        has_none = default in (None, (), inspect.Parameter.empty)
        value = ",".join(default) if isinstance(default, tuple) else default
        form = forms.get(name, f"--{name}" + ("" if has_none else f"={value}"))
        lines.append(f"  {form:<20} {text}")
    return "\n".join(lines) + "\n"


def needed_package(name: str, extra: str, use: str) -> ModuleType:
    """Import a package that an extra of this one brings.

    Args:
        name: Of the module.
        extra: Of the extra.
        use: What needs it.

    Raises:
        UserError: It is not installed, or cannot be loaded.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            f"{use} needs {name} ({error}): pip install 'recbole_diffusion[{extra}]'"
        ) from error
