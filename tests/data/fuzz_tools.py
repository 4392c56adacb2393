"""Inputs of every converter and feature reader, sound and damaged, and what must hold of each."""

import bz2
import contextlib
import csv
import functools
import gzip
import io
import json
import math
import os
import pickle
import struct
import types
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from conversion_tools import snapshot
from hypothesis import strategies as st

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.convert import convert_files
from recbole_diffusion.convert import (
    amazon,
    diffrec_splits,
    microlens,
    movielens,
    released_splits,
    split_formats,
    unsplit,
    user_columns,
    user_tables,
)
from recbole_diffusion.data.atomic import read_atomic_file
from recbole_diffusion.data.features import load_item_features

Draw = Callable[[st.SearchStrategy[Any]], Any]
# Content by name; None stands for a folder of that name.
Files = dict[str, bytes | None]
# Without the time of day, since what is drawn must depend on nothing else.
GZIP = functools.partial(gzip.compress, mtime=0)

SPLITS = ("train", "valid", "test")
ODD_TEXTS = (
    *("", " ", "-1", "+1", "1.5", "1e5", "1e400", "nan", "inf", "NA", "None", "01", "1_0", "true"),
    *(
        "9" * 18,
        "9" * 19,
        "1" * 5000,
        "٣",
        "é",
        "\U0001f600",
        "\ufeff1",
        "\u2028",
        "\x85",
        "\x1b[0m",
    ),
    *('"', 'a"b', '""', "'", "#", "a,b", "a b", "a\tb", "a\nb", "a\rb", "a::b", "\x00", "a\x00b"),
    *("2024-05-01", "0001-01-01T00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "userID"),
)
ODD_BYTES = (
    *(
        b"",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\t",
        b'"',
        b",",
        b"::",
    ),
    *(b"-", b"9" * 30, b"\xed\xa0\x80", b"1e999", b"\x80", b"[" * 3000, b"\x7f\xff\xff\xff"),
)
TOKENS = ["i0", "i1", "i2", "i3"]  # items of the data set that features are for


@dataclass(frozen=True)
class Case:
    """One input: files, options, and what stands where the outputs go."""

    files: Files
    options: Any
    old: Files
    overwrite: bool


@dataclass(frozen=True)
class Form:
    """A format.

    Attributes:
        files: Its inputs.
        run: Converts the folder ``source`` into ``output``, or reads it.
        check: Asserts that a result is whole, from it and the folder of the data set ``toy``.
        options: What ``run`` is told.
        suffixes: Of the files that it may write.
    """

    files: st.SearchStrategy[Files]
    run: Callable[[Path, Path, Case], Any]
    check: Callable[[Any, Path], None]
    options: st.SearchStrategy[Any] = st.none()
    suffixes: tuple[str, ...] = ()

    def cases(self) -> st.SearchStrategy[Case]:
        """Its inputs, with options, into folders that mostly are new."""
        names = [f"toy.{suffix}" for suffix in (*self.suffixes, "other")]
        contents = st.sampled_from([b"old", b"old", None])
        old = st.dictionaries(st.sampled_from(names), contents, max_size=2)
        olds = one_in(8).flatmap(lambda is_used: old if is_used else st.just({}))
        return st.builds(Case, damaged(self.files), self.options, olds, st.booleans())


def one_in(n: int) -> st.SearchStrategy[bool]:
    """True about once in ``n`` draws; numbers would more often be at their ends."""
    return st.sampled_from([False] * (n - 1) + [True])


def outcome(form: Form, case: Case, root: Path) -> str:
    """Run a case in an empty folder: ``accepted`` or ``refused``; anything else is raised."""
    source, output = root / "source", root / "output"
    _lay_out(source, case.files)
    if case.old:
        _lay_out(output / "toy", case.old)
    before = snapshot(root)
    with contextlib.chdir(root):  # where a pickle that is run would make a folder
        result, message = _run(form, source, output, case)
    after = snapshot(root)
    if message is not None:
        assert str(root) in message, "the message names no file"
        assert not set("\r\n") & set(message), "the message is not one line"
        assert after == before, "files have changed"
        return "refused"
    changed = {path for path in before | after if before.get(path, 0) != after.get(path, 0)}
    allowed = {"output", "output/toy", *(f"output/toy/toy.{suffix}" for suffix in form.suffixes)}
    assert changed <= allowed, "files beside the outputs have changed"
    form.check(result, output / "toy")
    return "accepted"


def _run(form: Form, source: Path, output: Path, case: Case) -> tuple[Any, str | None]:
    """A result, or the message of its refusal."""
    try:
        return form.run(source, output, case), None
    except UserError as error:
        return None, str(error)


def _lay_out(folder: Path, files: Files) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)


