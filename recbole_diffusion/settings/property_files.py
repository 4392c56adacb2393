"""Property files: where they lie, how they are read, and which apply to a run."""

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.host import patch
from recbole_diffusion.settings.registry import Registration, find_model
from recbole_diffusion.settings.values import YAML_REFUSALS, check_plain, check_text, load_yaml
from recbole_diffusion.settings.words import format_words, join_files, own_command

HOST_FOLDER = patch.HOST_FOLDER
HOST_PROPERTIES = HOST_FOLDER / "properties"


def read_properties(path: Path) -> dict[str, Any]:
    """Read one property file.

    Raises:
        UserError: Missing, not YAML, or not a mapping of keys.
    """
    if not path.is_file():
        raise UserError(f"property file {path}: no such file")
    with refusals_of(f"property file {path} is not UTF-8 text", UnicodeDecodeError):
        text = path.read_text(encoding="utf-8")
    with refusals_of(f"property file {path} is not valid YAML", *YAML_REFUSALS):
        content = load_yaml(text)
        content = {} if content is None else content
    check_plain(f"property file {path}", content)
    if not isinstance(content, dict):
        raise UserError(
            f"property file {path}: found {type(content).__name__}, expected keys and values"
        )
    for key in content:
        if not isinstance(key, str):
            raise UserError(
                f"property file {path}: found the key {key!r} ({type(key).__name__}), expected a "
                f"text, such as '{key}' in quotes"
            )
    return content


def read_user_properties(path: Path) -> dict[str, Any]:
    """Read a property file of the user's; one that a full disk has emptied is no set of defaults.

    Raises:
        UserError: As ``read_properties``, and for a file without a character.
    """
    content = read_properties(path)
    if path.stat().st_size == 0:
        raise UserError(f"property file {path}: found an empty file, expected keys and values")
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
    check_text(f"key `{key}`", str(name))
    path, packaged = Path(name), properties_folder() / name
    if path.is_file():
        return path
    if packaged.is_file():
        return packaged
    raise UserError(f"key `{key}`: {name!r} found neither as {path.resolve()} nor {packaged}")


def model_files(registration: Registration) -> list[Path]:
    """Property files of a model's defaults, whether or not they are there."""
    name = registration.name
    if registration.is_host:
        return [HOST_PROPERTIES / "model" / f"{name}.yaml"]
    return [registration.properties or properties_folder() / "model" / f"{name}.yaml"]


def default_layers(
    registration: Registration, dataset: str, data_file: Path | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Property files below the user's, lowest first; absent ones are left out."""
    ours, name = properties_folder(), registration.name
    below = [
        HOST_PROPERTIES / "overall.yaml",
        HOST_PROPERTIES / "dataset" / "sample.yaml",
        ours / "overall.yaml",
        HOST_PROPERTIES / "dataset" / f"{dataset}.yaml",
        ours / "dataset" / f"{dataset}.yaml",
        *([data_file] if data_file is not None else []),
    ]
    above = [
        *model_files(registration),
        ours / "model_on_dataset" / shipped_name(registration) / f"{dataset}.yaml",
    ]
    return [*_read(below), (name, registration.defaults), *_read(above)]


def _read(paths: Sequence[Path]) -> list[tuple[str, dict[str, Any]]]:
    return [(str(path), deepcopy(read_once(path))) for path in paths if path.is_file()]


def read_once(path: Path) -> dict[str, Any]:
    """As ``read_properties``, each state of a file once a process; not to be changed.

    A comparison makes hundreds of settings from the same few.
    """
    stat = path.stat()
    return _read_state(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=512)
def _read_state(path: Path, mtime: int, size: int) -> dict[str, Any]:
    return read_properties(path)


def shipped_name(registration: Registration) -> str:
    """What the package's files call a model: ``recbole.X`` is RecBole's of a name of ours."""
    is_shadowed = registration.is_host and not find_model(registration.name).is_host
    return registration.key if is_shadowed else registration.name


def run_command(registration: Registration, dataset: str, file: Path, **keys: Any) -> str:
    """The command that starts a run with a property file.

    Args:
        registration: Of its model.
        dataset: Name of its data set.
        file: The property file.
        **keys: Further settings.
    """
    settings = {"model": shipped_name(registration), "dataset": dataset}
    if registration.module is not None:
        settings["modules"] = registration.module
    words = format_words({**settings, "config_files": join_files([str(file)]), **keys})
    return " ".join([own_command(), *words])
