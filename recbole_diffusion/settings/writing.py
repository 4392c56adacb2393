"""Property files of the package, and a schema of them for editors, from the typed keys.

python -m recbole_diffusion.settings.writing properties
"""

import json
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_diffusion.base.files import written_whole
from recbole_diffusion.settings.kinds import GREATEST, Kind
from recbole_diffusion.settings.registry import find_model, list_models
from recbole_diffusion.settings.run_settings import RunSettings
from recbole_diffusion.settings.schema import Key, Settings
from recbole_diffusion.settings.values import as_yaml

WIDTH, COMMENT = 100, 28
JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def property_text(settings: type[Settings], title: str) -> str:
    """The property file of some keys: their defaults, and what they are.

    Args:
        settings: The keys.
        title: First line.
    """
    lines = textwrap.wrap(f"# {title}", WIDTH, subsequent_indent="# ")
    for number, (name, key) in enumerate(settings.keys().items()):
        if key.section or not number:
            lines.append("")
        if key.section:
            lines += textwrap.wrap(f"# {key.section}", WIDTH, subsequent_indent="# ")
        lines += _lines(name, key)
    return "\n".join(lines) + "\n"


def _lines(name: str, key: Key) -> list[str]:
    """A key with its value, and behind it what it is."""
    value = "~" if key.default is None else as_yaml(key.default, default_flow_style=True, width=999)
    head = f"{name}: {value.removesuffix('...' + chr(10)).strip()}"
    told = key.form + (f"; {key.meaning}" if key.meaning else "")
    comment = textwrap.wrap(told, WIDTH - COMMENT - 2, break_on_hyphens=False)
    first = f"{head:<{COMMENT - 1}} # {comment[0]}"
    if len(first) > WIDTH:  # a long value stands alone
        comment = textwrap.wrap(told, WIDTH - len(head) - 3, break_on_hyphens=False)
        first = f"{head} # {comment[0]}"
        comment = [comment[0], *textwrap.wrap(" ".join(comment[1:]), WIDTH - COMMENT - 2)]
    return [first, *(f"{'':<{COMMENT}}# {line}" for line in comment[1:])]


def property_files() -> dict[str, str]:
    """Text of each property file that is made of typed keys, by its path below ``properties``."""
    title = "Defaults of every run; RecBole's overall.yaml lies beneath."
    files = {"overall.yaml": property_text(RunSettings, title)}
    for name in list_models()["recbole_diffusion"]:
        settings = find_model(name).settings_class
        if settings is not None:
            about = (settings.__doc__ or "").partition("\n\n")
            more = " ".join(about[2].split())
            title = f"{name}: every key that the model reads. {_symbols(about[0])} {more}".strip()
            files[f"model/{name}.yaml"] = property_text(settings, title)
    return files


def _symbols(first: str) -> str:
    """Of "Keys of X; symbols are those of Y." the part behind the semicolon, as a sentence."""
    _, _, told = first.partition("; ")
    return told[:1].upper() + told[1:]


def json_schema(settings: type[Settings]) -> dict[str, Any]:
    """A JSON schema of the property files that hold some keys.

    Args:
        settings: The keys.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            name: {
                **_json_kind(key.kind),
                "default": key.default,
                "description": key.form + (f"; {key.meaning}" if key.meaning else ""),
            }
            for name, key in settings.keys().items()
        },
    }


def _json_kind(kind: Kind) -> dict[str, Any]:
    names = [JSON_TYPES[t] for t in kind.types if t in JSON_TYPES]
    if "number" in names and "integer" in names:
        names.remove("integer")
    names += ["array"] * (list in kind.types) + ["object"] * (dict in kind.types)
    found: dict[str, Any] = {"type": [*names, *(["null"] if type(None) in kind.types else [])]}
    if kind.choices:
        found["enum"] = [*kind.choices, *([None] if type(None) in kind.types else [])]
    if kind.least != -GREATEST:
        found["exclusiveMinimum" if kind.is_open_at_least else "minimum"] = kind.least
    if kind.most != GREATEST:
        found["exclusiveMaximum" if kind.is_open_at_most else "maximum"] = kind.most
    if kind.each is not None and list in kind.types:
        found["items"] = _json_kind(kind.each)
    return found


def write(folder: Path) -> None:
    """Write the property files, over those of the folder.

    Args:
        folder: ``properties``.
    """
    for name, text in property_files().items():
        with written_whole(folder / name) as stream:
            stream.write(text.encode())
    schemas: Mapping[str, Any] = {
        name: json_schema(settings)
        for name in list_models()["recbole_diffusion"]
        if (settings := find_model(name).settings_class) is not None
    }
    for name, schema in schemas.items():
        with written_whole(folder / "model" / f"{name}.schema.json") as stream:
            stream.write(json.dumps(schema, indent=1).encode())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
