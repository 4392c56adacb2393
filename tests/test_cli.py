"""The command line: how words become settings, exit codes, and what bad input leaves behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import recbole
from forked import run_module

from recbole_diffusion import __version__
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands import cli
from recbole_diffusion.commands.cli import main, parse_arguments
from recbole_diffusion.runs import quick_start
from recbole_diffusion.settings.property_files import properties_folder

SCRIPT = Path(__file__).resolve().parents[1] / "run_recbole_diffusion.py"


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Arguments of the runs that the command line starts; nothing is trained."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(quick_start, "run_recbole_diffusion", lambda *args: calls.append(args))
    monkeypatch.setattr(cli, "read_layers", lambda *args: None)
    return calls


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def one_paragraph(text: str) -> bool:
    return text.startswith("error: ") and text.endswith("\n") and text.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["--seed=7"], {"seed": 7}),
        (["--seed", "7"], {"seed": 7}),
        (["--x", "-1"], {"x": -1}),
        (["--x=-1e-3", "--y", "-0.5"], {"x": -0.001, "y": -0.5}),
        (["--x=a=b"], {"x": "a=b"}),
        (["--x", "a=b=c"], {"x": "a=b=c"}),
        (["--topk=[5, 10]"], {"topk": [5, 10]}),
        (["--eval_args", "{split: {RS: [8, 1, 1]}}"], {"eval_args": {"split": {"RS": [8, 1, 1]}}}),
        (["--x="], {"x": None}),
        (["--x", ""], {"x": None}),
        (["--x=1/0"], {"x": "1/0"}),
        (["--dataset=007"], {"dataset": "007"}),
        (["--data_path", "1e3"], {"data_path": "1e3"}),
        (["--output_dir=~"], {"output_dir": "~"}),
        (["--time-aware=true"], {"time-aware": True}),
        (["--field_separator=,"], {"field_separator": ","}),
        (["--field_separator", "|"], {"field_separator": "|"}),
        (["--field_separator=\t"], {"field_separator": "\t"}),
        (["--field_separator=\\t"], {"field_separator": "\t"}),
        (["--field_separator=tab"], {"field_separator": "\t"}),
        (["--field_separator=','"], {"field_separator": ","}),
        (['--field_separator=";"'], {"field_separator": ";"}),
        (["--field_separator=1"], {"field_separator": "1"}),
        (["--seq_separator=|", "--x=7"], {"seq_separator": "|", "x": 7}),
        (["--seq_separator= "], {"seq_separator": " "}),
        (["--seq_separator=space"], {"seq_separator": " "}),
        ([], {}),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_words_become_settings(words: list[str], keys: dict[str, Any]) -> None:
    assert parse_arguments(words) == keys


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["extra"], "left-over argument 'extra'"),
        (["--seed=7", "extra"], "left-over argument 'extra'"),
        (["-seed=7"], "left-over argument '-seed=7'"),
        (["--"], "left-over argument '--'"),
        (["--seed", "1", "2"], "left-over argument '2'"),
        (["--seed"], "--seed has no value"),
        (["--seed", "--topk=5"], "--seed has no value"),
        (["--seed=1", "--seed=1"], "--seed is given twice"),
        (["--seed=1", "--seed", "2"], "--seed is given twice"),
        (["--topk=[5"], "--topk: found '[5'"),
        (["--x=!!python/name:os.system"], "--x: found"),
    ],
)
def test_bad_words_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match="^command line: ") as error:
        parse_arguments(words)
    assert message in str(error.value)


def test_main_hands_over_model_data_files_and_keys(called: list[tuple[Any, ...]]) -> None:
    words = ["--model=BPR", "--dataset", "planted", "--config_files=a.yaml  b.yaml", "--seed=1"]
    assert main(words) == 0
    assert main([]) == 0
    assert called == [
        ("BPR", "planted", ["a.yaml", "b.yaml"], {"seed": 1}),
        ("InfoDCL", "ml-100k", [], {}),
    ]


def test_words_come_from_the_process_if_not_given(
    called: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["prog", "--model=Pop"])
    assert main() == 0
    assert called == [("Pop", "ml-100k", [], {})]


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help(called: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert main(["--epochs=3", word]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: ")
    assert {"--model", "--dataset", "--config_files", "--list_models"} <= set(out.split())
    assert err == ""
    assert called == []


def test_list_models(called: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list_models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "recbole_diffusion, diffusion"
    ours, host = lines[: lines.index("recbole")], lines[lines.index("recbole") + 1 :]
    sequences = ours.index("recbole_diffusion, sequences")
    assert ours[sequences + 2].split("  ")[1] == "SASRec"
    told = {line.split()[0]: line.split("  ", 2)[2] for line in ours if line.startswith("  ")}
    assert told["DiffMM"].split("  ")[-1].strip() == "MM 2024"
    assert "order" in told["TDiffRec"]
    assert "features" in told["FREEDOM"]
    assert {"InfoDCL", "LD4MRec", "SimDiff"} <= set(told)
    assert {"  BPR", "  LightGCN"} <= set(host)
    assert "  Caser" not in lines
    assert main(["models"]) == 0
    assert capsys.readouterr().out.splitlines() == lines
    assert called == []


def test_list_datasets(
    called: list[tuple[Any, ...]],
    capsys: pytest.CaptureFixture[str],
    write_dataset: Callable[..., Path],
    empty: Path,
) -> None:
    path = write_dataset("mine", inter=[["user_id:token", "item_id:token"], ["a", "b"]])
    assert main(["datasets", f"--data_path={path}"]) == 0
    assert "mine" in capsys.readouterr().out
    assert main(["--list_datasets", f"--data_path={path}"]) == 0
    found = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert found["mine"] == str(path / "mine")
    assert found["ml-100k"] == str(Path(recbole.__file__).parent / "dataset_example" / "ml-100k")
    assert called == []
    assert list(empty.iterdir()) == []


def test_interruption_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(quick_start, "run_recbole_diffusion", interrupt)
    assert main([]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_errors_in_the_program_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(quick_start, "run_recbole_diffusion", fail)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main([])


def test_success_writes_one_run_folder(
    planted: dict[str, Any], empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--data_path={planted['data_path']}", "--epochs=1", "--show_progress=false"]
    assert main(["--model=Pop", "--dataset=planted", *words]) == 0
    (run,) = (empty / "runs").iterdir()
    assert [p.name for p in empty.iterdir()] == ["runs"]
    result = json.loads((run / "result.json").read_text())
    out = capsys.readouterr().out
    assert f"{result['test']['recall@20']:.4f}" in out
    assert str(run) in out
    assert "\x1b" not in out


BAD = [
    (["--model=Pop", "--learning_rat=1"], "learning_rat"),
    (["--model=Popp"], "Popp"),
    (["--model=Caser"], "Caser"),
    (["--model=Pop", "--dataset=nosuch"], "nosuch"),
    (["--model=Pop", "--config_files=none.yaml"], "none.yaml"),
    (["--model=Pop", "--epochs=many"], "epochs"),
    (["--model=Pop", "--epochs=-1"], "epochs"),
    (["--model=Pop", "--seed=-1"], "seed"),
    (["--model=Pop", "--learning_rate=-1.0"], "learning_rate"),
    (["--model=BPR", "--weight_decay=-1.0"], "weight_decay"),
    (["--model=BPR", "--embedding_size=-1"], "embedding_size"),
    (["--model=Pop", "--metric_decimal_place=-1"], "metric_decimal_place"),
    (["--model=Pop", "--state=LOUD"], "state"),
    (["--model=Pop", "--valid_metric=Recall"], "valid_metric"),
    (["--model=Pop", "--valid_metric="], "valid_metric"),
    (["--model=Pop", "--topk=[500]"], "topk"),
    (["--model=Pop", "--topk=[0]"], "topk"),
    (["--model=Pop", "--eval_args={order: XX}"], "XX"),
    (["--model=Pop", "--eval_args={split: {RS: [0.8, 0.2]}}"], "eval_args"),
    (["--model=Pop", "--eval_args={split: {RS: [1, 0, 0]}}"], "eval_args"),
    (["--model=Pop", "--encoding=utf-99"], "utf-99"),
    (["--model=Pop", "--USER_ID_FIELD=who"], "who"),
    (["--model=Pop", "--load_col={user: [age]}"], "load_col"),
    (["--model=Pop", "--save_dataset=true"], "save_dataset"),
    (["--model=Pop", "--x=2020-13-45"], "2020-13-45"),
    (["--model=Pop", "--topk=[5"], "topk"),
    (["--model=Pop", "--topk"], "topk"),
    (["extra"], "extra"),
]


@pytest.mark.parametrize(
    ("words", "named"), BAD, ids=lambda v: v[-1] if isinstance(v, list) else ""
)
def test_bad_input_exits_with_2_and_leaves_nothing(
    planted: dict[str, Any],
    empty: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    named: str,
) -> None:
    data = [] if any("--dataset" in w for w in words) else ["--dataset=planted"]
    rest = [*data, f"--data_path={planted['data_path']}", "--show_progress=false"]
    assert main([*rest, *words]) == 2
    out, err = capsys.readouterr()
    assert one_paragraph(err), err
    assert named in err
    assert out == ""
    assert sorted(empty.rglob("*")) == []


def test_output_folder_that_is_a_file(
    planted: dict[str, Any], empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty / "taken").write_text("mine")
    words = ["--model=Pop", "--dataset=planted", f"--data_path={planted['data_path']}"]
    assert main([*words, "--output_dir=taken"]) == 2
    assert "output_dir" in capsys.readouterr().err
    assert (empty / "taken").read_text() == "mine"


def test_script_passes_the_exit_code_on(empty: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--model=nosuch"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert one_paragraph(done.stderr), done.stderr
    assert done.stdout == ""
    assert list(empty.iterdir()) == []


# Misspelt commands, switches and listings


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["comapre", "--models=BPR"], "did you mean the command compare, as the first word?"),
        (["tnue"], "did you mean the command tune"),
        (["--models=BPR", "compare"], "did you mean the command compare"),
        (["--verbose", "--seed"], "--seed has no value"),
        (["--verbose", "--verbose=true"], "--verbose is given twice"),
        (["--modules=no_such_module"], "key `modules`: found 'no_such_module'"),
        (["compare", "--modules=no.such", "--models=BPR"], "key `modules`: found 'no.such'"),
        (["--modules=.relative"], "key `modules`: found '.relative'"),
    ],
)
def test_misspelt_words_are_refused_with_advice(
    words: list[str], told: str, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert told in err
    assert one_paragraph(err)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--verbose"], True),
        (["--verbose", "--seed=1"], True),
        (["--verbose=true"], True),
        (["--verbose=false"], False),
        (["--verbose", "false"], False),
    ],
)
def test_verbose_needs_no_value(words: list[str], value: bool) -> None:
    assert parse_arguments(words)["verbose"] is value


@pytest.mark.parametrize("words", [["--version"], ["--version", "foo"], ["--seed=1", "--version"]])
def test_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == f"recbole_diffusion {__version__}\n"


def test_help_of_a_misspelt_model_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model=DiffReck", "--help"]) == 2
    assert "did you mean DiffRec" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help", "foo"], ["compare", "--help"], ["foo", "-h"]])
def test_help_stands_before_all_else(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("usage: ")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("compare", ["usage: recbole-diffusion compare --models=InfoDCL,LightGCN,EASE", "--seeds"]),
        ("tune", ["usage: recbole-diffusion tune", "--trial_minutes=8.0", "--grid key=v1,v2"]),
        ("analyze", ["usage: recbole-diffusion analyze RUN", "--projection=pca", "pca"]),
    ],
)
def test_help_of_a_command_has_its_keys(
    command: str, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([command, "--help"], [command, "--x=1", "-h"]):
        assert main(words) == 0
        out = capsys.readouterr().out
        assert [text for text in told if text not in out] == []
        assert out.startswith(told[0])
    module = import_module(cli.COMMANDS[command])
    if command == "compare":
        assert out.endswith((properties_folder() / "compare.yaml").read_text())
    else:
        assert [key for key in module.OPTIONS if f"  --{key}" not in out] == []
    assert max(map(len, out.splitlines())) <= 110


def test_every_usage_is_in_the_general_help() -> None:
    for usage in cli.USAGES.values():
        assert usage in cli.USAGE


MODULE = """
from recbole.model.general_recommender import BPR
from recbole_diffusion import register

