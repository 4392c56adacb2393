"""What the commands and snippets of the docs leave behind, as their pages say it."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from recbole_diffusion import load
from recbole_diffusion.base.files import read_json
from recbole_diffusion.serving.explain import KINDS
from recbole_diffusion.settings.registry import find_model

TABLES = ("table.txt", "table.md", "table.tex", "table.csv", "report.html", "per_user.parquet")
# Files of an export, by `--as` and `--format`.
EXPORTED = {
    "embeddings npy": {"items.npy"},
    "embeddings parquet": {"items.parquet"},
    "item-item npy": {"item_item.npz"},
    "onnx npy": {"model.onnx"},
}


@dataclass(frozen=True)
class Call:
    """A command that ended well.

    Attributes:
        words: What it was called with.
        out: What it wrote to stdout.
        told: The same of both streams.
        made: Folders of runs that it made.
    """

    words: Sequence[str]
    out: str
    told: str
    made: Sequence[Path]

    @property
    def keys(self) -> dict[str, str]:
        pairs = (w[2:].partition("=") for w in self.words if w.startswith("--"))
        return {key: value for key, _, value in pairs}

    @property
    def run(self) -> Path:
        """The folder behind the command's name."""
        return Path(self.words[1])


def check(call: Call) -> None:
    """Hold a command to its page: files, columns, rows and tables."""
    assert call.words
    is_command = call.words[0] in CHECKS
    CHECKS[call.words[0] if is_command else _kind_of_run(call)](call)


def _kind_of_run(call: Call) -> str:
    named = ("resume", "evaluate", "list_models", "help")
    return next((f"--{key}" for key in named if key in call.keys), "run")


def _a_run(call: Call) -> None:
    (folder,) = call.made
    result, keys = read_json(folder / "result.json"), call.keys
    assert result["model"] == keys.get("model", "InfoDCL")
    assert result["dataset"] == keys.get("dataset", "ml-100k")
    assert (folder / "best.pth").is_file()
    _has_table(call)
    if "cold" in keys.get("valid_metric", ""):
        assert "recall@20 (cold)" in result["test"]


def _has_table(call: Call) -> None:
    """Metrics of validation and test."""
    assert re.search(r"recall@20 +\d\.\d+ +\d\.\d+", call.told), call.told


def _a_saved_run(call: Call) -> None:
    assert not call.made
    _has_table(call)


def _a_refresh(call: Call) -> None:
    (folder,) = call.made
    result = read_json(folder / "result.json")
    assert Path(result["refreshed_from"]).name == call.run.name
    assert result["dataset"] == call.keys["dataset"]


def _models(call: Call) -> None:
    assert {"LinDiffRec", "DiffMM", "LightGCN", "EASE"} <= set(call.out.split())


def _keys(call: Call) -> None:
    for key in find_model(call.keys["model"]).defaults:
        assert re.search(rf"^{key}:", call.out, re.MULTILINE), key


def _a_comparison(call: Call) -> None:
    dataset = call.keys.get("dataset", "ml-100k")
    labels = [row.partition("=")[0] for row in call.keys["models"].split(",")]
    holding = [path.parent for path in Path("comparisons").glob(f"{dataset}-*/results.json")]
    found = {tuple(read_json(p / "plan.json")["models"]): p for p in holding}
    folder = found[tuple(labels)]
    results = read_json(folder / "results.json")
    assert [row["name"] for row in results["models"]] == labels
    assert {row["status"] for row in results["models"]} == {"finished"}
    assert all((row["tuning"] is None) == ("tune" not in call.keys) for row in results["models"])
    assert all((folder / name).is_file() for name in TABLES)
    asked = call.keys.get("protocol", "")
    assert [p["name"] for p in results["protocols"]] == [name for name in asked.split(",") if name]


