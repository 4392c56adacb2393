"""Small data sets by the names that the docs use, with the files that their property files name."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from media_tools import READ_RATE, write_picture, write_sound

from recbole_diffusion.data.feature_files import write_features
from recbole_diffusion.settings.folders import HOST_DATASETS

N_USERS, N_ITEMS = 48, 60
# Users and items of ml-100k that pages name.
NAMED_USERS, NAMED_ITEMS = ("196", "22"), ("1", "50", "100", "174", "181", "204", "275")
GENRES = ("craft", "crime", "science fiction")
HEAD = "user_id:token\titem_id:token\ttimestamp:float"
# What docs/guides/own_model.md says that a reader has.
OWN_MODEL = {
    "my_recommender.yaml": "embedding_size: 8\n",
    "my_recommender.py": """\
from recbole.model.general_recommender import BPR


class MyRecommender(BPR):
    pass
""",
    "my_module.py": """\
from my_recommender import MyRecommender

from recbole_diffusion import register

register(MyRecommender, properties="my_recommender.yaml")
""",
}


def write_datasets(root: Path) -> None:
    """Write ``root/<name>/`` for each data set of the pages."""
    rng = np.random.default_rng(0)
    numbers, ids = list(map(str, range(N_ITEMS))), [f"i{n}" for n in range(N_ITEMS)]
    titles = [f"{i}\ttitle {i} of {i % 9}\t{GENRES[i % 3]}" for i in range(N_ITEMS)]
    texts = ["item_id:token\ttitle:token_seq\tgenre:token_seq", *titles]
    for name in ("ml-1m_clean", "ml-1m_clean-in-order"):
        _write_split(root, name, _rows(rng, numbers))
        _write(root / name / f"{name}.item", texts)
    np.save(root / "ml-1m_clean" / "item_emb.npy", rng.normal(size=(N_ITEMS, 8)))
    (root / "ml-1m_clean" / "item_emb.ids").write_text("".join(f"{n}\n" for n in range(N_ITEMS)))
    _write_split(root, "office", _rows(rng, ids), n_columns=2)
    _write(root / "office" / "office.item", _items(ids, "text:token_seq", "paper {} kind {}"))
    _write_split(root, "tiktok", _rows(rng, ids), n_columns=2)
    for kind in ("image", "audio"):
        matrix = rng.normal(size=(N_ITEMS, 6))
        write_features(root / "tiktok" / f"tiktok.{kind}.npz", ids, matrix)
    for name in ("microlens", "shop", "shop-june"):
        _write(root / name / f"{name}.inter", [HEAD, *_rows(rng, ids)])
    _write(root / "microlens" / "microlens.item", _items(ids, "title:token_seq", "video {} of {}"))
    _write_mydata(root / "mydata", ids, rng)
    _write_movielens(root / "ml-100k")


def write_presumed(page: str, folder: Path) -> None:
    """Files that a page takes for granted in the working directory."""
    if page in ("README.md", "docs/start/own_data.md"):
        _write_tables(folder)
    elif page == "docs/recommend.md":
        _write(folder / "new.csv", ["user,item", "ann,50", "ann,181", "bob,1"])
        _write(folder / "pairs.csv", ["user,item", "196,50", "22,1", "nobody,1"])
    elif page == "docs/guides/own_model.md":
        for name, text in OWN_MODEL.items():
            (folder / name).write_text(text)
    elif page == "docs/models/diffrec.md":
        shutil.copy(folder / "dataset_atomic" / "ml-1m_clean" / "item_emb.npy", folder)
    elif page == "docs/models/diffmm.md":
        lines = (folder / "dataset_atomic" / "office" / "office.item").read_text().splitlines()
        ids = [line.split("\t")[0] for line in lines[1:]]
        write_features(
            folder / "permuted.npz", ids, np.random.default_rng(2).normal(size=(N_ITEMS, 6))
        )


def _write_tables(folder: Path) -> None:
    """The CSV files of docs/start/own_data.md."""
    rng = np.random.default_rng(1)
    lines = ["user_id,item_id,rating,timestamp", "alice,book-7,4,2024-05-01T12:30:00Z"]
    for user in ("alice", *(f"u{n}" for n in range(1, N_USERS))):
        for place, item in enumerate(rng.permutation(N_ITEMS)[:15]):
            if (user, item) != ("alice", 7):
                day = f"2024-06-{1 + place:02d}T08:00:00Z"
                lines.append(f"{user},book-{item},{1 + item % 5},{day}")
    _write(folder / "interactions.csv", lines)
    rows = [f'book-{n},"Lamps, part {n} of {n % 7}",{GENRES[n % 3]}' for n in range(N_ITEMS)]
    _write(folder / "items.csv", ["item_id,title,genre", *rows])


def _rows(rng: np.random.Generator, ids: Sequence[str]) -> list[str]:
    """Interactions of all users, a row each, in the order of time; all users have as many."""
    return [
        f"u{user}\t{ids[item]}\t{time}"
        for user in range(N_USERS)
        for time, item in enumerate(rng.permutation(N_ITEMS)[:15])
    ]


def _write_split(root: Path, name: str, rows: Sequence[str], n_columns: int = 3) -> None:
    """Of each user's 15 rows, two are for validation and two for test."""
    parts = {"train": range(11), "valid": (11, 12), "test": (13, 14)}
    for part, places in parts.items():
        lines = [HEAD, *(row for n, row in enumerate(rows) if n % 15 in places)]
        cut = ["\t".join(line.split("\t")[:n_columns]) for line in lines]
        _write(root / name / f"{name}.{part}.inter", cut)


