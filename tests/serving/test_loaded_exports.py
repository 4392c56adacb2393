"""An export gives the lists of the run, without the run and its data."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from forked import Served
from odd_ids import ITEMS, USERS

from recbole_diffusion import load
from recbole_diffusion.base.errors import DamagedFile, UserError
from recbole_diffusion.commands.cli import main
from recbole_diffusion.serving import export as exporting
from recbole_diffusion.serving.export import export
from recbole_diffusion.serving.recommender import Recommender

RECENT = {"recency": "power", "recency_decay": 0.7}
EXPORTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("BPR", {}, {"format": "npy"}),
    ("LightGCN", {}, {"format": "parquet"}),
    ("InfoDCL", {}, {"format": "safetensors"}),
    ("EASE", {}, {"kind": "item-item", "kept": 10**6}),
    ("EASE", RECENT, {"kind": "item-item", "kept": 10**6}),
    ("ItemKNN", RECENT, {"kind": "item-item", "kept": 10**6}),
    ("SLIMElastic", {}, {"kind": "item-item", "kept": 10**6}),
    ("LinDiffRec", {**RECENT, "popularity_power": 0.3}, {"kind": "item-item", "kept": 10**6}),
    ("LinDiffRec", {"local_items": 12, "kept_weights": 6}, {"kind": "item-item", "kept": 10**6}),
    ("LinDiffRec", {"local_items": 12, "kept_weights": 6}, {"kind": "onnx"}),
    ("BPR", {}, {"kind": "onnx"}),
    ("EASE", RECENT, {"kind": "onnx"}),
    ("LinDiffRec", {**RECENT, "popularity_power": 0.3}, {"kind": "onnx"}),
    ("DiffRec", {}, {"kind": "onnx"}),
    ("DiffRec", {"mean_type": "eps", "norm": True}, {"kind": "onnx"}),
    ("DiffRec", {"mean_type": "eps", "sampling_steps": 0}, {"kind": "onnx"}),
    ("TDiffRec", {}, {"kind": "onnx"}),
    ("LDiffRec", {}, {"kind": "onnx"}),
    ("LTDiffRec", {"split_decoder": True}, {"kind": "onnx"}),
    ("LD4MRec", {}, {"kind": "onnx"}),
    ("SASRec", {}, {"kind": "onnx"}),
    ("GRU4Rec", {}, {"kind": "onnx"}),
    ("PrefixDiff", {}, {"kind": "onnx"}),
    ("PrefixDiff", {"skip": False}, {"kind": "onnx"}),
    ("PrefixDiff", {"denoiser": "views", "level_embedding_size": 4}, {"kind": "onnx"}),
]
NAMES = [f"{model}-{keys}-{settings}" for model, settings, keys in EXPORTS]


def pair_of(
    run_of: Callable[..., Path], folder: Path, model: str, settings: Any, keys: Any
) -> tuple[Recommender, Recommender]:
    """A run, and an export of it that lies elsewhere than it was made."""
    run = run_of(model, **settings)
    export(run, folder / "made", **keys)
    shutil.move(folder / "made", folder / "moved")
    return load(run), load(folder / "moved")


@pytest.mark.parametrize(("model", "settings", "keys"), EXPORTS, ids=NAMES)
def test_an_export_is_used_as_the_run_is(
    run_of: Callable[..., Path], tmp_path: Path, model: str, settings: Any, keys: Any
) -> None:
    run, exported = pair_of(run_of, tmp_path, model, settings, keys)
    assert (exported.users, exported.items) == (run.users, run.items)
    for options in (
        {"k": 6, "columns": ["title", "genre"]},
        {"k": 4, "exclude": ("train",)},
        {"k": 5, "where": {"genre": ["Comedy"]}, "exclude": ("validation", "test")},
        {"users": ["ü", "007", USERS[20]], "items": ITEMS[3:14], "k": 20},
        {"histories": {"new": ITEMS[5:9], "one": [ITEMS[2]], "long": ITEMS[10:22]}, "k": 5},
    ):
        same_lists(exported.recommend(**options), run.recommend(**options))
    same_lists(exported.similar(["i3", "=1+1?"], k=4), run.similar(["i3", "=1+1?"], k=4))
    users, items = USERS[3:15], ITEMS[4:16]
    scores = run.score(users, items)
    np.testing.assert_allclose(exported.score(users, items), scores, rtol=1e-3, atol=1e-4)
    seen = set(run.items) - set(run.recommend(["u3"], k=100, exclude=("train",))["item"])
    item = next(item for item in run.items if item not in seen)
    if model not in ("LinDiffRec", "EASE") or keys["kind"] != "onnx":  # a graph tells no parts
        ours, its = exported.explain("u3", item), run.explain("u3", item)
        assert ours.attrs == its.attrs
        by_item = its.set_index("item")["value"]
        found = ours.set_index("item")["value"].reindex(by_item.index)
        np.testing.assert_allclose(found, by_item, rtol=1e-3, atol=2e-4)


def same_lists(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal tables, where scores differ by rounding."""
    pd.testing.assert_frame_equal(found, expected, rtol=1e-3, atol=1e-4)