@register
class Mine(BPR):
    pass
"""


@pytest.mark.parametrize("command", ["", "compare", "tune"])
def test_model_of_a_module_in_the_working_directory(
    command: str,
    own_registry: None,
    planted: dict[str, Any],
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = f"module_for_{command or 'run'}"
    (empty / f"{name}.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    model = "--models=Mine" if command == "compare" else "--model=Mine"
    words = [command, model, "--dataset=planted", f"--data_path={planted['data_path']}"]
    words += ["--epochs=1", "--show_progress=false", "--embedding_size=4"]
    words += ["--seeds=1"] if command == "compare" else []
    assert main([word for word in words if word]) == 2
    assert "--modules=my_module" in capsys.readouterr().err
    assert main([*(word for word in words if word), f"--modules={name}"]) == 0


# Saved runs


@pytest.mark.parametrize("word", ["resume", "evaluate"])
def test_saved_run(
    called: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setattr(quick_start, f"{word}_run", lambda *args: called.append((word, *args)))
    assert cli.main([f"--{word}=runs/a run", "--use_gpu=false"]) == 0
    assert called == [(word, "runs/a run", {"use_gpu": False})]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--resume=a", "--evaluate=a"], "expected one of them"),
        (["--resume"], "--resume has no value"),
        (["--resume=nowhere", "--model=BPR"], "found model beside it"),
        (["--evaluate=nowhere", "--dataset=ml-100k", "--epochs=3"], "found dataset, epochs beside"),
        (["--resume=nowhere"], "'nowhere', expected the folder of a run"),
    ],
)
def test_saved_run_that_is_none(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert told in capsys.readouterr().err


def test_the_package_is_a_command(empty: Path) -> None:
    command = [sys.executable, "-m", "recbole_diffusion"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=empty)
    assert (done.returncode, done.stdout) == (0, cli.USAGE)
    refused = subprocess.run(
        [*command, "--no_such_key=1"], capture_output=True, text=True, cwd=empty
    )
    assert refused.returncode == 2
    assert one_paragraph(refused.stderr)


HEAVY = ("torch", "torch._dynamo", "pandas", "sklearn", "tensorboard", "recbole", "scipy")
LISTS = ("--help", "--version", "--list_models", "--list_datasets")
REFUSED = {
    "unknown key": ["--lerning_rate=1"],
    "range": ["--model=PrefixDiff", "--horizon=0"],
    "metric": ["--model=BPR", "--metrics=[Foo]"],
    "recency": ["--model=TDiffRec", "--recency=nosuch"],
    "file": ["--config_files=nosuch.yaml"],
    "unknown key of a row": ["compare", "--models=BPR,InfoDCL", "--BPR.no_such_key=3"],
    "seeds": ["compare", "--models=BPR,InfoDCL", "--seeds=0"],
    "seed of a row": ["compare", "--models=BPR", "--InfoDCL.seed=3"],
}
DATASETS = Path(__file__).resolve().parents[1] / "dataset_atomic"
SOLVED = ["--model=LinDiffRec", "--dataset=planted", f"--data_path={DATASETS}"]
# Forks of a fresh interpreter, each of which has imported the command line alone.
EACH_IN_A_FORK = f"""
import json, os, sys
from recbole_diffusion.commands.cli import main

