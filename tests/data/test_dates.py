"""Dates in the forms that people write them, converted to seconds since 1970."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conversion_tools import lines_of

from recbole_diffusion.convert.dates import FORMS, forms_of

Convert = Callable[..., tuple[int, str, str]]
# Of all days of a month and hours of a day: no form can be taken for another.
MOMENTS = [datetime(2018, 7, 1, 20, 16, tzinfo=UTC) + timedelta(days=n, hours=n) for n in range(40)]
CLOCKLESS = [moment.replace(hour=0, minute=0) for moment in MOMENTS]


def seconds_of(output: Path) -> list[float]:
    return [float(line.split("\t")[2]) for line in lines_of(output, "inter")[1:]]


def table(moments: list[datetime], form: str, name: str = "Order Date") -> str:
    rows = [f'u{n};i{n};"{moment.strftime(form)}"' for n, moment in enumerate(moments)]
    return "\n".join([f"user;item;{name}", *rows]) + "\n"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_told_from_the_others(form: str) -> None:
    moments = MOMENTS if any(part in form for part in ("%H", "%I")) else CLOCKLESS

    ((_, seconds),) = forms_of(pd.Series([moment.strftime(form) for moment in moments])).items()

    assert seconds.tolist() == [moment.timestamp() for moment in moments]


@pytest.mark.parametrize(
    "form",
    [
        *("%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p", "%b %d, %Y", "%Y-%m-%d %H:%M:%S UTC", "%Y/%m/%d"),
        *("%Y%m%d", "%Y%m%d%H%M%S", "%d.%m.%Y %H:%M UTC", "%a, %d %b %Y %H:%M:%S GMT"),
    ],
)
def test_dates_are_converted(form: str, convert: Convert, output: Path) -> None:
    moments = MOMENTS if any(part in form for part in ("%H", "%I")) else CLOCKLESS

    code, out, err = convert({"orders.csv": table(moments, form)})

    assert code == 0, err
    assert "Order Date -> timestamp" in out
    assert seconds_of(output) == [moment.timestamp() for moment in moments]


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_compact_dates_of_parquet(kind: str, convert: Convert, output: Path) -> None:
    days = [moment.strftime("%Y%m%d") for moment in CLOCKLESS]
    values: Any = [int(day) for day in days] if kind == "numbers" else days
    frame = pd.DataFrame({"user": range(40), "item": range(40), "date": values})
    path = output.parent / "log.parquet"
    frame.to_parquet(path)

    code, out, err = convert({"log.parquet": path.read_bytes()})

    assert code == 0, err
    assert "date: taken for dates %Y%m%d, written as seconds" in out
    assert seconds_of(output) == [moment.timestamp() for moment in CLOCKLESS]


def test_days_and_months_that_cannot_be_told_apart(convert: Convert, output: Path) -> None:
    early = [moment for moment in CLOCKLESS if moment.day <= 12]
    files = {"orders.csv": table(early, "%m/%d/%Y", "date")}

    code, _, err = convert(files)
    assert code == 2
    assert "dates of %d/%m/%Y or %m/%d/%Y, expected one of them: --date-format=" in err

    code, _, err = convert(files, "--date-format=%m/%d/%Y")
    assert code == 0, err
    assert seconds_of(output) == [moment.timestamp() for moment in early]


def test_another_form_names_its_line(convert: Convert) -> None:
    text = table(CLOCKLESS, "%d.%m.%Y", "date").replace("06.07.2018", "5th of July")

    code, _, err = convert({"orders.csv": text}, "--date-format=%d.%m.%Y")
    assert code == 2
    assert (
        "orders.csv, line 6: found date '5th of July', expected a date of the form %d.%m.%Y" in err
    )

    code, _, err = convert({"orders.csv": text}, "--timestamp=date")
    assert code == 2
    assert "(of another form: --date-format)" in err

    code, _, err = convert({"orders.csv": text}, "--date-format=%Q")
    assert code == 2
    assert "--date-format" in err


def test_a_form_without_a_column_is_refused(convert: Convert) -> None:
    code, _, err = convert({"log.csv": "user,item,note\na,b,c\n"}, "--date-format=%d.%m.%Y")

    assert code == 2
    assert "expected its name by --timestamp" in err
