"""The command ``recommend``: lists of many users into one file, a block at a time."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from recbole_diffusion.base.arguments import checked, described_keys
from recbole_diffusion.base.errors import UserError, expect, refusals_of
from recbole_diffusion.base.files import (
    LOCK,
    make_folder,
    read_json,
    remove_unfinished,
    sole_writer,
    write_json,
    written_whole,
)
from recbole_diffusion.base.log import answering
from recbole_diffusion.serving.catalogue import Where
from recbole_diffusion.serving.recommender import Recommender, load
from recbole_diffusion.serving.source import PARTS
from recbole_diffusion.serving.tables import (
    UNREADABLE,
    expect_file,
    new_file,
    read_blocks,
    write_blocks,
)
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE

# Blocks of users that one file of the unfinished output holds.
BLOCKS_A_PART = 16
REQUEST = "request.json"
# Rows that are printed where there is no file to write.
N_PRINTED = 50


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``recommend RUN [--users=...] [--out=FILE]``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: No run, another key, or what ``recommend`` refuses.
    """
    with answering() as answer:
        found = recommend(**checked(keys, recommend, "recommend", KEYS_OF_PLACE))
        if isinstance(found, Path):
            answer(f"recommendations: {found}")
        else:
            answer(printed(found))


def keys_text() -> str:
    """The command's own keys, for ``recommend --help``."""
    return described_keys(recommend, run="RUN", columns="--with")


def printed(frame: pd.DataFrame) -> str:
    """A table for stdout; on a terminal it is cut after some rows."""
    if frame.empty:
        return "nothing to list"
    if sys.stdout is None or not sys.stdout.isatty():
        return frame.to_string(index=False)
    text = frame.head(N_PRINTED).to_string(index=False)
    more = len(frame) - N_PRINTED
    return text if more <= 0 else f"{text}\n({more} more rows: --out=FILE writes all)"


def recommend(
    run: str | Path,
    users: str | Sequence[str] = "all",
    history: str | Path | None = None,
    k: int = 10,
    items: str | Sequence[str] | None = None,
    where: str | Where | None = None,
    columns: str | Sequence[str] = (),
    exclude: str | Sequence[str] = PARTS,
    unknown: str = "skip",
    only_cold: bool = False,
    out: str | Path | None = None,
    **places: Any,
) -> pd.DataFrame | Path:
    """Recommend to many users by a saved run.

    With ``out`` the lists are written in parts to the folder ``OUT.parts``; the same call goes on
    where one was killed, joins the parts into ``out`` at the end, and removes the folder.

    Args:
        run: Folder of a run that has a best epoch, or of an export.
        users: all, ids with commas between, or a file with an id a line.
        history: File of users outside the data: columns user and item (.csv, .tsv, .parquet), in
            the order of time, or lines {"user": ..., "items": [...]} (.jsonl); in place of users.
        k: Items a user.
        items: Candidates: ids with commas between, or a file with an id a line.
        where: Column of the .item file and value, such as genre=Comedy, more with commas; values
            with commas as JSON: {"title": "Shade, light"}.
        columns: Of the .item file, to stand beside each item.
        exclude: Parts of the data whose items are left out: train, validation, test; none if empty.
        unknown: skip or error, for ids that are not in the data.
        only_cold: Recommend items alone that nobody has met in the train part.
        out: File to write: .parquet, .csv or .jsonl; without one the lists are printed, on a
            terminal the first 50 rows.
        **places: As ``load`` takes them.

    Returns:
        The lists, or ``out``.

    Raises:
        UserError: No such run, a file that is malformed or would be overwritten, or what
            ``Recommender.recommend`` refuses.
    """
    expect(type(only_cold) is bool, "only_cold", only_cold, "true or false")
    target = None if out is None else new_file(out)
    histories = None if history is None else read_histories(Path(history))
    wanted = None if users == "all" else listed_ids(users)
    if histories is not None and wanted is not None:
        raise UserError("recommend: found users and history, expected one of them")
    recommender = load(run, **places)
    recommender.source.catalogue.users.expect_some("users", wanted or ())
    options: dict[str, Any] = {
        "k": k,
        "items": None if items is None else listed_ids(items),
        "where": _conditions(where),
        "columns": listed(columns),
        "exclude": listed(exclude),
        "unknown": unknown,
        "only_cold": only_cold,
    }
    if target is None:
        return recommender.recommend(wanted, histories=histories, **options)
    everybody = recommender.users if wanted is None else wanted
    _write(recommender, target, everybody, histories, options)
    return target


def listed_ids(words: str | Sequence[Any] | None) -> list[str]:
    """Ids from a list, from words with commas between, or from a file, one a line."""
    if not isinstance(words, (str, Path)) or not os.path.isfile(words):
        return listed(words)
    with refusals_of(f"{words}: cannot be read", OSError, UnicodeDecodeError):
        lines = Path(words).read_text(encoding="utf-8-sig").split("\n")
    ids = [line.strip() for line in lines if line.strip()]
    getLogger().info(f"{words}: {len(ids)} ids of this file")  # which may be called as an id is
    return ids


