"""Names of models: ours first, then RecBole's; ``recbole.X`` is RecBole's X.

A model is imported when a run needs it.
"""

import ast
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.host.patch import HOST_FOLDER, host_kind
from recbole_diffusion.settings.about import About
from recbole_diffusion.settings.kinds import KINDS, Kind
from recbole_diffusion.settings.run_settings import RunSettings
from recbole_diffusion.settings.schema import Settings, kinds_of

HOST_PREFIX = "recbole."
HOST_MODELS = "recbole.model.general_recommender"
# RecBole's models that have a mended class here.
MENDED = "recbole_diffusion.models.host_models"
MENDED_MODELS = (
    *("ADMMSLIM", "DiffRec", "EASE", "ENMF", "FISM", "GCMC", "LDiffRec", "LightGCN", "LINE"),
    *("NCEPLRec", "NCL", "NGCF", "NNCF", "Pop", "RaCT", "Random", "SpectralCF"),
)
TRAINING = "recbole_diffusion.training.trainer"


@dataclass(frozen=True)
class Registration:
    """What a run needs to know of a model.

    Attributes:
        name: The class name; RecBole's own rules by model name see this.
        model: The recommender's class, or where it is: "module:name".
        trainer: Its trainer's class, or where that is; None: RecBole's for the model, with this
            package's reports and checkpoints.
        figures: Where the function is that draws a run's figures, if there is one.
        settings: Its typed keys, a ``schema.Settings``, or where they are; None for a model whose
            property file alone tells its keys.
        is_host: Whether it is RecBole's, so that RecBole's property file holds its defaults.
        properties: Property file of its defaults; None means ``model/<name>.yaml`` of the package.
        about: What lists say of it; None for a model of RecBole's or of the user's.
    """

    name: str
    model: type | str
    trainer: type | str | None = None
    figures: str | None = None
    settings: type | str | None = None
    is_host: bool = False
    properties: Path | None = None
    about: About | None = None

    @property
    def model_class(self) -> Any:
        """The recommender's class."""
        return found(self.model)

    @property
    def trainer_class(self) -> Any:
        """The trainer's class."""
        return _host_trainer(self) if self.trainer is None else found(self.trainer)

    @property
    def settings_class(self) -> Any:
        """The class of its typed keys, or None."""
        return None if self.settings is None else found(self.settings)

    @property
    def defaults(self) -> dict[str, Any]:
        """Of its typed keys."""
        keys = {} if self.settings is None else self.settings_class.keys()
        return {name: key.default for name, key in keys.items()}

    @property
    def kinds(self) -> dict[str, Kind]:
        """What its keys and those of runs take."""
        of_model = {} if self.settings is None else kinds_of(self.settings_class)
        return {**KINDS, **kinds_of(RunSettings), **of_model}

    @property
    def draw(self) -> Any:
        """The function that draws a run's figures; None without one."""
        return None if self.figures is None else found(self.figures)

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
        name = self.model if isinstance(self.model, str) else self.model.__module__
        return None if name.startswith(("recbole.", "recbole_diffusion.")) else name

    @property
    def type(self) -> Any:
        """RecBole's ``ModelType`` of the model."""
        return self.model_class.type


def found(place: type | str) -> Any:
    """What a place "module:name" names, imported; a class is itself."""
    if isinstance(place, type):
        return place
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


@cache
def _host_trainer(registration: Registration) -> Any:
    get_trainer = found("recbole.utils:get_trainer")
    return found("recbole_diffusion.training.host_trainers:trainer_on")(
        get_trainer(registration.type, registration.name)
    )


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


MODELS = "recbole_diffusion.models"
# Entry points of other packages: a name of a model, and its class.
ENTRY_POINTS = "recbole_diffusion.models"


def _shipped() -> dict[str, Registration]:
    """What the folders of ``models`` name; nothing of it is imported."""
    folder = find_spec(MODELS)
    assert folder is not None
    shipped = {}
    for info in iter_modules(folder.submodule_search_locations):
        package = import_module(f"{MODELS}.{info.name}") if info.ispkg else None
        for name, places in getattr(package, "MODELS", {}).items():
            whole: dict[str, Any] = {
                key: f"{MODELS}.{info.name}{place}" if str(place).startswith(".") else place
                for key, place in places.items()
            }
            shipped[name] = Registration(name, **whole)
    return shipped


_REGISTERED = _shipped()


def _brought() -> dict[str, EntryPoint]:
    """Models that other packages bring, by name."""
    return _brought_on(tuple(sys.path))


