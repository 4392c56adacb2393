"""The command `convert`: files of every kind, told apart, with the right rows in what it writes."""

import bz2
import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.sparse as sp
import yaml
from conversion_tools import lines_of, snapshot

from recbole_diffusion.commands.cli import main
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config

HEAD = "user_id:token\titem_id:token"
RATED = f"{HEAD}\trating:float"
TIMED = f"{HEAD}\ttimestamp:float"
BOTH = f"{RATED}\ttimestamp:float"
Convert = Callable[..., tuple[int, str, str]]


def packed(name: str, text: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, text)
    return stream.getvalue()


def zstd(text: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(text.encode())
    return sink.getvalue().to_pybytes()


CSV = "userId,movieId,rating,timestamp\n1,7,4.5,978300760\n2,9,3,978302109\n1,7,1,978400000\n"
CSV_ROWS = [BOTH, "1\t7\t4.5\t978300760", "2\t9\t3\t978302109"]
TABLES = {
    "csv": ("ratings.csv", CSV, CSV_ROWS),
    "gz": ("ratings.csv.gz", gzip.compress(CSV.encode()), CSV_ROWS),
    "bz2": ("ratings.csv.bz2", bz2.compress(CSV.encode()), CSV_ROWS),
    "zip": ("ratings.zip", packed("r.csv", CSV), CSV_ROWS),
    "zst": ("ratings.csv.zst", zstd(CSV), CSV_ROWS),
    "gz under another name": ("ratings", gzip.compress(CSV.encode()), CSV_ROWS),
    "carriage returns": ("a.csv", CSV.replace("\n", "\r"), CSV_ROWS),
    "byte order mark": ("a.csv", "\ufeff" + CSV, CSV_ROWS),
    "blank lines": ("a.csv", "\n\n" + CSV.replace("\n", "\n\n"), CSV_ROWS),
    "utf-16": ("a.txt", CSV.replace(",", "\t").encode("utf-16"), CSV_ROWS),
    "u.data": ("u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
               [BOTH, "196\t242\t3\t881250949", "186\t302\t3\t891717742"]),
    "ratings.dat": ("ratings.dat", "1::1193::5::978300760\n",
                    [BOTH, "1\t1193\t5\t978300760"]),
    "Amazon, ratings only": ("Books.csv", "AKM1MP6P0OYPR,0132793040,5.0,1365811200\n",
                             [BOTH, "AKM1MP6P0OYPR\t0132793040\t5\t1365811200"]),
    "Amazon 2018, ratings only": ("Books.csv", "0132793040,AKM1MP6P0OYPR,5.0,1365811200\n",
                                  [BOTH, "AKM1MP6P0OYPR\t0132793040\t5\t1365811200"]),
    "Book-Crossing": ("BX.csv", '"User-ID";"ISBN";"Book-Rating"\n"27";"03X";"0"\n',
                      [RATED, "27\t03X\t0"]),
    "Last.FM": ("ua.dat", "userID\tartistID\tweight\n2\t51\t13883\n", [RATED, "2\t51\t13883"]),
    "typed header": ("x.inter", "user_id:token\titem_id:token\ttimestamp:float\na\tb\t3\n",
                     [TIMED, "a\tb\t3"]),
    "quotes of texts": ("x.tsv", 'user\titem\nu\t"Weird Al" Yankovic\n',
                        [HEAD, 'u\t"Weird Al" Yankovic']),
    "escaped quotes": ("x.csv", 'user,item,note\nu,"a \\"b\\", c",x\n', [HEAD, 'u\ta "b", c']),
    "long field": ("x.csv", f"user,item,note\nu,i,{'x' * 200_000}\n", [HEAD, "u\ti"]),
    "semicolon": ("x.csv", "User;Item;Score\nu;i;4.5\n", [RATED, "u\ti\t4.5"]),
    "milliseconds": ("x.csv", "user,item,ts\nu,i,1700000000123\n", [TIMED, "u\ti\t1700000000.123"]),
    "microseconds": ("x.csv", "user,item,ts\nu,i,1700000000123456\n",
                     [TIMED, "u\ti\t1700000000.123456"]),
    "nanoseconds": ("x.csv", "user,item,ts\nu,i,1700000000000000000\n",
                    [TIMED, "u\ti\t1700000000"]),
    "number signs": ("x.csv", "user,item,rating\nu,i, +4.5 \n", [RATED, "u\ti\t4.5"]),
    "Amazon 2014": ("r.json", '{"reviewerID": "A1", "asin": "B1", "overall": 5.0, '
                    '"unixReviewTime": 1252800000, "reviewTime": "09 13, 2009"}\n',
                    [BOTH, "A1\tB1\t5\t1252800000"]),
    "Amazon 2023": ("r.jsonl", '{"rating": 4.0, "user_id": "A1", "asin": "B1", '
                    '"parent_asin": "B0", "timestamp": 1588687728923}\n',
                    [BOTH, "A1\tB0\t4\t1588687728.923"]),
    "Yelp": ("review.json", '{"review_id": "r", "user_id": "u", "business_id": "b", "stars": 3, '
             '"date": "2018-07-07 22:09:11"}\n', [BOTH, "u\tb\t3\t1531001351"]),
    "json numbers": ("x.json", '{"user": 1, "item": 2}\n{"user": 3, "item": 4}\n',
                     [HEAD, "1\t2", "3\t4"]),
    "pairs": ("x.txt", "1 7\n1 9\n2 7\n", [HEAD, "1\t7", "1\t9", "2\t7"]),
    "pairs of weight 1": ("x.txt", "1 7 1\n1 9 1\n", [RATED, "1\t7\t1", "1\t9\t1"]),
    "words in a table of tabs": ("x.tsv", "user\titem\ttitle\n1\t7\ta b\n2\t9\tc\n",
                                 [HEAD, "1\t7", "2\t9"]),
    "lists behind a tab": ("x.tsv", "1\t7 9\n2\t9\n",
                           [TIMED, "1\t7\t0", "1\t9\t1", "2\t9\t0"]),
    "lists of texts": ("x.txt", "u_1 i-7 i-9\nu_2 i-9\n",
                       [TIMED, "u_1\ti-7\t0", "u_1\ti-9\t1", "u_2\ti-9\t0"]),
    "lists": ("x.txt", "0 5 3\n1 7\n2 5 7 9\n",
              [TIMED, "0\t5\t0", "0\t3\t1", "1\t7\t0", "2\t5\t0", "2\t7\t1", "2\t9\t2"]),
}  # fmt: skip


@pytest.mark.parametrize("form", TABLES)
def test_file_is_taken_for_what_it_is(form: str, convert: Convert, output: Path) -> None:
    name, content, expected = TABLES[form]

    code, out, err = convert({name: content})

    assert code == 0, err
    assert lines_of(output, "inter") == expected
    assert out.startswith("taken for ")
    found = yaml.safe_load((output / "toy" / "toy.yaml").read_text())
    columns = [column.split(":")[0] for column in expected[0].split("\t")]
    assert found["load_col"] == {"inter": columns}


STEAM = '1,"The Elder Scrolls V, Skyrim",purchase,1.0,0\n1,Portal,play,2.5,0\n'
OPTIONS = {
    "Steam-200k": (STEAM, ["--no-header", "--columns=user,item,event,rating,zero"],
                   [RATED, "1\tThe Elder Scrolls V, Skyrim\t1", "1\tPortal\t2.5"]),
    "columns alone": (STEAM, ["--columns=user,item,event,rating,zero", "--events=play"],
                      [RATED, "1\tPortal\t2.5"]),
    "events": ("visitorid,event,itemid,timestamp\n1,view,5,1433221332117\n2,buy,6,1433224214164\n",
               ["--events=buy"], [TIMED, "2\t6\t1433224214.164"]),
    "decimal comma": ("user;item;rating\nu;i;4,5\n", ["--decimal=,"], [RATED, "u\ti\t4.5"]),
    "decimal comma and a blank": ("user;item;rating\nu;i; 4,5\n", ["--decimal=,"],
                                  [RATED, "u\ti\t4.5"]),
    "delimiter by name": ("user\titem\nu,v\ti\n", ["--delimiter=tab"], [HEAD, "u,v\ti"]),
    "latin-1": ("user,item\nu,\xe9\n".encode("latin-1"), ["--encoding=latin-1"], [HEAD, "u\té"]),
    "no quotes": ('user,item\nu,"a\nv,b"\n', ["--no-quotes"], [HEAD, 'u\t"a', 'v\tb"']),
    "sequences": ("5 3 9\n7\n", ["--as=sequences"],
                  [TIMED, "1\t5\t0", "1\t3\t1", "1\t9\t2", "2\t7\t0"]),
    "ordered pairs": ("1 7\n1 5\n2 7\n", ["--as=ordered-pairs"],
                      [TIMED, "1\t7\t0", "1\t5\t1", "2\t7\t2"]),
    "pairs with weight 1": ("1 7 1\n2 5 1\n", ["--as=pairs"], [HEAD, "1\t7", "2\t5"]),
    "pairs with weights": ("1 7 2\n2 5 0.5\n", ["--as=pairs"], [RATED, "1\t7\t2", "2\t5\t0.5"]),
    "named columns": ("who,what\nu,i\n", ["--user=who", "--item=what"], [HEAD, "u\ti"]),
}  # fmt: skip


@pytest.mark.parametrize("form", OPTIONS)
def test_option_overrules_the_guess(form: str, convert: Convert, output: Path) -> None:
    content, options, expected = OPTIONS[form]

    code, _, err = convert({"log.csv": content}, *options)

    assert code == 0, err
    assert lines_of(output, "inter") == expected


def test_parquet(convert: Convert, output: Path) -> None:
    frame = pd.DataFrame(
        {
            "customer_id": ["a", "b"],
            "article_id": [108775015, 108775044],
            "time": pd.to_datetime(["2020-01-01T00:00:00.5", "2020-01-02T00:00:00.0"]),
        }
    )
    stream = io.BytesIO()
    frame.to_parquet(stream)

    code, _, err = convert({"t.parquet": stream.getvalue()})

    assert code == 0, err
    rows = ["a\t108775015\t1577836800.5", "b\t108775044\t1577923200"]
    assert lines_of(output, "inter") == [TIMED, *rows]


MOVIES = 'movieId,title,genres\n7,"Babe, a pig",Comedy|Drama\n9,\xc9t\xe9,Drama\n7,again,x\n'


def test_movielens_csv_with_its_movies(convert: Convert, output: Path) -> None:
    files = {
        "ratings.csv": CSV,
        "movies.csv": MOVIES,
        "tags.csv": "userId,movieId,tag,timestamp\n1,7,funny,1\n",
        "links.csv": "movieId,imdbId\n7,1\n",
        "README.txt": "words and words\n",
    }
    code, _, err = convert(files, folder=True)
    assert (code, "line 4: found the id '7' again" in err) == (2, True)

    code, out, err = convert(files, "--items-duplicates=first", folder=True)

    assert code == 0, err
    assert lines_of(output, "inter") == CSV_ROWS
    assert lines_of(output, "item") == [
        "item_id:token\ttitle:token_seq\tgenres:token_seq",
        "7\tBabe, a pig\tComedy Drama",
        "9\tÉté\tDrama",
    ]
    assert "rows of movies.csv left out, their item repeated: 1" in out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("user,item\nu,Misérables\n".encode("latin-1"), "not UTF-8 (line 2: the byte 0xe9 at colu"),
        ("user,item,ts\nu,Misérables,1700000000123\n", "ts: taken for milliseconds, written as"),
        ("user,item,event\nu,Misérables,view\n", "event: all events kept ('view' 1); --events"),
        ("user,item\nu,Misérables\n", "a table with a header, separated by comma: user -> user, i"),
    ],
)
def test_guess_is_told(content: bytes | str, told: str, convert: Convert, output: Path) -> None:
    code, out, err = convert({"log.csv": content})

    assert code == 0, err
    assert told in out
    assert lines_of(output, "inter")[1].startswith("u\tMisérables")


