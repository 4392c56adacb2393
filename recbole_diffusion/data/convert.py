"""Turns released splits into RecBole's benchmark files.

``python -m recbole_diffusion.data.convert text-split SOURCE --name=office`` reads the split that
InfoDCL's authors released and writes ``dataset_atomic/office/office.{train,valid,test}.inter``.
Original ids become tokens unchanged, so that feature files can be joined by them.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_diffusion.errors import UserError

Pair = tuple[int, int]

SPLITS = ("train", "valid", "test")
INTER_HEADER = "user_id:token\titem_id:token"
ITEM_HEADER = "item_id:token\ttext:token_seq"
ITEM_TEXT_FILE = "item_text.tsv"
ITEM_TEXT_HEADER = "item\tasin\ttext"
MAX_ID_DIGITS = 18  # the longest ids that always fit int64
MAX_SHOWN = 60


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


def read_pairs(path: Path) -> Iterator[Pair]:
    """Streams the ``user item`` lines of a text file.

    Args:
        path: UTF-8 file; each line holds two non-negative integers separated by white space.

    Yields:
        User and item of each line.

    Raises:
        UserError: The file cannot be read, holds nothing, or has a malformed line; the message
            names file and line.
    """
    for number, line in read_lines(path):
        fields = line.split()
        if len(fields) != 2:
            found = f"{len(fields)} fields in {_shown(line)}"
            raise line_error(path, number, found, "two: `user item`")
        yield _parse_id(path, number, fields[0]), _parse_id(path, number, fields[1])


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Streams the lines of a UTF-8 file; empty lines are allowed at the end only.

    Args:
        path: Text file with Unix or Windows line ends.

    Yields:
        Line number, counted from 1, and the line without its end.

    Raises:
        UserError: The file cannot be read, holds nothing, is not UTF-8, or has an empty line
            before its last line.
    """
    last = 0
    try:
        # Binary lines end at \n alone, so the numbers are those of an editor, whatever the text.
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                line = _decode(path, number, raw)
                if not line:
                    continue
                if number > last + 1:
                    raise line_error(path, last + 1, "an empty line", "empty lines only at the end")
                last = number
                yield number, line
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}), expected a text file."
        ) from error
    if not last:
        raise UserError(f"{path}: found no line, expected at least one.")


def _decode(path: Path, number: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        found = f"the byte 0x{raw[error.start]:02x} at column {error.start + 1}"
        raise line_error(path, number, found, "UTF-8 text") from error


def _parse_id(path: Path, number: int, text: str) -> int:
    # int() alone would also take "+1", "1_0" and digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS):
        expected = f"a non-negative integer of at most {MAX_ID_DIGITS} digits"
        raise line_error(path, number, _shown(text), expected)
    return int(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...")


def line_error(path: Path, number: int, found: str, expected: str) -> UserError:
    """Builds the error for one line of an input file; ``number`` counts from 1."""
    return UserError(f"{path}, line {number}: found {found}, expected {expected}.")


def drop_duplicates(pairs: Iterable[Pair]) -> tuple[list[Pair], int]:
    """Keeps the first of equal pairs.

    Args:
        pairs: Pairs of one split.

    Returns:
        The distinct pairs in their order, and the number of pairs left out.
    """
    distinct: dict[Pair, None] = {}
    total = 0
    for pair in pairs:
        distinct[pair] = None
        total += 1
    return list(distinct), total - len(distinct)


def separate_splits(
    source: Path, splits: Mapping[str, list[Pair]], drop_cross_duplicates: bool
) -> tuple[dict[str, list[Pair]], dict[str, int]]:
    """Makes the splits disjoint, or refuses those that are not.

    Args:
        source: Where the splits come from, for the error message.
        splits: Distinct pairs by split, the split that keeps a shared pair first.
        drop_cross_duplicates: Whether to drop a shared pair from all splits but its first.

    Returns:
        The disjoint splits, and the number of dropped pairs by split.

    Raises:
        UserError: Splits share pairs and ``drop_cross_duplicates`` is off, or dropping the shared
            pairs leaves a split empty.
    """
    overlaps = find_overlaps(splits)
    if any(overlaps.values()) and not drop_cross_duplicates:
        raise _overlap_error(source, overlaps)
    disjoint = {
        split: [pair for pair in pairs if pair not in overlaps[split]]
        for split, pairs in splits.items()
    }
    for split, pairs in disjoint.items():
        if not pairs:
            raise UserError(
                f"{source}: found every pair of the {split} split in an earlier split, "
                "expected at least one new pair."
            )
    return disjoint, {split: len(shared) for split, shared in overlaps.items()}


def find_overlaps(splits: Mapping[str, Iterable[Pair]]) -> dict[str, dict[Pair, str]]:
    """Finds the pairs that an earlier split holds already.

    Args:
        splits: Pairs by split, the split that keeps a shared pair first.

    Returns:
        For each split its pairs that occur in an earlier split, with the name of the first one.
    """
    first_split: dict[Pair, str] = {}
    overlaps: dict[str, dict[Pair, str]] = {}
    for split, pairs in splits.items():
        overlaps[split] = {}
        for pair in pairs:
            if first_split.setdefault(pair, split) != split:
                overlaps[split][pair] = first_split[pair]
    return overlaps


def _overlap_error(source: Path, overlaps: Mapping[str, Mapping[Pair, str]]) -> UserError:
    shared = {pair for pairs in overlaps.values() for pair in pairs}
    (user, item), first, later = next(
        (pair, first, split) for split, pairs in overlaps.items() for pair, first in pairs.items()
    )
    return UserError(
        f"{source}: found {len(shared)} pair(s) in more than one split, for example user {user} "
        f"with item {item} in {first} and {later}, expected disjoint splits "
        "(--drop-cross-duplicates keeps such a pair in its first split only)."
    )


def inter_lines(pairs: Iterable[Pair]) -> Iterator[str]:
    """Yields header and lines of an ``.inter`` file."""
    yield INTER_HEADER
    for user, item in pairs:
        yield f"{user}\t{item}"


def check_targets(paths: Iterable[Path], overwrite: bool) -> None:
    """Refuses output paths that are taken.

    Args:
        paths: Files about to be written.
        overwrite: Whether existing files may be replaced.

    Raises:
        UserError: A path exists and ``overwrite`` is off, or it is no regular file.
    """
    for path in filter(Path.exists, paths):
        if not path.is_file():
            raise UserError(f"{path}: found something that is no file, expected a free path.")
        if not overwrite:
            raise UserError(
                f"{path}: found an existing file, expected none (--overwrite replaces it)."
            )


def write_files(contents: Mapping[Path, Iterable[str]]) -> None:
    """Writes text files so that a failure while writing leaves all old files as they were.

    Everything goes to temporary files beside the targets first; only then is each one moved into
    its place.

    Args:
        contents: Lines without their ends, by target path.

    Raises:
        UserError: A folder or file cannot be written.
    """
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in contents}
    try:
        for folder in {path.parent for path in contents}:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            for path, lines in contents.items():
                with parts[path].open("w", encoding="utf-8", newline="\n") as file:
                    file.writelines(f"{line}\n" for line in lines)
            for path, part in parts.items():
                os.replace(part, path)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)
    except OSError as error:
        # The whole error: it names no file when the disk is full.
        raise UserError(
            f"output files: cannot be written ({error}), expected a writable folder with room."
        ) from error


