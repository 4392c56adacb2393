"""The command `convert`: tables of items without a header, or in the interactions themselves."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conversion_tools import lines_of
from test_convert_any_file import pickled

Convert = Callable[..., tuple[int, str, str]]
RATINGS = "1::10::5::978300760\n2::11::3::978302109\n3::10::4::978302110\n"
FILMS = "10::Heat (1995)::Action|Crime\n11::Jumanji (1995)::Adventure|Children|Fantasy\n12::A::B\n"
ORDERS = (
    "who,product_code,title,colour,at,price\n"
    "ann,p1,A lamp,red|blue,2024-05-01,3\n"
    "bob,p1,A lamp,red|blue,2024-05-02,4\n"
    "bob,p2,A table,white,2024-05-03,9\n"
)


def test_tables_without_a_header_are_told_apart(convert: Convert, output: Path) -> None:
    code, out, err = convert({"noten.dat": RATINGS, "filme.dat": FILMS})

    assert code == 0, err
    assert "items: " in out
    assert "column 3: several words, A|B, written with spaces" in out
    assert len(lines_of(output, "inter")) == 4
    assert lines_of(output, "item") == [
        "item_id:token\tcolumn_2:token_seq\tcolumn_3:token_seq",
        "10\tHeat (1995)\tAction Crime",
        "11\tJumanji (1995)\tAdventure Children Fantasy",
        "12\tA\tB",
    ]


def test_a_bare_table_of_other_items_is_refused(convert: Convert) -> None:
    code, _, err = convert({"noten.dat": RATINGS, "filme.dat": FILMS.replace("1", "7")})

    assert code == 2
    assert "filme.dat" in err
    assert "--item-key" in err


def test_movielens_without_users(convert: Convert, output: Path) -> None:
    code, out, err = convert({"ratings.dat": RATINGS, "movies.dat": FILMS})

    assert code == 0, err
    assert "taken for movielens-1m" in out
    assert lines_of(output, "item")[1] == "10\tHeat (1995)\tAction Crime"


def test_a_table_tells_of_its_own_items(convert: Convert, output: Path, tmp_path: Path) -> None:
    table = tmp_path / "source" / "orders.csv"

    code, out, err = convert({"orders.csv": ORDERS}, "--user=who", f"--items={table}")

    assert code == 0, err
    assert "product_code -> item" in out
    assert lines_of(output, "inter") == [
        "user_id:token\titem_id:token\ttimestamp:float",
        "ann\tp1\t1714521600",
        "bob\tp1\t1714608000",
        "bob\tp2\t1714694400",
    ]
    # Its price is no item's: one item has two.
    assert lines_of(output, "item") == [
        "item_id:token\ttitle:token_seq\tcolour:token_seq",
        "p1\tA lamp\tred blue",
        "p2\tA table\twhite",
    ]


@pytest.mark.parametrize("kind", ["parquet", "json"])
def test_other_tables_tell_of_their_items(
    kind: str, convert: Convert, output: Path, tmp_path: Path
) -> None:
    frame = pd.DataFrame(
        {
            "user": ["ann", "bob", "bob"],
            "sku": [1, 1, 2],
            "title": ["A lamp", "A lamp", None],
            "tags": [[1], [1], [1]],
            "at": ["2024-05-01", "2024-05-02", "2024-05-03"],
        }
    )
    if kind == "parquet":
        path = tmp_path / "frame.parquet"
        frame.to_parquet(path)
        content: bytes | str = path.read_bytes()
    else:
        content = frame.to_json(orient="records", lines=True)

    code, _, err = convert({"log": content}, f"--items={tmp_path / 'source' / 'log'}")

    assert code == 0, err
    assert lines_of(output, "item") == ["item_id:token\ttitle:token_seq", "1\tA lamp", "2\t"]


@pytest.mark.parametrize(
    ("header", "row"), [("CustomerNo,ProductNo", "c1,p1"), ("user_number,item-code", "c1,p1")]
)
def test_numbers_and_codes_are_ids(header: str, row: str, convert: Convert, output: Path) -> None:
    code, _, err = convert({"log.csv": f"{header}\n{row}\n"})

    assert code == 0, err
    assert lines_of(output, "inter")[1] == "c1\tp1"


def test_users_and_items_are_asked_for_at_once(convert: Convert) -> None:
    code, _, err = convert({"log.csv": "kunde,artikel\na,b\n"})

    assert code == 2
    assert "name them: --user=COLUMN --item=COLUMN" in err


def test_names_for_a_table_that_has_them_are_refused(convert: Convert) -> None:
    code, _, err = convert(
        {"log.csv": "kunde;artikel;note\na;b;4,5\n"}, "--columns=user,item,rating"
    )

    assert code == 2
    assert "log.csv, line 1: found rating 'note', which looks like a header" in err


def test_pickles_stand_for_their_folder(convert: Convert) -> None:
    lists = {n: [n % 4, (n + 1) % 4] for n in range(12)}
    files = {"trn_mat.pkl": pickled(lists), "tst_mat.pkl": pickled({0: [3], 1: [0]})}

    code, out, err = convert(files)

    assert code == 0, err
    assert "taken for diffmm" in out
    assert "12 users, 4 items" in out


NAMES = {
    "an id before a name": ("user_id,user_name,item_id,item_name\nu,Ann,i,A lamp\n", "user_id"),
    "an id that is usual": ("CustomerNo,user,product_id\nc,u,i\n", "user"),
    "a rating of one's own": ("user,item,my_rating,average_rating\nu,i,3,4\n", "my_rating"),
    "a rating by its name": ("user,item,rating,user_rating\nu,i,3,4\n", "rating"),
    "an event": ("user,item,event_name\nu,i,purchase\n", "event_name"),
}


@pytest.mark.parametrize("case", NAMES)
def test_the_nearest_name_is_taken(case: str, convert: Convert) -> None:
    content, column = NAMES[case]

    code, out, err = convert({"log.csv": content})

    assert code == 0, err
    roles = "user, item, rating, event".split(", ")
    assert any(f"{column} -> {role}" in out for role in roles)


def test_a_zip_file_of_a_mac(convert: Convert, output: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("log.csv", "user,item\na,b\n")
        archive.writestr("__MACOSX/._log.csv", "x")
        archive.writestr(".DS_Store", "x")

    code, _, err = convert({"log.zip": stream.getvalue()})

    assert code == 0, err
    assert lines_of(output, "inter")[1:] == ["a\tb"]


def test_files_to_save_otherwise_are_told(convert: Convert) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("[Content_Types].xml", "x")
        archive.writestr("xl/workbook.xml", "x")

    code, _, err = convert({"log.xlsx": stream.getvalue()})
    assert code == 2
    assert "found a spreadsheet, expected a table of text; save it as CSV" in err

    code, _, err = convert({"log.json": '[{"user": "a", "item": "b"}]'})
    assert code == 2
    assert "lines=True" in err


def test_rows_that_lack_something_may_be_left_out(convert: Convert, output: Path) -> None:
    rows = ["u,1,5,10", ",1,5,10", "v, ,5,10", "v,1,,10", "v,2,4,", "w,2,4,11", "x,2,bad,12"]
    text = "\n".join(["user,item,rating,time", *rows])

    code, _, err = convert({"log.csv": "user,item\nu,1\n,1\n"})
    assert code == 2
    assert "log.csv, line 3: found the id '', expected one that is not blank (--drop-missing" in err

    code, _, err = convert({"log.csv": text}, "--drop-missing")
    assert code == 2
    assert "log.csv, line 8: found rating 'bad'" in err

    code, out, err = convert({"log.csv": text.replace("bad", "3")}, "--drop-missing")
    assert code == 0, err
    assert "rows left out, without a user, item, rating or time: 4" in out
    assert lines_of(output, "inter")[1:] == ["u\t1\t5\t10", "w\t2\t4\t11", "x\t2\t3\t12"]


def test_missing_ids_of_parquet(convert: Convert, output: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": [7, None, 8], "item": [1, 2, 2], "rating": [0.5, 1.0, None]})
    frame.to_parquet(tmp_path / "frame.parquet")

    code, out, err = convert(
        {"log.parquet": (tmp_path / "frame.parquet").read_bytes()}, "--drop-missing"
    )

    assert code == 0, err
    assert "rows left out, without a user, item, rating or time: 2" in out
    assert lines_of(output, "inter")[1:] == ["7\t1\t0.5"]
