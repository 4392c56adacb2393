"""The command line: arguments and exit codes, nothing else."""

import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from itertools import takewhile
from typing import Any

import recbole_diffusion
from recbole_diffusion.base.errors import UserError, exit_code
from recbole_diffusion.base.launch import refuse_several
from recbole_diffusion.settings.folders import list_datasets
from recbole_diffusion.settings.layers import read_layers
from recbole_diffusion.settings.registry import (
    described_models,
    find_model,
    import_modules,
    list_models,
)
from recbole_diffusion.settings.words import read_word, split_files
from recbole_diffusion.settings.writing import model_keys

# How each command is called; indented as after "usage: ".
USAGES = {
    "compare": """\
recbole-diffusion compare --models=InfoDCL,LightGCN,EASE [--dataset=ml-100k]
                         [--seeds=3] [--key=value ...] [--InfoDCL.key=value ...]""",
    "tune": """\
recbole-diffusion tune --model=InfoDCL [--dataset=ml-100k] [--trials=20]
                         [--minutes=60] [--grid key=v1,v2 ...] [--key=value ...]""",
    "refresh": "recbole-diffusion refresh RUN [--dataset=newer] [--key=value ...]",
    "analyze": "recbole-diffusion analyze RUN [--projection=tsne]",
    "recommend": """\
recbole-diffusion recommend RUN [--users=all|FILE|ID,...] [--history=FILE]
                         [--k=10] [--with=title] [--out=FILE]""",
    "similar": "recbole-diffusion similar RUN --items=ID,... [--k=10] [--with=title]",
    "explain": "recbole-diffusion explain RUN --user=ID --item=ID",
    "export": """\
recbole-diffusion export RUN --out=FOLDER [--as=embeddings|item-item|onnx]
                         [--format=npy|parquet|safetensors] [--index=flat|hnsw|ivf]
                         [--without_users]""",
    "score": "recbole-diffusion score RUN --pairs=FILE [--out=FILE]",
    "serve": "recbole-diffusion serve RUN... [--host=127.0.0.1] [--port=8000]",
    "runs": "recbole-diffusion runs [FOLDER]",
    "show": "recbole-diffusion show RUN",
    "diff": "recbole-diffusion diff RUN RUN [--significance=wilcoxon|t]",
    "inspect": "recbole-diffusion inspect DATASET [--out=FILE.html] [--key=value ...]",
    "convert": "recbole-diffusion convert FILES... --name=mydata [--as=FORMAT] [--dry-run]",
}
USAGE = f"""\
usage: recbole-diffusion [--model=InfoDCL] [--dataset=ml-100k]
                         [--config_files="a.yaml b.yaml"] [--key=value ...]
       recbole-diffusion --resume=RUN | --evaluate=RUN
       {USAGES["refresh"]}
       {USAGES["compare"]}
       {USAGES["tune"]}
       {USAGES["analyze"]}
       {USAGES["recommend"]}
       {USAGES["similar"]}
       {USAGES["explain"]}
       {USAGES["score"]}
       {USAGES["export"]}
       {USAGES["serve"]}
       {USAGES["runs"]}
       {USAGES["show"]}
       {USAGES["diff"]}
       {USAGES["inspect"]}
       {USAGES["convert"]}

python -m recbole_diffusion and, in a clone, python run_recbole_diffusion.py are the same command.

Trains a model, picks its best epoch on validation and prints validation and test metrics.
Results, log, settings and checkpoints go to a new folder under ./runs.

  --model         a model of ours, or RecBole's; recbole.DiffRec is RecBole's DiffRec
  --dataset       folder name under --data_path, ./dataset_atomic, or one that RecBole carries
  --config_files  property files, later ones first in precedence; quote a path that holds blanks
  --key=value     any key of the property files; the value is YAML; --key value works too
                  (a separator stands as it is: --field_separator=, or =tab)
  --modules       modules that register models of your own, with commas, such as my_module
  --resume        folder of an interrupted run: goes on exactly where it stopped
  --evaluate      folder of a run: scores its best epoch again, writes nothing
  --verbose       show all settings, and every metric of each epoch; run.log always has them
  --list_models   print the models and stop; models does the same
  --list_datasets print the data sets that are found here and stop; datasets does the same
  --version       print the version and stop
  --help          print this and stop; behind a command, or before a model, print its keys

refresh trains on newer data from what a run's best epoch learned; docs/training.md.
compare runs several models with several seeds on one split, tests the differences and writes
tables; the same command goes on where it stopped. compare --help lists its keys; docs/compare.md.
tune searches a model's settings on validation, or tries all combinations of a grid; the same
command goes on where it stopped. tune --help lists its keys; docs/tune.md.
analyze draws the papers' figures of one run into RUN/analysis; docs/report.md.
recommend, similar, explain, score and export use a run's best epoch, all but the last also an
export (RUN is its folder then); docs/recommend.md.
serve answers requests for them over HTTP; serve --help lists its keys; docs/serve.md.
runs lists the runs below a folder with their metrics; show tells of one of them, diff how two
differ. inspect counts and draws what a data set holds.
convert makes a data set of files, whatever they are; convert --help lists its options;
dataset_atomic/README.md.

examples:
  recbole-diffusion
  recbole-diffusion --resume=runs/InfoDCL-ml-100k-20260101-120000-1a2b3c
  recbole-diffusion --model=LightGCN --dataset=ml-100k
  recbole-diffusion --channels="[knowledge]" --learning_rate=1e-3 --seed=7
  recbole-diffusion --dataset=office \\
      --config_files=model_on_dataset/InfoDCL/office-authors.yaml
"""
# Keys that may stand several times; their texts are kept as a list.
REPEATED = ("grid", "runs")
# Commands by the first word, each the function `main` of a module; without one, a run.
COMMANDS = {
    "analyze": "recbole_diffusion.studies.analyze.run",
    "explain": "recbole_diffusion.serving.explain",
    "export": "recbole_diffusion.serving.export",
    "recommend": "recbole_diffusion.serving.recommend",
    "refresh": "recbole_diffusion.runs.refresh",
    "runs": "recbole_diffusion.runs.listing",
    "show": "recbole_diffusion.runs.show",
    "diff": "recbole_diffusion.runs.difference",
    "inspect": "recbole_diffusion.studies.inspection.run",
    "score": "recbole_diffusion.serving.score",
    "serve": "recbole_diffusion.serving.service.command",
    "similar": "recbole_diffusion.serving.similar",
    "compare": "recbole_diffusion.studies.compare.command",
    "tune": "recbole_diffusion.studies.tune.run",
}
# Key that the word after a command stands for; one that may be repeated takes all such words.
ARGUMENTS = dict.fromkeys(
    ("analyze", "explain", "export", "recommend", "refresh", "score", "show", "similar"), "run"
) | {"runs": "folder", "serve": "runs", "diff": "runs", "inspect": "dataset"}
# What prints something and stops, whatever else stands there.
LISTINGS = ("--help", "-h", "--version", "--list_models", "--list_datasets")
# Commands that are listings.
LISTED = {"models": "--list_models", "datasets": "--list_datasets"}
# What a key may be called, a label of a comparison before it.
KEY = re.compile(r"[\w.+-]{1,200}")
# Keys that are true without a value.
SWITCHES = ("verbose", "without_users", "only_cold")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Command-line words after the program's name; None reads ``sys.argv``.

    Returns:
        0 on success, 1 if a run of a comparison failed, 2 on bad input (one paragraph on stderr),
        130 on Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    words[:1] = [LISTED.get(word, word) for word in words[:1]]
    return exit_code(lambda: _obey(words))


