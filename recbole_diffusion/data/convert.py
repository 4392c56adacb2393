"""Turns released splits, and ratings, into RecBole's benchmark files.

``python -m recbole_diffusion.data.convert text-split SOURCE --name=office`` reads the split that
InfoDCL's authors released and writes ``dataset_atomic/office/office.{train,valid,test}.inter``;
``npy-split`` does the same for the arrays that DiffRec's authors released, and ``rated-split``
makes the splits that DiffRec's paper describes from any data set with ratings and times.
Original ids become tokens unchanged, so that feature files can be joined by them.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_diffusion.data import rated
from recbole_diffusion.data.released import (
    Pair,
    check_name,
    check_targets,
    drop_duplicates,
    inter_lines,
    line_error,
    parse_id,
    read_array_pairs,
    read_lines,
    read_pairs,
    separate_splits,
    shown,
    timed_inter_lines,
    write_files,
)
from recbole_diffusion.errors import UserError

SPLITS = ("train", "valid", "test")
ITEM_HEADER = "item_id:token\ttext:token_seq"
ITEM_TEXT_FILE = "item_text.tsv"
ITEM_TEXT_HEADER = "item\tasin\ttext"


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion wrote.

    Attributes:
        users: Number of distinct users in all splits together.
        items: Number of distinct items in all splits together.
        interactions: Pairs written, by split.
        duplicates: Repeated pairs within a split that were removed, by split.
        cross_duplicates: Pairs removed because an earlier split holds them, by split.
    """

    users: int
    items: int
    interactions: Mapping[str, int]
    duplicates: Mapping[str, int]
    cross_duplicates: Mapping[str, int]


@dataclass(frozen=True)
class SplitFormat:
    """How a released split is stored, and what is written of it.

    Attributes:
        file: Name of a split's file, with ``{}`` for the split.
        read: Gives the pairs of a file.
        lines: Gives the lines of an ``.inter`` file from pairs.
        help: What it is, for the command line.
    """

    file: str
    read: Callable[[Path], Iterable[Pair]]
    lines: Callable[[Iterable[Pair]], Iterator[str]]
    help: str


FORMATS = {
    "text-split": SplitFormat(
        "{}.txt",
        read_pairs,
        inter_lines,
        "train.txt, valid.txt, test.txt with lines `user item` (InfoDCL)",
    ),
    "npy-split": SplitFormat(
        "{}_list.npy",
        read_array_pairs,
        timed_inter_lines,
        "train_list.npy, valid_list.npy, test_list.npy of integers [n, 2] (DiffRec); the order of "
        "rows becomes the field timestamp",
    ),
}


def convert_split(
    source: Path,
    output: Path,
    name: str,
    kind: str = "text-split",
    overwrite: bool = False,
    drop_cross_duplicates: bool = False,
) -> ConversionReport:
    """Converts a folder with the three files of a released split.

    Writes ``<output>/<name>/<name>.{train,valid,test}.inter``, and ``<name>.item`` if the folder
    has ``item_text.tsv``. A pair that a split repeats is kept once. All input is checked before
    the first file is written.

    Args:
        source: Folder with the split.
        output: Folder of data sets; created if missing.
        name: Name of the data set.
        kind: Name of its format in ``FORMATS``.
        overwrite: Whether existing files may be replaced.
        drop_cross_duplicates: Whether a pair of several splits stays in train, else in valid,
            instead of being refused.

    Returns:
        The counts of what was written and left out.

    Raises:
        UserError: The name is no file name, an input file is missing, empty or malformed, splits
            share pairs, or an output file exists.
    """
    form = FORMATS[kind]
    check_name(name)
    targets = {split: output / name / f"{name}.{split}.inter" for split in SPLITS}
    item_target = output / name / f"{name}.item"
    check_targets([*targets.values(), item_target], overwrite)

    distinct, duplicates = {}, {}
    for split in SPLITS:
        pairs = form.read(source / form.file.format(split))
        distinct[split], duplicates[split] = drop_duplicates(pairs)
    splits, cross_duplicates = separate_splits(source, distinct, drop_cross_duplicates)
    texts = _find_item_texts(source, item_target)

    contents = {targets[split]: form.lines(splits[split]) for split in SPLITS}
    if texts is not None:
        contents[item_target] = _item_lines(texts)
    write_files(contents)
    return ConversionReport(
        users=len({user for pairs in splits.values() for user, _ in pairs}),
        items=len({item for pairs in splits.values() for _, item in pairs}),
        interactions={split: len(pairs) for split, pairs in splits.items()},
        duplicates=duplicates,
        cross_duplicates=cross_duplicates,
    )


