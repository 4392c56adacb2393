"""What ``inspect`` counts, against plain Python on a small data set."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.cli import main
from recbole_diffusion.data.split import PARTS, load_split
from recbole_diffusion.settings.config import Config
from recbole_diffusion.studies.inspection.data import pairs_of, part_rows, sizes
from recbole_diffusion.studies.inspection.figures import draw
from recbole_diffusion.studies.inspection.run import inspect

HEAD = ["user_id:token", "item_id:token", "timestamp:float"]
DAY = 86400
# User, item, day.
PARTS_OF_ROWS = {
    "train": [("a", "x", 0), ("a", "y", 5), ("b", "x", 2), ("b", "y", 2), ("c", "x", 9)],
    "valid": [("a", "z", 6), ("b", "z", 1), ("c", "y", 9)],
    "test": [("a", "w", 7), ("c", "z", 10), ("d", "x", 3)],
}


@pytest.fixture
def shop(write_dataset: Callable[..., Path]) -> dict[str, Any]:
    files = {
        f"{part}__inter": [HEAD, *([u, i, str(day * DAY)] for u, i, day in rows)]
        for part, rows in PARTS_OF_ROWS.items()
    }
    items = [["item_id:token", "title:token_seq"], *([i, "word"] for i in "xyzq")]
    return {
        "data_path": str(write_dataset("shop", item=items, **files)),
        "benchmark_filename": list(PARTS_OF_ROWS),
        "load_col": None,
    }


def test_numbers_are_those_of_the_rows(shop: dict[str, Any]) -> None:
    small = {"topk": [1], "valid_metric": "Recall@1"}
    config = Config("Pop", "shop", (), {**shop, **small})
    pairs = pairs_of(config, load_split(config))
    rows = [row for part in PARTS_OF_ROWS.values() for row in part]
    of_items = Counter(item for _, item, _ in rows)
    found = dict(sizes(pairs))
    assert (found["Users"], found["Items"], found["Interactions"]) == ("4", "4", "11")
    assert found["Density"] == f"{11 / 16:.3%}"
    assert found["Interactions of items, least and most"] == "1; 4"
    quartiles = np.quantile(list(of_items.values()), [0.25, 0.5, 0.75])
    assert found["Interactions of items, quartiles"] == "; ".join(f"{q:g}" for q in quartiles)
    differences = sum(abs(a - b) for a in of_items.values() for b in of_items.values())
    assert found["Gini index of items"] == f"{differences / (2 * 4 * 11):.3f}"
    assert found["Share of interactions with the 10% most popular items"] == f"{4 / 11:.1%}"
    assert found["Items of the .item file without an interaction"] == "1"
    assert found["Items with interactions that the .item file lacks"] == "1"
    assert "1970-01-01" in found["Times, if they are seconds since 1970"]
    assert found["Times, if they are seconds since 1970"].endswith("10 days")
    # b's two of day 2, and c's two of day 9: a pair each, of ten neighbours.
    assert found["Interactions at the same time as another of the same user"] == "20.0%"
    assert part_rows(pairs) == [
        ["train", "5", "3", "2", "0.0%", "0.0%", "-", "-"],
        ["validation", "3", "3", "2", "0.0%", "66.7%", "33.3%", "0.0%"],
        ["test", "3", "3", "3", "33.3%", "66.7%", "100.0%", "33.3%"],
    ]


def test_curves_hold_all_interactions(shop: dict[str, Any]) -> None:
    config = Config("Pop", "shop", (), {**shop, "topk": [1], "valid_metric": "Recall@1"})
    gallery = draw(pairs_of(config, load_split(config)))
    lengths, concentration, times = (figure.table for figure in gallery.figures)
    assert lengths["users"].sum() == pytest.approx(1)
    assert lengths.set_index("interactions").loc["2-3", "users"] == pytest.approx(0.5)
    assert concentration["items"].iloc[[0, -1]].tolist() == [0, 1]
    assert concentration.set_index("share").loc[0.25, "items"] == pytest.approx(4 / 11)
    assert {part: times[part].sum() for part in PARTS} == dict(zip(PARTS, (5, 3, 3), strict=True))


def test_a_page_is_written_once(shop: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "shop.html"
    whole, parts = inspect("shop", page, (), shop)
    assert whole.rows[0][1].text == "4"
    assert len(parts.rows) == 3
    text = page.read_text(encoding="utf-8")
    assert all(title in text for title in ("Lengths of histories", "How much is with how few"))
    with pytest.raises(UserError, match="already"):
        inspect("shop", page, (), shop)
    with pytest.raises(UserError, match="no folder"):
        inspect("shop", tmp_path / "no" / "shop.html", (), shop)
    assert page.read_text(encoding="utf-8") == text


def test_times_of_a_carried_data_set_are_not_normalised() -> None:
    whole, _ = inspect("ml-100k")
    times = next(row[1].text for row in whole.rows if row[0].text.startswith("Times"))
    assert times == "1997-09-20T03:05:10 to 1998-04-22T23:10:38, 215 days"


def test_the_command_takes_a_name_and_keys(
    shop: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["inspect", "shop", f"--data_path={shop['data_path']}", f"--out={tmp_path / 's.html'}"]
    assert main([*words, "--benchmark_filename=[train, valid, test]"]) == 0
    told = capsys.readouterr().out
    assert "of cold items" in told
    assert f"page: {tmp_path / 's.html'}" in told
    assert main(["inspect", "--help"]) == 0
    assert main(["inspect", "nowhere"]) == 2
