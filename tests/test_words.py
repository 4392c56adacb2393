"""Words of the command line: what is printed gives the same settings when it is typed."""

import math
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recbole_diffusion.commands import cli
from recbole_diffusion.commands.cli import parse_arguments
from recbole_diffusion.runs import quick_start
from recbole_diffusion.settings.property_files import run_command
from recbole_diffusion.settings.registry import find_model
from recbole_diffusion.settings.words import (
    LITERAL,
    format_word,
    join_files,
    own_command,
    split_files,
)
from recbole_diffusion.studies.compare.request import read_request

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXT = st.text(CHARACTERS, max_size=12) | st.sampled_from(
    ["1e-3", "1", "true", "null", "~", "[5,inf)", "(0,1];[3,4]", ".inf", "a b", "$HOME", "`ls`"]
    + ["it's", 'say "a"', "\\", "!x", "a: b", "# a", "- a", "tab", "2020-01-01", "é", "\t", "\n"]
)
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXT
VALUES = st.recursive(
    PLAIN,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(TEXT, parts, max_size=3),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    """Equal in type and value; NaN is NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


@given(value=VALUES)
@example(value="[5,inf)")
@example(value=[None, "a"])
@example(value=float("inf"))
@example(value=1e-5)
@example(value="1e-5")
@settings(max_examples=500, deadline=None)
def test_printed_setting_is_read_back(value: Any) -> None:
    (word,) = shlex.split(format_word("BPR.key", value))
    assert same(parse_arguments([word]), {"BPR.key": value}), word


@given(key=st.sampled_from(LITERAL), value=TEXT)
@settings(deadline=None)
def test_printed_literal_is_read_back(key: str, value: str) -> None:
    (word,) = shlex.split(format_word(key, value))
    assert parse_arguments([word]) == {key: value}


@given(value=st.characters(max_codepoint=127, exclude_characters="\0"))
@settings(deadline=None)
def test_printed_separator_is_read_back(value: str) -> None:
    (word,) = shlex.split(format_word("field_separator", value))
    assert parse_arguments([word]) == {"field_separator": value}


@given(names=st.lists(TEXT, max_size=3))
@settings(deadline=None)
def test_printed_files_are_read_back(names: list[str]) -> None:
    (word,) = shlex.split(format_word("config_files", join_files(names)))
    assert split_files(parse_arguments([word])["config_files"]) == names


@given(shared=VALUES, own=VALUES)
@example(shared="[5,inf)", own=[None, float("nan")])
@settings(max_examples=100, deadline=None)
def test_command_of_a_comparison_gives_the_same_request(shared: Any, own: Any) -> None:
    keys = {"field_separator": "\t", "val_interval": shared, "BPR.own": own, "mine.own": "1e3"}
    files = ["a file.yaml", "it's.yaml"]
    keys |= {"models": "BPR,mine=EASE", "dataset": "my data", "config_files": files}
    request = read_request({**keys, "protocol": "paper:diffmm"})
    words = shlex.split(request.command(["BPR", "mine"], [2, 5]))
    assert words[:4] == ["python", "-m", "recbole_diffusion", "compare"]
    again = read_request(parse_arguments(words[4:]))
    assert (again.settings.dataset, again.settings.config_files) == ("my data", files)
    assert (again.seeds, again.protocols) == ((2, 5), request.protocols)
    assert same(again.keys, request.keys)
    assert list(again.models) == ["BPR", "mine"]
    for label, model in request.models.items():
        assert again.models[label].name == model.name
        assert same(again.models[label].keys, model.keys)


@pytest.mark.parametrize(
    ("called", "named"),
    [
        ("/clone/run_recbole_diffusion.py", "python run_recbole_diffusion.py"),
        ("/env/bin/recbole-diffusion", "recbole-diffusion"),
        ("/env/recbole_diffusion/__main__.py", "python -m recbole_diffusion"),
        ("/env/bin/pytest", "python -m recbole_diffusion"),
    ],
)
def test_printed_commands_are_called_as_the_process_was(
    called: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [called])
    assert own_command() == named
    command = run_command(find_model("EASE"), "toy", Path("best.yaml"))
    assert command == f"{named} --model=EASE --dataset=toy --config_files=best.yaml"


def test_quotes_are_only_where_a_shell_needs_them() -> None:
    assert format_word("topk", [5, 10]) == '--topk="[5, 10]"'
    assert format_word("learning_rate", 0.01) == "--learning_rate=0.01"
    assert format_word("x", "$HOME") == "--x='$HOME'"
    assert format_word("resume", "runs/a run") == '--resume="runs/a run"'
    assert format_word("x", None) == "--x="


@pytest.mark.parametrize("command", ["", "compare", "tune"])
def test_blank_in_the_path_of_a_property_file(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    # Before anything is replaced, which what they import would keep.
    studies = [f"recbole_diffusion.studies.{name}.run" for name in ("tune", "compare")]
    tune_run, compare_run = map(import_module, studies)
    monkeypatch.setattr(
        quick_start, "run_recbole_diffusion", lambda m, d, files, k: found.extend(files)
    )
    monkeypatch.setattr(tune_run, "tune", lambda m, d, files, k: found.extend(files))
    monkeypatch.setattr(
        compare_run,
        "compare",
        lambda config_dict: (
            found.extend(read_request(config_dict).settings.config_files) or {"models": []}
        ),
    )
    monkeypatch.chdir(tmp_path)
    for name in ("a file.yaml", "b.yaml"):
        (tmp_path / name).write_text("seed: 7\n")
    words = ["--models=BPR"] if command == "compare" else ["--model=BPR"]
    files = "--config_files='a file.yaml' b.yaml"
    assert cli.main([word for word in (command, *words, files) if word]) == 0
    assert found == ["a file.yaml", "b.yaml"]


@pytest.mark.parametrize("key", ["user", "users", "item", "items", "where", "with", "exclude"])
@pytest.mark.parametrize(
    "text", ["01.50", "1_000", "0x10", "1e5", "null", "true", "[a]", "'a'", ""]
)
def test_ids_and_columns_are_taken_as_they_stand(key: str, text: str) -> None:
    assert parse_arguments([f"--{key}={text}"]) == {key: text}


@pytest.mark.parametrize("key", ["out", "pairs", "history"])
def test_paths_are_taken_as_they_stand(key: str) -> None:
    for text in ("5", "2020-01-01", "null", "a: b", ""):
        assert parse_arguments([f"--{key}={text}"]) == {key: text}
