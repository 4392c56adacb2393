"""The models' pages: their equations, code names, keys and commands are those of the package."""

import ast
import importlib
import inspect
import pkgutil
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import recbole_diffusion
from recbole_diffusion.settings.keys import declared_keys
from recbole_diffusion.settings.kinds import check_value
from recbole_diffusion.settings.property_files import properties_folder, read_properties
from recbole_diffusion.settings.registry import find_model
from recbole_diffusion.settings.values import parse_value

DOCS = Path(__file__).parents[1] / "docs"
# Models of a page, and the number of its paper's equations.
PAGES = {
    "diffrec": (["DiffRec", "TDiffRec", "LDiffRec", "LTDiffRec"], 16),
    "infodcl": (["InfoDCL"], 16),
    "simdiff": (["SimDiff"], 22),
    "ld4mrec": (["LD4MRec"], 22),
    "diffmm": (["DiffMM"], 26),
}
# Keys that tell how training runs, and change no equation.
TRAINING = {
    *("learner", "learning_rate", "weight_decay", "train_batch_size", "epochs", "eval_step"),
    *("stopping_step", "denoiser_learning_rate"),
    *("generator_learning_rate", "generator_batch_size"),
}
# Symbols of the papers, columns of files, and another package.
NO_KEYS = {"z_0", "z_in", "user_id", "item_id", "is_interaction", "kmeans_pytorch"}
HEADER = "| Equation | Code | Keys |"

pytestmark = pytest.mark.parametrize("page", PAGES)


def text_of(page: str) -> str:
    return (DOCS / "models" / f"{page}.md").read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    return re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)


def quoted(text: str) -> list[str]:
    return [" ".join(token.split()) for token in re.findall(r"`([^`]+)`", text)]


def equation_rows(page: str) -> list[list[str]]:
    """Cells of the table of equations."""
    after = text_of(page).split(HEADER)[1].strip().split("\n\n")[0]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in after.splitlines()[1:]]


@cache
def own_keys(page: str) -> dict[str, Any]:
    models, _ = PAGES[page]
    folder = properties_folder() / "model"
    return {k: v for m in models for k, v in read_properties(folder / f"{m}.yaml").items()}


@cache
def modules() -> list[ModuleType]:
    """Those of the package that hold models and what they are made of."""
    parts = [
        importlib.import_module(f"recbole_diffusion.{p}")
        for p in ("models", "nn", "diffusion", "data", "training", "evaluation", "settings")
    ]
    names = [
        m.name for part in parts for m in pkgutil.walk_packages(part.__path__, part.__name__ + ".")
    ]
    # RecBole's models have names of ours.
    names = [name for name in names if not name.endswith("host_models")]
    return [importlib.import_module(name) for name in names]


def resolve(name: str) -> Any:
    """What a name such as `Class.method`, `function` or `data.module.function` stands for."""
    first, *rest = name.split(".")
    holders = [
        m for m in modules() if m.__name__ == getattr(m.__dict__.get(first), "__module__", "")
    ]
    found = [getattr(holder, first) for holder in holders]
    if not found:
        place = [recbole_diffusion.__name__, first, *rest[:-1]]
        found, rest = [importlib.import_module(".".join(place))], rest[-1:]
    assert len(found) == 1, f"{name}: found in {len(found)} modules"
    for part in rest:
        found = [getattr(found[0], part)]
    return found[0]


def settings_of_command(command: str) -> list[tuple[str, Any]]:
    """Keys with their values of `--key=value` and `--Model.key=value`."""
    pairs = re.findall(r"--([\w.-]+)=(\"[^\"]*\"|[^\s']+)", command)
    return [(key.split(".")[-1], parse_value(value.strip('"'), command)) for key, value in pairs]


def setting_of(token: str) -> list[tuple[str, Any]]:
    """Keys with their values of `key: value` and `--key=value --other=value`."""
    if token.startswith("--"):
        return settings_of_command(token)
    match = re.fullmatch(r"(\w+): (.+)", token)
    return [(match[1], parse_value(match[2], token))] if match else []


def test_every_equation_of_the_paper_has_its_row(page: str) -> None:
    numbers: set[int] = set()
    for cells in equation_rows(page):
        listed = re.match(r"[\d, -]+(?=:)", cells[0])
        for part in listed[0].split(", ") if listed else ():
            first, _, last = part.partition("-")
            numbers.update(range(int(first), int(last or first) + 1))
    assert numbers == set(range(1, PAGES[page][1] + 1))


def test_code_names_exist_and_take_what_is_written(page: str) -> None:
    names = [name for cells in equation_rows(page) for name in quoted(cells[1])]
    assert names
    for name in names:
        tree = ast.parse(name, mode="eval").body
        if not isinstance(tree, ast.Call):
            resolve(name)
            continue
        arguments = {k.arg: ast.literal_eval(k.value) for k in tree.keywords}
        signature = inspect.signature(resolve(ast.unparse(tree.func)))
        signature.bind_partial(*map(ast.literal_eval, tree.args), **arguments)


def test_keys_of_equations_are_the_models(page: str) -> None:
    keys = own_keys(page)
    named = [key for cells in equation_rows(page) for key in quoted(cells[2])]
    assert named
    for token in named:
        assert token in keys or dict(setting_of(token)).keys() <= keys.keys(), token


def test_every_key_that_changes_an_equation_is_named(page: str) -> None:
    tokens = quoted(prose_of(page))
    named = {*tokens, *(key for token in tokens for key, _ in setting_of(token))}
    needed = {k for k in own_keys(page) if k not in TRAINING and not k.startswith("pretrain_")}
    assert needed - named == set()


@cache
def defaults_of(page: str) -> dict[str, Any]:
    """Of a run, or a comparison, of the page's models."""
    shared = [read_properties(properties_folder() / f"{n}.yaml") for n in ("compare", "overall")]
    return {**shared[0], **shared[1], **own_keys(page), "models": None, "config_files": None}


def check_settings(page: str, settings: list[tuple[str, Any]]) -> None:
    """Keys that a run, or a comparison, takes; with values of their kind."""
    defaults = defaults_of(page)
    for key, value in settings:
        assert key in defaults or key in declared_keys(), key
        kinds = {k: v for m in PAGES[page][0] for k, v in find_model(m).kinds.items()}
        check_value(page, key, value, defaults.get(key), kinds)


def test_commands_hold_keys_with_values_that_serve(page: str) -> None:
    fences = re.findall(r"```bash\n(.*?)```", text_of(page), flags=re.DOTALL)
    commands = "".join(fences).replace("\\\n", " ").splitlines()
    runs = [c for c in commands if re.match(r"\$[RC] |R=|C=|python run_recbole", c)]
    assert runs
    for command in runs:
        check_settings(page, settings_of_command(command))


def test_named_keys_and_names_exist(page: str) -> None:
    """Everywhere on the page: settings with a value that serves, and words with an underscore."""
    keys = own_keys(page)
    for token in quoted(prose_of(page)):
        check_settings(page, setting_of(token))
        if re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", token) and token not in NO_KEYS:
            assert token in keys or token in declared_keys() or resolve(token), token
