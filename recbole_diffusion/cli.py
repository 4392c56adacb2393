"""The command line: arguments and exit codes, nothing else."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from recbole_diffusion.data.folders import list_datasets
from recbole_diffusion.errors import UserError, exit_code
from recbole_diffusion.property_files import parse_value
from recbole_diffusion.quick_start import evaluate_run, resume_run, run_recbole_diffusion
from recbole_diffusion.registry import list_models

USAGE = """\
usage: run_recbole_diffusion.py [--model=InfoDCL] [--dataset=ml-100k]
                                [--config_files="a.yaml b.yaml"] [--key=value ...]
       run_recbole_diffusion.py --resume=RUN | --evaluate=RUN
       run_recbole_diffusion.py compare --models=InfoDCL,LightGCN,EASE [--dataset=ml-100k]
                                [--seeds=3] [--key=value ...] [--InfoDCL.key=value ...]
       run_recbole_diffusion.py tune --model=InfoDCL [--dataset=ml-100k] [--trials=20]
                                [--minutes=60] [--grid key=v1,v2 ...] [--key=value ...]
       run_recbole_diffusion.py analyze RUN [--projection=tsne]

Trains a model, picks its best epoch on validation and prints validation and test metrics.
Results, log, settings and checkpoints go to a new folder under ./runs.

  --model         a model of ours, or RecBole's; recbole.DiffRec is RecBole's DiffRec
  --dataset       folder name under --data_path, ./dataset_atomic, or one that RecBole carries
  --config_files  property files, later ones first in precedence
  --key=value     any key of the property files; the value is YAML; --key value works too
                  (a separator stands as it is: --field_separator=, or =tab)
  --resume        folder of an interrupted run: goes on exactly where it stopped
  --evaluate      folder of a run: scores its best epoch again, writes nothing
  --list_models   print the models and stop
  --list_datasets print the data sets that are found here and stop
  --help          print this and stop

compare runs several models with several seeds on one split, tests the differences and writes
tables; the same command goes on where it stopped. docs/compare.md lists its keys.
tune searches a model's settings on validation, or tries all combinations of a grid; the same
command goes on where it stopped. docs/tune.md lists its keys.
analyze draws the papers' figures of one run into RUN/analysis; docs/report.md.

examples:
  python run_recbole_diffusion.py
  python run_recbole_diffusion.py --resume=runs/InfoDCL-ml-100k-20260101-120000-1a2b3c
  python run_recbole_diffusion.py --model=LightGCN --dataset=ml-100k
  python run_recbole_diffusion.py --channels="[knowledge]" --learning_rate=1e-3 --seed=7
  python run_recbole_diffusion.py --dataset=office \\
      --config_files=model_on_dataset/InfoDCL/office-authors.yaml
"""
# Keys whose value is a text as it stands, not YAML.
LITERAL = (
    "model",
    "models",
    "dataset",
    "config_files",
    "data_path",
    "output_dir",
    "resume",
    "evaluate",
    "folder",
    "space",
    "storage",
    "study_name",
    "run",
    "projection",
)
# Keys whose value is one character, which YAML may have another use for, or a name of one.
SEPARATORS = ("field_separator", "seq_separator")
NAMED_SEPARATORS = {"tab": "\t", "\\t": "\t", "space": " "}
# Keys that may stand several times; their texts are kept as a list.
REPEATED = ("grid",)
# Commands by the first word, each the function `main` of a module; without one, a run.
COMMANDS = {
    "analyze": "recbole_diffusion.analyze.run",
    "compare": "recbole_diffusion.compare.run",
    "tune": "recbole_diffusion.tune.run",
}
# Key that the word after a command stands for.
ARGUMENTS = {"analyze": "run"}
SWITCHES = ("--help", "-h", "--list_models", "--list_datasets")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Command-line words after the program's name; None reads ``sys.argv``.

    Returns:
        0 on success, 1 if a run of a comparison failed, 2 on bad input (one paragraph on stderr),
        130 on Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return exit_code(lambda: _obey(words))


def _obey(words: list[str]) -> None:
    command = words.pop(0) if words and words[0] in COMMANDS else None
    if command in ARGUMENTS and words and not words[0].startswith("-"):
        words[0] = f"--{ARGUMENTS[command]}={words[0]}"
    keys = parse_arguments([word for word in words if word not in SWITCHES])
    listing = _listing(words, keys)
    if listing is not None:
        sys.stdout.write(listing)
    elif command is None:
        _run(keys)
    else:
        import_module(COMMANDS[command]).main(keys)


def _run(keys: dict[str, Any]) -> None:
    saved_run = {key: keys.pop(key) for key in ("resume", "evaluate") if key in keys}
    if len(saved_run) == 2:
        raise UserError("command line: --resume and --evaluate: expected one of them")
    if "resume" in saved_run:
        resume_run(saved_run["resume"], keys)
    elif "evaluate" in saved_run:
        evaluate_run(saved_run["evaluate"], keys)
    else:
        model, dataset = str(keys.pop("model", "InfoDCL")), str(keys.pop("dataset", "ml-100k"))
        config_files = str(keys.pop("config_files", "")).split()
        run_recbole_diffusion(model, dataset, config_files, keys)


def _listing(words: Sequence[str], keys: dict[str, Any]) -> str | None:
    if "--help" in words or "-h" in words:
        return USAGE
    if "--list_models" in words:
        blocks = [[source, *names] for source, names in list_models().items()]
        return "\n".join("\n  ".join(block) for block in blocks) + "\n"
    if "--list_datasets" in words:
        found = list_datasets(keys.get("data_path"))
        return "".join(f"{name:<20} {folder}\n" for name, folder in found.items())
    return None


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
            raise UserError(f"command line: left-over argument {word!r}; expected --key=value")
        key, equals, text = word[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UserError(f"command line: --{key} has no value; expected --{key}=value")
            text = rest.pop(0)
        if key in REPEATED:
            keys.setdefault(key, []).append(text)
            continue
        if key in keys:
            raise UserError(f"command line: --{key} is given twice")
        keys[key] = _value(key, text)
    return keys


def _value(key: str, text: str) -> Any:
    if key in LITERAL or (key in SEPARATORS and len(text) == 1):
        return text
    if key in SEPARATORS and text in NAMED_SEPARATORS:
        return NAMED_SEPARATORS[text]
    return parse_value(text, f"command line: --{key}")