# Damage


@st.composite
def damaged(draw: Draw, sound: st.SearchStrategy[Files]) -> Files:
    """Files of which one may be missing, a folder, or changed in some bytes."""
    files = dict(draw(sound))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 1, 1, 2, 3]))):
        name = draw(st.sampled_from(sorted(files)))
        content = files[name]
        kind = draw(
            st.sampled_from(["bytes"] * 12 + ["lines"] * 4 + ["empty", "folder", "missing"])
        )
        if kind == "missing" and len(files) > 1:
            del files[name]
        elif kind == "empty":
            files[name] = b""
        elif kind == "folder":
            files[name] = None
        elif content:
            files[name] = (
                _damaged_lines(draw, content) if kind == "lines" else _damaged_bytes(draw, content)
            )
    return files


def _damaged_bytes(draw: Draw, content: bytes) -> bytes:
    start = draw(st.integers(0, len(content) - 1))
    kinds = ["flip", "set", "delete", "insert", "replace", "cut", "begin", "end"]
    kind = draw(st.sampled_from(kinds))
    if kind == "cut":
        return content[:start]
    end = start + (kind in ("flip", "set"))
    if kind == "flip":
        odd = bytes([content[start] ^ 1 << draw(st.integers(0, 7))])
    elif kind == "set":
        odd = draw(st.binary(min_size=1, max_size=1))
    else:
        odd = b"" if kind == "delete" else draw(st.sampled_from(ODD_BYTES))
    if kind in ("delete", "replace"):
        end += draw(st.integers(1, 8))
    elif kind in ("begin", "end"):
        start = end = 0 if kind == "begin" else len(content)
    return content[:start] + odd + content[end:]


def _damaged_lines(draw: Draw, content: bytes) -> bytes:
    lines = content.split(b"\n")
    n = draw(st.integers(0, len(lines) - 1))
    kind = draw(st.sampled_from(["repeat", "remove", "blank", "windows", "old mac", "swap"]))
    if kind in ("windows", "old mac"):
        return content.replace(b"\n", b"\r\n" if kind == "windows" else b"\r")
    m = draw(st.integers(0, len(lines) - 1))
    if kind == "swap":
        lines[n], lines[m] = lines[m], lines[n]
    else:
        lines[n : n + 1] = {"repeat": [lines[n]] * 2, "remove": [], "blank": [b"", lines[n]]}[kind]
    return b"\n".join(lines)