def test_pruning_tells_what_is_lost(run_of: Callable[..., Path], tmp_path: Path) -> None:
    run = load(run_of("EASE"))
    folder = export(run_of("EASE"), tmp_path / "out", kind="item-item", kept=3)
    whole = np.abs(np.asarray(run.source.network.item_similarity)[1:, 1:].astype(np.float64))
    few = sp.load_npz(folder / "item_item.npz")
    pruning = json.loads((folder / "card.json").read_text())["pruning"]
    assert pruning["share"] == pytest.approx(np.abs(few).sum() / whole.sum(), rel=1e-4)
    found = [source.recommend(k=10, exclude=("train",)) for source in (run, load(folder))]
    lists = [set(zip(frame["user"], frame["item"], strict=True)) for frame in found]
    share = len(lists[0] & lists[1]) / len(lists[0])
    assert pruning["overlap"] == pytest.approx(share, abs=0.01)
    assert pruning["overlap"] < 1
    assert f"{pruning['share']:.1%}" in (folder / "card.md").read_text()


@pytest.mark.parametrize(("model", "kind"), [("BPR", "embeddings"), ("LD4MRec", "onnx")])
def test_people_can_be_left_out(
    run_of: Callable[..., Path], tmp_path: Path, model: str, kind: str
) -> None:
    folder, run = tmp_path / "out", load(run_of(model))
    words = ["export", str(run_of(model)), f"--out={folder}", f"--as={kind}", "--without_users"]
    assert main(words) == 0
    held = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not {"users.npy", "user_ids.txt", "interactions.npz"} & held.keys()
    assert not any(b"u17" in held[name] for name in held if name.endswith((".json", ".md", ".txt")))
    exported = load(folder)
    assert exported.users == []
    histories = {"new": ITEMS[5:9]}
    same_lists(exported.recommend(histories=histories), run.recommend(histories=histories))
    same_lists(exported.similar(["i3"]), run.similar(["i3"]))
    for use in (
        lambda: exported.recommend(["u3"]),
        exported.recommend,
        lambda: exported.score(["u3"], ["i3"]),
        lambda: exported.explain("u3", "i3"),
    ):
        with pytest.raises(UserError, match="^out: .* without people's data, expected histories"):
            use()  # the path is nobody's business where it is served


def test_a_damaged_file_is_named(run_of: Callable[..., Path], tmp_path: Path) -> None:
    folder = export(run_of("BPR"), tmp_path / "out")
    names = {path.name for path in folder.iterdir()} - {"card.json"}
    assert names == set(json.loads((folder / "card.json").read_text())["files"])
    for name in (*names, "card.json"):
        content = (folder / name).read_bytes()
        place = len(content) // 2
        damaged = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        (folder / name).write_bytes(damaged)
        with pytest.raises(DamagedFile, match=name):
            load(folder)
        (folder / name).write_bytes(content)
    (folder / "item_item.npz").write_bytes(b"")
    with pytest.raises(DamagedFile, match=r"item_item\.npz: found a file that card\.json does not"):
        load(folder)
    (folder / "item_item.npz").unlink()
    (folder / "items.npy").unlink()
    with pytest.raises(DamagedFile, match=r"items\.npy: no such file"):
        load(folder)


def test_other_versions_and_places_are_refused(run_of: Callable[..., Path], tmp_path: Path) -> None:
    folder = export(run_of("BPR"), tmp_path / "out")
    with pytest.raises(UserError, match="found use_gpu beside an export"):
        load(folder, use_gpu=False)
    card = json.loads((folder / "card.json").read_text())
    del card["digest"]
    (folder / "card.json").write_text(json.dumps({**card, "version": 2}))
    with pytest.raises(UserError, match="version 2, expected .* version 1"):
        load(folder)
    (folder / "card.json").write_text(json.dumps({**card, "files": ["items.npy"]}))
    with pytest.raises(DamagedFile, match=r"found files .*, expected an object"):
        load(folder)


def test_an_export_that_differs_from_the_run_is_refused(
    run_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = exporting._largest_of_columns

    def wrong(matrix: Any, kept: int) -> Any:
        found, share = right(matrix, kept)
        return found * 1.01, share

    monkeypatch.setattr(exporting, "_largest_of_columns", wrong)
    with pytest.raises(UserError, match="differ from the run's"):
        export(run_of("EASE"), tmp_path / "out", kind="item-item", kept=10**6)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_export_leaves_no_folder_of_its_name(
    run_of: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    script = (
        "import os, signal, sys\n"
        "from recbole_diffusion.serving import export as e\n"
        "e.write_card = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "e.export(sys.argv[1], sys.argv[2])\n"
    )
    (tmp_path / "killed.py").write_text(script)
    process = Served(tmp_path / "killed.py", (run_of("BPR"), out))
    assert process.wait() == -signal.SIGKILL
    (tmp_path / "killed.py").unlink()
    left = list(tmp_path.iterdir())
    assert [path.name.startswith(".recbole-diffusion-out-") for path in left] == [True]
    export(run_of("BPR"), out)
    assert f"{left[0]}: an export that is at work or was killed" in caplog.text
    assert len(load(out).recommend(k=1)) == len(USERS)


def test_commands_take_an_export(
    run_of: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = export(run_of("LightGCN"), tmp_path / "out"), tmp_path / "lists.parquet"
    assert main(["recommend", str(folder), f"--out={out}", "--k=3", "--with=title"]) == 0
    expected = load(run_of("LightGCN")).recommend(k=3, columns=["title"])
    same_lists(pd.read_parquet(out).astype({"score": np.float32}), expected)
    assert main(["similar", str(folder), "--items=i3"]) == 0
    assert main(["recommend", str(folder), "--use_gpu=false"]) == 2
    assert "scored on the CPU" in capsys.readouterr().err
