"""Released interactions without a split: what is written, counted and refused."""

import gzip
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conversion_tools import lines_of, refused, snapshot

from recbole_diffusion.commands.convert import main
from recbole_diffusion.convert.amazon import read_amazon
from recbole_diffusion.convert.microlens import read_microlens
from recbole_diffusion.convert.movielens import read_movielens
from recbole_diffusion.convert.unsplit import (
    InteractionsReport,
    convert_interactions,
    format_report,
)
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config

MICROLENS = Path(__file__).resolve().parents[3] / "shared" / "data" / "microlens_50k"
PAIRS, TITLES = "MicroLens-50k_pairs.tsv", "MicroLens-50k_titles.csv"
RATED = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
USER_AND_TIME = ("user_id", "timestamp")
BREAKS = "texts whose tabs or line breaks became spaces"

FILES = {
    "microlens": {
        PAIRS: "1\t30 10 20\n7\t10 40\n",
        TITLES: 'item,title\n10,"One, ""two"" # three"\n30,NA\n20,"on two\r\nlines,\ttab"\n50,x\n',
    },
    "movielens-1m": {
        "ratings.dat": "1::20::5::978300760\n2::10::3::978302109\n",
        "movies.dat": "10::Misérables, Les: 2 (1998)::Drama|Sci-Fi\n20::Babe (1995)::Children's\n",
        "users.dat": "1::F::1::10::48067\n2::M::56::16::02460-1234\n",
    },
    "amazon": {
        "reviews.json": """\
{"reviewerID": "A1", "asin": "NA", "overall": 5.0, "unixReviewTime": 1369699200, "summary": "x"}
{"reviewerID": "A2", "asin": "B02", "overall": 3, "unixReviewTime": 1355443200}
{"reviewerID": "A1", "asin": "NA", "overall": 1.0, "unixReviewTime": 1400000000}
""",
        "meta.json": """\
{'asin': 'B02', 'title': "It's \\u00e9\\t1", 'categories': [['Baby', 'Toys'], ['Gifts']]}
{"asin": "B03", "title": "no review"}
{"asin": "NA", "category": ["A", "B"], "brand": "Acme", "description": ["One", "two\\n3"]}
{"asin": "NA", "title": "again"}
""",
    },
}