def _a_search(call: Call) -> None:
    keys = call.keys
    folder = Path(keys.get("folder", f"tuning/{keys['model']}-{keys.get('dataset', 'ml-100k')}"))
    rows = pd.read_csv(folder / "trials.csv")
    grid = [word.partition("=")[2].split(",") for word in call.words if re.match(r"\w+=", word)]
    assert len(rows) == (prod(map(len, grid)) if grid else int(keys["trials"]))
    assert (folder / "best.yaml").is_file()
    assert f"--config_files={(folder / 'best.yaml').resolve()}" in call.told


def _lists(call: Call) -> None:
    """Of users and ranks; printed, or in a file."""
    extra = [column for column in (call.keys.get("with"),) if column]
    columns = ["user", "rank", "item", "score", *extra]
    if "out" not in call.keys:
        header, *rows = call.out.strip().splitlines()
        assert header.split() == columns
        asked = call.keys.get("users", "").split(",")
        histories = {"ann", "bob"} if "history" in call.keys else set(asked)
        assert {row.split()[0] for row in rows} == histories
        return
    frame = _read(call.keys["out"])
    assert list(frame) == columns
    k = int(call.keys["k"])
    assert (frame.groupby("user").size() <= k).all()
    assert (frame["rank"] == frame.groupby("user").cumcount() + 1).all()
    if "--only_cold" in call.words:
        assert set(frame["item"]) == {"new-1", "new-2"}
    else:
        assert (frame.groupby("user").size() == k).all()


def _similar(call: Call) -> None:
    header, *rows = call.out.strip().splitlines()
    assert {"item", "similar", "score"} <= set(header.split())
    assert call.keys["with"] in header.split()
    assert len(rows) == 10


def _an_explanation(call: Call) -> None:
    first, *rows = call.out.strip().splitlines()
    assert first == KINDS["contribution"] + ":"
    assert len(rows) > 2


def _scores(call: Call) -> None:
    pairs, frame = _read(call.keys["pairs"]), _read(call.keys["out"])
    assert list(frame) == ["user", "item", "score"]
    assert frame[["user", "item"]].equals(pairs[["user", "item"]])
    assert frame["score"].notna().tolist() == [True, True, False]  # of nobody there is none


def _an_export(call: Call) -> None:
    folder = Path(call.keys["out"])
    names = {path.name for path in folder.iterdir()}
    keys = {"as": "embeddings", "format": "npy", **call.keys}
    needed = {"config.yaml", "card.md", "card.json", "item_ids.txt", "item_columns.parquet"}
    needed |= EXPORTED[f"{keys['as']} {keys['format']}"]
    assert needed <= names
    assert ("items.faiss" in names) == ("index" in keys)
    assert ("user_ids.txt" in names) == ("--without_users" not in call.words)
    assert json.loads((folder / "card.json").read_text())


def _run_list(call: Call) -> None:
    known = {path.name for path in Path("runs").iterdir()} - {"cache"}
    assert known
    assert all(name in call.told for name in known)


def _an_inspection(call: Call) -> None:
    assert re.search(r"\busers\b", call.told)
    assert re.search(r"\bitems\b", call.told)
    if "out" in call.keys:
        assert "<html" in Path(call.keys["out"]).read_text("utf-8")


def _a_conversion(call: Call) -> None:
    name = call.keys["name"]
    names = {path.name for path in Path("dataset_atomic", name).iterdir()}
    assert names == {f"{name}.inter", f"{name}.item", f"{name}.yaml"}


def _an_analysis(call: Call) -> None:
    assert not call.made
    assert list((call.run / "analysis").glob("*.csv"))
    assert (call.run / "analysis" / "report.html").is_file()


def _a_service(call: Call) -> None:
    assert "serving on http://127.0.0.1:" in call.told


def _a_module(call: Call) -> None:
    {
        "recbole_diffusion.analyze.report": _a_report,
        "recbole_diffusion.compare.reproduction": _a_reproduction,
        "recbole_diffusion.data.encode": _an_encoding,
        "recbole_diffusion.graph_export": _graphs,
    }[call.words[1]](call)