for name, words in json.loads(sys.argv[1]).items():
    if os.fork() == 0:
        for number, suffix in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{{name}}.{{suffix}}", os.O_CREAT | os.O_WRONLY), number)
        code = main(words)
        print(json.dumps([code, [module for module in {HEAVY!r} if module in sys.modules]]))
        sys.exit()
    os.wait()
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[int, list[str], str]]:
    """Gives the exit code of a command, what it imported and what it complained of, by name."""
    folder = tmp_path_factory.mktemp("ended")
    commands = {**{word: [word] for word in LISTS}, **REFUSED, "solved": SOLVED}
    program = [sys.executable, "-c", EACH_IN_A_FORK, json.dumps(commands)]
    subprocess.run(program, check=True, cwd=folder)

    def of(name: str) -> tuple[int, list[str], str]:
        code, heavy = json.loads((folder / f"{name}.out").read_text().splitlines()[-1])
        return code, heavy, (folder / f"{name}.err").read_text()

    return of


@pytest.mark.parametrize("word", LISTS)
def test_what_is_listed_needs_no_heavy_package(
    ended: Callable[[str], tuple[int, list[str], str]], word: str
) -> None:
    assert ended(word) == (0, [], "")


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_needs_no_pytorch(
    ended: Callable[[str], tuple[int, list[str], str]], name: str
) -> None:
    code, heavy, error = ended(name)
    assert (code, {"torch", "recbole"} & {*heavy}) == (2, set())
    assert error.count("error:") == 1


