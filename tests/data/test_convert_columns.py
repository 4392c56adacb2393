"""The command `convert`: which file and column is what, and what is left out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conversion_tools import lines_of

HEAD = "user_id:token\titem_id:token"
RATED = f"{HEAD}\trating:float"
TIMED = f"{HEAD}\ttimestamp:float"
Convert = Callable[..., tuple[int, str, str]]

ORDERS = "customer,sku,when\nann,lamp,2024-05-01T12:30:00Z\nben,desk,1714566601\n"
UNKNOWN = ORDERS.replace("customer", "who").replace("when", "moment")
PRODUCTS = "sku,title\nlamp,A lamp\ndesk,A desk\n"
ROWS = [TIMED, "ann\tlamp\t1714566600", "ben\tdesk\t1714566601"]
ITEMS = ["item_id:token\ttitle:token_seq", "lamp\tA lamp", "desk\tA desk"]


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
