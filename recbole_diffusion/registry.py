"""Names of models: ours first, then RecBole's; ``recbole.X`` is RecBole's X."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import recbole.model.general_recommender as host_models
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import get_trainer

from recbole_diffusion.compat.patch import host_kind
from recbole_diffusion.errors import UserError
from recbole_diffusion.model.diffmm import DiffMM
from recbole_diffusion.model.diffrec import DiffRec, TDiffRec
from recbole_diffusion.model.infodcl import InfoDCL
from recbole_diffusion.model.ld4mrec import LD4MRec
from recbole_diffusion.model.ldiffrec import LDiffRec, LTDiffRec
from recbole_diffusion.model.lindiffrec import LinDiffRec
from recbole_diffusion.model.prefixdiff import PrefixDiff
from recbole_diffusion.model.sequential import GRU4Rec, SASRec
from recbole_diffusion.model.simdiff import SimDiff
from recbole_diffusion.trainer.base import DiffusionTrainer, trainer_on
from recbole_diffusion.trainer.channels import ChannelTrainer
from recbole_diffusion.trainer.diffmm import DiffMMTrainer
from recbole_diffusion.trainer.ldiffrec import LDiffRecTrainer
from recbole_diffusion.trainer.lindiffrec import LinDiffRecTrainer
from recbole_diffusion.trainer.prefixdiff import PrefixDiffTrainer
from recbole_diffusion.trainer.rows import RowTrainer
from recbole_diffusion.trainer.simdiff import SimDiffTrainer

HOST_PREFIX = "recbole."


@dataclass(frozen=True)
class Registration:
    """What a run needs to know of a model.

    Attributes:
        name: The class name; RecBole's own rules by model name see this.
        model_class: The recommender.
        trainer_class: Its trainer.
        is_host: Whether it is RecBole's, so that RecBole's property file holds its defaults.
        properties: Property file of its defaults; None means ``model/<name>.yaml`` of the package.
    """

    name: str
    model_class: type
    trainer_class: type
    is_host: bool = False
    properties: Path | None = None

    @property
    def key(self) -> str:
        """A name that ``find_model`` resolves to this, whatever else is registered."""
        return HOST_PREFIX + self.name if self.is_host else self.name

    @property
    def is_baseline(self) -> bool:
        """Whether comparisons test the others against it, unless they say otherwise."""
        return self.is_host or getattr(self.model_class, "is_baseline", False)

    @property
    def module(self) -> str | None:
        """Name of the module that registers a model of the user's; None for RecBole's and ours."""
        name = self.model_class.__module__
        return None if name.startswith(("recbole.", "recbole_diffusion.")) else name

    @property
    def type(self) -> Any:
        """RecBole's ``ModelType`` of the model."""
        model_class: Any = self.model_class
        return model_class.type


def always(settings: Mapping[str, Any]) -> bool:
    """Whatever the settings are."""
    return True


@dataclass(frozen=True)
class OptionalPackage:
    """A package that a model of RecBole imports when it is used.

    Attributes:
        model: Class name of the model.
        module: What it imports.
        package: What pip installs.
        is_used: Whether these settings of the model use it.
    """

    model: str
    module: str
    package: str
    is_used: Callable[[Mapping[str, Any]], bool] = always


def _is_clustered(settings: Mapping[str, Any]) -> bool:
    return bool(settings["n_cate"] > 1)


def _is_louvain(settings: Mapping[str, Any]) -> bool:
    return bool(settings["neigh_info_method"] == "louvain")


OPTIONAL_PACKAGES = (
    OptionalPackage("NCL", "faiss", "faiss-cpu"),
    OptionalPackage("LDiffRec", "kmeans_pytorch", "kmeans_pytorch", _is_clustered),
    OptionalPackage("NNCF", "networkx", "networkx", _is_louvain),
    OptionalPackage("NNCF", "community", "python-louvain", _is_louvain),
)

_REGISTERED: dict[str, Registration] = {}


def register(
    model_class: type,
    trainer_class: type = DiffusionTrainer,
    properties: str | Path | None = None,
) -> type:
    """Make a model available under its class name, before RecBole's of the same name.

    Args:
        model_class: Subclass of RecBole's ``GeneralRecommender``. Its attribute ``train_loader``
            says what a training batch holds: "interactions" (default) or "users".
        trainer_class: Subclass of ``DiffusionTrainer``.
        properties: YAML file with a default for every key that the model reads.

    Returns:
        ``model_class``, so that this serves as a decorator.

    Raises:
        UserError: Not a general recommender, a foreign trainer, or a missing property file.
    """
    if not (isinstance(model_class, type) and issubclass(model_class, GeneralRecommender)):
        raise UserError(
            f"register: found {model_class!r}, expected a subclass of RecBole's GeneralRecommender"
        )
    if not (isinstance(trainer_class, type) and issubclass(trainer_class, DiffusionTrainer)):
        raise UserError(
            f"register({model_class.__name__}): found trainer {trainer_class!r}, "
            "expected a subclass of DiffusionTrainer"
        )
    path = None if properties is None else Path(properties).resolve()
    if path is not None and not path.is_file():
        raise UserError(f"register({model_class.__name__}): property file {path} does not exist")
    name = model_class.__name__
    _REGISTERED[name] = Registration(name, model_class, trainer_class, properties=path)
    return model_class