def convert_text_split(
    source: Path,
    output: Path,
    name: str,
    overwrite: bool = False,
    drop_cross_duplicates: bool = False,
) -> ConversionReport:
    """Converts a folder with ``train.txt``, ``valid.txt`` and ``test.txt``.

    Writes ``<output>/<name>/<name>.{train,valid,test}.inter``, and ``<name>.item`` if the folder
    has ``item_text.tsv``. A pair that a split repeats is kept once. All input is checked before
    the first file is written.

    Args:
        source: Folder with the split; lines ``user item``, two non-negative integers.
        output: Folder of data sets; created if missing.
        name: Name of the data set.
        overwrite: Whether existing files may be replaced.
        drop_cross_duplicates: Whether a pair of several splits stays in train, else in valid,
            instead of being refused.

    Returns:
        The counts of what was written and left out.

    Raises:
        UserError: The name is no file name, an input file is missing, empty or malformed, splits
            share pairs, or an output file exists.
    """
    _check_name(name)
    targets = {split: output / name / f"{name}.{split}.inter" for split in SPLITS}
    item_target = output / name / f"{name}.item"
    check_targets([*targets.values(), item_target], overwrite)

    distinct, duplicates = {}, {}
    for split in SPLITS:
        pairs = read_pairs(source / f"{split}.txt")
        distinct[split], duplicates[split] = drop_duplicates(pairs)
    splits, cross_duplicates = separate_splits(source, distinct, drop_cross_duplicates)
    texts = _find_item_texts(source, item_target)

    contents = {targets[split]: inter_lines(splits[split]) for split in SPLITS}
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


def _check_name(name: str) -> None:
    # The name becomes a folder: no separator, no "..", nothing like an option.
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        expected = "a letter, digit or `_`, then also `-` and `.`"
        raise UserError(f"name: found {_shown(name)}, expected {expected}.")


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
        raise line_error(path, number, _shown(header), f"the header {ITEM_TEXT_HEADER!r}")
    texts: dict[int, str] = {}
    for number, line in lines:
        fields = line.split("\t", maxsplit=2)
        if len(fields) != 3:
            found = f"{len(fields)} fields in {_shown(line)}"
            raise line_error(path, number, found, "three, separated by tabs: `item asin text`")
        item = _parse_id(path, number, fields[0])
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
            found = f"{called} inside the text {_shown(text)}"
            raise line_error(path, number, found, "text without tabs and line breaks")
    if text.startswith('"'):
        # The host's reader takes a leading quotation mark as the start of a quoted field.
        raise line_error(path, number, _shown(text), 'text that does not start with `"`')


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
        report = convert_text_split(
            args.source, args.output, args.name, args.overwrite, args.drop_cross_duplicates
        )
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(format_report(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recbole_diffusion.data.convert",
        description="Convert released data to RecBole's atomic files.",
    )
    formats = parser.add_subparsers(title="formats", dest="format", required=True)
    text_split = formats.add_parser(
        "text-split", help="train.txt, valid.txt, test.txt with lines `user item` (InfoDCL)"
    )
    text_split.add_argument("source", type=Path, metavar="SOURCE", help="folder with the split")
    text_split.add_argument("--name", required=True, help="name of the data set, as in --dataset")
    text_split.add_argument(
        "--output",
        type=Path,
        default=Path("dataset_atomic"),
        help="folder of data sets (default: %(default)s)",
    )
    text_split.add_argument("--overwrite", action="store_true", help="replace existing files")
    text_split.add_argument(
        "--drop-cross-duplicates",
        action="store_true",
        help="keep a pair of several splits in train, else in valid, instead of refusing it",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
