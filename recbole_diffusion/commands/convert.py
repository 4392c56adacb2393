"""Turns released data, ratings, and data of your own into RecBole's atomic files.

``python -m recbole_diffusion.data.convert text-split SOURCE --name=office`` reads the split that
InfoDCL's authors released and writes ``dataset_atomic/office/office.{train,valid,test}.inter``;
``--help`` lists the other forms. Original ids become tokens unchanged, so that feature files can be
joined by them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_diffusion.base.arguments import ArgumentParser
from recbole_diffusion.base.errors import exit_code
from recbole_diffusion.convert import diffrec_splits, formats, released_splits, unsplit, user_tables
from recbole_diffusion.settings.evaluation_keys import words_for_few_items
from recbole_diffusion.settings.property_files import properties_folder, read_properties
from recbole_diffusion.settings.values import check_text
from recbole_diffusion.settings.words import format_words

# Where data sets are looked for without `--data_path`.
DATASETS = Path("dataset_atomic")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; the process's own if None.

    Returns:
        Exit code: 0, 2 for bad input, which is explained on stderr, 130 on Ctrl-C.
    """
    return exit_code(lambda: _convert(argv))


def _convert(argv: Sequence[str] | None) -> None:
    args = _parser().parse_args(argv)
    for option, value in vars(args).items():
        if isinstance(value, Path):
            check_text(f"argument {option}", str(value))
    report, n_items = args.convert(args)
    words = ["python -m recbole_diffusion", *_words_of_a_run(args, n_items)]
    place = args.output / args.name
    sys.stdout.write(f"{report}written: {place}; next: {' '.join(words)}\n")


def _words_of_a_run(args: argparse.Namespace, n_items: int) -> list[str]:
    """What a first run on the new data needs beside the defaults."""
    settings: dict[str, Any] = {"model": "DiffRec", "dataset": args.name}
    if args.output.resolve() != DATASETS.resolve():
        settings["data_path"] = args.output
    files = (properties_folder() / "dataset", args.output / args.name)
    is_declared = any((folder / f"{args.name}.yaml").is_file() for folder in files)
    if args.format in released_splits.FORMATS and not is_declared:
        settings["benchmark_filename"] = list(released_splits.SPLITS)
    defaults = read_properties(properties_folder() / "overall.yaml")
    is_small = n_items < max(defaults["topk"])
    cutoffs = words_for_few_items(n_items, defaults["valid_metric"]) if is_small else []
    return [*format_words(settings), *cutoffs]


def _convert_split(args: argparse.Namespace) -> tuple[str, int]:
    report = released_splits.convert_split(
        args.source,
        args.output,
        args.name,
        args.format,
        args.overwrite,
        args.drop_cross_duplicates,
    )
    return released_splits.format_report(report), report.items


def _convert_csv(args: argparse.Namespace) -> tuple[str, int]:
    options = user_tables.CsvOptions(**_fields_of(user_tables.CsvOptions, args))
    report = user_tables.convert_csv(args.source, args.output, args.name, options, args.overwrite)
    return unsplit.format_report(report), report.items


def _convert_log(args: argparse.Namespace) -> tuple[str, int]:
    sources = [args.source, args.meta] if args.format == "amazon" else [args.source]
    log = formats.FORMATS[args.format].read(*sources)
    report = unsplit.convert_interactions(log, args.output, args.name, args.overwrite)
    return unsplit.format_report(report), report.items


def _convert_rating_split(args: argparse.Namespace) -> tuple[str, int]:
    rule = diffrec_splits.SplitRule(
        **{**_fields_of(diffrec_splits.SplitRule, args), "ratio": tuple(args.ratio)}
    )
    report = diffrec_splits.convert_rating_split(
        args.source, args.output, args.name, rule, args.overwrite
    )
    return diffrec_splits.format_report(report, rule), report.items