def _items(ids: Sequence[str], column: str, text: str) -> list[str]:
    rows = (f"{item}\t{text.format(n, n % 8)}" for n, item in enumerate(ids))
    return [f"item_id:token\t{column}", *rows]


def _write_mydata(folder: Path, ids: Sequence[str], rng: np.random.Generator) -> None:
    """With texts, pictures and sounds, declared; the last two items are met by nobody."""
    _write(folder / "mydata.inter", [HEAD, *_rows(rng, ids)])
    head = "item_id:token\ttitle:token_seq\tgenre:token_seq\tsound_path:token"
    rows = [head]
    for place, item in enumerate((*ids, "new-1", "new-2")):
        rows.append(f"{item}\ttitle {item}\t{GENRES[place % 3]}\tsounds/{item}.wav")
        for part in ("pictures", "sounds"):
            (folder / part).mkdir(exist_ok=True)
        write_picture(folder / "pictures" / f"{item}.png", place % 5, rng)
        write_sound(folder / "sounds" / f"{item}.wav", place % 5, rng, READ_RATE)
    _write(folder / "mydata.item", rows)
    keys = """\
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
TIME_FIELD: timestamp
load_col: {inter: [user_id, item_id, timestamp]}
item_features:
  text: {fields: [title, genre]}
  image: {images: pictures, scale: standard}
  audio: {sounds: sound_path, scale: standard}
"""
    (folder / "mydata.yaml").write_text(keys)


def _write_movielens(folder: Path) -> None:
    """A cut of the ml-100k that RecBole carries: fewer users and items, the same columns."""
    source = HOST_DATASETS / "ml-100k"
    head, *rows = (source / "ml-100k.inter").read_text().splitlines()
    cells = [row.split("\t") for row in rows]
    users = {*NAMED_USERS, *_first((cell[0] for cell in cells), 60)}
    items = {*NAMED_ITEMS, *_first((cell[1] for cell in cells if cell[0] in users), 120)}
    kept = [row for row, cell in zip(rows, cells, strict=True) if {*cell[:1]} <= users]
    kept = [row for row in kept if row.split("\t")[1] in items]
    _write(folder / "ml-100k.inter", [head, *kept])
    for suffix, chosen in (("item", items), ("user", users)):
        head, *rows = (source / f"ml-100k.{suffix}").read_text().splitlines()
        _write(
            folder / f"ml-100k.{suffix}", [head, *(r for r in rows if r.split("\t")[0] in chosen)]
        )


def _first(texts: Iterable[str], count: int) -> list[str]:
    return list(dict.fromkeys(texts))[:count]


def _write(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
