"""The shipped property file of every data set, on small data of its form."""

import re
from pathlib import Path
from typing import Any

import pytest

from recbole_diffusion.convert import amazon, formats, split_formats
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.keys import check_layer
from recbole_diffusion.settings.property_files import (
    default_layers,
    properties_folder,
    read_properties,
)
from recbole_diffusion.settings.registry import find_model

FOLDER = properties_folder() / "dataset"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
HEADER = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
N_USERS, N_ITEMS, N_EACH = 21, 30, 20
COMMANDS = {*split_formats.FORMATS, *formats.FORMATS, "csv"}
PAPERS = {
    *("ml-1m", "ml-1m_clean", "ml-1m_noisy", "yelp_clean", "yelp_noisy"),
    *("amazon-book", "amazon-book_clean", "amazon-book_noisy", "office", "baby", "sports"),
    *("electronics", "taobao", "tiktok", "tmall", "microlens", "hm"),
}


def write_data(folder: Path, name: str, parts: list[str]) -> None:
    """Each user with 20 items in a row, each item with at least 13 users, in all parts together."""
    (folder / name).mkdir()
    rows = [
        [f"u{u}", f"i{(u + n) % N_ITEMS}", "4", str(n)] for n in range(N_EACH) for u in range(21)
    ]
    size = len(rows) // len(parts)
    for n, part in enumerate(parts):
        lines = ["\t".join(row) for row in [HEADER, *rows[n * size : (n + 1) * size]]]
        path = folder / name / f"{name}{part and '.'}{part}.inter"
        path.write_text("\n".join(lines) + "\n")


def test_every_data_set_of_the_papers_has_one() -> None:
    assert set(NAMES) >= PAPERS


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_sound_and_data_of_the_form_loads(tmp_path: Path, name: str) -> None:
    layer = read_properties(FOLDER / f"{name}.yaml")
    registration = find_model("BPR")
    below: dict[str, Any] = {}
    for source, content in default_layers(registration, name):
        if not source.endswith(f"dataset/{name}.yaml"):
            below |= content
    check_layer(name, layer, below, registration.kinds)

    write_data(tmp_path, name, layer.get("benchmark_filename", [""]))
    small = {"data_path": str(tmp_path), "topk": [5], "valid_metric": "Recall@5"}
    config = Config("BPR", name, (), small)
    for key, value in layer.items():
        if key == "eval_args":  # which RecBole completes
            value = {**value, "mode": dict.fromkeys(("valid", "test"), value["mode"])}
        assert config[key] == value, key
    dataset = load_split(config).dataset
    assert (dataset.user_num - 1, dataset.item_num - 1) == (N_USERS, N_ITEMS)
    assert set(config["load_col"]["inter"]) <= set(dataset.inter_feat.columns)


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_its_head_says_which_command_makes_it(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    head = re.sub(r"\\?\n#", "", text.split("\n\n")[0])
    command = re.search(r"recbole_diffusion\.data\.convert (\S+) .*--name=(\S+)", head)
    assert command is not None
    assert command[1] in COMMANDS
    assert command[2] == name
    users = re.search(r"\d+ users", head)
    assert users is not None, "its size"


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_declared_features_are_those_that_the_command_writes(name: str) -> None:
    layer = read_properties(FOLDER / f"{name}.yaml")
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    command = re.search(r"data\.convert (\S+)", text)
    assert command is not None
    columns = {
        "npy-split": {"title", "genre"},
        "text-split": {"text"},
        "movielens-1m": {"title", "genre"},
        "microlens": {"title"},
        "amazon": set(amazon.TEXTS),
        "csv": {"prod_name", "product_type_name", "detail_desc"},
    }
    for feature, options in (layer.get("item_features") or {}).items():
        if "file" in options:
            assert command[1] in ("diffmm", "mmrec")
            assert feature in split_formats.MODALITIES
            assert options["file"] == f"{name}.{feature}.npz"
        else:
            assert feature == "text"
            assert set(options["fields"]) <= columns[command[1]]