REFUSED = {
    "no header and odd columns": (STEAM, (), "--columns=user,item,rating,timestamp"),
    "two users": ("user,userId,item\na,b,c\n", (), "expected exactly one such as"),
    "lists or sequences": ("5 3 9\n7 1\n5 1 2\n", (), "--as=lists"),
    "encoding": ("user,item\nu,\xe9\n".encode("latin-1"), ("--encoding=utf-8",),
                 "log.csv, line 2: found the byte 0xe9 at column 3, expected UTF-8 text"),
    "no encoding": ("user,item\nu,i\n", ("--encoding=utf-9",), "option --encoding: found 'utf-9'"),
    "events": ("user,item,event\nu,i,view\n", ("--events=buy",), "expected 'buy' among them"),
    "no events": ("user,item\nu,i\n", ("--events=buy",), "named by --event"),
    "rating": ("user,item,rating\nu,i,4\nu,j,4,5\n", (), "line 3: found 4 fields"),
    "columns": ("1,2,3\n", ("--columns=user,item",), "line 1: found 3 fields in '1 2 3'"),
    "json": ('{"user": "u", "item": "i"}\n{"user": 7, "item": "i"}\n', (),
             "log.csv, line 2: found user '7', expected a string"),
    "broken json": ('{"user": "u", "item": "i"}\n{"user": \n', (), "log.csv, line 2: found"),
    "json without an item": ('{"user": "u", "item": "i"}\n{"user": "v"}\n', (),
                             "log.csv, line 2: found the id ''"),
    "option of tables": ("1 7\n2 5\n", ("--user=a",), "option --user: found for files taken"),
    "option of splits": ("user,item\nu,i\n", ("--seed=3",), "option --seed: found for files"),
    "row too short": ("1;2;3\n4;5\n", (), "log.csv, line 2: found 2 fields in '4 5', expected 3"),
    "nothing": ("", (), "log.csv: found no line, expected at least one"),
    "blank lines alone": (" \n\n", (), "log.csv: found no line, expected at least one"),
    "odd character": ("1 7\n2 5\x1f\n", ("--as=pairs",), "line 2: found the character 0x1f"),
    "json array": ('[{"user": "u", "item": "i"}]\n', (), "line 1: found '[{"),
    "nested json": ('{"user": {"a": 1}, "item": "i"}\n', (), "line 1: found user \"{'a': 1}\""),
    "blank lines": ("\n\nuser,item,rating\n\nu,i,x\n", (), "line 5: found rating 'x'"),
    "now": ("user,item,time\nu,i,now\n", (), "line 2: found time 'now', expected seconds as"),
    "ascii": ("user,item\nu,é\n", ("--encoding=ascii",), "log.csv: found 'ascii' codec"),
    "weights": ("1 7 2\n2 5 x\n", ("--as=pairs",), "log.csv, line 2: found weight 'x'"),
    "pairs": ("1 7\n2 5 3\n", ("--as=pairs",), "log.csv, line 2: found 3 fields in '2 5 3'"),
    "name": ("user,item\nu,i\n", ("--name=ml-100k",), "which RecBole carries"),
}  # fmt: skip


