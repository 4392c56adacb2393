"""Typed keys: what they are made of, and the files that are written of them."""

import json
import subprocess
import sys
from typing import Any, Literal

import pytest

from recbole_diffusion.settings.kinds import Kind
from recbole_diffusion.settings.property_files import properties_folder, read_properties
from recbole_diffusion.settings.registry import find_model, list_models
from recbole_diffusion.settings.run_settings import RunSettings
from recbole_diffusion.settings.schema import Settings, key, kinds_of
from recbole_diffusion.settings.writing import json_schema, property_files, property_text

MODELS = list_models()["recbole_diffusion"]


class Base(Settings):
    """Of two models."""

    share: float = key(0.5, "s, of a whole", within="[0, 1)", section="Parts")
    size: int = key(4, within="> 0")
    steps: int | None = key(None, "null: all", within="1..size")


class Derived(Base, defaults={"size": 8}):
    """Of one."""

    kinds: list[int] = key([1, 2], within="1..2^4")
    share: float = key(0.25, within="(0, 1]")
    form: Literal["a", "b"] = key("a")
    way: str = key("up", kind=Kind((str,), choices=("up", "down"), any_case=True))


class Again(Derived, defaults={"share": 0.75}):
    """Of another."""


def test_keys_are_those_of_the_bases_first_with_the_latest_default() -> None:
    found = {name: found.default for name, found in Again.keys().items()}
    assert list(found) == ["share", "size", "steps", "kinds", "form", "way"]
    expected = {"share": 0.75, "size": 8, "steps": None, "kinds": [1, 2], "form": "a", "way": "up"}
    assert found == expected
    assert {name: k.default for name, k in Base.keys().items()} == {
        "share": 0.5, "size": 4, "steps": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "name", "inside", "outside"),
    [
        (Base, "share", [0, 0.99], [-0.01, 1, 1.0, None, True, "0.5"]),
        (Derived, "share", [0.01, 1], [0, 1.01]),
        (Base, "size", [1, 2**31 - 1], [0, 2**31, 1.0, None]),
        (Base, "steps", [1, 10**6, None], [0]),  # the model checks the other end
        (Derived, "kinds", [[], [1, 16]], [[0], [17], [1.5], None, 3]),
        (Derived, "form", ["a", "b"], ["c", "A", None, 1]),
        (Derived, "way", ["up", "Down"], ["left", None, 1]),
    ],
)
def test_values_are_those_of_annotation_and_range(
    settings: type[Settings], name: str, inside: list[Any], outside: list[Any]
) -> None:
    kind = kinds_of(settings)[name]
    assert [value for value in [*inside, *outside] if kind.holds(value)] == inside


def test_a_range_that_is_none_is_an_error() -> None:
    class Wrong(Settings):
        size: int = key(1, within="some")

    with pytest.raises(ValueError, match="found range 'some'"):
        Wrong.keys()


def test_values_are_typed_attributes() -> None:
    found = Derived(
        {"share": 0.3, "size": 9, "steps": 2, "kinds": [3], "form": "b", "way": "up", "x": 1}
    )
    assert (found.share, found.size, found.steps, found.kinds, found.form) == (0.3, 9, 2, [3], "b")


def test_files_tell_type_range_and_meaning() -> None:
    assert property_text(Derived, "Title.").splitlines() == [
        "# Title.",
        "",
        "# Parts",
        "share: 0.25                 # float in (0, 1]",
        "size: 8                     # int > 0",
        "steps: ~                    # int in 1..size; null: all",
        "kinds: [1, 2]               # list of int in 1..2^4",
        "form: a                     # a | b",
        "way: up                     # up | down",
    ]


@pytest.mark.parametrize("name", property_files())
def test_shipped_files_are_those_of_the_keys(name: str) -> None:
    """After a change of keys: python -m recbole_diffusion.settings.writing properties."""
    assert (properties_folder() / name).read_text("utf-8") == property_files()[name]


@pytest.mark.parametrize("model", [None, *MODELS])
def test_defaults_fit_their_keys(model: str | None) -> None:
    settings = RunSettings if model is None else find_model(model).settings_class
    for name, found in settings.keys().items():
        assert found.kind.holds(found.default), name
        assert found.form, name


@pytest.mark.parametrize("model", MODELS)
def test_property_files_of_data_fit_the_schema_for_editors(model: str) -> None:
    """Types, ranges and choices, as a checker of JSON schemas reads them."""
    known = json_schema(find_model(model).settings_class)["properties"]
    types = {"boolean": bool, "integer": int, "number": (int, float), "string": str}
    types |= {"array": list, "object": dict, "null": type(None)}
    files = (properties_folder() / "model_on_dataset" / model).glob("*.yaml")
    for path in (properties_folder() / "model" / f"{model}.yaml", *files):
        for name, value in read_properties(path).items():
            assert any(isinstance(value, types[kind]) for kind in known[name]["type"]), name
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                assert known[name].get("minimum", value) <= value, name
                assert known[name].get("maximum", value) >= value, name
                assert known[name].get("exclusiveMinimum", value - 1) < value, name
            assert value in known[name].get("enum", [value]), name
    assert json.dumps(known)


@pytest.mark.parametrize("words", [["--help", "InfoDCL"], ["--model=InfoDCL", "--help"]])
def test_help_of_a_model_is_its_keys(words: list[str]) -> None:
    program = (
        "import sys; from recbole_diffusion.commands.cli import main; "
        f"main({words!r}); print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (property_files()["model/InfoDCL.yaml"], "False\n")
    plain = subprocess.run(
        [sys.executable, "-m", "recbole_diffusion", "--help", "LightGCN"],
        capture_output=True,
        text=True,
    )
    assert "n_layers" in plain.stdout