@st.composite
def odd_rows(draw: Draw, sound: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows of which some may have an odd text, or a field more or less."""
    rows = [list(row) for row in sound]
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 0, 1, 2]))):
        row = draw(st.sampled_from(rows))
        place = draw(st.integers(0, max(0, len(row) - 1)))
        kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "repeat"]))
        odd = draw(st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=5)))
        if kind == "repeat":
            rows.append(list(row))
        else:
            row[place : place + (kind != "add")] = [] if kind == "remove" else [odd]
    return rows


def _encoded(rows: Iterable[Sequence[str]], separator: str, encoding: str = "utf-8") -> bytes:
    return "".join(separator.join(row) + "\n" for row in rows).encode(encoding, "replace")


def _in_files(**files: st.SearchStrategy[bytes]) -> st.SearchStrategy[Files]:
    """Files by name, in which two underscores stand for a dot."""
    return st.fixed_dictionaries({name.replace("__", "."): form for name, form in files.items()})


def _either(*forms: st.SearchStrategy[Files]) -> st.SearchStrategy[Files]:
    """Files of all these together, of which the later ones may be absent."""
    first, *others = forms
    return st.builds(
        lambda one, rest: one | {name: content for part in rest for name, content in part.items()},
        first,
        st.tuples(*(st.one_of(form, form, st.just({})) for form in others)),
    )


# What is written


def rows_of(path: Path) -> list[list[str]]:
    """Rows of an atomic file, which RecBole must read as they stand."""
    content = path.read_bytes().decode("utf-8")
    assert content.endswith("\n")
    header, *rows = (line.split("\t") for line in content[:-1].split("\n"))
    assert all(len(row) == len(header) for row in rows)
    table = read_atomic_file(path, header, "\t", "utf-8")
    assert table.columns.tolist() == header
    assert table.fillna("").to_numpy().tolist() == rows
    for place, column in enumerate(header):
        if column.endswith(":float"):
            assert all(row[place] == "" or math.isfinite(float(row[place])) for row in rows)
    return rows


def _check_parts(users: int, items: int, interactions: Any, folder: Path) -> None:
    parts = {split: rows_of(folder / f"toy.{split}.inter") for split in SPLITS}
    assert {split: len(rows) for split, rows in parts.items()} == dict(interactions)
    rows = [row for part in parts.values() for row in part]
    assert (users, items) == (len({row[0] for row in rows}), len({row[1] for row in rows}))
    assert len({(row[0], row[1]) for row in rows}) == len(rows)


def _check_split(report: released_splits.ConversionReport, folder: Path) -> None:
    _check_parts(report.users, report.items, report.interactions, folder)
    for modality, width in report.features.items():
        with np.load(folder / f"toy.{modality}.npz", allow_pickle=False) as archive:
            assert len(archive["ids"]) == len(set(archive["ids"])) == report.items
            assert archive["matrix"].shape == (report.items, width)
            assert np.isfinite(archive["matrix"]).all()
    if (folder / "toy.item").exists():
        items = [row[0] for row in rows_of(folder / "toy.item")]
        assert len(items) == len(set(items)) > 0


def _check_rated(report: diffrec_splits.RatingSplitReport, folder: Path) -> None:
    _check_parts(report.users, report.items, report.interactions, folder)


def _check_log(report: unsplit.InteractionsReport, folder: Path) -> None:
    rows = rows_of(folder / "toy.inter")
    assert len(rows) == len({(row[0], row[1]) for row in rows}) == report.interactions > 0
    assert report.users == len({row[0] for row in rows})
    assert report.items == len({row[1] for row in rows})
    for suffix in ("item", "user"):
        if (folder / f"toy.{suffix}").exists():
            ids = [row[0] for row in rows_of(folder / f"toy.{suffix}")]
            assert len(ids) == len(set(ids)) > 0


# Splits


@st.composite
def _parts(draw: Draw) -> list[list[tuple[int, int]]]:
    """Pairs of three parts, mostly disjoint."""
    ids = st.integers(0, 4)
    n, pairs = draw(st.integers(1, 3)), st.tuples(ids, ids)
    drawn = draw(st.lists(pairs, min_size=3 * n, max_size=3 * n, unique=not draw(one_in(4))))
    return [drawn[:n], drawn[n : 2 * n], drawn[2 * n :]]


def _text_rows(pairs: Iterable[Iterable[Any]]) -> list[list[str]]:
    return [[str(value) for value in pair] for pair in pairs]


@st.composite
def _text_split(draw: Draw) -> Files:
    parts = draw(_parts())
    return {
        f"{split}.txt": _encoded(draw(odd_rows(_text_rows(pairs))), draw(st.sampled_from(" \t")))
        for split, pairs in zip(SPLITS, parts, strict=True)
    }


def _item_table(file: str, header: Iterable[str]) -> st.SearchStrategy[Files]:
    columns = list(header)
    rows = [[str(item), *["x"] * (len(columns) - 1)] for item in range(5)]
    content = odd_rows([columns, *rows]).map(lambda rows: _encoded(rows, "\t"))
    return content.map(lambda content: {file: content})


@st.composite
def npy(draw: Draw, array: np.ndarray) -> bytes:
    """A ``.npy`` of an array, or one that claims another type, shape or order."""
    types_ = [
        "<i8",
        ">i4",
        "<f4",
        "<f8",
        "<f2",
        ">f8",
        "|O",
        "|V8",
        "<U2",
        "|S3",
        "|b1",
        "<c8",
        "<M8[s]",
    ]
    huge = [
        (2**40, 2),
        (2**62, 2**62),
        (-1, -5),
        (10**9, 1),
        (0, 2),
        (5,),
        (),
        (5, 2, 1),
        (True, 2),
    ]
    with np.errstate(all="ignore"):
        content = array.astype(draw(st.sampled_from([array.dtype] * 24 + types_[:6])))
    is_odd = draw(one_in(8))
    header = {
        "descr": draw(st.sampled_from([content.dtype.str, *types_]))
        if is_odd
        else content.dtype.str,
        "fortran_order": draw(st.booleans()),
        "shape": draw(st.sampled_from([content.shape, *huge])) if is_odd else content.shape,
    }
    version = draw(st.sampled_from([1] * 12 + [2, 2, 3]))
    text = (repr(header).ljust(70) + "\n").encode()
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H" if version == 1 else "<I", len(text))
        + text
        + content.tobytes(order="F" if header["fortran_order"] else "C")
    )


@st.composite
def _array_split(draw: Draw) -> Files:
    parts = draw(_parts())
    return {
        f"{split}_list.npy": draw(npy(np.array(pairs, dtype=np.int64)))
        for split, pairs in zip(SPLITS, parts, strict=True)
    }


@st.composite
def _matrix(draw: Draw, n_rows: int) -> np.ndarray:
    values = st.sampled_from([0.0, 1.0, -2.5, 1.0, 1.0, 1e300, math.nan, math.inf])
    numbers = st.sampled_from([1.0, 2.0]) if not draw(one_in(8)) else values
    width = draw(st.integers(1, 3))
    flat = draw(st.lists(numbers, min_size=n_rows * width, max_size=n_rows * width))
    return np.array(flat).reshape(n_rows, width)


def _modality(name: str) -> st.SearchStrategy[Files]:
    return _matrix(5).flatmap(npy).map(lambda content: {f"{name}_feat.npy": content})


class Reduced:
    """Is pickled as a call, and an object's state."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts


# Each is run by `pickle.load`, or fills the memory or the time there.
BOMBS = (
    pickle.dumps(Reduced(os.mkdir, ("opened",))),
    pickle.dumps(Reduced(eval, ("__import__('os').mkdir('opened')",))),
    pickle.dumps([sp.eye(2).tocoo(), Reduced(os.system, ("mkdir opened",))]),
    b"cos\nmkdir\n(S'opened'\ntR.",
    b"(S'opened'\nios\nmkdir\n.",
    b"N" + b"r" + struct.pack("<I", 2**27) + b".",
    b"\x8e" + struct.pack("<Q", 2**40) + b".",
    b"\x96" + struct.pack("<Q", 2**31) + b".",
    b"N" + b"\x85" * 10**5 + b".",
    b"\x80\x02" + b"N" + b"2\x86" * 40 + b".",
)


@st.composite
def coo_pickle(draw: Draw, pairs: Sequence[tuple[int, int]]) -> bytes:
    """A pickled ``coo_matrix``, some with a state that contradicts itself, and other pickles."""
    if draw(one_in(30)):
        return draw(st.sampled_from(BOMBS))
    rows, columns = np.array(pairs, dtype=draw(st.sampled_from(["<i4", "<i8"]))).T
    values = np.ones(len(pairs), dtype=draw(st.sampled_from(["<f8", "<f4", "<i8", "|b1"])))
    matrix = sp.coo_matrix((values, (rows, columns)), shape=(5, 5))
    if draw(one_in(8)):
        doubled: Any = ()
        for _ in range(40):
            doubled = (doubled, doubled)
        odd = [
            None,
            (),
            (5,),
            (2**62, 5),
            (5.0, 5),
            (-1, 5),
            rows[:1],
            rows[::-1],
            1 - rows,
            doubled,
        ]
        odd += [
            np.array(["a"]),
            np.array([None]),
            sp.eye(2).tocoo(),
            "x",
            np.float64,
            np.dtype("f4"),
        ]
        key = draw(st.sampled_from(["_shape", "coords", "data", "row", "new"]))
        # By number: hypothesis would print what it samples, and `doubled` has no end.
        matrix.__dict__[key] = odd[draw(st.integers(0, len(odd) - 1))]
        if key == "coords" and draw(st.booleans()):
            matrix.__dict__["coords"] = (rows, matrix.__dict__["coords"])
    return pickle.dumps(matrix, protocol=draw(st.sampled_from([3] * 12 + [4] * 12 + [0, 2, 5])))


@st.composite
def _pickled_split(draw: Draw) -> Files:
    parts = draw(_parts())
    return {
        files[0]: draw(coo_pickle(pairs))
        for files, pairs in zip(split_formats.PICKLES.values(), parts, strict=True)
    }


@st.composite
def _mmrec(draw: Draw) -> Files:
    parts = draw(_parts())
    rows = [
        [str(user), str(item), "4.0", "978300760", str(label)]
        for label, pairs in enumerate(parts)
        for user, item in pairs
    ]
    header = ["userID", "itemID", "rating", "timestamp", "x_label"]
    return {"toy.inter": _encoded(draw(odd_rows([header, *draw(st.permutations(rows))])), "\t")}


def _split_form(kind: str, files: st.SearchStrategy[Files]) -> Form:
    form = split_formats.FORMATS[kind]
    parts = [files, *map(_modality, form.modalities[:2])]
    if form.items is not None:
        parts.append(_item_table(*form.items))
    others = [*(f"{modality}.npz" for modality in form.modalities), "yaml"]
    return Form(
        _either(*parts),
        lambda source, output, case: released_splits.convert_split(
            source, output, "toy", kind, case.overwrite, case.options
        ),
        _check_split,
        st.booleans(),
        (*(f"{split}.inter" for split in SPLITS), "item", *others),
    )


# Interactions without a split


PAIRS = [(user, item) for user in range(3) for item in range(3)]


@st.composite
def _csv_bytes(draw: Draw, rows: Sequence[Sequence[str]], delimiter: str) -> bytes:
    stream = io.StringIO()
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    csv.writer(stream, delimiter=delimiter, quoting=quoting).writerows(rows)
    return stream.getvalue().encode("utf-8", "replace")


ITEM_COLUMNS = ["item_id", "title", "price", "rating"]


@st.composite
def _own(draw: Draw) -> Files:
    times = ["978300760", "2024-05-01T12:30:00", "2024-05-01 12:30:00.5+02:00"]
    rows = [[f"u{u}", f"i{i}", "4.5", draw(st.sampled_from(times))] for u, i in PAIRS]
    header = ["user_id", "item_id", "rating", draw(st.sampled_from(["time", "timestamp", "when"]))]
    items = [[f"i{i}", "A title, and more", "9.5", "12"] for i in range(4)]
    name, pack = draw(st.sampled_from([("log.csv", bytes), ("log.csv.gz", GZIP)]))
    files = {name: pack(draw(_csv_bytes(draw(odd_rows([header, *rows])), ",")))}
    table = draw(_csv_bytes(draw(odd_rows([ITEM_COLUMNS, *items])), "\t"))
    return files | ({"items.tsv": table} if draw(st.booleans()) else {})


@st.composite
def _own_options(draw: Draw) -> dict[str, Any]:
    columns = st.lists(st.sampled_from([*ITEM_COLUMNS[1:], "absent"]), min_size=1, max_size=3)
    return (
        draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "timestamp": st.sampled_from(["time", "when", "absent"]),
                    "item_columns": columns.map(tuple),
                    "float_columns": st.just(("price",)) | columns.map(tuple),
                },
            )
        )
        if draw(st.booleans())
        else {}
    )


