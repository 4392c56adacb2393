"""Turns released data, ratings, and data of your own into RecBole's atomic files.

``python run_recbole_diffusion.py convert FILES... --name=mydata`` finds out what files are and
makes a data set of them; ``python -m recbole_diffusion.data.convert FORMAT SOURCE --name=office``
names the format; ``--help`` lists them. Original ids become tokens unchanged, so that feature files
can be joined by them.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_diffusion.base.arguments import ArgumentParser
from recbole_diffusion.base.errors import UserError, exit_code
from recbole_diffusion.convert import (
    diffrec_splits,
    formats,
    released_splits,
    split_formats,
    unsplit,
    user_tables,
)
from recbole_diffusion.convert.columns import KNOWN
from recbole_diffusion.convert.selection import KEPT, Selection
from recbole_diffusion.convert.tables import NAMES, TableOptions
from recbole_diffusion.convert.user_columns import CsvOptions
from recbole_diffusion.convert.writing import check_name
from recbole_diffusion.settings.evaluation_keys import words_for_few_items
from recbole_diffusion.settings.property_files import properties_folder, read_properties
from recbole_diffusion.settings.values import check_text
from recbole_diffusion.settings.words import format_words, own_command

# Where data sets are looked for without `--data_path`.
DATASETS = Path("dataset_atomic")
SHOWN_ROWS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line of the formats.

    Args:
        argv: Arguments without the program's name; the process's own if None.

    Returns:
        Exit code: 0, 2 for bad input, which is explained on stderr, 130 on Ctrl-C.
    """
    return exit_code(lambda: _convert(_parser().parse_args(argv)))


def convert_files(words: Sequence[str]) -> None:
    """Runs the command ``convert``, which finds out what the files are.

    Args:
        words: Its arguments.

    Raises:
        UserError: Bad input.
    """
    _convert(_files_parser().parse_args(words))


def _convert(args: argparse.Namespace) -> None:
    for option, value in vars(args).items():
        if isinstance(value, Path):
            check_text(f"argument {option}", str(value))
    is_dry = getattr(args, "dry_run", False)
    if args.name is None and not is_dry:
        raise UserError("option --name: found none, expected a data set's, such as --name=mydata")
    if is_dry:
        args.name = args.name or "mydata"
        check_name(args.name, args.output)
        with tempfile.TemporaryDirectory() as folder:
            args.output = Path(folder)
            report, _ = args.convert(args)
            sys.stdout.write(f"{report}{_first_rows(Path(folder) / args.name)}nothing written\n")
        return
    report, n_items = args.convert(args)
    words = [own_command(), *_words_of_a_run(args, n_items)]
    place = args.output / args.name
    sys.stdout.write(f"{report}written: {place}; next: {' '.join(words)}\n")


def _first_rows(folder: Path) -> str:
    """The first lines of the files of text that would be written."""
    told = []
    for path in sorted(folder.iterdir()):
        if path.suffix != ".npz":
            n_lines = None if path.suffix == ".yaml" else SHOWN_ROWS + 1
            with path.open(encoding="utf-8") as lines:
                head = "".join(f"  {line}" for line in itertools.islice(lines, n_lines))
            told.append(f"{path.name}:\n{head}")
    return "".join(told)


def _words_of_a_run(args: argparse.Namespace, n_items: int) -> list[str]:
    """What a first run on the new data needs beside the defaults."""
    settings: dict[str, Any] = {"model": "LinDiffRec", "dataset": args.name}
    if args.output.resolve() != DATASETS.resolve():
        settings["data_path"] = args.output
    defaults = read_properties(properties_folder() / "overall.yaml")
    is_small = n_items < max(defaults["topk"])
    cutoffs = words_for_few_items(n_items, defaults["valid_metric"]) if is_small else []
    return [*format_words(settings), *cutoffs]


def _convert_files(args: argparse.Namespace) -> tuple[str, int]:
    check_name(args.name, args.output)
    found = formats.guess(args.files, _csv_options(args), args.kind)
    _refuse_unread(args, found.kind)
    told = f"taken for {found.kind}: {found.source}"
    if found.items is not None:
        told = f"{told}, items: {found.items}"
        args.items = found.items
    if found.others:
        told = f"{told}, left out: {', '.join(path.name for path in found.others)}"
    args.format, args.source = found.kind, found.source
    if found.kind in split_formats.FORMATS:
        report, n_items = _convert_split(args)
    elif found.kind == formats.TABLE:
        report, n_items = _convert_csv(args)
    else:
        args.meta = args.items
        report, n_items = _convert_log(args)
    return f"{told} (--as=FORMAT overrules)\n{report}", n_items


