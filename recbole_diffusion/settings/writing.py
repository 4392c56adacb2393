"""Property files of the package, and a schema of them for editors, from the typed keys.

python -m recbole_diffusion.settings.writing properties
"""

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from recbole_diffusion.base.files import written_whole
from recbole_diffusion.settings.kinds import GREATEST, Kind
from recbole_diffusion.settings.property_files import HOST_PROPERTIES
from recbole_diffusion.settings.registry import Registration, find_model, found, list_models
from recbole_diffusion.settings.run_settings import RunSettings
from recbole_diffusion.settings.schema import Key, Settings
from recbole_diffusion.settings.values import as_yaml

WIDTH, COMMENT = 100, 28
# Keys of commands, by property file: where they are.
OF_COMMANDS = {"compare.yaml": "recbole_diffusion.studies.compare.settings:CompareSettings"}
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
    """Text of each file below ``properties`` that is made of typed keys, by its path."""
    title = "Defaults of every run; RecBole's overall.yaml lies beneath."
    files = {"overall.yaml": property_text(RunSettings, title)}
    for name, place in OF_COMMANDS.items():
        settings = found(place)
        files[name] = property_text(settings, " ".join(settings.__doc__.split()))
    for name in list_models()["recbole_diffusion"]:
        registration = find_model(name)
        if registration.module is None:
            files[f"model/{name}.yaml"] = model_keys(registration)
            schema = json_schema(registration.settings_class)
            files[f"schema/{name}.json"] = json.dumps(schema, indent=1) + "\n"
    return files


def model_keys(registration: Registration) -> str:
    """Every key of a model, its default and what it is, as its property file tells them."""
    if registration.settings is None:
        host = HOST_PROPERTIES / "model" / f"{registration.name}.yaml"
        path = host if registration.is_host else registration.properties
        if path is None or not path.is_file():
            return f"{registration.name}: no key of its own\n"
        return path.read_text("utf-8")
    settings = registration.settings_class
    first, _, more = (settings.__doc__ or "").partition("\n\n")
    told = [f"{registration.name}: every key that the model reads.", _symbols(first), more]
    return property_text(settings, " ".join(" ".join(told).split()))


def _symbols(first: str) -> str:
    """Of "Keys of X; symbols are those of Y." the part behind the semicolon, as a sentence."""
    _, _, symbols = first.partition("; ")
    return symbols[:1].upper() + symbols[1:]


def json_schema(settings: type[Settings]) -> dict[str, Any]:
    """A JSON schema of property files that hold a model's keys and those of runs.

    Args:
        settings: Keys of the model.
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
            for name, key in {**RunSettings.keys(), **settings.keys()}.items()
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
    """Write the files, over those of the folder.

    Args:
        folder: ``properties``.
    """
    for name, text in property_files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        with written_whole(folder / name) as stream:
            stream.write(text.encode())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