def _a_report(call: Call) -> None:
    page = Path(call.words[2], "report.html")
    assert page.stat().st_mtime_ns > page.with_name("results.json").stat().st_mtime_ns


def _a_reproduction(call: Call) -> None:
    here = Path(__file__).parents[1] / "docs" / "reproduction.md"
    assert Path(call.keys["target"]).read_text("utf-8") == here.read_text("utf-8")


def _an_encoding(call: Call) -> None:
    """Where the vectors are, and the lines that read them."""
    (path,) = set(re.findall(r"\S+\.npz", call.out.split("\n")[0]))
    assert Path(path).is_file()
    assert "item_features:" in call.out


def _graphs(call: Call) -> None:
    folder = Path(call.keys["output"])
    for modality in yaml.safe_load(Path(call.words[2], "config.yaml").read_text())["modalities"]:
        edges = pd.read_csv(folder / f"{modality}.csv")
        assert list(edges) == ["user_id", "item_id", "rank", "is_interaction", "similarity"]
        assert (folder / f"{modality}.svg").is_file()
        assert (folder / f"{modality}.similarity.csv").is_file()


def _read(path: str) -> pd.DataFrame:
    if path.endswith(".parquet"):
        return pd.read_parquet(path)
    return pd.read_csv(path, dtype={"user": str, "item": str})


CHECKS: dict[str, Callable[[Call], None]] = {
    "run": _a_run,
    "--resume": _a_saved_run,
    "--evaluate": _a_saved_run,
    "--list_models": _models,
    "--help": _keys,
    "refresh": _a_refresh,
    "compare": _a_comparison,
    "tune": _a_search,
    "recommend": _lists,
    "similar": _similar,
    "explain": _an_explanation,
    "score": _scores,
    "export": _an_export,
    "runs": _run_list,
    "inspect": _an_inspection,
    "convert": _a_conversion,
    "analyze": _an_analysis,
    "serve": _a_service,
    "-m": _a_module,
}


@dataclass(frozen=True)
class Ran:
    """A Python snippet that ended.

    Attributes:
        names: What it leaves.
        shown: Values of its statements that are expressions, in order.
        out: What it printed.
        made: Folders of runs that it made.
    """

    names: dict[str, Any]
    shown: Sequence[Any]
    out: str
    made: Sequence[Path]


def check_snippet(page: str, text: str, ran: Ran) -> None:
    """Hold a snippet to its page.

    Raises:
        StopIteration: No check knows the snippet.
    """
    next(check for (of, word), check in SNIPPETS.items() if of == page and word in text)(ran)


def _ten_each(frame: pd.DataFrame, users: Sequence[str], *columns: str) -> None:
    assert list(frame) == ["user", "rank", "item", "score", *columns]
    assert frame["user"].tolist() == [user for user in users for _ in range(10)]


def _first_lists(ran: Ran) -> None:
    """README.md prints a metric and lists."""
    (folder,) = ran.made
    test = read_json(folder / "result.json")["test"]
    header, *rows = ran.out.splitlines()[-21:]
    assert str(test["recall@20"]) in ran.out.splitlines()
    assert header.split() == ["user", "rank", "item", "score", "movie_title"]
    assert len(rows) == 20


def _lists_of_index(ran: Ran) -> None:
    _ten_each(ran.shown[-1], ["196", "22"], "movie_title")


def _comparison_by_call(ran: Ran) -> None:
    best = ran.names["results"]["best"]["recall@20"]
    assert best in ("InfoDCL", "LightGCN", "EASE")
    assert best in ran.out
    tested = ran.names["results"]["significance"]["comparisons"]
    assert {row["candidate"] for row in tested} == {"InfoDCL"}


def _written_features(ran: Ran) -> None:
    with np.load("mydata.image.npz", allow_pickle=False) as file:
        assert file["ids"].tolist() == ran.names["ids"]
        assert np.array_equal(file["matrix"], ran.names["matrix"].astype(file["matrix"].dtype))


