"""The command `convert`: which file and column is what, and what is left out."""

import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conversion_tools import lines_of, next_run

from recbole_diffusion.commands.cli import main

HEAD = "user_id:token\titem_id:token"
RATED = f"{HEAD}\trating:float"
TIMED = f"{HEAD}\ttimestamp:float"
Convert = Callable[..., tuple[int, str, str]]

ORDERS = "customer,sku,when\nann,lamp,2024-05-01T12:30:00Z\nben,desk,1714566601\n"
UNKNOWN = ORDERS.replace("customer", "who").replace("when", "moment")
PRODUCTS = "sku,title\nlamp,A lamp\ndesk,A desk\n"
ROWS = [TIMED, "ann\tlamp\t1714566600", "ben\tdesk\t1714566601"]
ITEMS = ["item_id:token\ttitle:token_seq", "lamp\tA lamp", "desk\tA desk"]


@pytest.mark.parametrize("order", [("orders.csv", "products.csv"), ("products.csv", "orders.csv")])
@pytest.mark.parametrize(
    "options",
    [
        ("--user=who", "--item=sku", "--timestamp=moment"),
        ("--user=who", "--timestamp=moment"),
        ("--user=who", "--timestamp=moment", "--as=table"),
    ],
)
def test_named_columns_decide_which_file_is_what(
    order: tuple[str, str], options: tuple[str, ...], convert: Convert, output: Path
) -> None:
    files = {"orders.csv": UNKNOWN, "products.csv": PRODUCTS}

    code, out, err = convert({name: files[name] for name in order}, *options)

    assert code == 0, err
    assert lines_of(output, "inter") == ROWS
    assert lines_of(output, "item") == ITEMS
    first = out.splitlines()[0]
    assert first.index("orders.csv, items:") < first.index("products.csv (--as")


def test_named_user_column_alone_makes_a_table_of_interactions(convert: Convert) -> None:
    """Its column of items is unknown, so that the refusal is about that column of that file."""
    files = {"orders.csv": "who,thing\nann,lamp\n", "products.csv": PRODUCTS}

    code, _, err = convert(files, "--user=who")

    assert code == 2
    assert "orders.csv, line 1: found the columns ['who', 'thing']" in err
    assert "named by --item" in err


def test_items_are_known_by_their_named_key(convert: Convert, output: Path) -> None:
    files = {"orders.csv": ORDERS, "stock.csv": PRODUCTS.replace("sku", "code")}

    code, _, err = convert(files)
    assert (code, "--item-key=COLUMN" in err) == (2, True)

    code, _, err = convert(files, "--item-key=code")
    assert code == 0, err
    assert lines_of(output, "item") == ITEMS


UNDECIDED = {
    "no users": (
        {"orders.csv": UNKNOWN, "products.csv": PRODUCTS},
        ("orders.csv (who, sku, moment)", "products.csv (sku, title)"),
        {"user": "who", "timestamp": "moment"},
    ),
    "no column known": (
        {"a b.csv": UNKNOWN.replace("sku", "thing"), "b.csv": PRODUCTS.replace("sku", "thing")},
        ("a b.csv (who, thing, moment)", "b.csv (thing, title)"),
        {"user": "who", "item": "thing", "item-key": "thing"},
    ),
    "a wrong name": (
        {"orders.csv": UNKNOWN, "products.csv": PRODUCTS},
        ("orders.csv (who, sku, moment)", "--user=whom"),
        {"user": "who", "timestamp": "moment"},
    ),
}