def _run_own(source: Path, output: Path, case: Case) -> unsplit.InteractionsReport:
    table = source / ("log.csv.gz" if "log.csv.gz" in case.files else "log.csv")
    items = source / "items.tsv" if "items.tsv" in case.files else None
    options = case.options if items is not None else {}
    chosen = user_columns.CsvOptions(**options, items=items)
    return user_tables.convert_csv(table, output, "toy", chosen, case.overwrite)


@st.composite
def _microlens(draw: Draw) -> Files:
    pairs = draw(odd_rows([["1", "0 1 2"], ["2", "2"], ["7", "0 3"]]))
    titles = draw(
        odd_rows([["item", "title"], *([str(i), "A title, and\nmore"] for i in range(4))])
    )
    return {
        microlens.PAIRS: _encoded(pairs, "\t"),
        microlens.TITLES: draw(_csv_bytes(titles, ",")),
    }


@st.composite
def _movielens(draw: Draw) -> Files:
    tables = {
        "ratings.dat": [[str(u), str(i), "5", "978300760"] for u, i in PAIRS],
        "movies.dat": [[str(i), "Misérables (1998)", "Drama|Sci-Fi"] for i in range(3)],
        "users.dat": [[str(u), "F", "1", "10", "48067-1"] for u in range(3)],
    }
    return {name: _encoded(draw(odd_rows(rows)), "::", "latin-1") for name, rows in tables.items()}