def _obey(words: list[str]) -> None:
    if words[:1] == ["convert"]:  # takes options of its own, and several files
        import_module("recbole_diffusion.commands.convert").convert_files(words[1:])
        return
    if set(words) & set(LISTINGS):
        sys.stdout.write(_listing(words))
        return
    command = words.pop(0) if words and words[0] in COMMANDS else None
    if command is not None:
        refuse_several(f"the command {command}")
    if command in ARGUMENTS:
        key = ARGUMENTS[command]
        named = list(takewhile(lambda word: not word.startswith("-"), words))
        for place, word in enumerate(named if key in REPEATED else named[:1]):
            words[place] = f"--{key}={word}"
    keys = parse_arguments(words)
    import_modules(keys.get("modules") if command == "compare" else keys.pop("modules", None))
    if command is None:
        _run(keys)
    else:
        import_module(COMMANDS[command]).main(keys)


def _run(keys: dict[str, Any]) -> None:
    saved_run = {key: keys.pop(key) for key in ("resume", "evaluate") if key in keys}
    if len(saved_run) == 2:
        raise UserError("command line: --resume and --evaluate: expected one of them")
    if "resume" in saved_run:
        recbole_diffusion.resume_run(saved_run["resume"], keys)
    elif "evaluate" in saved_run:
        recbole_diffusion.evaluate_run(saved_run["evaluate"], keys)
    else:
        model, dataset = str(keys.pop("model", "InfoDCL")), str(keys.pop("dataset", "ml-100k"))
        config_files = split_files(keys.pop("config_files", ""))
        read_layers(find_model(model), dataset, config_files, keys)  # before PyTorch is imported
        recbole_diffusion.run_recbole_diffusion(model, dataset, config_files, keys)