@pytest.mark.parametrize("form", REFUSED)
def test_refused_file_names_what_was_found(form: str, convert: Convert, output: Path) -> None:
    content, options, found = REFUSED[form]

    code, _, err = convert({"log.csv": content}, *options)

    assert code == 2
    assert found in err
    assert not output.exists()


def test_zip_of_several_members_is_refused(convert: Convert) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.csv", CSV)
        archive.writestr("b.csv", CSV)

    code, _, err = convert({"log.zip": stream.getvalue()})

    assert code == 2
    assert "log.zip: found the members ['a.csv', 'b.csv'], expected one" in err


def test_missing_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(tmp_path / "none.csv"), "--name=toy"]) == 2
    assert f"{tmp_path / 'none.csv'}: cannot be read (No such file" in capsys.readouterr().err


def test_dry_run_shows_rows_and_writes_nothing(
    tmp_path: Path, convert: Convert, output: Path
) -> None:
    code, out, _ = convert({"ratings.csv": CSV}, "--dry-run")

    assert code == 0
    assert not output.exists()
    assert "userId -> user, movieId -> item" in out
    told = "left out, their pair repeated: 1 (kept: each pair's "
    assert f"2 users, 2 items, 2 interactions\n{told}" in out
    assert "toy.inter:\n" + "".join(f"  {row}\n" for row in CSV_ROWS) in out
    assert out.endswith("nothing written\n")