def _fields_of(kind: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Of the arguments, those that a dataclass takes."""
    return {k: v for k, v in vars(args).items() if k in kind.__dataclass_fields__}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m recbole_diffusion.data.convert",
        description="Convert released data, or your own, to RecBole's atomic files.",
    )
    formats = parser.add_subparsers(title="formats", dest="format", required=True)
    for kind, form in released_splits.FORMATS.items():
        released = formats.add_parser(kind, help=form.help)
        released.add_argument("source", type=Path, metavar="SOURCE", help="folder with the split")
        released.add_argument(
            "--drop-cross-duplicates",
            action="store_true",
            help="keep a pair of several splits in train, else in valid, instead of refusing it",
        )
        released.set_defaults(convert=_convert_split)
        _add_output(released)
    _add_csv(formats)
    _add_interactions(formats)
    _add_rating_split(formats)
    return parser


def _add_csv(formats: Any) -> None:
    parser = formats.add_parser("csv", help="your own CSV or TSV of interactions, and of items")
    parser.add_argument("source", type=Path, metavar="INTERACTIONS", help="CSV or TSV, with header")
    for what, guesses in user_tables.GUESSES.items():
        text = f"column of the {what}s (default: the one of {', '.join(guesses)})"
        parser.add_argument(f"--{what}", metavar="COLUMN", help=text)
    parser.add_argument("--items", type=Path, help="CSV or TSV of items, with header")
    parser.add_argument("--item-key", metavar="COLUMN", help="its column of the items")
    text = "its columns to keep (default: all)"
    parser.add_argument("--item-columns", metavar="COLUMN", nargs="+", type=str, help=text)
    text = "those of them to keep as numbers, not as texts"
    parser.add_argument("--float-columns", metavar="COLUMN", nargs="+", default=(), help=text)
    text = r"one character, or \t (default: tab for .tsv and .tab, else a comma)"
    parser.add_argument("--delimiter", type=lambda text: text.replace("\\t", "\t"), help=text)
    parser.set_defaults(convert=_convert_csv)
    _add_output(parser)


def _add_interactions(parsers: Any) -> None:
    for kind, form in formats.FORMATS.items():
        parser = parsers.add_parser(kind, help=form.help)
        parser.add_argument("source", type=Path, metavar="SOURCE", help=form.source)
        if kind == "amazon":
            parser.add_argument("--meta", type=Path, help="products, with asin and texts")
        parser.set_defaults(convert=_convert_log)
        _add_output(parser)


def _add_rating_split(formats: Any) -> None:
    text = "splits of DiffRec's paper, from an .inter file with rating and timestamp"
    kinds = formats.add_parser("rated-split", help=text).add_subparsers(
        title="kinds", dest="kind", required=True
    )
    for kind, described in diffrec_splits.KINDS.items():
        parser = kinds.add_parser(kind, help=described)
        parser.add_argument(
            "source", metavar="SOURCE", help="folder of a data set, or its name as in --dataset"
        )
        _add_option(parser, "threshold", float, "ratings from here on are clean")
        _add_option(parser, "core", int, "clean interactions that each user and item keeps")
        _add_option(parser, "ratio", int, "of train, valid and test", nargs=3)
        if kind == "noisy":
            _add_option(parser, "noise_ratio", float, "low ratings added, in clean interactions")
            _add_option(parser, "seed", int, "draws the low ratings")
        parser.set_defaults(convert=_convert_rating_split)
        _add_output(parser)


def _add_option(
    parser: argparse.ArgumentParser, name: str, kind: type, text: str, **more: Any
) -> None:
    """An option for a value of ``SplitRule``, with its default."""
    default = getattr(diffrec_splits.SplitRule, name)
    flag, text = f"--{name.replace('_', '-')}", f"{text} (default: %(default)s)"
    parser.add_argument(flag, type=kind, default=default, help=text, **more)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="name of the data set, as in --dataset")
    parser.add_argument(
        "--output",
        type=Path,
        default=DATASETS,
        help="folder of data sets (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


if __name__ == "__main__":
    sys.exit(main())