def import_modules(names: str | Sequence[str] | None) -> None:
    """Import modules that register models; they are looked for in the working directory too.

    Args:
        names: In a list, or in one text with commas; None for none.

    Raises:
        UserError: A name of no module.
    """
    asked = names.split(",") if isinstance(names, str) else names or ()
    for name in filter(None, (name.strip() for name in asked)):
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        try:
            import_module(name)
        except (ImportError, TypeError) as error:
            if isinstance(error, ImportError) and not name.startswith(f"{error.name}"):
                raise  # what the module itself imports
            raise UserError(
                f"key `modules`: found {name!r}, expected modules that can be imported from "
                f"{os.getcwd()} or from what is installed, such as my_module: {error}"
            ) from error


register(InfoDCL, ChannelTrainer)
register(DiffRec, RowTrainer)
register(TDiffRec, RowTrainer)
register(LDiffRec, LDiffRecTrainer)
register(LTDiffRec, LDiffRecTrainer)
register(LinDiffRec, LinDiffRecTrainer)
register(PrefixDiff, PrefixDiffTrainer)
register(SASRec, RowTrainer)
register(GRU4Rec, RowTrainer)
register(SimDiff, SimDiffTrainer)
register(LD4MRec, RowTrainer)
register(DiffMM, DiffMMTrainer)


def find_model(model: str | type) -> Registration:
    """Resolve a model name, or a model class, to what a run needs.

    Raises:
        UserError: No such model; the message offers the nearest names.
    """
    if isinstance(model, type) and model is _host_models().get(model.__name__):
        model = HOST_PREFIX + model.__name__
    if isinstance(model, type):
        found = _REGISTERED.get(model.__name__)
        if found is None or found.model_class is not model:
            register(model)
        return _REGISTERED[model.__name__]
    if model in _REGISTERED:
        return _REGISTERED[model]
    name = model.removeprefix(HOST_PREFIX)
    model_class = _host_models().get(name)
    if model_class is None:
        raise UserError(_unknown_model(model))
    host: Any = model_class
    host_trainer = get_trainer(host.type, name)
    return Registration(name, model_class, trainer_on(host_trainer), is_host=True)


def list_models() -> dict[str, list[str]]:
    """Names that ``--model`` takes, under "recbole_diffusion" and "recbole"."""
    host = [n if n not in _REGISTERED else HOST_PREFIX + n for n in _host_models()]
    return {"recbole_diffusion": sorted(_REGISTERED), "recbole": sorted(host)}


def check_packages(registration: Registration, settings: Mapping[str, Any]) -> None:
    """Check that what a model of RecBole imports under these settings is installed.

    Raises:
        UserError: It is not; the message has the line that installs it.
    """
    if not registration.is_host:
        return
    missing = [
        needed
        for needed in OPTIONAL_PACKAGES
        if needed.model == registration.name
        and needed.is_used(settings)
        and find_spec(needed.module) is None
    ]
    if missing:
        raise UserError(
            f"model {registration.name} needs {' and '.join(f'`{n.module}`' for n in missing)}, "
            f"which is not installed: pip install {' '.join(n.package for n in missing)}"
        )


def _host_models() -> dict[str, type]:
    return {
        name: value
        for name, value in vars(host_models).items()
        if isinstance(value, type) and issubclass(value, GeneralRecommender)
    }


def _unknown_model(model: str) -> str:
    kind = host_kind(model.removeprefix(HOST_PREFIX))
    if kind not in (None, "general"):
        return (
            f"key `model`: found {model!r}, RecBole's {kind} model, expected a general "
            "recommender: this package runs no other kind. --list_models prints those that it runs."
        )
    known = [name for names in list_models().values() for name in names]
    lowered = {name.lower(): name for name in known}
    near = [lowered[n] for n in get_close_matches(model.lower(), lowered, n=3, cutoff=0.5)]
    hint = f" (did you mean {', '.join(near)}?)" if near else ""
    return (
        f"key `model`: found {model!r}, expected one of ours "
        f"({', '.join(sorted(_REGISTERED))}) or one of RecBole's {len(_host_models())} general "
        f"recommenders{hint}. --list_models prints all of them; "
        "a model of your own is known once its module is imported: --modules=my_module"
    )


__all__ = ["Registration", "check_packages", "find_model", "list_models", "register"]