def _own_model(ran: Ran) -> None:
    (folder,) = ran.made
    assert read_json(folder / "result.json")["model"] == "MyRecommender"


def _scores_of_history(ran: Ran) -> None:
    names = ran.names
    assert tuple(names["scores"].shape) == (1, names["data"].num("item_id"))


def _explained_sum(ran: Ran) -> None:
    """What each item adds, whose sum is the score."""
    _scores_of_history(ran)
    assert len(ran.names["parts"]) == 2
    assert float(sum(ran.names["parts"])) == pytest.approx(float(ran.names["scores"][0, 17]), 1e-4)


def _explained_losses(ran: Ran) -> None:
    _scores_of_history(ran)
    assert len(ran.names["parts"]) == 2


def _recommender(ran: Ran) -> None:
    lists, new, of_genre, similar, explained, scores = ran.shown
    _ten_each(lists, ["196", "22"], "movie_title")
    _ten_each(new, ["new"])
    assert not set(new["item"]) & {"50", "181"}
    recommender = ran.names["recommender"]
    classes = dict(zip(recommender.items, recommender.texts("class"), strict=True))
    assert len(of_genre) > len(recommender.users)
    assert all({"Comedy", "Drama"} & set(classes[item].split()) for item in set(of_genre["item"]))
    assert len(similar) == 10
    assert explained.attrs["kind"] == "contribution"
    assert np.shape(scores)[0] == 2
    of_pair = lists[lists["user"] == "196"]
    again = recommender.score(["196"] * 10, of_pair["item"].tolist())
    assert np.allclose(np.asarray(again, float).ravel()[:10], of_pair["score"], atol=1e-5)


def _by_matrix(ran: Ran) -> None:
    (run,) = Path("runs").glob("LinDiffRec-*")
    expected = load(run).recommend(histories={"new": ["50", "181"]}, k=8)["item"].tolist()
    assert [item for item in ran.names["best"] if item not in ("50", "181")][:8] == expected


def _by_index(ran: Ran) -> None:
    (folder,) = Path("runs").glob("BPR-*")
    run = load(folder)
    expected = run.recommend(run.users[:1], k=10)["item"].tolist()
    assert ran.names["by_faiss"] == expected
    assert ran.names["by_qdrant"] == expected


def _titles(ran: Ran) -> None:
    assert sorted(ran.names["mine"]) == ["100", "50"]
    _ten_each(ran.shown[-1], ["me"], "movie_title")


def _axes(ran: Ran) -> None:
    assert set(ran.names["MyRecommender"].id_axes) == {"user_embedding.weight", "decoder.weight"}


def _told_callback(ran: Ran) -> None:
    (folder,) = ran.made
    (line,) = (folder / "history.jsonl").read_text().splitlines()
    told = json.loads(line)
    expected = f"{told['epoch']} {told['loss']} {told['valid']}"
    assert any(said.startswith(expected) for said in ran.out.splitlines())


# By page and a word of the snippet.
SNIPPETS: dict[tuple[str, str], Callable[[Ran], None]] = {
    ("README.md", "print"): _first_lists,
    ("docs/index.md", "load"): _lists_of_index,
    ("docs/compare.md", "compare"): _comparison_by_call,
    ("docs/features.md", "write_features"): _written_features,
    ("docs/guides/own_model.md", "register"): _own_model,
    ("docs/models/diffrec.md", "load_run"): _scores_of_history,
    ("docs/models/lindiffrec.md", "load_run"): _explained_sum,
    ("docs/models/prefixdiff.md", "load_run"): _explained_losses,
    ("docs/recommend.md", "similar"): _recommender,
    ("docs/recommend.md", "load_npz"): _by_matrix,
    ("docs/recommend.md", "faiss"): _by_index,
    ("docs/start/first_steps.md", "texts"): _titles,
    ("docs/training.md", "id_axes"): _axes,
    ("docs/training.md", "Patience"): _told_callback,
}
