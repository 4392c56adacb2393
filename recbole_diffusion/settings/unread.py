"""Keys that were given, and that the model does not read: told, not refused."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from recbole_diffusion.host.patch import host_arguments
from recbole_diffusion.settings.keys import HOST_CODE_KEYS
from recbole_diffusion.settings.property_files import (
    HOST_PROPERTIES,
    find_property_file,
    model_files,
    properties_folder,
    read_once,
    read_user_properties,
)
from recbole_diffusion.settings.registry import Registration
from recbole_diffusion.settings.run_settings import RunSettings

# Keys by which models choose among the names under `item_features`.
FEATURE_KEYS = {"channels", "modalities", "feature_weights"}
# What a model that is solved does without, unless it has such a key of its own.
OF_GRADIENTS = {
    *("epochs", "train_batch_size", "learner", "learning_rate", "weight_decay", "stopping_step"),
    *("clip_grad_norm", "train_neg_sample_args"),
}

# Keys that RecBole's models read, and their property files lack.
OF_HOST_CODE = {"DiffRec": {"norm"}, "LDiffRec": {"norm"}}


def given_keys(config_files: str | Sequence[str], overrides: Mapping[str, Any] | None) -> list[str]:
    """Keys of property files and of what lies above them, each once.

    Args:
        config_files: Property file or files of the user.
        overrides: Command-line keys and values.
    """
    files = [config_files] if isinstance(config_files, str) else config_files
    layers = [read_user_properties(find_property_file(str(name))) for name in files]
    return list(dict.fromkeys(key for layer in (*layers, overrides or {}) for key in layer))


def unread_keys(registration: Registration, keys: Iterable[str]) -> list[str]:
    """Those of some keys that neither a model nor a run of it reads.

    Nothing is known of a user's model without typed keys or a property file, and nothing of the
    features that a user's model reads.

    Args:
        registration: Of the model.
        keys: Known ones.
    """
    own = {*registration.defaults}
    if registration.is_host:
        own |= OF_HOST_CODE.get(registration.name, set())
    for path in model_files(registration):
        own |= read_once(path).keys() if path.is_file() else set()
    if not own and registration.module is not None:
        return []
    read = _keys_of_runs() | own
    if registration.module is None and not own & FEATURE_KEYS:
        read -= {"item_features"}
    if registration.type.name == "TRADITIONAL":
        read -= OF_GRADIENTS - own
    return [key for key in keys if key not in read]


def told_unread(name: str, registration: Registration, keys: Iterable[str]) -> list[str]:
    """A line for each key that a model does not read.

    Args:
        name: What the line calls the model.
        registration: Of the model.
        keys: Known ones.
    """
    return [f"key `{key}`: {name} does not read it" for key in unread_keys(registration, keys)]


@cache
def _keys_of_runs() -> frozenset[str]:
    arguments = [key for keys in host_arguments().values() for key in keys]
    files = [
        HOST_PROPERTIES / "overall.yaml",
        HOST_PROPERTIES / "dataset" / "sample.yaml",
        properties_folder() / "overall.yaml",
    ]
    of_files = [key for path in files for key in read_once(path)]
    return HOST_CODE_KEYS.union(RunSettings.keys(), arguments, of_files)