def _refuse_unread(args: argparse.Namespace, kind: str) -> None:
    """Refuse options that a kind of files does not read."""
    for add, is_read in (
        (_add_table, kind == formats.TABLE),
        (_add_split, kind in split_formats.FORMATS),
        (_add_selection, kind not in split_formats.FORMATS),
    ):
        parser = ArgumentParser()
        add(parser)
        for option, default in vars(parser.parse_args([])).items():
            is_meta = option == "items" and kind == "amazon"
            if not is_read and not is_meta and getattr(args, option) != default:
                raise UserError(
                    f"option --{option.replace('_', '-')}: found for files taken for {kind}, which "
                    "do not read it; expected --as=FORMAT of another kind, or none."
                )


def _convert_split(args: argparse.Namespace) -> tuple[str, int]:
    report = released_splits.convert_split(
        args.source,
        args.output,
        args.name,
        args.format,
        args.overwrite,
        args.drop_cross_duplicates,
        released_splits.ValidRule(args.valid_ratio, args.seed),
    )
    return released_splits.format_report(report), report.items


def _storage(args: argparse.Namespace) -> TableOptions:
    columns = None if args.columns is None else tuple(args.columns.split(","))
    quotes = False if args.no_quotes else None
    header = False if args.no_header else None
    return TableOptions(args.delimiter, header, columns, args.encoding, quotes, args.decimal)


def _csv_options(args: argparse.Namespace) -> CsvOptions:
    given = _fields_of(CsvOptions, args)
    return CsvOptions(**{**given, "table": _storage(args)})


def _convert_csv(args: argparse.Namespace) -> tuple[str, int]:
    selection = Selection(**_fields_of(Selection, args))
    report = user_tables.convert_csv(
        args.source, args.output, args.name, _csv_options(args), args.overwrite, selection
    )
    return unsplit.format_report(report), report.items


def _convert_log(args: argparse.Namespace) -> tuple[str, int]:
    sources = [args.source, args.meta] if args.format == "amazon" else [args.source]
    log = formats.FORMATS[args.format].read(*sources)
    is_own = args.format in formats.OWN
    selection = Selection(**_fields_of(Selection, args))
    report = unsplit.convert_interactions(
        log, args.output, args.name, args.overwrite, is_own, selection
    )
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


def _files_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="recbole-diffusion convert",
        description="Find out what files of interactions are, and make a data set of them.",
    )
    text = "files of interactions and, if there is one, of items; or the folder of a release"
    parser.add_argument("files", type=Path, metavar="FILES", nargs="+", help=text)
    text = f"what they are (default: found out): {', '.join(formats.KINDS)}"
    parser.add_argument("--as", dest="kind", choices=formats.KINDS, metavar="FORMAT", help=text)
    text = "show mapping, counts and first rows, and write nothing"
    parser.add_argument("--dry-run", action="store_true", help=text)
    _add_table(parser)
    _add_split(parser)
    _add_selection(parser)
    parser.set_defaults(convert=_convert_files)
    _add_output(parser, is_name_required=False)
    return parser


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m recbole_diffusion.data.convert",
        description="Convert released data, or your own, to RecBole's atomic files.",
    )
    formats = parser.add_subparsers(title="formats", dest="format", required=True)
    for kind, form in split_formats.FORMATS.items():
        released = formats.add_parser(kind, help=form.help)
        released.add_argument("source", type=Path, metavar="SOURCE", help="folder with the split")
        _add_split(released)
        released.set_defaults(convert=_convert_split)
        _add_output(released)
    own = formats.add_parser("csv", help="your own table of interactions, and of items")
    text = "table of text with a header, JSON lines or Parquet"
    own.add_argument("source", type=Path, metavar="INTERACTIONS", help=text)
    _add_table(own)
    _add_selection(own)
    own.set_defaults(convert=_convert_csv)
    _add_output(own)
    _add_interactions(formats)
    _add_rating_split(formats)
    return parser