ODD_VALUES = st.one_of(
    st.sampled_from(
        [None, True, -1, 1e400, math.nan, 10**400, [], {}, [["a"], [None, "b"]], "\ud800"]
    ),
    st.sampled_from(ODD_TEXTS),
    st.recursive(st.text(max_size=3), st.lists, max_leaves=4),
)


@st.composite
def _objects(draw: Draw, sound: Sequence[dict[str, Any]], *forms: Callable[[Any], str]) -> bytes:
    rows = [dict(row) for row in sound]
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 0, 1, 2]))):
        row = draw(st.sampled_from(rows))
        row[draw(st.sampled_from(sorted(row)))] = draw(ODD_VALUES)
    lines = [draw(st.sampled_from(forms))(row) for row in rows]
    content = "\n".join(lines).encode("utf-8", "replace")
    return GZIP(content) if draw(st.booleans()) else content


@st.composite
def _amazon(draw: Draw) -> Files:
    reviews = [
        {"reviewerID": f"A{u}", "asin": f"B{i}", "overall": 5.0, "unixReviewTime": 1369699200}
        for u, i in PAIRS
    ]
    texts = {"title": "One", "categories": [["A", "B"]], "brand": "x", "description": "two\n3"}
    products = [{"asin": f"B{i}", **texts} for i in range(4)]
    contents = {
        "reviews.json": draw(_objects(reviews, json.dumps)),
        "meta.json": draw(_objects(products, json.dumps, repr)),
    }
    return {
        f"{name}.gz" if content.startswith(b"\x1f\x8b") else name: content
        for name, content in contents.items()
    }


