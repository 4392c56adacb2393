"""Arguments of the commands: those that ``argparse`` reads, and what is told of the others."""

import argparse
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from importlib import import_module
from textwrap import dedent
from types import ModuleType
from typing import Any, NoReturn

from recbole_diffusion.base.errors import UserError

# Arguments of functions that are called otherwise than their keys.
ARGUMENTS = {"with": "columns", "as": "kind"}


class ArgumentParser(argparse.ArgumentParser):
    """Tells of a wrong argument on one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            UserError: Always.
        """
        unknown = re.search(r"unrecognized arguments: (--[\w-]+)", message)
        options = self._option_string_actions
        near = get_close_matches(unknown[1], options, n=1, cutoff=0.6) if unknown else []
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{message}{hint}; {self.prog} --help lists the arguments")


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


def checked(
    keys: Mapping[str, Any], function: Callable[..., Any], command: str, others: Collection[str]
) -> dict[str, Any]:
    """Arguments of a command's function from its keys.

    Args:
        keys: Of the command line.
        function: What the command calls.
        command: Its name.
        others: Keys that the function takes beside those that it names.

    Raises:
        UserError: One that has no default is missing, or it does not take one.
    """
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind != p.VAR_KEYWORD]
    renamed = {key: name for key, name in ARGUMENTS.items() if name in names}
    given = {renamed.get(key, key): value for key, value in keys.items()}
    needed = [p.name for p in parameters if p.name in names and p.default is p.empty]
    unknown = sorted(set(given) - set(names) - set(others))
    missing = [name for name in needed if name not in given]
    if unknown:
        known = [n for n in names if n not in renamed.values()] + [*renamed, *others]
        near = [get_close_matches(key, known, n=1, cutoff=0.6) for key in unknown]
        hints = [f"; did you mean `{found[0]}`?" for found in near if found]
        raise UserError(
            f"{command}: unknown key {', '.join(f'`{key}`' for key in unknown)}{''.join(hints)}; "
            f"{command} --help lists the keys"
        )
    if missing:
        raise UserError(
            f"{command}: found no {' and no '.join(missing)}, expected {', '.join(needed)} (run is "
            f"the folder of a run); {command} --help lists the keys"
        )
    return given


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