def write(folder: Path, kind: str) -> Path:
    folder.mkdir()
    for name, text in FILES[kind].items():
        encoding = "latin-1" if kind == "movielens-1m" else "utf-8"
        (folder / name).write_text(text, encoding=encoding, newline="")
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def source(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return write(tmp_path / "source", request.param)


def convert(kind: str, source: Path, output: Path, overwrite: bool = False) -> InteractionsReport:
    log = {
        "microlens": read_microlens,
        "movielens-1m": read_movielens,
        "amazon": lambda folder: read_amazon(folder / "reviews.json", folder / "meta.json"),
    }[kind](source)
    return convert_interactions(log, output, "toy", overwrite)


def of(kind: str) -> Callable[..., Any]:
    return pytest.mark.parametrize("source", [kind], indirect=True)


@of("microlens")
def test_microlens(source: Path, output: Path) -> None:
    report = convert("microlens", source, output)

    assert lines_of(output, "inter") == [
        "user_id:token\titem_id:token\ttimestamp:float",
        "1\t30\t0",
        "1\t10\t1",
        "1\t20\t2",
        "7\t10\t0",
        "7\t40\t1",
    ]
    assert lines_of(output, "item") == [
        "item_id:token\ttitle:token_seq",
        '10\tOne, "two" # three',
        "30\tNA",
        "20\ton two lines, tab",
        "50\tx",
    ]
    lacks = f"items of the interactions that {TITLES} lacks"
    assert report == InteractionsReport(2, 4, 5, 0, {BREAKS: 1, lacks: 1})


@of("movielens-1m")
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_movielens_saved_as_utf8(source: Path, output: Path, mark: bytes) -> None:
    convert("movielens-1m", source, output)
    expected = lines_of(output, "item")
    for name, text in FILES["movielens-1m"].items():
        (source / name).write_bytes(mark + text.encode())

    report = convert("movielens-1m", source, output, overwrite=True)

    assert lines_of(output, "item") == expected
    assert "latin-1" not in format_report(report)


@of("microlens")
def test_item_again_in_a_sequence_is_kept_once(source: Path, output: Path) -> None:
    (source / PAIRS).write_text("1\t30 10 30 20\n")

    report = convert("microlens", source, output)

    assert lines_of(output, "inter")[1:] == ["1\t30\t0", "1\t10\t1", "1\t20\t3"]
    assert (report.interactions, report.repeated) == (3, 1)


@of("movielens-1m")
def test_movielens(source: Path, output: Path) -> None:
    report = convert("movielens-1m", source, output)

    assert lines_of(output, "inter") == [RATED, "1\t20\t5\t978300760", "2\t10\t3\t978302109"]
    assert lines_of(output, "item") == [
        "item_id:token\ttitle:token_seq\tgenre:token_seq",
        "10\tMisérables, Les: 2 (1998)\tDrama Sci-Fi",
        "20\tBabe (1995)\tChildren's",
    ]
    told = "movies.dat: not UTF-8 (line 1: the byte 0xe9 at column 8), read as latin-1"
    assert report.notes == (told,)
    assert lines_of(output, "user") == [
        "user_id:token\tgender:token\tage:token\toccupation:token\tzip_code:token",
        "1\tF\t1\t10\t48067",
        "2\tM\t56\t16\t02460-1234",
    ]
    assert (report.users, report.items, report.interactions, report.repeated) == (2, 2, 2, 0)


AMAZON_ITEMS = [
    "item_id:token\ttitle:token_seq\tcategory:token_seq\tbrand:token_seq\tdescription:token_seq",
    "B02\tIt's é 1\tBaby Toys Gifts\t\t",
    "NA\t\tA B\tAcme\tOne two 3",
]


@of("amazon")
def test_amazon(source: Path, output: Path) -> None:
    report = convert("amazon", source, output)

    assert lines_of(output, "inter") == [RATED, "A1\tNA\t5\t1369699200", "A2\tB02\t3\t1355443200"]
    assert lines_of(output, "item") == AMAZON_ITEMS
    assert report == InteractionsReport(
        2,
        2,
        2,
        1,
        {
            BREAKS: 2,
            "products left out, without a review": 1,
            "products left out, repeated": 1,
            "items of the interactions that meta.json lacks": 0,
        },
        (
            "reviews.json: taken for JSON lines: reviewerID -> user, asin -> item, "
            "overall -> rating, unixReviewTime -> timestamp",
            "reviews.json: columns left out: summary",
        ),
        kept_row="each pair's earliest",
    )


@of("amazon")
def test_amazon_compressed_and_from_the_command_line(
    source: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in FILES["amazon"].items():
        with gzip.open(source / f"{name}.gz", "wt", encoding="utf-8") as file:
            file.write(text)
    arguments = ["amazon", str(source / "reviews.json.gz"), "--name=toy", f"--output={output}"]

    assert main(arguments) == 0
    assert sorted(path.name for path in (output / "toy").iterdir()) == ["toy.inter", "toy.yaml"]
    meta = f"--meta={source / 'meta.json.gz'}"
    assert main([*arguments, meta]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, meta, "--overwrite"]) == 0
    assert lines_of(output, "item") == AMAZON_ITEMS
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "2 users, 2 items, 2 interactions"
    assert second == "left out, their pair repeated: 1 (kept: each pair's earliest)"
    assert main([*arguments, "--overwrite"]) == 2
    assert "toy.item: found features of an earlier conversion" in capsys.readouterr().err


@pytest.mark.parametrize("cut", [b"", b"no gzip", None])
@of("amazon")
def test_broken_gzip_is_refused(
    tmp_path: Path, source: Path, output: Path, cut: bytes | None
) -> None:
    path = source / "reviews.json.gz"
    whole = gzip.compress(FILES["amazon"]["reviews.json"].encode())
    path.write_bytes(whole[:-20] if cut is None else cut)

    message = refused(tmp_path, lambda: convert_interactions(read_amazon(path), output, "toy"))

    assert message.startswith(f"{path}: found no line" if cut == b"" else f"{path}: cannot be")


REVIEW = {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1}
LITERAL = "{'asin': 'NA', 'title': "


@pytest.mark.parametrize(
    ("source", "file", "line", "text", "found"),
    [
        ("microlens", PAIRS, 3, "8\t ", r"1 fields in '8\t '"),
        ("microlens", PAIRS, 3, "8\t10 x", "'x'"),
        ("microlens", PAIRS, 3, "-8\t10", "'-8'"),
        ("microlens", PAIRS, 3, "7\t20", "user 7 again"),
        ("microlens", PAIRS, 3, "08\t20", "'08'"),
        ("microlens", PAIRS, 3, "8\t020", "'020'"),
        ("microlens", TITLES, 7, "060,y", "'060'"),
        ("microlens", PAIRS, 3, b"8\t1\xff", "the byte 0xff at column 4"),
        # The title on two lines makes one of lines 4 and 5.
        ("microlens", TITLES, 7, "50,y", "the id '50' again"),
        ("microlens", TITLES, 7, "60,a,b", "3 fields in '60 a b'"),
        ("microlens", TITLES, 7, "B01,y", "'B01'"),
        ("microlens", TITLES, 7, '60,"open', "unexpected end of data"),
        ("microlens", TITLES, 7, '60,"a"b', "',' expected after '\"'"),
        ("movielens-1m", "ratings.dat", 3, "3::10::4", "3 fields in '3 10 4'"),
        ("movielens-1m", "ratings.dat", 3, "3::10::nan::5", "rating 'nan'"),
        ("movielens-1m", "ratings.dat", 3, "3::10::4::x", "timestamp 'x'"),
        ("movielens-1m", "ratings.dat", 3, "01::10::4::5", "'01'"),
        ("movielens-1m", "movies.dat", 3, "010::A::B", "'010'"),
        ("movielens-1m", "users.dat", 3, "01::F::1::10::9", "'01'"),
        ("movielens-1m", "ratings.dat", 3, "3::x::4::5", "'x'"),
        ("movielens-1m", "movies.dat", 3, "30::A", "2 fields"),
        ("movielens-1m", "movies.dat", 3, "20::A::B", "the id '20' again"),
        ("movielens-1m", "users.dat", 3, "1::F::1::10::9", "the id '1' again"),
        ("amazon", "reviews.json", 4, "[1]", "'[1]'"),
        ("amazon", "reviews.json", 4, "{'reviewerID': 'A1'}", "\"{'reviewerID"),
        ("amazon", "reviews.json", 4, json.dumps({**REVIEW, "asin": 5}), "asin '5'"),
        ("amazon", "reviews.json", 4, json.dumps({**REVIEW, "asin": "a\tb"}), r"the id 'a\tb'"),
        (
            "amazon",
            "reviews.json",
            4,
            json.dumps({**REVIEW, "asin": " "}),
            "the id ' ', expected one that is not blank",
        ),
        ("amazon", "reviews.json", 4, json.dumps({**REVIEW, "asin": "\ud83d"}), "asin '"),
        ("amazon", "reviews.json", 4, json.dumps({**REVIEW, "overall": None}), "overall 'None'"),
        ("amazon", "reviews.json", 4, json.dumps({**REVIEW, "overall": True}), "overall 'True'"),
        (
            "amazon",
            "reviews.json",
            4,
            json.dumps({**REVIEW, "overall": float("nan")}),
            "overall 'nan'",
        ),
        (
            "amazon",
            "reviews.json",
            4,
            json.dumps({**REVIEW, "unixReviewTime": 10**400}),
            "unixReviewTime '1",
        ),
        ("amazon", "meta.json", 5, "{'asin': open('x')}", "\"{'asin': open"),
        ("amazon", "meta.json", 5, "__import__('os').system('x')", '"__import__'),
        ("amazon", "meta.json", 5, "{'title': 'x'}", "asin 'None'"),
        ("amazon", "meta.json", 5, "{'asin': 'NA'", "\"{'asin'"),
        ("amazon", "meta.json", 5, "(" * 10**5, "'(((((("),
        ("amazon", "meta.json", 5, "[" * 10**5, "'[[[[[["),
        ("amazon", "meta.json", 5, f"{LITERAL}'{'x' * 2**20}'}}", "\"{'asin'"),
    ],
    indirect=["source"],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_malformed_line_is_refused_with_file_and_line(
    tmp_path: Path,
    source: Path,
    output: Path,
    request: pytest.FixtureRequest,
    file: str,
    line: int,
    text: str | bytes,
    found: str,
) -> None:
    kind = request.node.callspec.params["source"]
    path = source / file
    added = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(path.read_bytes() + added + b"\n")

    message = refused(tmp_path, convert, kind, source, output)

    assert message.startswith(f"{path}, line {line}: found {found}"), message
    assert "expected" in message
    assert len(message) < 500


def test_texts_of_another_kind_are_refused(tmp_path: Path, output: Path) -> None:
    source = write(tmp_path / "source", "amazon")
    (source / "meta.json").write_text('{"asin": "NA", "title": ["x", 7]}\n')

    message = refused(tmp_path, convert, "amazon", source, output)

    assert message.startswith(f"{source / 'meta.json'}, line 1: found title '7', expected a text")


def test_half_of_a_character_becomes_a_question_mark(tmp_path: Path, output: Path) -> None:
    source = write(tmp_path / "source", "amazon")
    (source / "meta.json").write_text(r'{"asin": "NA", "title": "a\ud83db \ud83d\ude00"}')

    convert("amazon", source, output)

    assert lines_of(output, "item")[1] == "NA\ta?b \N{GRINNING FACE}\t\t\t"


@pytest.mark.parametrize(
    ("source", "file", "content"),
    [
        (kind, file, content)
        for kind, files in FILES.items()
        for file in files
        for content in (b"", None)
        if file != "users.dat" or content is not None
    ],
    indirect=["source"],
)
def test_empty_and_missing_files_are_refused(
    tmp_path: Path,
    source: Path,
    output: Path,
    request: pytest.FixtureRequest,
    file: str,
    content: bytes | None,
) -> None:
    path = source / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    kind = request.node.callspec.params["source"]
    message = refused(tmp_path, convert, kind, source, output)

    assert message.startswith(f"{path}: {'found no' if content == b'' else 'cannot be read'}")


@of("movielens-1m")
def test_movielens_10m_has_no_users(source: Path, output: Path) -> None:
    (source / "users.dat").unlink()

    convert("movielens-1m", source, output)

    assert lines_of(output, "item")[0] == "item_id:token\ttitle:token_seq\tgenre:token_seq"
    assert not list(output.rglob("*.user"))


@of("movielens-1m")
def test_table_of_other_items_is_refused(tmp_path: Path, source: Path, output: Path) -> None:
    path = source / "movies.dat"
    path.write_text("7::A::B\n")

    message = refused(tmp_path, convert, "movielens-1m", source, output)

    expected = "found no item of the interactions, whose items look like '20', '10'"
    assert message.startswith(f"{path}: {expected}")


@pytest.mark.parametrize("taken", ["toy.inter", "toy.item", "toy.user"])
@of("movielens-1m")
def test_existing_file_is_refused_unless_overwritten(
    tmp_path: Path, source: Path, output: Path, taken: str
) -> None:
    (output / "toy").mkdir(parents=True)
    (output / "toy" / taken).write_text("old")

    message = refused(tmp_path, convert, "movielens-1m", source, output)
    assert message.startswith(f"{output / 'toy' / taken}: found an existing file")

    convert("movielens-1m", source, output, overwrite=True)
    convert("movielens-1m", source, tmp_path / "fresh")
    assert snapshot(output) == snapshot(tmp_path / "fresh")
    (source / "users.dat").write_text("broken\n")
    refused(tmp_path, convert, "movielens-1m", source, output, overwrite=True)


def test_command_line(tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("microlens", "movielens-1m"):
        source = write(tmp_path / kind, kind)
        assert main([kind, str(source), f"--name={kind}", f"--output={output}"]) == 0
        assert main([kind, str(output), f"--name={kind}2", f"--output={output}"]) == 2
        assert "cannot be read" in capsys.readouterr().err
        assert (output / kind / f"{kind}.item").is_file()


@pytest.mark.data
@pytest.mark.skipif(not MICROLENS.is_dir(), reason="MicroLens-50k is not beside the clone")
def test_released_microlens(output: Path) -> None:
    report = convert_interactions(read_microlens(MICROLENS), output, "microlens")

    assert (report.users, report.items, report.interactions) == (50000, 19220, 359708)
    assert report.repeated == 0
    assert sum(report.counts.values()) == 0
    inter = (output / "microlens" / "microlens.inter").read_text().splitlines()
    assert inter[1:7] == [
        f"1\t{i}\t{n}" for n, i in enumerate((1958, 6346, 15223, 17700, 1707))
    ] + ["2\t16657\t0"]
    filters = dict.fromkeys(("user_inter_num_interval", "item_inter_num_interval"), "[5,inf)")
    split = load_split(Config("BPR", "microlens", (), {"data_path": str(output), **filters}))
    dataset = split.dataset
    assert (dataset.user_num - 1, dataset.item_num - 1) == (46420, 14079)
    times = [
        pd.DataFrame({name: loader._dataset.inter_feat[name].numpy() for name in USER_AND_TIME})
        .groupby("user_id")["timestamp"]
        .agg(["min", "max"])
        for loader in (split.train, split.valid, split.test)
    ]
    for earlier, later in pairwise(times):
        assert (earlier["max"] < later["min"]).all()