@pytest.mark.parametrize("case", UNDECIDED)
def test_undecided_files_are_told_with_a_command_that_works(
    case: str, convert: Convert, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, told, columns = UNDECIDED[case]

    code, _, err = convert(files, *(["--user=whom"] if case == "a wrong name" else []))

    assert code == 2
    assert all(text in err for text in told), err
    words = shlex.split(err.rpartition("such as: ")[2].strip())
    assert words[0] == "convert"
    assert "--timestamp=moment" in words  # the one column that looks like times
    filled = [_filled(word, columns) for word in words]
    assert main([*filled, f"--output={output}"]) == 0, capsys.readouterr().err
    assert lines_of(output, "inter") == ROWS
    assert lines_of(output, "item") == ITEMS


def _filled(word: str, columns: dict[str, str]) -> str:
    option, _, value = word.removeprefix("--").partition("=")
    return {"COLUMN": f"--{option}={columns.get(option)}", "NAME": f"--{option}=toy"}.get(
        value, word
    )


def test_named_table_of_items_may_stand_among_the_files(convert: Convert, output: Path) -> None:
    files = {"orders.csv": ORDERS, "rows.csv": ORDERS.replace("ann", "A lamp")}
    items = output.parent / "source" / "rows.csv"

    code, _, err = convert(files, f"--items={items}", "--item-columns", "customer")

    assert code == 0, err
    assert lines_of(output, "inter") == ROWS
    assert lines_of(output, "item")[1:] == ["lamp\tA lamp", "desk\tben"]


def test_interactions_without_a_header_are_known_beside_items(
    convert: Convert, output: Path
) -> None:
    files = {"u.data": "1\t2\t3\t881250949\n2\t3\t4\t881250950\n", "u.item": "movie|title\n2|A\n"}

    code, _, err = convert(files)

    assert code == 0, err
    assert lines_of(output, "inter")[1:] == ["1\t2\t3\t881250949", "2\t3\t4\t881250950"]
    assert lines_of(output, "item")[1:] == ["2\tA"]


def test_columns_of_a_table_without_a_header_are_asked_for(convert: Convert) -> None:
    code, _, err = convert({"log.csv": "a,1,x,y,z\n", "items.csv": PRODUCTS})

    assert code == 2
    assert "log.csv (no header); items.csv (sku, title)" in err
    assert "--columns=user,item,..." in err.rpartition("such as: ")[2]


def test_two_files_of_interactions_are_told(convert: Convert) -> None:
    code, _, err = convert({"may.csv": ORDERS, "june.csv": ORDERS})

    assert code == 2
    assert "may.csv (customer, sku, when); june.csv (customer, sku, when)" in err
    assert "--items=" not in err.rpartition("such as: ")[2]


def test_file_of_a_folder_that_has_no_part_is_told(convert: Convert) -> None:
    files = {"orders.csv": ORDERS, "products.csv": PRODUCTS, "staff.csv": "name,age\nx,3\n"}

    code, out, err = convert(files, folder=True)

    assert code == 0, err
    assert "left out: staff.csv" in out.splitlines()[0]


def test_own_items_in_json_are_no_amazon_products(convert: Convert, output: Path) -> None:
    log = '{"user": "u", "item": "i"}\n'
    items = '{"item": "i", "title": "A lamp", "hours": {"Monday": "9-5"}, "tags": ["a", "b"]}\n'

    code, out, err = convert({"log.jsonl": log, "items.jsonl": items})

    assert code == 0, err
    assert lines_of(output, "item")[1:] == ["i\tA lamp"]
    assert "items.jsonl: columns left out, neither texts nor numbers: hours, tags" in out


def parquet(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream)
    return stream.getvalue()


MOMENTS = pd.to_datetime(["2020-01-01", "2020-01-02"])
TIMES_TAKEN = {
    "dates": ("u,item,moment,qty\na,b,2024-05-01 10:00:00,3\n", "moment"),
    "seconds": ("u,item,moment\na,b,1714566600\n", "moment"),
    "milliseconds": ("u,item,ts_ms\na,b,1714566600000\n", "ts_ms"),
    "a blank in the name": ("u,item,the moment\na,b,2024-05-01\n", "the moment"),
    "births beside": (
        "u,item,signed,at\n"
        + "".join(
            f"{u},{i},2020-01-0{u + 1},2024-05-{10 + u + 3 * i}\n"
            for u in range(3)
            for i in range(4)
        ),
        "at",
    ),
    "releases beside": (
        "u,item,out,at\n"
        + "".join(
            f"{u},{i},2020-01-0{i + 1},2024-05-{10 + u + 3 * i}\n"
            for u in range(3)
            for i in range(4)
        ),
        "at",
    ),
    "json": (json.dumps({"u": "a", "item": "b", "m": 1714566600, "n": None}), "m"),
    "parquet": (parquet(pd.DataFrame({"u": ["a", "b"], "item": [1, 2], "m": MOMENTS})), "m"),
}


@pytest.mark.parametrize("case", TIMES_TAKEN)
def test_the_only_times_of_interactions_are_taken(
    case: str, convert: Convert, output: Path
) -> None:
    content, column = TIMES_TAKEN[case]

    code, out, err = convert({"log": content}, "--user=u")

    assert code == 0, err
    assert f"{column} -> timestamp" in out
    assert lines_of(output, "inter")[0].endswith("timestamp:float")


def test_an_attribute_of_users_or_items_is_no_time(convert: Convert, output: Path) -> None:
    rows = [f"{u},{i},2020-01-0{i + 1}" for u in range(3) for i in range(4)]

    code, out, err = convert({"log": "\n".join(["u,item,released", *rows])}, "--user=u")

    assert code == 0, err
    assert "released (looks like times: --timestamp=released)" in out
    assert lines_of(output, "inter")[0] == "user_id:token\titem_id:token"


MORE = "; --items=FILE, also of the same file, keeps what tells of items"
LEFT_OUT = {
    "two": ("u,item,m,n\na,b,2024-05-01,2024-05-02\n", "m (T=m), n (T=n)"),
    "years": ("u,item,year\na,b,2019\n", "year"),
    "births": ("u,item,born\na,b,1975-01-02\n", "born"),
    "one that is no date": ("u,item,moment\na,b,2024-05-01\na,c,soon\n", "moment"),
    "one that is missing": ("u,item,moment\na,b,2024-05-01\na,c,\n", "moment"),
    "times known": ("u,item,time,moment\na,b,5,2024-05-01\n", "moment"),
    "json": (json.dumps({"u": "a", "item": "b", "on": True, "t": {"a": 1}, "n": None}), "on, t, n"),
    "half a character": ('{"u": "a", "item": "b", "m\\ud800": 1, "n": "\\ud800"}', "'m\\ud800', n"),
    "a line break": ('"a\nb",u,item\n2024-05-01,a,b\n', "'a\\nb'"),
    "many": (
        ",".join(["u", "item", *(f"c{n}" for n in range(30))]) + f"\na,b{',x' * 30}\n",
        f"{', '.join(f'c{n}' for n in range(20))} and 10 more",
    ),
    "parquet": (
        parquet(pd.DataFrame({"u": ["a", "b"], "item": [1, 2], "m": MOMENTS, "n": MOMENTS})),
        "m (T=m), n (T=n)",
    ),
    "ratings": (
        "u;item;mark;age\na;b;3;30\nb;b;;300\nb;c;4,5;7\n",
        "mark (looks like ratings: --rating=mark), age",
    ),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_columns_that_are_left_out_are_told(case: str, convert: Convert) -> None:
    content, told = LEFT_OUT[case]

    code, out, err = convert({"log": content}, "--user=u")

    assert code == 0, err
    line = f"log: columns left out: {told}".replace("T=", "looks like times: --timestamp=")
    assert line in out.splitlines() or f"{line}{MORE}" in out.splitlines()


def test_nothing_is_told_where_no_column_is_left_out(convert: Convert) -> None:
    code, out, err = convert({"log.csv": ",user,item\n0,a,b\n"})  # an index as pandas writes it

    assert code == 0, err
    assert "columns left out" not in out


USERS = "customer buyer client shopper member account"
TIMES = "when ordered_at purchased_at created_at viewed_at clicked_at event_time time_stamp ts"


@pytest.mark.parametrize("user", [*USERS.split(), *(f"{u}_id" for u in USERS.split()), "Buyer-ID"])
def test_columns_of_users_have_many_names(user: str, convert: Convert, output: Path) -> None:
    code, _, err = convert({"log.csv": f"{user},product_id\na,b\n"})

    assert code == 0, err
    assert lines_of(output, "inter") == [HEAD, "a\tb"]


@pytest.mark.parametrize("time", [*TIMES.split(), "datetime", "date", "OrderedAt"])
def test_columns_of_times_have_many_names(time: str, convert: Convert, output: Path) -> None:
    code, _, err = convert({"log.csv": f"user,item,{time}\na,b,1970-01-02\n"})

    assert code == 0, err
    assert lines_of(output, "inter") == [TIMED, "a\tb\t86400"]


@pytest.mark.parametrize(
    ("header", "row", "advice"),
    [
        ("customer,client,item", "a,c,b", "customer and client compete: --user=customer or"),
        ("user,item,when,played at", "a,b,7,8", "--timestamp=when or --timestamp='played at'"),
    ],
)
def test_competing_columns_are_not_guessed(
    header: str, row: str, advice: str, convert: Convert
) -> None:
    code, _, err = convert({"log.csv": f"{header}\n{row}\n"})

    assert code == 2
    assert advice in err


@pytest.mark.parametrize(
    ("header", "row", "left"),
    [
        ("user_id,client,item", "a,c,b", "client"),
        ("user,item,timestamp,when", "a,b,86400,now", "when"),
        ("user,item,when", "a,b,1st of May", "when"),
    ],
)
def test_usual_names_come_first_and_what_cannot_be_a_time_is_left_out(
    header: str, row: str, left: str, convert: Convert, output: Path
) -> None:
    code, out, err = convert({"log.csv": f"{header}\n{row}\n"})

    assert code == 0, err
    assert f"columns left out: {left}" in out
    assert lines_of(output, "inter")[1].split("\t")[:2] == ["a", "b"]


def test_columns_of_a_file_without_a_header_are_not_named(convert: Convert) -> None:
    code, _, err = convert({"log.csv": "100,7,1\n101,8,1\n"}, "--user=column 2")

    assert code == 2
    assert "found option --user for a file without a header" in err
    assert "--columns=user,item,..." in err


@pytest.mark.parametrize("options", [["--no-header"], ["--item=item_id"]])
def test_a_log_without_a_header_beside_items_is_refused_in_words(
    options: list[str], convert: Convert
) -> None:
    files = {"log.csv": "u1,i1,4\nu2,i2,5\n", "items.csv": "item_id,title\ni1,A\ni2,B\n"}
    code, _, err = convert(files, *options)

    assert code == 2
    assert err.startswith("error: ")


@pytest.mark.parametrize("column", ["foo", "when"])
def test_a_header_alone_has_no_interactions(column: str, convert: Convert) -> None:
    code, _, err = convert({"log.csv": f"user_id,item_id,{column}\n"})

    assert code == 2
    assert "no interaction" in err


def test_a_column_of_rare_name_makes_no_users_of_items(convert: Convert, output: Path) -> None:
    files = {"items.csv": "item_id,reviewer\ni1,Ann\n", "log.csv": "user_id,item_id\nu1,i1\n"}
    code, _, err = convert(files)

    assert code == 0, err
    assert lines_of(output, "inter")[1] == "u1\ti1"


def test_advice_names_no_times_where_nothing_looks_like_them(convert: Convert) -> None:
    files = {"log.csv": "user_id,item_id,rating\nu,i,4\n", "books.csv": "id,title\ni,A\n"}
    code, _, err = convert(files)

    assert code == 2
    assert "--item-key=COLUMN" in err
    assert "--timestamp" not in err


def test_texts_that_are_none_are_refused(convert: Convert, tmp_path: Path) -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"item_id": ["i1"], "title": [b"\xff\xfe"]}), stream)
    code, _, err = convert(
        {"log.csv": "user_id,item_id\nu1,i1\n", "items.parquet": stream.getvalue()}
    )

    assert code == 2
    assert "items.parquet: cannot be read" in err


