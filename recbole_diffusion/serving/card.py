"""The card of an export: what its files are, of which run, and their digests."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import DamagedFile, UserError
from recbole_diffusion.base.files import read_json, write_json
from recbole_diffusion.data.recency import Recency

CARD, PAGE = "card.json", "card.md"
FORMAT = "recbole_diffusion export"
VERSION = 1
# What each file holds, for the page; lines of ids are counted from 0, internal ids from 1.
CONTENTS = {
    "config.yaml": "all settings of the run",
    "empty_history.npy": "scores of a user without items [items]",
    "history_map.npy": "map from the mean vector of a history and a one to a user's vector "
    "[d + 1, d]",
    "interactions.npz": "each user's items by part: `train_items` are lines of `item_ids.txt`, in "
    "the order that the model reads; those of user n start at `train_offsets[n]`; likewise "
    "`validation_` and `test_`",
    "item_columns.parquet": "the texts of the `.item` file, a row for each line of `item_ids.txt`",
    "item_ids.txt": "original ids of items, one a line",
    "item_item.npz": "sparse matrix of scipy's that a row of a user's items is multiplied by",
    "items.faiss": "FAISS index of the items' vectors, by inner product; its ids are lines of "
    "`item_ids.txt`",
    "items.npy": "vectors of items, a row for each line of `item_ids.txt`",
    "items.parquet": "columns `id` and `vector` of items",
    "model.onnx": "what scores all items",
    "stranger.npy": "the vector that stands for a user outside the data",
    "user_ids.txt": "original ids of users, one a line",
    "users.npy": "vectors of users, a row for each line of `user_ids.txt`",
    "users.parquet": "columns `id` and `vector` of users",
    "vectors.safetensors": "tensors `users` and `items`, a row for each line of the ids",
}


def is_export(folder: str | Path) -> bool:
    """Whether a folder holds a card."""
    return (Path(folder) / CARD).is_file()


def write_card(folder: Path, content: Mapping[str, Any]) -> None:
    """Write both cards of an export whose other files are written."""
    names = sorted(path.name for path in folder.iterdir())
    (folder / PAGE).write_text(_page(content, names), encoding="utf-8")
    files = {name: file_digest(folder / name) for name in (*names, PAGE)}
    write_json(folder / CARD, {"format": FORMAT, "version": VERSION, **content, "files": files})


def read_card(folder: Path) -> dict[str, Any]:
    """The card of an export whose files are as they were written.

    Raises:
        DamagedFile: One of them is not, which is named.
        UserError: The card is of another version.
    """
    card = read_json(folder / CARD, "format", "version", "files")
    if (card["format"], card["version"]) != (FORMAT, VERSION):
        raise UserError(
            f"{folder / CARD}: found {card['format']!r}, version {card['version']!r}, expected "
            f"{FORMAT!r}, version {VERSION}"
        )
    if not isinstance(card["files"], dict):
        raise DamagedFile(f"{folder / CARD}: found files {card['files']!r}, expected an object")
    for name, digest in card["files"].items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise DamagedFile(f"{path}: no such file, expected it beside {CARD}")
        if file_digest(path) != digest:
            raise DamagedFile(f"{path}: found a changed or damaged file, expected what was written")
    for name in CONTENTS.keys() - card["files"].keys():
        if (folder / name).exists():
            raise DamagedFile(f"{folder / name}: found a file that {CARD} does not list")
    return card


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _page(card: Mapping[str, Any], names: list[str]) -> str:
    """The card for people, in Markdown."""
    users = f"{card['n_users']} users" if card["with_users"] else "people's data left out"
    lines = [
        f"# {card['model']} on {card['dataset']}: {card['kind']}",
        "",
        f"Exported by recbole_diffusion {card['package_version']} from the best epoch "
        f"({card['best_epoch']}) of a run with seed {card['seed']}, split {card['split_hash']}; "
        f"{users}, {card['n_items']} items.",
        "The licence of the data applies to what is made of them.",
        "",
        "## Use",
        "",
        "```python",
        "from recbole_diffusion import load",
        "",
        "recommender = load(FOLDER)  # this folder",
        f'recommender.recommend(histories={{"new": [{card["example_item"]!r}]}}, k=10)',
        "```",
        "",
        *_inputs(card),
        "## Training",
        "",
        f"`{card['command']}`",
        "",
        "| Metric | Validation | Test |",
        "| --- | ---: | ---: |",
        *(
            f"| {name} | {card['valid'][name]:.4f} | {value:.4f} |"
            for name, value in card["test"].items()
        ),
        "",
        *_measured(card),
        "## Files",
        "",
        "| File | Content |",
        "| --- | --- |",
        *(f"| `{name}` | {CONTENTS[name]} |" for name in names),
        "",
    ]
    return "\n".join(lines)


def _inputs(card: Mapping[str, Any]) -> list[str]:
    """How scores are made of the files without this package."""
    recency = Recency(**card["recency"])
    weights = "1 for each item" if recency.kind == "none" else (
        f"{recency} for each item, age the number of later items of the same user"
    )  # fmt: skip
    if card["length_power"]:
        weights += f", over the number of items to the power {card['length_power']}"
    forms = {
        "row": f"`row` float32 [users, items]: {weights}",
        "items": "`items` int64 [users, length]: lines of `item_ids.txt` from 1 in the order of "
        "time, 0 behind the last",
        "vector": "`vector` float32 [users, d]: rows of `users.npy`",
    }
    texts = {
        "embeddings": "Scores are the product of a user's vector with all items' vectors.",
        "item-item": f"Scores are a user's row times the matrix; the row has {weights}.",
        "onnx": "`model.onnx` makes `scores` [users, items] of "
        + "; ".join(forms[name] for name in card["inputs"])
        + ".",
    }
    return [texts[card["kind"]], ""]


def _measured(card: Mapping[str, Any]) -> list[str]:
    """What was measured at the export."""
    lines = []
    if "pruning" in card:
        lines.append(
            "The matrix keeps {kept} weights a column, {share:.1%} of the sum of their sizes; of "
            "the run's lists of {k} items {overlap:.1%} are the same ({n_lists} lists)."
            "".format(**card["pruning"])
        )
    if "index" in card:
        index = card["index"]
        recalls = ", ".join(f"recall@{k} {value:.4f}" for k, value in index["recall"].items())
        lines.append(
            f"`items.faiss` ({index['kind']}, {index['parameters']}): {recalls} against exact "
            f"search, {index['queries_per_second']:.0f} queries a second ({index['n_queries']} "
            "users)."
        )
    return [*lines, ""] if lines else []
