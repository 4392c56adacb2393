"""Data of one's own: tables as people have them, to a run by one command."""

import csv
import gzip
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from conversion_tools import lines_of, refused, snapshot

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.convert import main
from recbole_diffusion.convert.tables import TableOptions
from recbole_diffusion.convert.unsplit import format_report
from recbole_diffusion.convert.user_columns import CsvOptions
from recbole_diffusion.convert.user_tables import convert_csv
from recbole_diffusion.convert.values import times_of
from recbole_diffusion.data.split import load_split
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.config import Config

HEAD = "user_id:token\titem_id:token"
CLICKS = """user_id,item_id,timestamp
ann,NA,2024-05-01T12:30:00Z
ben,007,2024-05-01 12:30:00.25
ann,007,1714566600
ann,NA,1714566601
"x,y",007,2024-05-01T14:30:00+02:00
"""
ITEMS = """item_id,title,genre,price
NA,"Lamp, ""the"" one",light,1.50
007,"Desk
with	a tab",,
9,None,nan,1e3
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with two tables."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "clicks.csv").write_text(CLICKS)
    (folder / "items.csv").write_text(ITEMS)
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


def convert(source: Path, output: Path, overwrite: bool = False, **options: Any) -> Any:
    """With the table of items, unless ``items`` is False."""
    if options.pop("items", True):
        options["items"] = source / "items.csv"
    storage = {key: options.pop(key) for key in ("delimiter", "encoding") if key in options}
    chosen = CsvOptions(**options, table=TableOptions(**storage))
    return convert_csv(source / "clicks.csv", output, "toy", chosen, overwrite)


def properties(output: Path) -> dict[str, Any]:
    return yaml.safe_load((output / "toy" / "toy.yaml").read_text(encoding="utf-8"))


def test_both_tables(source: Path, output: Path) -> None:
    report = convert(source, output)

    assert lines_of(output, "inter") == [
        f"{HEAD}\ttimestamp:float",
        "ann\tNA\t1714566600",
        "ben\t007\t1714566600.25",
        "ann\t007\t1714566600",
        "x,y\t007\t1714566600",
    ]
    assert lines_of(output, "item") == [
        "item_id:token\ttitle:token_seq\tgenre:token_seq\tprice:token_seq",
        'NA\tLamp, "the" one\tlight\t1.50',
        "007\tDesk with a tab\t\t",
        "9\tNone\tnan\t1e3",
    ]
    assert properties(output) == {
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "load_col": {
            "inter": ["user_id", "item_id", "timestamp"],
            "item": ["item_id", "title", "genre", "price"],
        },
        "item_features": {"text": {"fields": ["title", "genre"]}},
    }
    told = "items.csv: price holds numbers, which are no words: left out of the feature text; "
    assert f"{told}--float-columns price keeps them so" in report.notes
    assert (report.users, report.items, report.interactions, report.repeated) == (3, 2, 4, 1)
    assert report.counts == {
        "texts whose tabs or line breaks became spaces": 1,
        "items of the interactions that items.csv lacks": 0,
    }


def test_columns_of_other_names(source: Path, output: Path) -> None:
    (source / "clicks.csv").write_text("when;who;stars;what\n3;u;4.5;i\n")
    (source / "items.csv").write_text(
        "name;what;rating;a b;cost (EUR)\nLamp;i;5;x;2\nDesk;j;4;y;\n"
    )

    convert(
        source,
        output,
        user="who",
        item="what",
        rating="stars",
        timestamp="when",
        delimiter=";",
        float_columns=("cost (EUR)", "rating"),
    )

    assert lines_of(output, "inter") == [f"{HEAD}\trating:float\ttimestamp:float", "u\ti\t4.5\t3"]
    assert lines_of(output, "item") == [
        "item_id:token\tname:token_seq\titem_rating:float\ta_b:token_seq\tcost_EUR_:float",
        "i\tLamp\t5\tx\t2",
        "j\tDesk\t4\ty\t",
    ]
    found = properties(output)
    assert found["RATING_FIELD"] == "rating"
    assert found["load_col"]["item"] == ["item_id", "name", "item_rating", "a_b", "cost_EUR_"]
    assert found["item_features"] == {"text": {"fields": ["name", "a_b"]}}


def test_columns_are_chosen(source: Path, output: Path) -> None:
    text = ITEMS.replace("item_id", "sku").replace("genre", "yes")
    (source / "items.csv").write_text(text)

    convert(source, output, item_key="sku", item_columns=("yes", "price"), float_columns=("price",))

    assert lines_of(output, "item") == [
        "item_id:token\tyes:token_seq\tprice:float",
        "NA\tlight\t1.50",
        "007\t\t",
        "9\tnan\t1e3",
    ]
    assert properties(output)["load_col"]["item"] == ["item_id", "yes", "price"]
    assert properties(output)["item_features"] == {"text": {"fields": ["yes"]}}


def test_interactions_alone(source: Path, output: Path) -> None:
    # As pandas writes a table with its index, for Windows, with a byte order mark.
    text = "\ufeff,userId,item\r\n0,u,1\r\n\r\n1,u,2\r\n"
    (source / "clicks.csv").write_text(text, encoding="utf-8", newline="")

    report = convert(source, output, items=False)

    assert lines_of(output, "inter") == [HEAD, "u\t1", "u\t2"]
    assert sorted(path.name for path in (output / "toy").iterdir()) == ["toy.inter", "toy.yaml"]
    assert properties(output)["load_col"] == {"inter": ["user_id", "item_id"]}
    assert not {"TIME_FIELD", "RATING_FIELD", "item_features"} & set(properties(output))
    assert report.counts == {}


def test_numbers_alone_make_no_text_feature(source: Path, output: Path) -> None:
    (source / "items.csv").write_text("item_id,price\n007,2\n")

    report = convert(source, output, float_columns=("price",))

    assert "item_features" not in properties(output)
    assert report.counts["items of the interactions that items.csv lacks"] == 1


@pytest.mark.parametrize("file", ["clicks", "items"])
@pytest.mark.parametrize(
    ("suffix", "separator", "quote"),
    [
        (".csv", ";", ""),
        (".csv", ";", '"'),
        (".csv", "\t", ""),
        (".csv", "|", '"'),
        (".tsv", ",", ""),
        (".tsv.gz", ";", '"'),
    ],
)
def test_delimiter_is_found(
    source: Path, output: Path, file: str, suffix: str, separator: str, quote: str
) -> None:
    paths = {}
    for table in ("clicks", "items"):
        paths[table] = source / f"{table}{suffix if file == table else '.csv'}"
        names = "item_id,user_id,a.b" if table == "clicks" else "item_id,title"
        rows = [line.split(",") for line in (names, "i,u,x" if table == "clicks" else "i,x")]
        own = separator if file == table else ","
        text = "".join(own.join(f"{quote}{v}{quote}" for v in row) + "\n" for row in rows)
        write = gzip.compress if paths[table].suffix == ".gz" else bytes
        paths[table].write_bytes(write(text.encode()))

    convert_csv(paths["clicks"], output, "toy", CsvOptions(items=paths["items"]))

    assert lines_of(output, "inter") == [HEAD, "u\ti"]
    assert lines_of(output, "item")[1:] == ["i\tx"]


@pytest.mark.parametrize("suffix", [".tsv", ".tab", ".csv"])
def test_delimiter_follows_the_suffix(source: Path, output: Path, suffix: str) -> None:
    separator = "," if suffix == ".csv" else "\t"
    path = source / f"clicks{suffix}"
    path.write_text(CLICKS.replace('"x,y"', "x y").replace(",", separator))

    convert_csv(path, output, "toy", CsvOptions())

    assert lines_of(output, "inter")[-1] == "x y\t007\t1714566600"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", "0"),
        (" -1.5 ", "-1.5"),
        ("1e9", "1e9"),
        ("1970-01-01", "0"),
        ("1970-01-02T00:00", "86400"),
        ("1969-12-31T23:59:59.5", "-0.5"),
        ("2000-02-29 23:59:59", "951868799"),
        ("2024-05-01T12:30:00+05:30", "1714546800"),
        ("2024-05-01T12:30:00.000001Z", "1714566600.000001"),
    ],
)
def test_times(text: str, seconds: str) -> None:
    found, unit = times_of(None, "time", pa.chunked_array([[text, "1970-01-01"]], pa.string()))
    assert (found[0], unit) == (float(seconds), None)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        (
            "user,items\nu,1\n",
            1,
            "the columns ['user', 'items'], expected exactly one such as",
        ),
        (
            "a,item\nu,1\n",
            1,
            "the columns ['a', 'item'], expected exactly one such as",
        ),
        ("user,user_id,item\nu,v,1\n", 1, "the columns ['user', 'user_id', 'item']"),
        ("user,item,time,timestamp\nu,1,2,3\n", 1, "the columns ['user', 'item', 'time', 'times"),
        ("user,item,item\nu,1,1\n", 1, "the column 'item' again"),
        ("user,item\nu,1\nu\n", 3, "1 fields in 'u'"),
        ("user,item\nu,1\n\n\nu,1,2\n", 5, "3 fields in 'u 1 2'"),
        ('user,item\nu,"1\n2"\n', 2, r"the id '1\n2'"),
        ("user,item\nu\t,1\n", 2, r"the id 'u\t', expected one without tabs and line"),
        ("user,item\nu,1\rv,2\n", 2, "a carriage return inside a line"),
        ("user,item\nu,\n", 2, "the id '', expected one that is not blank"),
        ("user,item\n  ,1\n", 2, "the id '  '"),
        ('user,item,note\nu,1,"a\nb"\nu,1,"open\n', 4, "unexpected end of data"),
        ('user,item\n"u"x,1\n', 2, "',' expected after '\"'"),
        ("user,item,rating\nu,1,good\n", 2, "rating 'good', expected a finite number"),
        ("user,item,rating\nu,1,\n", 2, "rating '', expected a finite number"),
        ("user,item,rating\nu,1,inf\n", 2, "rating 'inf'"),
        ("user,item,time\nu,1,1e400\n", 2, "time '1e400'"),
        (
            "user,item,time\nu,1,01/05/2024\n",
            2,
            "time '01/05/2024', which are dates of %d/%m/%Y or %m/%d/%Y",
        ),
        ("user,item,time\nu,1,2024-13-01\n", 2, "time '2024-13-01'"),
        ("user,item,time\nu,1,\n", 2, "time ''"),
        (f'user,item\nu,"{"x" * 2**24}x"\n', 2, "field larger than field limit"),
        (b"user,item\nu,1\nu,\xff\n", 3, "the byte 0xff at column 3"),
    ],
    ids=lambda value: value[:30] if isinstance(value, (str, bytes)) else None,
)
def test_malformed_interactions_are_refused_with_file_and_line(
    tmp_path: Path, source: Path, output: Path, text: str | bytes, line: int, found: str
) -> None:
    path = source / "clicks.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    message = refused(tmp_path, convert, source, output, items=False, encoding="utf-8")

    assert message.startswith(f"{path}, line {line}: found {found}"), message
    assert "expected" in message


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("code,title\nNA,x\n", 1, "the columns ['code', 'title']"),
        ("item,itemId,title\nNA,NA,x\n", 1, "the columns ['item', 'itemId', 'title']"),
        ("item_id,title\nNA,x\n007,y\nNA,z\n", 4, "the id 'NA' again"),
        ("item_id,title\nNA,x,y\n", 2, "3 fields in 'NA x y'"),
        ('item_id,title\nNA,"x\ny"\n"a\tb",z\n', 4, r"the id 'a\tb'"),
        ("item_id,a b,a-b\nNA,x,y\n", 1, "columns that become ['a_b', 'a_b']"),
    ],
)
def test_malformed_items_are_refused_with_file_and_line(
    tmp_path: Path, source: Path, output: Path, text: str, line: int, found: str
) -> None:
    path = source / "items.csv"
    path.write_text(text)

    message = refused(tmp_path, convert, source, output)

    assert message.startswith(f"{path}, line {line}: found {found}"), message


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"user": "who"}, "clicks.csv, line 1: found the columns ['user_id', 'item_id', 'timest"),
        (
            {"user": ""},
            "clicks.csv, line 1: found the columns ['user_id', 'item_id', 'timestamp'], "
            "expected '' (option --user) among them",
        ),
        ({"user": "item_id"}, "clicks.csv, line 1: found one column named for two"),
        ({"rating": "stars"}, "clicks.csv, line 1: found the columns"),
        ({"item_key": "sku"}, "items.csv, line 1: found the columns"),
        ({"item_columns": ("title", "size")}, "items.csv: option --item-columns: found ['title', "),
        ({"item_columns": ("item_id",)}, "items.csv: option --item-columns: found ['item_id']"),
        ({"item_columns": ("title", "title")}, "items.csv: option --item-columns: found ['title',"),
        (
            {"float_columns": ("title",)},
            "items.csv, line 2: found title 'Lamp, \"the\" one', expected a",
        ),
        (
            {"item_columns": ("title",), "float_columns": ("price",)},
            "items.csv: option --float-columns: found ['price'], expected distinct columns of",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, source: Path, output: Path, options: dict[str, Any], found: str
) -> None:
    message = refused(tmp_path, convert, source, output, **options)
    assert message.startswith(f"{source}/{found}"), message


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"item_key": "sku"}, "option --item-key: found without --items"),
        ({"float_columns": ("price",)}, "option --float-columns: found without --items"),
        ({"delimiter": ""}, "option --delimiter: found ''"),
        ({"delimiter": "ab"}, "option --delimiter: found 'ab'"),
        ({"delimiter": '"'}, "option --delimiter: found '\"'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    tmp_path: Path, source: Path, output: Path, options: dict[str, Any], found: str
) -> None:
    message = refused(tmp_path, convert, source, output, items=False, **options)
    assert message.startswith(found)


def test_items_of_other_data_are_refused(tmp_path: Path, source: Path, output: Path) -> None:
    (source / "items.csv").write_text("item_id,title\n7,x\n")

    message = refused(tmp_path, convert, source, output)

    expected = "found no item of the interactions, whose items look like 'NA', '007'"
    assert message.startswith(f"{source / 'items.csv'}: {expected}")


@pytest.mark.parametrize("file", ["clicks.csv", "items.csv"])
@pytest.mark.parametrize("content", ["", "\n\n", "user_id,item_id\n", None])
def test_empty_and_missing_files_are_refused(
    tmp_path: Path, source: Path, output: Path, file: str, content: str | None
) -> None:
    path = source / file
    path.unlink()
    if content is not None:
        path.write_text(content)

    message = refused(tmp_path, convert, source, output)

    assert message.startswith(f"{path}: {'cannot be read' if content is None else 'found no'}")


@pytest.mark.parametrize("taken", ["toy.inter", "toy.item", "toy.yaml"])
def test_existing_file_is_refused_unless_overwritten(
    tmp_path: Path, source: Path, output: Path, taken: str
) -> None:
    (output / "toy").mkdir(parents=True)
    (output / "toy" / taken).write_text("old")

    message = refused(tmp_path, convert, source, output)
    assert message.startswith(f"{output / 'toy' / taken}: found an existing file")

    report = convert(source, output, overwrite=True)
    convert(source, tmp_path / "fresh")
    if taken == "toy.yaml":  # its owner may have edited it
        assert (output / "toy" / taken).read_text() == "old"
        assert f"left as it was: {output / 'toy' / taken}; " in format_report(report)
        (tmp_path / "fresh" / "toy" / taken).write_text("old")
    assert snapshot(output) == snapshot(tmp_path / "fresh")
    message = refused(tmp_path, convert, source, output, overwrite=True, items=False)
    assert message.startswith(f"{output / 'toy' / 'toy.item'}: found features of an earlier")


def test_property_file_is_written_anew_until_it_is_edited(source: Path, output: Path) -> None:
    path = output / "toy" / "toy.yaml"
    (source / "clicks.csv").write_text("user,item,from,day\nu,1,2024-05-01,2024-05-01\n")
    convert(source, output, items=False)  # two columns look like times
    assert "TIME_FIELD" not in properties(output)
    convert(source, output, overwrite=True, items=False, timestamp="day")
    assert properties(output)["TIME_FIELD"] == "timestamp"

    convert(source, output, overwrite=True, items=False)
    path.write_text(f"{path.read_text()}seed: 3\n")
    report = convert(source, output, overwrite=True, items=False, timestamp="day")
    assert "seed: 3" in path.read_text()
    told = format_report(report).splitlines()
    start = told.index(f"{path} lacks what was converted now; put into it:")
    added = yaml.safe_load("\n".join(line[2:] for line in told[start + 1 : start + 3]))
    inter = ["user_id", "item_id", "timestamp"]
    assert added == {"TIME_FIELD": "timestamp", "load_col": {"inter": inter}}


@pytest.mark.parametrize("name", ["office", "../toy", ".toy"])
def test_names_that_would_not_run_are_refused(source: Path, output: Path, name: str) -> None:
    """The shipped file of office would look for its split."""
    with pytest.raises(UserError, match=r"^name: found '"):
        convert_csv(source / "clicks.csv", output, name, CsvOptions())
    assert not output.exists()


def test_fields_longer_than_pythons_limit_are_read(source: Path, output: Path) -> None:
    text = "words " * 40000
    (source / "items.csv").write_text(f"item_id,text\n007,{text}\n")

    convert(source, output)

    assert lines_of(output, "item")[1] == f"007\t{text}"


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """40 users with 8 of 60 items each, one of which is called NA."""
    draw = random.Random(1)
    names = ["NA", "None", "001", *(f"item {i}" for i in range(57))]
    titles = [(name, f'"{name}", new\nand\told') for name in names]
    clicks = [
        (f"u{user}", item, f"2024-05-{day:02d}")
        for user in range(40)
        for day, item in enumerate(draw.sample(names, 8), start=1)
    ]
    write_table(tmp_path / "clicks.csv", ("user_id", "item_id", "time"), clicks)
    write_table(tmp_path / "items.csv", ("item_id", "title"), titles)
    return tmp_path


def test_one_command_and_a_run(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop)
    assert main(["csv", "clicks.csv", "--items", "items.csv", "--name=toy"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "40 users, 60 items, 320 interactions"
    assert "texts whose tabs or line breaks became spaces: 60" in printed
    assert printed[-1] == (
        "written: dataset_atomic/toy; next: "
        "python -m recbole_diffusion --model=LinDiffRec --dataset=toy"
    )

    result = run_recbole_diffusion("EASE", "toy", (), {"show_progress": False})
    assert np.isfinite(result["test"]["recall@20"])
    dataset = load_split(Config("BPR", "toy")).dataset
    assert (dataset.user_num - 1, dataset.item_num - 1) == (40, 60)
    assert {"NA", "None", "001"} <= set(dataset.field2id_token["item_id"])
    first = dataset.token2id("item_id", "NA")
    words = dataset.id2token("title", dataset.item_feat["title"][first].numpy())
    assert [word for word in words if word != "[PAD]"] == ['"NA",', "new", "and", "old"]
    times = dataset.inter_feat["timestamp"].numpy()
    assert (times.min(), times.max()) == (1714521600, 1714521600 + 7 * 86400)


def test_command_line_takes_every_option(source: Path, output: Path) -> None:
    (source / "clicks.csv").write_text("a\tb\tc\td\nu\ti\t3\t4\n")
    (source / "items.csv").write_text("e\tf\tg\ni\tx\t1\n")
    options = "--user=a --item=b --rating=c --timestamp=d --item-key=e --delimiter=\\t --name=toy"
    tables = [str(source / "clicks.csv"), "--items", str(source / "items.csv")]
    columns = ["--item-columns", "g", "f", "--float-columns", "g"]
    assert main(["csv", *tables, *options.split(), *columns, f"--output={output}"]) == 0
    assert lines_of(output, "inter")[1:] == ["u\ti\t3\t4"]
    assert lines_of(output, "item") == ["item_id:token\tg:float\tf:token_seq", "i\t1\tx"]