def test_a_solved_run_imports_no_compiler_and_no_sklearn(
    ended: Callable[[str], tuple[int, list[str], str]],
) -> None:
    code, heavy, _ = ended("solved")
    assert code == 0
    assert {"torch._dynamo", "sklearn"} & {*heavy} == set()


@pytest.mark.parametrize(
    "place",
    ["data.convert", "data.encode", "compare.reproduction", "analyze.report", "graph_export"],
)
def test_commands_stand_where_they_did(place: str) -> None:
    done = run_module(f"recbole_diffusion.{place}", ["--help"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")


@pytest.mark.parametrize(
    ("command", "page", "wrong"),
    [("compare", "reproduction", "'Nothing'"), ("analyze", "report", "'no/such/folder'")],
)
def test_a_function_is_called_after_the_import_of_its_commands_place(
    command: str, page: str, wrong: str
) -> None:
    imports = f"import recbole_diffusion as r\nimport recbole_diffusion.{command}.{page}"
    told = [
        subprocess.run(
            [sys.executable, "-c", f"{lines}\nr.{command}({wrong})"],
            capture_output=True,
            text=True,
            check=False,
        ).stderr.splitlines()[-1]
        for lines in (imports, "import recbole_diffusion as r")
    ]
    assert told[0] == told[1]
    assert "UserError: " in told[0]