def _find_item_texts(source: Path, item_target: Path) -> dict[int, str] | None:
    path = source / ITEM_TEXT_FILE
    if path.exists():
        return read_item_texts(path)
    if item_target.exists():
        # The host would join the old texts to the new items.
        raise UserError(
            f"{item_target}: found item texts of an earlier conversion, expected none because "
            f"{source} has no {ITEM_TEXT_FILE}; delete the file or add the texts."
        )
    return None


def read_item_texts(path: Path) -> dict[int, str]:
    """Reads ``item_text.tsv`` of InfoDCL's data.

    Args:
        path: Tab-separated UTF-8 file with the header ``item``, ``asin``, ``text``.

    Returns:
        Text by item, in the order of the file.

    Raises:
        UserError: The file cannot be read, has another header, a malformed line, an item twice,
            or a text that an atomic file cannot hold; the message names file and line.
    """
    lines = read_lines(path)
    number, header = next(lines)
    if header != ITEM_TEXT_HEADER:
        raise line_error(path, number, shown(header), f"the header {ITEM_TEXT_HEADER!r}")
    texts: dict[int, str] = {}
    for number, line in lines:
        fields = line.split("\t", maxsplit=2)
        if len(fields) != 3:
            found = f"{len(fields)} fields in {shown(line)}"
            raise line_error(path, number, found, "three, separated by tabs: `item asin text`")
        item = parse_id(path, number, fields[0])
        if item in texts:
            raise line_error(path, number, f"item {item} again", "one line per item")
        _check_text(path, number, fields[2])
        texts[item] = fields[2]
    if not texts:
        raise UserError(f"{path}: found a header only, expected at least one item.")
    return texts


def _check_text(path: Path, number: int, text: str) -> None:
    for character, called in (("\t", "a tab"), ("\r", "a carriage return")):
        if character in text:
            found = f"{called} inside the text {shown(text)}"
            raise line_error(path, number, found, "text without tabs and line breaks")


def _item_lines(texts: Mapping[int, str]) -> Iterator[str]:
    yield ITEM_HEADER
    for item, text in texts.items():
        yield f"{item}\t{text}"


def format_report(report: ConversionReport) -> str:
    """Formats a report as a short table, one line per split."""
    row = "{:<6}{:>14}{:>20}{:>27}".format
    lines = [
        f"{report.users} users, {report.items} items",
        row("split", "interactions", "duplicates removed", "also in an earlier split"),
    ]
    lines += [
        row(split, count, report.duplicates[split], report.cross_duplicates[split])
        for split, count in report.interactions.items()
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; the process's own if None.

    Returns:
        Exit code: 0, or 2 for bad input, which is explained on stderr.
    """
    args = _parser().parse_args(argv)
    try:
        report = args.convert(args)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(report)
    return 0


def _convert_split(args: argparse.Namespace) -> str:
    report = convert_split(
        args.source,
        args.output,
        args.name,
        args.format,
        args.overwrite,
        args.drop_cross_duplicates,
    )
    return format_report(report)


def _convert_rated(args: argparse.Namespace) -> str:
    given = {k: v for k, v in vars(args).items() if k in rated.RatedRule.__dataclass_fields__}
    rule = rated.RatedRule(**{**given, "ratio": tuple(args.ratio)})
    report = rated.convert_rated(args.source, args.output, args.name, rule, args.overwrite)
    return rated.format_report(report, rule)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recbole_diffusion.data.convert",
        description="Convert released data to RecBole's atomic files.",
    )
    formats = parser.add_subparsers(title="formats", dest="format", required=True)
    for kind, form in FORMATS.items():
        released = formats.add_parser(kind, help=form.help)
        released.add_argument("source", type=Path, metavar="SOURCE", help="folder with the split")
        released.add_argument(
            "--drop-cross-duplicates",
            action="store_true",
            help="keep a pair of several splits in train, else in valid, instead of refusing it",
        )
        released.set_defaults(convert=_convert_split)
        _add_output(released)
    _add_rated(formats)
    return parser


def _add_rated(formats: Any) -> None:
    text = "splits of DiffRec's paper, from an .inter file with rating and timestamp"
    kinds = formats.add_parser("rated-split", help=text).add_subparsers(
        title="kinds", dest="kind", required=True
    )
    for kind, described in rated.KINDS.items():
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
        parser.set_defaults(convert=_convert_rated)
        _add_output(parser)


def _add_option(
    parser: argparse.ArgumentParser, name: str, kind: type, text: str, **more: Any
) -> None:
    """An option for a value of ``RatedRule``, with its default."""
    default = getattr(rated.RatedRule, name)
    flag, text = f"--{name.replace('_', '-')}", f"{text} (default: %(default)s)"
    parser.add_argument(flag, type=kind, default=default, help=text, **more)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="name of the data set, as in --dataset")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("dataset_atomic"),
        help="folder of data sets (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


if __name__ == "__main__":
    sys.exit(main())