def listed(words: str | Sequence[Any] | None) -> list[str]:
    """Names from a list, or from words with commas between."""
    if words is None:
        return []
    if isinstance(words, (list, tuple, set)):
        return [str(word) for word in words]
    return [word.strip() for word in str(words).split(",") if word.strip()]


def _conditions(where: str | Where | None) -> Where | None:
    if where is None or isinstance(where, Mapping):
        return where
    if str(where).lstrip().startswith("{"):
        with refusals_of(f"where: {where}: not JSON", ValueError):
            return {key: listed_values(value) for key, value in json.loads(str(where)).items()}
    found: dict[str, list[str]] = {}
    for word in str(where).split(","):
        column, equals, value = word.partition("=")
        expect(equals, "where", where, "COLUMN=VALUE, more with commas between, or JSON")
        found.setdefault(column.strip(), []).append(value.strip())
    return found


def listed_values(value: Any) -> list[str]:
    """A value, or each of a list, as texts."""
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]


def read_histories(path: Path) -> dict[str, list[str]]:
    """Items of each user of a file, in its order.

    Args:
        path: As ``recommend`` describes it.

    Raises:
        UserError: It cannot be read, or has no such columns.
    """
    if path.suffix == ".jsonl":
        expect_file(path, "history")
        with refusals_of(f"{path}: not histories", *UNREADABLE):
            lines = [line for line in path.read_text("utf-8-sig").split("\n") if line.strip()]
            return _histories(lines)
    frame = pa.concat_tables(
        block.select(["user", "item"]) for block in read_blocks(path, "history")
    ).to_pandas()
    return {user: [*items] for user, items in frame.groupby("user", sort=False)["item"]}


def _histories(lines: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for user, items in map(_history, lines):
        if user in found:
            raise ValueError(f"found {user!r:.80} again, expected one line a user")
        found[user] = items
    return found


def _history(line: str) -> tuple[str, list[str]]:
    record = json.loads(line)
    is_one = isinstance(record, dict) and isinstance(record.get("items"), list)
    if not is_one or None in [record.get("user"), *record["items"]]:
        raise ValueError(f'found {line!r:.80}, expected {{"user": ..., "items": [...]}}')
    return str(record["user"]), [*map(str, record["items"])]


def _write(
    recommender: Recommender,
    target: Path,
    users: list[str],
    histories: Mapping[str, Sequence[str]] | None,
    options: Mapping[str, Any],
) -> None:
    """Write parts, those that are there left as they are, and join them."""
    folder = target.with_name(f"{target.name}.parts")
    make_folder(folder)
    with sole_writer(folder / LOCK):
        paths = _write_parts(folder, recommender, users, histories, options)
        with written_whole(new_file(target)) as stream:
            write_blocks(map(_read_part, paths), target.suffix, stream)
    shutil.rmtree(folder)


def _write_parts(
    folder: Path,
    recommender: Recommender,
    users: list[str],
    histories: Mapping[str, Sequence[str]] | None,
    options: Mapping[str, Any],
) -> list[Path]:
    """The files of all parts, in order."""
    names = users if histories is None else list(histories)
    _claim(folder, recommender, [names, histories, options])
    size = BLOCKS_A_PART * recommender.block_size
    starts = range(0, max(len(names), 1), size)
    paths = [folder / f"{number:06}.parquet" for number in range(len(starts))]
    todo = [pair for pair in zip(starts, paths, strict=True) if not pair[1].exists()]
    if len(todo) < len(paths):
        getLogger().info(f"goes on: {len(paths) - len(todo)} of {len(paths)} parts are there")
    for start, path in tqdm(todo, desc="recommend", leave=False, ncols=80, disable=None):
        some = names[start : start + size]
        if histories is None:
            frame = recommender.recommend(some, **options)
        else:
            rows = {name: histories[name] for name in some}
            frame = recommender.recommend(histories=rows, **options)
        with written_whole(path) as stream:
            frame.to_parquet(stream, index=False, write_page_checksum=True)
    return paths


def _read_part(path: Path) -> pa.Table:
    with refusals_of(f"{path}: a damaged part, remove it to go on", *UNREADABLE):
        return pq.read_table(path, page_checksum_verification=True)


def _claim(folder: Path, recommender: Recommender, request: list[Any]) -> None:
    """Mark an empty folder of parts, or see that its parts are of the same request.

    Raises:
        UserError: They are of another one, or are somebody else's files.
    """
    content = json.dumps(request, sort_keys=True, ensure_ascii=True).encode()
    digest = hashlib.sha256(content + recommender.digest.encode()).hexdigest()
    remove_unfinished(folder)
    if all(path.name.startswith(LOCK) for path in folder.iterdir()):
        write_json(folder / REQUEST, {"request": digest})
        return
    path = folder / REQUEST
    if not path.is_file() or read_json(path, "request")["request"] != digest:
        raise UserError(
            f"{folder}: found parts of other lists, expected none or those of the same command; "
            "move the folder away, or name another file by key `out`"
        )