def test_dry_run_needs_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "purchases.csv").write_text("user,item\nu,1\nv,2\n")
    words = ["convert", str(tmp_path / "purchases.csv"), f"--output={tmp_path / 'out'}"]
    assert main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("nothing written\n")
    assert main(words) == 2
    assert "option --name: found none, expected a data set's" in capsys.readouterr().err


def test_missing_file_with_a_neighbour_of_nearly_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "purchases.csv").write_text("user,item\nu,1\nv,2\n")
    for words in (["purchase.csv"], ["purchases.csv", f"--items={tmp_path / 'purchase.csv'}"]):
        assert main(["convert", str(tmp_path / words[0]), *words[1:], "--name=toy"]) == 2
        assert "; did you mean purchases.csv?" in capsys.readouterr().err


TRAIN = {u: [(u + n) % 30 for n in range(12)] for u in range(20)}
TEST = {u: [(u + n) % 30 for n in range(12, 15)] for u in range(20)}


def list_lines(lists: dict[int, list[int]]) -> str:
    return "".join(f"{user} {' '.join(map(str, items))}\n" for user, items in lists.items())


def parts_of(output: Path) -> dict[str, set[str]]:
    parts = {part: lines_of(output, f"{part}.inter")[1:] for part in ("train", "valid", "test")}
    assert all(len(set(rows)) == len(rows) for rows in parts.values())
    return {part: set(rows) for part, rows in parts.items()}


