"""The one error type for what a user can cause."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class UserError(ValueError):
    """Bad input: the message names the file, field or key, what was found and what was expected.

    The command line prints it as one paragraph and exits with code 2.
    """


class RunsFailed(Exception):
    """Some runs of a comparison failed, which has told of them; the exit code is 1."""


def exit_code(command: Callable[[], object]) -> int:
    """Run what a command line asks for.

    Returns:
        0 on success, 1 if runs failed, 2 on bad input (one paragraph on stderr), 130 on Ctrl-C.
    """
    try:
        command()
    except RunsFailed:
        return 1
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def expect(is_met: Any, key: str, found: Any, expected: str) -> None:
    """Refuse a key's value unless a condition is met.

    Raises:
        UserError: It is not.
    """
    if not is_met:
        raise UserError(f"key `{key}`: found {found!r}, expected {expected}")


@contextmanager
def refusals_of(part: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn a part's complaints about what it was given into one that names the part.

    Args:
        part: What complains, such as "model InfoDCL".
        *kinds: Its exceptions that a user can cause.

    Raises:
        UserError: In place of an exception of these kinds, its text on one line.
    """
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        raise UserError(f"{part}: {' '.join(str(error).split()) or _asserted(error)}") from error


def _asserted(error: Exception) -> str:
    """The line that raised an error without a text, as a bare assert does."""
    return traceback.extract_tb(error.__traceback__)[-1].line or type(error).__name__