@cache
def _brought_on(path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Looked for once: it reads a file of each package that is installed."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def register(
    model_class: type,
    trainer_class: type | None = None,
    properties: str | Path | None = None,
    settings: type[Settings] | None = None,
) -> type:
    """Make a model available under its class name, before RecBole's of the same name.

    Args:
        model_class: Subclass of RecBole's ``GeneralRecommender``. Its attribute ``train_loader``
            says what a training batch holds: "interactions" (default) or "users".
        trainer_class: Subclass of ``DiffusionTrainer``; None for that itself.
        properties: YAML file with a default for every key that the model reads.
        settings: The same as typed keys, in place of the file or beside it; None: those of the
            class attribute ``settings_class``, if it has one.

    Returns:
        ``model_class``, so that this serves as a decorator.

    Raises:
        UserError: Not a general recommender, a foreign trainer, or a missing property file.
    """
    recommender = found("recbole.model.abstract_recommender:GeneralRecommender")
    if not (isinstance(model_class, type) and issubclass(model_class, recommender)):
        raise UserError(
            f"register: found {model_class!r}, expected a subclass of RecBole's GeneralRecommender"
        )
    base = found(f"{TRAINING}:DiffusionTrainer")
    trainer = base if trainer_class is None else trainer_class
    if not (isinstance(trainer, type) and issubclass(trainer, base)):
        raise UserError(
            f"register({model_class.__name__}): found trainer {trainer!r}, "
            "expected a subclass of DiffusionTrainer"
        )
    path = None if properties is None else Path(properties).resolve()
    if path is not None and not path.is_file():
        raise UserError(f"register({model_class.__name__}): property file {path} does not exist")
    name = model_class.__name__
    keys = settings or getattr(model_class, "settings_class", None)
    _REGISTERED[name] = Registration(name, model_class, trainer, settings=keys, properties=path)
    return model_class


def import_modules(names: str | Sequence[str] | None) -> None:
    """Import modules that register models; they are looked for in the working directory too.

    Args:
        names: In a list, or in one text with commas; None for none.

    Raises:
        UserError: A name of no module.
    """
    modules = names.split(",") if isinstance(names, str) else names or ()
    for name in filter(None, (name.strip() for name in modules)):
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


def find_model(model: str | type) -> Registration:
    """Resolve a model name, or a model class, to what a run needs.

    Raises:
        UserError: No such model; the message offers the nearest names.
    """
    if isinstance(model, type):
        return _of_class(model)
    if model in _REGISTERED:
        return _REGISTERED[model]
    point = _brought().get(model)
    if point is not None:
        return _of_class(point.load())
    name = model.removeprefix(HOST_PREFIX)
    if name not in host_models():
        raise UserError(_unknown_model(model))
    module = MENDED if name in MENDED_MODELS else HOST_MODELS
    return Registration(name, f"{module}:{name}", is_host=True)


def _of_class(model: type) -> Registration:
    """As ``find_model``; a class of the user's is registered."""
    name = model.__name__
    if name in host_models() and model is found(f"{HOST_MODELS}:{name}"):
        return find_model(HOST_PREFIX + name)
    known = _REGISTERED.get(name)
    if known is None or known.model_class is not model:
        register(model)
    return _REGISTERED[name]


def has_figures(name: str) -> bool:
    """Whether a model, ours or registered, draws figures of its runs; False for an unknown name."""
    return name in _REGISTERED and _REGISTERED[name].figures is not None


def knowledge(name: str) -> str:
    """What a model learns from, as lists say; "" for one that they do not know."""
    about = _REGISTERED[name].about if name in _REGISTERED else None
    if about is not None:
        return about.knows
    return "interactions" if name.removeprefix(HOST_PREFIX) in host_models() else ""


def list_models() -> dict[str, list[str]]:
    """Names that ``--model`` takes, under "recbole_diffusion" and "recbole"."""
    ours = {*_REGISTERED, *_brought()}
    host = [HOST_PREFIX + name if name in ours else name for name in host_models()]
    return {"recbole_diffusion": sorted(ours), "recbole": sorted(host)}


def described_models() -> str:
    """The names that ``--model`` takes, ours by kind with what they know and their source."""
    names = list_models()
    ours = [registration for registration in _REGISTERED.values() if registration.about]
    others = sorted(set(names["recbole_diffusion"]) - {model.name for model in ours})
    width = max(len(name) for name in names["recbole_diffusion"])
    lines = []
    for kind in dict.fromkeys(model.about.kind for model in ours if model.about):
        lines.append(f"recbole_diffusion, {kind}")
        for model in sorted(ours, key=lambda model: model.name):
            if model.about and model.about.kind == kind:
                about = model.about
                lines.append(f"  {model.name:<{width}}  {about.knows:<29}  {about.source}")
    if others:
        lines += ["recbole_diffusion, registered", *(f"  {name}" for name in others)]
    return "\n  ".join(["\n".join([*lines, "recbole"]), *names["recbole"]]) + "\n"


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


@cache
def host_models() -> tuple[str, ...]:
    """Names of RecBole's general recommenders, read from the imports of their package."""
    source = HOST_FOLDER.joinpath("model", "general_recommender", "__init__.py").read_text("utf-8")
    imports = (node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom))
    return tuple(dict.fromkeys(name.name for node in imports for name in node.names))


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
        f"key `model`: found {model!r}{hint}, expected one of ours "
        f"({', '.join(sorted(_REGISTERED))}) or one of RecBole's {len(host_models())} general "
        f"recommenders. --list_models prints all of them; "
        "a model of your own is known once its module is imported: --modules=my_module"
    )