def _listing(words: Sequence[str]) -> str:
    """What the first listing among the words prints."""
    listing = next(word for word in LISTINGS if word in words)
    if listing == "--version":
        return f"recbole_diffusion {recbole_diffusion.__version__}\n"
    if listing == "--list_models":
        return described_models()
    if listing == "--list_datasets":
        keys = parse_arguments([word for word in words if word not in LISTINGS])
        found = list_datasets(keys.get("data_path"))
        return "".join(f"{name:<20} {folder}\n" for name, folder in found.items())
    if words[0] in COMMANDS:
        keys_text = import_module(COMMANDS[words[0]]).keys_text()
        return f"usage: {USAGES[words[0]]}\n\n{keys_text}"
    model = _model_of(words)
    return USAGE if model is None else model_keys(find_model(model))


def _model_of(words: Sequence[str]) -> str | None:
    """Of `--model=X --help` and `--help X`, the X, if one is named.

    Raises:
        UserError: There is no such model, as far as is known without the user's modules.
    """
    known = {name for names in list_models().values() for name in names}
    by_key = [word[len("--model=") :] for word in words if word.startswith("--model=")]
    named = [*by_key, *(word for word in words if not word.startswith("-"))]
    if by_key and by_key[0] not in known and not any(w.startswith("--modules") for w in words):
        find_model(by_key[0])  # refuses it, with the nearest names
    return next((word for word in named if word in known), None)


def parse_arguments(words: Sequence[str]) -> dict[str, Any]:
    """Read ``--key=value`` and ``--key value``; values are YAML.

    Raises:
        UserError: A word that is neither, a key without a value, or a key given twice.
    """
    keys: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            near = get_close_matches(word, USAGES, n=1, cutoff=0.7)
            hint = f"; did you mean the command {near[0]}, as the first word?" if near else ""
            raise UserError(
                f"command line: left-over argument {word!r}; expected --key=value{hint}"
            )
        key, equals, text = word[2:].partition("=")
        if not KEY.fullmatch(key):
            raise UserError(f"command line: found {word[:60]!r}, expected --key=value")
        if not equals and key in SWITCHES and (not rest or rest[0].startswith("--")):
            text = "true"
        elif not equals:
            if not rest or rest[0].startswith("--"):
                raise UserError(f"command line: --{key} has no value; expected --{key}=value")
            text = rest.pop(0)
        if key in REPEATED:
            keys.setdefault(key, []).append(text)
            continue
        if key in keys:
            raise UserError(f"command line: --{key} is given twice")
        keys[key] = read_word(key, text)
    return keys
