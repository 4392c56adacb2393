"""Settings as words of the command line, read and written."""

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import refusals_of
from recbole_diffusion.settings.values import as_yaml, parse_value

SCRIPT = "run_recbole_diffusion.py"  # the command line in a clone
# Keys whose value is a text as it stands, not YAML.
LITERAL = (
    "model",
    "models",
    "modules",
    "dataset",
    "config_files",
    "data_path",
    "output_dir",
    "resume",
    "evaluate",
    "folder",
    "host",
    "pictures",
    "picture_column",
    "space",
    "storage",
    "study_name",
    "run",
    "projection",
    # Ids and columns of data, and files.
    *("user", "users", "item", "items", "where", "with", "exclude"),
    *("out", "pairs", "history"),
)
# Keys whose value is one character, which YAML may have another use for, or a name of one.
SEPARATORS = ("field_separator", "seq_separator")
NAMED_SEPARATORS = {"tab": "\t", "\\t": "\t", "space": " "}
_PLAIN_WORD = re.compile(r"[\w@%+=:,./-]*", re.ASCII)
_NOT_IN_DOUBLE_QUOTES = re.compile(r'["$`\\!\x00-\x1f]')


def own_command() -> str:
    """The command line as this process was called by it, or else as it is called anywhere."""
    called = Path(sys.argv[0]).name
    names = {SCRIPT: f"python {SCRIPT}", "recbole-diffusion": "recbole-diffusion"}
    return names.get(called, "python -m recbole_diffusion")


def read_word(key: str, text: str) -> Any:
    """The value of ``--key=text``.

    Args:
        key: The key; one of a comparison may begin with the label of a model and a dot.
        text: What stands after the equals sign.

    Raises:
        UserError: Not valid YAML.
    """
    name = key.rpartition(".")[2]
    if name in LITERAL or (name in SEPARATORS and len(text) == 1):
        return text
    if name in SEPARATORS and text in NAMED_SEPARATORS:
        return NAMED_SEPARATORS[text]
    return parse_value(text, f"command line: --{key}")


def format_word(key: str, value: Any) -> str:
    """A setting as one word of a shell's command line, from which ``read_word`` gives its value.

    Args:
        key: The key.
        value: Its value, as YAML can hold it.
    """
    return f"--{key}={quoted(_text(key.rpartition('.')[2], value))}"


def format_words(settings: Mapping[str, Any]) -> list[str]:
    """Settings as words of a shell's command line."""
    return [format_word(key, value) for key, value in settings.items()]


def _text(name: str, value: Any) -> str:
    if name in LITERAL:
        return "" if value is None else str(value)
    if name in SEPARATORS and value in NAMED_SEPARATORS.values():
        return next(text for text, character in NAMED_SEPARATORS.items() if character == value)
    if name in SEPARATORS and isinstance(value, str) and len(value) == 1:
        return value
    if value is None:
        return ""
    text = as_yaml(
        value,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=False,  # PyYAML loses some line breaks otherwise
        width=10**9,
    )
    return text.removesuffix("\n").removesuffix("\n...")


def quoted(text: str) -> str:
    """A text as a shell reads it back, in double quotes where these do."""
    if _PLAIN_WORD.fullmatch(text):
        return text
    return shlex.quote(text) if _NOT_IN_DOUBLE_QUOTES.search(text) else f'"{text}"'


def join_files(names: list[str] | tuple[str, ...]) -> str:
    """Names of files as one text, which ``split_files`` takes apart."""
    return shlex.join(names)


def split_files(text: str) -> list[str]:
    """Names of files of one text, by blanks; a name in quotes may hold some, as for a shell.

    Raises:
        UserError: A quotation mark without its partner.
    """
    with refusals_of(f"key `config_files`: found {text!r}", ValueError):
        return shlex.split(text)