def _add_split(parser: argparse.ArgumentParser) -> None:
    text = "keep a pair of several splits in train, else in valid, instead of refusing it"
    parser.add_argument("--drop-cross-duplicates", action="store_true", help=text)
    rule = released_splits.ValidRule
    text = "share of train that becomes validation where a release has none (default: %(default)s)"
    parser.add_argument("--valid-ratio", type=float, default=rule.ratio, help=text)
    text = "draws it (default: %(default)s)"
    parser.add_argument("--seed", type=int, default=rule.seed, help=text)


def _add_table(parser: argparse.ArgumentParser) -> None:
    for what, names in KNOWN.items():
        text = f"column of the {what}s (default: one such as {', '.join(names[:4])})"
        parser.add_argument(f"--{what}", metavar="COLUMN", help=text)
    text = "form of the dates, such as %%d/%%m/%%Y (default: found out)"
    parser.add_argument("--date-format", metavar="FORM", help=text)
    text = "values of the column of events to keep, with commas (default: all)"
    parser.add_argument("--events", type=_texts, metavar="A,B", help=text)
    text = "leave out rows without a user, item, rating or time, instead of refusing them"
    parser.add_argument("--drop-missing", action="store_true", help=text)
    parser.add_argument("--items", type=Path, help="table of items, as in: convert A --items=B")
    parser.add_argument("--item-key", metavar="COLUMN", help="its column of the items")
    text = "its columns to keep (default: all)"
    parser.add_argument("--item-columns", metavar="COLUMN", nargs="+", type=str, help=text)
    text = "those of them to keep as numbers, not as texts"
    parser.add_argument("--float-columns", metavar="COLUMN", nargs="+", default=(), help=text)
    text = "of an item that stands there twice: refuse it, or keep the first (default: error)"
    choices = ("error", "first")
    parser.add_argument("--items-duplicates", choices=choices, default="error", help=text)
    text = f"one character, :: or one of {', '.join(NAMES)} (default: found out)"
    parser.add_argument("--delimiter", help=text)
    parser.add_argument("--no-header", action="store_true", help="the first line is a row")
    text = "names of the columns of a table without a header, with commas"
    parser.add_argument("--columns", metavar="A,B", help=text)
    parser.add_argument("--encoding", help="such as utf-8 (default: it, else latin-1)")
    parser.add_argument("--no-quotes", action="store_true", help="quotes are part of the texts")
    text = "what separates decimals, . or , (default: found out)"
    parser.add_argument("--decimal", help=text)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    text = "leave out interactions with lower ratings, or none"
    parser.add_argument("--min-rating", type=float, metavar="NUMBER", help=text)
    text = "leave out earlier ones; a date such as 2020-12-31, or seconds since 1970"
    parser.add_argument("--since", metavar="TIME", help=text)
    parser.add_argument("--until", metavar="TIME", help="leave out those at that time or later")
    parser.add_argument("--sample-users", type=int, metavar="N", help="draw so many users")
    text = "draws them (default: %(default)s)"
    parser.add_argument("--sample-seed", type=int, default=Selection.sample_seed, help=text)
    text = "leave out users and items with fewer interactions, until there are none"
    parser.add_argument("--k-core", type=int, metavar="K", help=text)
    text = "of rows with the same user and item, keep the first or last by time (default: first)"
    parser.add_argument("--repeated", choices=KEPT, default=Selection.repeated, help=text)
    text = "users, items, or both with a comma: numbers in a random order in place of their ids"
    parser.add_argument("--anonymise", type=_texts, default=(), metavar="IDS", help=text)


def _texts(words: str) -> tuple[str, ...]:
    return tuple(words.split(","))


def _add_interactions(parsers: Any) -> None:
    for kind, form in formats.FORMATS.items():
        parser = parsers.add_parser(kind, help=form.help)
        parser.add_argument("source", type=Path, metavar="SOURCE", help=form.source)
        if kind == "amazon":
            parser.add_argument("--meta", type=Path, help="products, with asin and texts")
        _add_selection(parser)
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


def _add_output(parser: argparse.ArgumentParser, is_name_required: bool = True) -> None:
    text = "name of the data set, as in --dataset"
    parser.add_argument("--name", required=is_name_required, help=text)
    parser.add_argument(
        "--output",
        type=Path,
        default=DATASETS,
        help="folder of data sets (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


if __name__ == "__main__":
    sys.exit(main())
