"""Property files: where they lie, how they are read, and which apply to a run."""

import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from recbole_diffusion.compat import patch
from recbole_diffusion.errors import UserError, refusals_of
from recbole_diffusion.registry import Registration, find_model

HOST_FOLDER = patch.HOST_FOLDER
HOST_PROPERTIES = HOST_FOLDER / "properties"


class PropertyLoader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, as RecBole's users write it, and no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse what YAML forbids and PyYAML lets pass: the last of equal keys would win."""
        pairs = node.value if isinstance(node, yaml.MappingNode) else []  # else refused below
        seen: set[str] = set()
        for key in (key for key, _ in pairs if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise ConstructorError(None, None, f"key {key.value!r} twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


PropertyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)$"),
    list("-+0123456789."),
)


def parse_value(text: str, source: str) -> Any:
    """Parse one command-line value as YAML.

    Raises:
        UserError: Not valid YAML.
    """
    try:
        return PropertyLoader(text).get_single_data()
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{source}: found {text!r}, which is not valid YAML: {reason}") from error


def read_properties(path: Path) -> dict[str, Any]:
    """Read one property file.

    Raises:
        UserError: Missing, not YAML, or not a mapping of keys.
    """
    if not path.is_file():
        raise UserError(f"property file {path}: no such file")
    with refusals_of(f"property file {path} is not UTF-8 text", UnicodeDecodeError):
        text = path.read_text(encoding="utf-8")
    with refusals_of(f"property file {path} is not valid YAML", yaml.YAMLError, ValueError):
        content = PropertyLoader(text).get_single_data() or {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(
            f"property file {path}: found {type(content).__name__}, expected keys and values"
        )
    return content


def properties_folder() -> Path:
    """The package's property files: inside the wheel, or beside the package in a clone."""
    package = Path(str(resources.files("recbole_diffusion")))
    installed = package / "properties"
    return installed if installed.is_dir() else package.parent / "properties"


def find_property_file(name: str, key: str = "config_files") -> Path:
    """A path as given, else a file of the package's properties; ``key`` is what named it.

    Raises:
        UserError: Neither exists.
    """
    path, packaged = Path(name), properties_folder() / name
    if path.is_file():
        return path
    if packaged.is_file():
        return packaged
    raise UserError(f"key `{key}`: {name!r} found neither as {path.resolve()} nor {packaged}")


def default_layers(
    registration: Registration, dataset: str, own_file: Path | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Property files below the user's, lowest first; absent ones are left out."""
    ours, name = properties_folder(), registration.name
    model_files = [registration.properties or ours / "model" / f"{name}.yaml"]
    if registration.is_host:
        model_files = [HOST_PROPERTIES / "model" / f"{name}.yaml"]
    paths = [
        HOST_PROPERTIES / "overall.yaml",
        HOST_PROPERTIES / "dataset" / "sample.yaml",
        ours / "overall.yaml",
        HOST_PROPERTIES / "dataset" / f"{dataset}.yaml",
        ours / "dataset" / f"{dataset}.yaml",
        *([own_file] if own_file is not None else []),
        *model_files,
        ours / "model_on_dataset" / shipped_name(registration) / f"{dataset}.yaml",
    ]
    return [(str(path), read_properties(path)) for path in paths if path.is_file()]


def shipped_name(registration: Registration) -> str:
    """What the package's files call a model: ``recbole.X`` is RecBole's of a name of ours."""
    is_shadowed = registration.is_host and not find_model(registration.name).is_host
    return registration.key if is_shadowed else registration.name