def pairs_of(lists: dict[int, list[int]]) -> set[str]:
    return {f"{user}\t{item}" for user, items in lists.items() for item in items}


def test_lists_in_parts_get_a_validation_part(convert: Convert, output: Path) -> None:
    files = {"train.txt": list_lines(TRAIN), "test.txt": list_lines(TEST) + "20 \n"}

    code, out, err = convert(files, "--valid-ratio=0.25", "--seed=3", folder=True)

    assert code == 0, err
    parts = parts_of(output)
    assert parts["train"] | parts["valid"] == pairs_of(TRAIN)
    assert parts["test"] == pairs_of(TEST)
    assert (len(parts["train"]), len(parts["valid"])) == (180, 60)
    assert "validation: 60 pairs drawn from train, seed 3" in out
    first = snapshot(output)
    for seed, is_same in ((3, True), (4, False)):
        options = ("--valid-ratio=0.25", f"--seed={seed}", "--overwrite")
        assert convert(files, *options, folder=True)[0] == 0
        assert (snapshot(output) == first) == is_same


@pytest.mark.parametrize("files", ["lists", "pickles"])
def test_split_runs_under_any_name(files: str, convert: Convert, output: Path) -> None:
    contents: dict[str, bytes | str] = {
        "train.txt": list_lines(TRAIN),
        "test.txt": list_lines(TEST),
    }
    if files == "pickles":
        contents = {f"{p}_mat.pkl": pickled(x) for p, x in (("trn", TRAIN), ("tst", TEST))}
    assert convert(contents, folder=True)[0] == 0

    keys = {"data_path": str(output), "topk": [5], "valid_metric": "Recall@5"}
    split = load_split(Config("BPR", "toy", (), keys))

    sizes = [len(part._dataset) for part in (split.train, split.valid, split.test)]
    assert sizes == [216, 24, 60]