def test_a_misspelt_option_names_the_nearest(convert: Convert) -> None:
    code, _, err = convert({"log.csv": "user,item\na,b\n"}, "--timestmp=when")

    assert code == 2
    assert "--timestmp=when; did you mean --timestamp?" in err


DECIMALS = {
    "comma": ("4,5\n3\n", ["4.5", "3"]),
    "comma and sign": ("-4,25\n+,5\n", ["-4.25", "0.5"]),
    "three digits, others of one": ("4,125\n3,5\n", ["4.125", "3.5"]),
}


@pytest.mark.parametrize("case", DECIMALS)
def test_decimal_comma_is_found(case: str, convert: Convert, output: Path) -> None:
    ratings, expected = DECIMALS[case]
    rows = "".join(f"u;i{n};{rating}\n" for n, rating in enumerate(ratings.split()))

    code, out, err = convert({"log.csv": f"user;item;rating\n{rows}"})

    assert code == 0, err
    assert [line.split("\t")[2] for line in lines_of(output, "inter")[1:]] == expected
    assert "rating: decimals behind a comma" in out


@pytest.mark.parametrize("ratings", ["1,500 2,000", "4,5 3.5", "4,5 x", "1,234,5 2", "4,5 1,"])
def test_other_commas_are_refused(ratings: str, convert: Convert) -> None:
    """Thousands may be meant, or the column holds no numbers."""
    rows = "".join(f"u;i{n};{rating}\n" for n, rating in enumerate(ratings.split()))

    code, _, err = convert({"log.csv": f"user;item;rating\n{rows}"})

    assert code == 2
    assert "expected a finite number" in err