def _run_amazon(source: Path, output: Path, case: Case) -> unsplit.InteractionsReport:
    paths = [
        source / next((name for name in case.files if name.startswith(start)), f"{start}.json")
        for start in ("reviews", "meta")
    ]
    log = amazon.read_amazon(*paths[: 2 if case.options else 1])
    return unsplit.convert_interactions(log, output, "toy", case.overwrite)


@st.composite
def _rated(draw: Draw) -> Files:
    rows = [
        [f"u{u}", f"i{i}", draw(st.sampled_from("2455")), str(978300760 + 10 * i + u)]
        for u in range(3)
        for i in range(6)
    ]
    header = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
    files = {"source.inter": _encoded(draw(odd_rows([header, *rows])), "\t")}
    return files | ({"source.item": b"item_id:token\ni1\n"} if draw(st.booleans()) else {})


# Features


@st.composite
def _archive(draw: Draw) -> Files:
    matrix = draw(_matrix(4))
    ids = draw(odd_rows([[token] for token in TOKENS[:4]]))
    names = np.array([row[0] if row else "" for row in ids], dtype=str)
    members = {"ids.npy": draw(_npy_of_texts(names)), "matrix.npy": draw(npy(matrix))}
    stream = io.BytesIO()
    kinds = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2]
    kind = draw(st.sampled_from(kinds))
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            if not draw(one_in(20)):
                archive.writestr(zipfile.ZipInfo(name), content, kind)
    content = stream.getvalue()
    if draw(one_in(8)):  # a field of the last entry of the directory
        place = content.rfind(b"PK\x01\x02") + draw(st.sampled_from([6, 8, 10, 20, 24, 42]))
        odd = draw(st.sampled_from([b"\x01\x00", b"\x0e\x00", b"\xff\xff\xff\x7f", b"\x63\x00"]))
        content = content[:place] + odd + content[place + len(odd) :]
    return {"vectors.npz": content}