def pickled(lists: dict[int, list[int]], kind: Any = sp.csr_matrix, protocol: int = 2) -> bytes:
    matrix = np.zeros((20, 30), np.float32)
    for user, items in lists.items():
        matrix[user, items] = 1
    return pickle.dumps(kind(matrix), protocol)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", [sp.coo_matrix, sp.csr_matrix])
@pytest.mark.parametrize("name", ["trnMat trn_mat train_mat", "tstMat tst_mat test_mat"])
def test_pickles_of_every_protocol_and_name(
    protocol: int, kind: Any, name: str, convert: Convert, output: Path
) -> None:
    files: dict[str, bytes | str] = {
        ("trnMat.pkl" if "tst" in name else name.split()[protocol % 3] + ".pkl"): pickled(
            TRAIN, kind, protocol
        ),
        ("tstMat.pkl" if "trn" in name else name.split()[protocol % 3] + ".pkl"): pickled(
            TEST, kind, protocol
        ),
    }

    code, _, err = convert(files, folder=True)

    assert code == 0, err
    parts = parts_of(output)
    assert parts["train"] | parts["valid"] == pairs_of(TRAIN)
    assert parts["test"] == pairs_of(TEST)


def test_mmrec_table_under_another_name(convert: Convert, output: Path) -> None:
    rows = "userID\titemID\tx_label\r\n0\t1\t0\r\n0\t2\t1\r\n0\t3\t2\r\n"

    code, out, err = convert({"baby.inter": "\ufeff" + rows})

    assert code == 0, err
    assert parts_of(output) == {"train": {"0\t1"}, "valid": {"0\t2"}, "test": {"0\t3"}}
    assert out.startswith("taken for mmrec")


def test_amazon_products_of_2023(convert: Convert, output: Path) -> None:
    review = {"user_id": "A1", "parent_asin": "B0", "asin": "B1", "rating": 4.0, "timestamp": 1}
    products = [
        {"parent_asin": "B9", "title": "without a review"},
        {"parent_asin": "B0", "title": "Lamp", "categories": ["Home", "Light"], "store": "Acme"},
    ]

    code, _, err = convert(
        {
            "Home.jsonl": json.dumps(review) + "\n",
            "meta_Home.jsonl": "".join(json.dumps(product) + "\n" for product in products),
        }
    )

    assert code == 0, err
    assert lines_of(output, "item")[1:] == ["B0\tLamp\tHome Light\tAcme\t"]


def test_features_that_are_declared_and_not_converted_are_told(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, lists in (("train", TRAIN), ("valid", {0: [25]}), ("test", TEST)):
        text = "".join(f"{user} {item}\n" for user, items in lists.items() for item in items)
        (tmp_path / f"{part}.txt").write_text(text)
    paths = [str(tmp_path / f"{part}.txt") for part in ("train", "valid", "test")]

    assert main(["convert", *paths, "--name=office", f"--output={output}"]) == 0

    out = capsys.readouterr().out
    assert "office.yaml declares the feature text, which an .item file would hold" in out
    assert not (output / "office" / "office.yaml").exists()


@pytest.mark.parametrize("kind", [">i4", "<i8", "<u8", "|u1"])
def test_arrays_of_any_whole_numbers(kind: str, convert: Convert, output: Path) -> None:
    files: dict[str, bytes | str] = {}
    for n, part in enumerate(("train", "valid", "test")):
        stream = io.BytesIO()
        np.save(stream, np.array([[5, n], [5, n + 10]], kind))
        files[f"{part}_list.npy"] = stream.getvalue()

    code, _, err = convert(files, folder=True)

    assert code == 0, err
    assert lines_of(output, "test.inter") == [TIMED, "5\t2\t0", "5\t12\t1"]