def test_decimal_comma_of_a_column_of_items_is_found(convert: Convert, output: Path) -> None:
    files = {"log.csv": "user,item\nu,i\n", "items.csv": "item;price\ni;1,25\nj;\n"}

    code, out, err = convert(files, "--float-columns", "price")

    assert code == 0, err
    assert "price: decimals behind a comma" in out
    assert lines_of(output, "item")[1:] == ["i\t1.25", "j\t"]


def test_lists_of_equal_length_are_lists(convert: Convert, output: Path) -> None:
    code, _, err = convert({"buys.lst": "0 5 3 9 7\n1 7 3 2 5\n"})

    assert code == 0, err
    assert lines_of(output, "inter")[:3] == [TIMED, "0\t5\t0", "0\t3\t1"]


@pytest.mark.parametrize("lines", ["0 5 3 9 7\n", "0 5 3 9 7\n0 7 3 2 5\n"])
def test_lines_of_equal_length_may_be_sequences(lines: str, convert: Convert) -> None:
    code, _, err = convert({"buys.lst": lines})

    assert code == 2
    assert "--as=lists" in err
    assert "--as=sequences" in err


def test_first_run_is_of_the_model_to_start_with(convert: Convert, output: Path) -> None:
    _, out, _ = convert({"log.csv": ORDERS})

    assert next_run(out, output / "toy")["model"] == "LinDiffRec"


def test_help_tells_the_form_with_an_option_for_items(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "--help"])

    assert "convert A --items=B" in " ".join(capsys.readouterr().out.split())