@st.composite
def _npy_of_texts(draw: Draw, names: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, names)
    content = stream.getvalue()
    if draw(one_in(8)):
        shapes = ["(99999999999,)", "(9999999,)", "(4, 1)", "()", "(True,)", "4", "(4.0,)", "((("]
        odd = f"'shape': {draw(st.sampled_from(shapes))}".encode()
        content = content.replace(f"'shape': {names.shape}".encode(), odd)
    return content


@st.composite
def _array_beside(draw: Draw) -> Files:
    ids = draw(odd_rows([[token] for token in TOKENS]))
    return {"vectors.npy": draw(npy(draw(_matrix(4)))), "vectors.ids": _encoded(ids, "")}


@st.composite
def _parquet(draw: Draw) -> Files:
    matrix = draw(_matrix(4))
    texts = [row[0] if row else None for row in draw(odd_rows([[token] for token in TOKENS]))][:4]
    kinds = [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.int8())]
    kinds += [pa.list_(pa.list_(pa.float32())), pa.list_(pa.float32(), matrix.shape[1])]
    columns: dict[str, pa.Array] = {"item_id": draw(_id_column(texts))}
    if draw(st.booleans()):
        vectors: list[Any] = [row if np.isfinite(row).all() else None for row in matrix.tolist()]
        if draw(one_in(4)):
            vectors[draw(st.integers(0, 3))] = draw(st.sampled_from([None, [], [1.0], [None, 1.0]]))
        try:
            columns["vector"] = pa.array(vectors, draw(st.sampled_from(kinds)))
        except (pa.ArrowException, TypeError):
            columns["vector"] = pa.array(["x"] * 4)
    else:
        for place, column in enumerate(matrix.T):
            columns[f"v{place}"] = pa.array(column)
    table = pa.table({name: column[: len(texts)] for name, column in columns.items()})
    stream = io.BytesIO()
    packing = draw(st.sampled_from(["none", "snappy", "zstd", "gzip"]))
    size = draw(st.integers(1, 4))
    pq.write_table(table, stream, compression=packing, row_group_size=size, version="2.6")
    return {"vectors.parquet": stream.getvalue()}


@st.composite
def _id_column(draw: Draw, texts: list[str | None]) -> pa.Array:
    n = len(texts)
    kind = draw(
        st.sampled_from(["text"] * 6 + ["number", "bytes", "float", "category", "list", "time"])
    )
    if kind == "bytes":
        return pa.array([b"i0", b"\xff", b"i1", b"i2"][:n])
    if kind == "category":
        return pa.array(texts, pa.string()).dictionary_encode()
    if kind == "list":
        return pa.array([["i0"]] * n)
    if kind == "text":
        return pa.array(texts, pa.string())
    types_ = {"number": pa.int64(), "float": pa.float64(), "time": pa.timestamp("ns")}
    return pa.array(list(range(n)), pa.int64()).cast(types_[kind])


@st.composite
def _item_column(draw: Draw) -> Files:
    rows = [[token, "title", " ".join(["1.5"] * 3)] for token in TOKENS]
    header = ["item_id:token", "title:token_seq", "vector:float_seq"]
    return {"toy.item": _encoded(draw(odd_rows([header, *rows])), "\t")}


def _read_features(declared: dict[str, Any]) -> Callable[[Path, Path, Case], np.ndarray]:
    def read(source: Path, _: Path, case: Case) -> np.ndarray:
        config = {
            "item_features": {"image": {**declared, "max_missing": 1, "missing": case.options}},
            "data_path": str(source),
            "dataset": "toy",
            "ITEM_ID_FIELD": "item_id",
            "field_separator": "\t",
            "seq_separator": " ",
            "encoding": "utf-8",
        }
        tokens = {"item_id": np.array(["[PAD]", *TOKENS])}
        dataset = types.SimpleNamespace(field2id_token=tokens)
        return load_item_features(config, dataset, "image")

    return read


