"""Writing of atomic files, all of a data set or none."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import (
    has_unfinished,
    remove_unfinished,
    unfinished_path,
)
from recbole_diffusion.convert.reading import shown
from recbole_diffusion.settings.folders import HOST_DATASETS
from recbole_diffusion.settings.property_files import properties_folder, read_properties
from recbole_diffusion.settings.values import as_yaml

# Lines without their ends, all bytes, or what writes to a stream.
Content = Iterable[str] | bytes | Callable[[BinaryIO], None]
SPLITS = ("train", "valid", "test")
FIELDS = {
    "rating": "RATING_FIELD: rating  # str; column of the ratings",
    "timestamp": "TIME_FIELD: timestamp  # str; column of the times, in seconds",
}


def feature_writer(path: Path, matrix: np.ndarray, rows: np.ndarray) -> Callable[[BinaryIO], None]:
    """Gives what writes rows of a matrix as an ``.npz`` of features.

    Args:
        path: Where the matrix comes from, for messages.
        matrix: Floats [n, d].
        rows: Rows to write [m]; their numbers are the ids.

    Returns:
        Writes the arrays ``ids`` (texts) [m] and ``matrix`` (float32) [m, d] to a stream, and
        raises ``UserError`` at values that are not finite in float32.
    """

    def write(stream: BinaryIO) -> None:
        with np.errstate(over="ignore"):  # infinity is refused below
            kept = matrix[rows].astype(np.float32, copy=False)
        is_bad = ~np.isfinite(kept).all(axis=1)
        if is_bad.any():
            row = rows[is_bad][0]
            found = f"NaN or infinite values ({is_bad.sum()} such rows)"
            raise UserError(f"{path}, row {row}: found {found}, expected finite numbers.")
        np.savez(stream, ids=rows.astype(str), matrix=kept)

    return write


def check_name(name: str, output: Path) -> None:
    """Refuses a data set's name that is no plain file name, or hides a data set of RecBole's.

    Args:
        name: The name.
        output: Folder of data sets; one of this name that is already there stays the user's.

    Raises:
        UserError: It holds a separator or other characters, starts with a dot or dash, or is that
            of a data set that RecBole carries.
    """
    # The name becomes a folder: no separator, no "..", nothing like an option.
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        expected = "a letter, digit or `_`, then also `-` and `.`"
        raise UserError(f"name: found {shown(name)}, expected {expected}.")
    carried = HOST_DATASETS / name
    if carried.is_dir() and not (output / name).is_dir():
        raise UserError(
            f"name: found {name!r}, which RecBole carries ({carried}) and which {output / name} "
            f"would hide; expected another name, such as --name=my-{name}."
        )


def check_targets(paths: Iterable[Path], overwrite: bool) -> None:
    """Refuses output paths that are taken.

    Args:
        paths: Files about to be written.
        overwrite: Whether existing files may be replaced.

    Raises:
        UserError: A path exists and ``overwrite`` is off, or it is no regular file.
    """
    for path in filter(os.path.lexists, paths):  # a link that leads nowhere is the user's too
        if not path.is_file():
            raise UserError(f"{path}: found something that is no file, expected a free path.")
        if not overwrite:
            is_half = has_unfinished(path.parent)
            half = "; an earlier conversion was stopped midway, so that these files may be parts"
            raise UserError(
                f"{path}: found an existing file, expected none (--overwrite replaces it)"
                f"{half if is_half else ''}."
            )


def check_stale(target: Path, reason: str) -> None:
    """Refuses a file of features that an earlier conversion left, and this one does not write.

    Args:
        target: The file.
        reason: Why it is not written.

    Raises:
        UserError: The file exists: the host would join the old features to the new ids.
    """
    if target.exists():
        raise UserError(
            f"{target}: found features of an earlier conversion, expected none because {reason}; "
            "delete the file or add the features."
        )


def property_lines(
    source: str,
    fields: Mapping[str, Sequence[str]],
    features: Mapping[str, Any],
    parts: Sequence[str] = (),
) -> Iterator[str]:
    """Yields the lines of a property file.

    Args:
        source: Name of what was converted.
        fields: Fields beside the ids of each file that was written, by suffix.
        features: ``item_features`` of these files.
        parts: Parts of a given split, such as ``SPLITS``.
    """
    yield f"# Converted from {_flow(source)}; keys given in a run override these."
    yield "USER_ID_FIELD: user_id  # str; column of the users"
    yield "ITEM_ID_FIELD: item_id  # str; column of the items"
    yield from (FIELDS[field] for field in fields["inter"])
    yield "load_col:  # dict; columns to read, by file suffix"
    yield f"  inter: {_flow(['user_id', 'item_id', *fields['inter']])}"
    for suffix in ("item", "user"):
        if fields.get(suffix):
            yield f"  {suffix}: {_flow([f'{suffix}_id', *fields[suffix]])}"
    if parts:
        yield f"benchmark_filename: {_flow(list(parts))}  # list of str; the split, a file each"
    if features:
        yield "item_features:  # dict; what models that read item features can name"
        for name, declared_as in features.items():
            yield f"  {name}: {_flow(declared_as)}"


def _flow(value: Any) -> str:
    """A value as YAML on one line, quoted where it must be."""
    text = as_yaml(value, default_flow_style=True, width=10**9)
    return text.removesuffix("...\n").strip()


def declared(
    path: Path, lines: Sequence[str], written: Iterable[Path], is_own: bool, is_split: bool = False
) -> tuple[dict[Path, Content], list[str]]:
    """The property file to write, if one is needed, and what is to be told of it.

    One that is there is written anew only if a conversion wrote it just so.

    Args:
        path: Where it would lie, ``<name>.yaml`` beside the data.
        lines: Its lines.
        written: Files of the data set.
        is_own: Whether it is needed though a shipped one of the name is there.
        is_split: Whether the data set has a given split.

    Raises:
        UserError: The shipped property file of this name is for data whose split is given.
    """
    name = path.stem
    shipped = properties_folder() / "dataset" / f"{name}.yaml"
    found = read_properties(shipped) if shipped.is_file() else {}
    is_for_split = "benchmark_filename" in found
    if is_for_split and not is_split:
        raise UserError(
            f"name: found {name!r}, a released data set whose split is given ({shipped}), expected "
            "another name."
        )
    content: dict[Path, Content] = {path: [*lines[:1], _mark(lines), *lines[1:]]}
    if path.exists():
        if _is_unedited(path):
            return content, []
        with suppress(UserError):  # the run that reads it tells what is wrong with it
            there = read_properties(path)
            return {}, [*_without_files(path, there, written), *_unnamed(path, there, lines)]
        return {}, []
    if found and not is_own and is_for_split == is_split:
        return {}, _without_files(shipped, found, written)
    return content, []


def _mark(lines: Sequence[str]) -> str:
    """The second line of a property file, which tells whether the others are edited."""
    digest = sha256("\n".join(lines).encode()).hexdigest()[:16]
    return f"# convert --overwrite writes this file anew until you edit it ({digest})."


def _is_unedited(path: Path) -> bool:
    """Whether a property file stands as a conversion wrote it."""
    with suppress(OSError, UnicodeDecodeError):
        lines = path.read_text(encoding="utf-8").splitlines()
        return len(lines) > 1 and lines[1] == _mark([lines[0], *lines[2:]])
    return False


def _unnamed(path: Path, found: Mapping[str, Any], lines: Sequence[str]) -> list[str]:
    """Which of the lines a property file lacks that is left as it was."""
    wanted = yaml.safe_load("\n".join(lines))
    lacking = {key: value for key, value in wanted.items() if key not in found}
    columns: Any = found.get("load_col")
    for suffix, fields in wanted["load_col"].items() if isinstance(columns, dict) else ():
        named = columns.get(suffix) or []
        if named != "*" and not set(fields) <= set(named):
            lacking.setdefault("load_col", {})[suffix] = fields
    if not lacking:
        return []
    told = [f"  {key}: {_flow(value)}" for key, value in lacking.items()]
    return ["\n".join([f"{path} lacks what was converted now; put into it:", *told])]


def _without_files(path: Path, found: Mapping[str, Any], written: Iterable[Path]) -> list[str]:
    """What a property file declares of features whose files are not there."""
    names = {target.name for target in written}
    has_items = any(name.endswith(".item") for name in names)
    features = found.get("item_features")
    return [
        f"{path} declares the feature {feature}, which {missing} would hold: it was not converted"
        for feature, keys in (features if isinstance(features, dict) else {}).items()
        if isinstance(keys, dict)
        for missing in [keys.get("file", "" if has_items else "an .item file")]
        if missing and missing not in names
    ]


def write_files(contents: Mapping[Path, Content]) -> None:
    """Writes files so that a failure while writing leaves all old files as they were.

    Everything goes to temporary files beside the targets first, in the order given; only then is
    each one moved into its place, interactions last.

    Args:
        contents: What to write by target path.

    Raises:
        UserError: A folder or file cannot be written.
    """
    parts = {path: unfinished_path(path) for path in contents}
    made: list[Path] = []
    try:
        try:
            for folder in {path.parent for path in contents}:
                made += _make_folder(folder)
                remove_unfinished(folder)
            for path, content in contents.items():
                _write(parts[path], content)
            # Interactions last: without them, what a killed process has moved is no data set.
            for path in sorted(parts, key=lambda path: path.suffix == ".inter"):
                os.replace(parts[path], path)
        except BaseException:
            for part in parts.values():
                part.unlink(missing_ok=True)
            with suppress(OSError):  # no longer empty
                for folder in reversed(made):
                    folder.rmdir()
            raise
    except OSError as error:
        # The whole error: it names no file when the disk is full.
        raise UserError(
            f"output files: cannot be written ({error}), expected a writable folder with room."
        ) from error


def _make_folder(folder: Path) -> list[Path]:
    """Folders that were missing, the outermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _write(path: Path, content: Content) -> None:
    if callable(content):
        with path.open("wb") as stream:
            content(stream)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in content)