def _check_features(matrix: np.ndarray, _: Path) -> None:
    assert matrix.ndim == 2
    assert len(matrix) == len(TOKENS) + 1
    assert matrix.shape[1] > 0
    assert matrix.dtype == np.float32
    assert np.isfinite(matrix).all()
    assert not matrix[0].any()


def _features(files: st.SearchStrategy[Files], **declared: Any) -> Form:
    options = st.sampled_from(["mean", "zero", "error"])
    return Form(files, _read_features(declared), _check_features, options)


@st.composite
def _lists(draw: Draw) -> Files:
    rows = {
        part: [[str(u), *map(str, draw(st.lists(ids, min_size=4, max_size=6)))] for u in range(3)]
        for part, ids in (("train", st.integers(0, 9)), ("test", st.integers(10, 12)))
    }
    return {f"{part}.txt": _encoded(draw(odd_rows(lines)), " ") for part, lines in rows.items()}


@st.composite
def _any_file(draw: Draw) -> Files:
    """A file of interactions under a name that tells nothing, perhaps packed."""
    kinds = [_own().map(lambda files: files.get("log.csv", b"")), _lists().map(_first), _mmrec()]
    content = draw(st.one_of(*kinds[:2], kinds[2].map(_first), _amazon().map(_first)))
    return {"log": draw(st.sampled_from([bytes, bytes, GZIP, bz2.compress]))(content)}


def _first(files: Files) -> bytes:
    return next(iter(files.values())) or b""


def _run_any(source: Path, output: Path, case: Case) -> None:
    words = [str(source / "log"), "--name=toy", f"--output={output}"]
    with contextlib.redirect_stdout(io.StringIO()):
        convert_files([*words, *(["--overwrite"] if case.overwrite else [])])


def _check_any(_: None, folder: Path) -> None:
    assert all(rows_of(path) for path in folder.glob("toy*.inter"))


FORMS = {
    "any file": Form(_any_file(), _run_any, _check_any, suffixes=("inter", "yaml")),
    "list-split": _split_form("list-split", _lists()),
    "text-split": _split_form("text-split", _text_split()),
    "npy-split": _split_form("npy-split", _array_split()),
    "diffmm": _split_form("diffmm", _pickled_split()),
    "mmrec": _split_form("mmrec", _mmrec()),
    "csv": Form(_own(), _run_own, _check_log, _own_options(), ("inter", "item", "yaml")),
    "microlens": Form(
        _microlens(),
        lambda source, output, case: unsplit.convert_interactions(
            microlens.read_microlens(source), output, "toy", case.overwrite
        ),
        _check_log,
        suffixes=("inter", "item", "yaml"),
    ),
    "movielens-1m": Form(
        _movielens(),
        lambda source, output, case: unsplit.convert_interactions(
            movielens.read_movielens(source), output, "toy", case.overwrite
        ),
        _check_log,
        suffixes=("inter", "item", "user", "yaml"),
    ),
    "amazon": Form(_amazon(), _run_amazon, _check_log, st.booleans(), ("inter", "item", "yaml")),
    "rated-split": Form(
        _rated(),
        lambda source, output, case: diffrec_splits.convert_rating_split(
            source, output, "toy", case.options, case.overwrite
        ),
        _check_rated,
        st.builds(
            diffrec_splits.SplitRule,
            kind=st.sampled_from(["clean", "noisy", "temporal"]),
            core=st.integers(1, 2),
            ratio=st.sampled_from([(7, 1, 2), (1, 1, 1)]),
        ),
        (*(f"{split}.inter" for split in SPLITS), "item", "user", "yaml"),
    ),
    "features .npz": _features(_archive(), file="vectors.npz"),
    "features .npy": _features(_array_beside(), file="vectors.npy"),
    "features .parquet": _features(_parquet(), file="vectors.parquet"),
    "features .item": _features(_item_column(), field="vector"),
}
