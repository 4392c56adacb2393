"""Tables, quoted rows and the reproduction page, from results made by hand."""

import copy
import csv
import html
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.evaluation.groups import activity_groups
from recbole_diffusion.pages.tables import as_latex, as_markdown, as_text, csv_cell
from recbole_diffusion.settings import keys
from recbole_diffusion.settings.evaluation_keys import split_in_words
from recbole_diffusion.settings.property_files import properties_folder
from recbole_diffusion.studies.compare.index import write_index
from recbole_diffusion.studies.compare.quoted import quoted_rows
from recbole_diffusion.studies.compare.report import write_report
from recbole_diffusion.studies.compare.reproduction import main, write_reproduction
from recbole_diffusion.studies.compare.request import read_request
from recbole_diffusion.studies.compare.results import spread
from recbole_diffusion.studies.compare.tables import as_csv, make_tables

METRICS = ["recall@20", "ndcg@20"]
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


# Of a run that takes 400 seconds in all.
COSTS = {
    "train_seconds_per_epoch": 30.0, "epochs_trained": 12, "setup_seconds": 20.0,
    "pretrain_seconds": 10.0, "valid_seconds": 4.0, "test_seconds": 6.0,
}  # fmt: skip


def model(name: str, recall: float | None, **changes: Any) -> dict[str, Any]:
    """An entry of ``models`` with two seeds, or one that is not run."""
    spreads = (
        {} if recall is None else spread([dict.fromkeys(METRICS, recall + d) for d in (0, 0.02)])
    )
    status = "not run" if recall is None else "finished"
    cell = {"seed": 1, "status": status, "error": None, "selects_on_test": False}
    empty: dict[str, Any] = dict.fromkeys(("costs", "diversity", "groups"), {})
    return {
        "name": name, "role": "baseline" if name == "EASE" else "candidate", "status": status,
        "tuning": None, "command": f"run {name}", "test": spreads, "protocols": {},
        "cells": [cell], **empty, **changes,
    }  # fmt: skip


@pytest.fixture
def results() -> dict[str, Any]:
    test = {
        "metric": "recall@20", "candidate": "Low_1", "baseline": "EASE", "users": 9, "p": 0.001,
        "mean_difference": -0.1, "statistic": 1.0, "p_holm": 0.002, "is_significant": True,
    }  # fmt: skip
    quoted = {
        "name": "VBPR", "model": "VBPR", "source": "Paper, Table 1", "note": "text and image",
        "metrics": {"recall@20": 0.9},
    }  # fmt: skip
    return {
        "schema": "recbole_diffusion comparison 1",
        "dataset": "toy",
        "data": {
            "users": 9, "items": 8, "train_interactions": 7, "validation_interactions": 6,
            "test_interactions": 5, "split_hash": "abc",
        },
        "evaluation": {"metrics": METRICS, "valid_metric": "recall@20", "masked": "all"},
        "seeds": [1, 2],
        "budget": None,
        "models": [model("EASE", 0.5), model("Low_1", 0.4), model("Missing", None)],
        "best": dict.fromkeys(METRICS, "EASE"),
        "significance": {
            "test": "wilcoxon", "alpha": 0.05, "metrics": METRICS, "comparisons": [test],
        },
        "protocols": [],
        "quoted": [quoted],
    }  # fmt: skip


def test_text(results: dict[str, Any]) -> None:
    lines = as_text(make_tables(results)).splitlines()
    assert lines[1].split() == ["model", "Recall@20", "NDCG@20"]
    # Mean of .5 and .52; the deviation of two values is their distance over the root of 2.
    assert lines[2].split() == ["EASE", "[0.5100", "±", "0.0141]", "[0.5100", "±", "0.0141]"]
    assert lines[3].split() == ["Low_1", "0.4100", "±", "0.0141†", "0.4100", "±", "0.0141"]
    assert lines[4].split() == ["Missing", "not", "run"]
    assert lines[lines.index("What papers report on toy") + 2].split() == [
        *("VBPR", "(Paper,", "Table", "1)‡", "0.9000")
    ]
    assert "Missing is not run: run Missing" in lines


def test_markdown_and_latex(results: dict[str, Any]) -> None:
    tables = make_tables(results)
    markdown = as_markdown(tables)
    assert "| EASE | **0.5100 ± 0.0141** | **0.5100 ± 0.0141** |" in markdown
    assert "| VBPR (Paper, Table 1)‡ | 0.9000 |  |" in markdown
    assert "\n\\* better, † worse than the best baseline" in markdown  # a star, not a list
    latex = as_latex(tables)
    assert r"EASE & \textbf{0.5100 $\pm$ 0.0141}" in latex
    assert r"Low\_1 & 0.4100 $\pm$ 0.0141$^{\dagger}$ &" in latex
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == len(tables)
    assert not set("†‡±") & set(latex)


def test_csv_is_unrounded(results: dict[str, Any]) -> None:
    rows = {row["model"]: row for row in csv.DictReader(as_csv(results).splitlines())}
    assert float(rows["EASE"]["recall@20"]) == results["models"][0]["test"]["recall@20"]["mean"]
    assert float(rows["EASE"]["recall@20 std"]) == pytest.approx(0.02 / np.sqrt(2), rel=1e-12)
    assert (rows["VBPR"]["status"], rows["VBPR"]["source"]) == ("quoted", "Paper, Table 1")
    assert (rows["Missing"]["status"], rows["Missing"]["recall@20"]) == ("not run", "")


def test_protocols_stand_beside_ours_with_their_warning(results: dict[str, Any]) -> None:
    entry = {
        "name": "paper:diffmm+test-selection", "masked": "train", "average": "users",
        "batch_users": None, "selects_on_test": True, "warning": "too high",
    }  # fmt: skip
    results["protocols"] = [entry]
    for row in results["models"]:
        own = {"recall@20": {"mean": 0.7, "std": None, "n": 1}} if row["test"] else {}
        row["protocols"] = {entry["name"]: own}
    text = as_text(make_tables(results))
    start = text.index("The same runs by the papers' protocols")
    head, ease = text[start:].splitlines()[1:3]
    assert "Recall@20 (paper:diffmm+test-selection)" in head
    assert ease.split() == ["EASE", "0.5100", "±", "0.0141", "0.7000", "0.5100", "±", "0.0141"]
    assert "WARNING: too high" in text


def test_spread() -> None:
    found = spread([{"a": 1.0, "b": None}, {"a": 3.0, "b": 2.0}])
    assert found["a"] == {"mean": 2.0, "std": pytest.approx(np.sqrt(2)), "n": 2}
    assert found["b"] == {"mean": 2.0, "std": None, "n": 1}
    assert spread([]) == {}


def test_what_does_not_vary_with_the_seed_has_no_deviation(results: dict[str, Any]) -> None:
    solved = spread([dict.fromkeys(METRICS, 0.1)] * 3)  # their mean is not .1 to the last bit
    assert solved["recall@20"]["n"] == 3
    results["models"][1]["test"] = solved
    text = as_text(make_tables(results))
    line = next(line for line in text.splitlines() if line.startswith("Low_1"))
    assert line.split() == ["Low_1", "0.1000†", "0.1000"]
    assert "Without ±: the same with every seed (Low_1)." in text


@pytest.mark.parametrize(
    ("rules", "files", "words"),
    [
        ({"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user"}, None,
         "random 80/10/10 per user"),
        ({"split": {"RS": [7, 1, 2]}, "order": "RO", "group_by": "none"}, None,
         "random 70/10/20 of all"),
        ({"order": "TO"}, None, "each user's latest held out, 80/10/10"),
        ({"split": {"RS": [8, 1, 1]}, "order": "TO", "group_by": "none"}, None,
         "one cut in time, 80/10/10"),
        ({"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"}, None,
         "each user's latest held out, one each for validation and test"),
        ({"split": {"CI": [0.8, 0.1, 0.1]}, "order": "RO"}, None, "random items 80/10/10"),
        ({"split": {"RS": [8, 1, 1]}, "order": "TO"}, ["train", "valid", "test"], "as released"),
    ],
)  # fmt: skip
def test_split_in_words(
    results: dict[str, Any],
    tmp_path: Path,
    rules: dict[str, Any],
    files: list[str] | None,
    words: str,
) -> None:
    assert split_in_words({"eval_args": rules, "benchmark_filename": files}) == words
    results["evaluation"]["split"] = words
    assert as_text(make_tables(results)).startswith(f"Test metrics on toy ({words}), mean")
    results |= {"command": "compare", "code": "this", "models": []}
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "results.json").write_text(json.dumps(results))
    assert f"{words}, abc" in html.unescape(write_report(tmp_path / "one").read_text())
    assert words in html.unescape(write_index(tmp_path).read_text())


def test_groups_without_users_are_left_out(results: dict[str, Any]) -> None:
    def group(name: str, users: int) -> dict[str, Any]:
        mean = {"mean": 0.5, "std": None} if users else {"mean": None, "std": None}
        return {"group": name, "users": users, "metrics": {"recall@20": mean}}

    for model, seen in zip(results["models"], (3, 0), strict=False):
        at_most = [group("<=5", 0), group("<=10", seen), group("<=15", 9)]
        none = [group("0-5", 0)]
        model["groups"] = {"at_most": at_most, "between": none, "item_popularity": none}
    before = copy.deepcopy(results)
    (table,) = (made for made in make_tables(results) if " by " in made.title)
    assert table.header == ["model", "<=10 (3 users)", "<=15 (9 users)"]
    first, second, *_ = ([entry.text for entry in row[1:]] for row in table.rows)
    assert (first, second) == (["0.5000", "0.5000"], ["", "0.5000"])
    assert results == before


def test_activity_groups_by_hand() -> None:
    groups = activity_groups(np.array([0, 5, 6, 10, 25, 26]))
    at_most = {name: np.flatnonzero(mask).tolist() for name, mask in groups["at_most"].items()}
    assert at_most == {
        "<=5": [0, 1], "<=10": [0, 1, 2, 3], "<=15": [0, 1, 2, 3], "<=20": [0, 1, 2, 3],
        "<=25": [0, 1, 2, 3, 4],
    }  # fmt: skip
    between = {name: np.flatnonzero(mask).tolist() for name, mask in groups["between"].items()}
    assert between == {
        "0-5": [0, 1], "6-10": [2, 3], "11-15": [], "16-20": [], "21-25": [4], ">25": [5],
    }  # fmt: skip


# Quoted rows


@pytest.mark.parametrize(
    ("dataset", "name", "source", "metrics"),
    [
        ("office", "InfoDCL-D", "InfoDCL, Table 2", {"recall@20": 0.1398, "ndcg@20": 0.0625}),
        ("office", "SimDiff", "SimDiff, Table III", {"recall@20": 0.1361, "recall@50": 0.2398}),
        ("office", "BM3", "InfoDCL, Table 3", {"recall@20": 0.1158}),
        ("ml-1m_clean", "L-DiffRec", "DiffRec, Table 6", {"recall@20": 0.1809, "ndcg@10": 0.0868}),
        ("tiktok", "DiffMM", "DiffMM, Table 1", {"recall@20": 0.1129, "ndcg@20": 0.0456}),
        ("tiktok", "SimDiff (image)", "SimDiff, Table VII", {"recall@50": 0.1933}),
        ("tiktok", "VBPR", "DiffMM, Table 1", {"recall@20": 0.0380}),
        ("microlens", "LD4MRec", "LD4MRec, Table 3", {"recall@10": 0.0618, "ndcg@20": 0.0442}),
    ],
)
def test_quoted(dataset: str, name: str, source: str, metrics: dict[str, float]) -> None:
    (row,) = (
        row for row in quoted_rows(dataset) if row["name"] == name and row["source"] == source
    )
    assert {key: row["metrics"][key] for key in metrics} == metrics


def test_every_quoted_file_is_sound() -> None:
    files = sorted((properties_folder() / "quoted").glob("*.yaml"))
    assert len(files) == 4
    for path in files:
        for row in quoted_rows(path.stem):
            assert all(0 < value < 1 for value in row["metrics"].values()), row
            cuts = {}
            for metric, value in row["metrics"].items():
                kind, _, cut = metric.partition("@")
                cuts.setdefault(kind, []).append((int(cut), value))
            for values in cuts.values():
                assert [v for _, v in sorted(values)] == sorted(v for _, v in values), row
    assert quoted_rows("planted") == []


def test_keys_of_the_command_are_no_keys_of_runs() -> None:
    known = keys.declared_keys()
    assert not {"processes", "tune_minutes", "tables"} & known
    assert "learning_rate" in known


# The command's words


def test_command_repeats_the_request() -> None:
    keys = {
        "models": "plain=InfoDCL,EASE", "dataset": "planted", "config_files": "a.yaml b.yaml",
        "seeds": [3, 4], "learning_rate": 1e-3, "topk": [5, 10], "data_path": "/somewhere",
        "plain.use_diffusion": False, "protocol": "paper:diffmm", "tune": 0,
    }  # fmt: skip
    request = read_request(keys)
    assert request.command(["plain"], [3]) == (
        "python -m recbole_diffusion compare --models=plain=InfoDCL --dataset=planted "
        '--seeds="[3]" --config_files="a.yaml b.yaml" --learning_rate=0.001 --topk="[5, 10]" '
        "--plain.use_diffusion=false --protocol=paper:diffmm"
    )
    assert request.baselines == ["EASE"]
    rivals = read_request({"models": "DiffRec,SASRec,EASE,mine=GRU4Rec", "dataset": "planted"})
    assert rivals.baselines == ["SASRec", "EASE", "mine"]


HOSTILE = ("=HYPERLINK(1)", "+1+1", "@SUM(A1)", "-2+3", "\t=1", "\r=1", " =1")


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_of_a_csv_is_a_formula(name: str, results: dict[str, Any]) -> None:
    results["quoted"][0] |= {"name": name, "source": name}
    rows = list(csv.reader(io.StringIO(as_csv(results), newline="")))
    assert [rows[-1][0], rows[-1][1]] == [f"'{' '.join(name.splitlines())}"] * 2
    assert all(csv_cell(value) == value for value in ("EASE", "-0.5", "+1e-3", "", -0.5, None))


@pytest.mark.parametrize("name", ["[5] or [6]", "* our\nown *", "a | b\n\n# c", "<b>\\\\ & %"])
def test_hostile_names_break_no_table(name: str, results: dict[str, Any]) -> None:
    results["quoted"][0] |= {"name": name}
    tables = make_tables(results)
    markdown = as_markdown(tables[1:2]).splitlines()
    row = next(line for line in markdown if "‡" in line)
    assert row.replace(r"\|", "").count("|") == len(tables[1].header) + 1
    assert not any(line.startswith("# c") for line in markdown)
    latex = as_latex(tables[1:2]).splitlines()
    (line,) = (line for line in latex if "ddagger" in line and "0.9" in line)
    assert not line.startswith(("[", "*"))  # an argument of the line break before it
    assert line.endswith(r" \\")
    assert line.count(" & ") == len(tables[1].header) - 1
    assert sum("‡" in line and "0.9" in line for line in as_text(tables[1:2]).splitlines()) == 1


# Reproduction


def test_reproduction_joins_files(results: dict[str, Any], tmp_path: Path) -> None:
    later = copy.deepcopy(results)
    later["models"] = [model("Missing", 0.6), model("EASE", None)]
    paths = []
    for number, content in enumerate((results, later)):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps(content))
    write_reproduction(paths[:1], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| Missing |  | not run |" in page
    assert "run Missing\n" in page
    assert "Low_1, falls short of the best baseline, EASE, by 0.1000." in page
    assert "| VBPR‡ | Paper, Table 1 | 0.9000 |  |" in page
    assert "| Low_1 | 0.4100; 1 of 1 |" in page
    assert "| Missing | not run |" in page
    assert "- Recall@20: ahead of Low_1: EASE." in page
    write_reproduction(paths, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "not run" not in page
    assert "| Missing | untuned; 2 seeds | **0.6100 ± 0.0141** |" in page
    assert "| EASE | untuned; 2 seeds | 0.5100 ± 0.0141 |" in page
    tuning = {"trials": 3, "minutes": 1.0, "asked_trials": 3, "has_space": True}
    results["models"][0]["tuning"] = tuning
    later["models"] = [model("EASE", 0.7)]
    for path, content in zip(paths, (results, later), strict=True):
        path.write_text(json.dumps(content))
    write_reproduction(paths, tmp_path / "tuned.md")
    assert "| EASE | 3 trials" in (tmp_path / "tuned.md").read_text()
    assert "Missing, is ahead of the best baseline, EASE, by 0.1000." in page
    assert "| Missing | 0.6100; 0 of 1 |" in page
    assert "- Recall@20: ahead of Missing: no baseline." in page


def test_reproduction_keeps_splits_of_a_data_set_apart(
    results: dict[str, Any], tmp_path: Path
) -> None:
    paths = []
    for group, recall in (("user", 0.6), ("none", 0.7)):
        results["evaluation"]["eval_args"] = {"split": {"RS": [8, 1, 1]}, "group_by": group}
        results["data"]["split_hash"] = f"hash-{group}"
        results["models"] = [model("EASE", recall)]
        paths.append(tmp_path / f"{group}.json")
        paths[-1].write_text(json.dumps(results))
    write_reproduction(paths, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    by_user, by_none = (
        page.partition(f"## toy, split {{'RS': [8, 1, 1]}}, group_by {group}\n")[2].partition(
            "\n## "
        )[0]
        for group in ("user", "none")
    )
    assert "0.6100" in by_user
    assert "hash-user" in by_user
    assert "0.6100" not in by_none
    assert "0.7100" in by_none
    write_reproduction(paths[:1], tmp_path / "page.md")
    assert "## toy\n" in (tmp_path / "page.md").read_text()
    results["evaluation"]["eval_args"] = {"split": {"RS": [8, 1, 1]}, "order": "TO"}
    paths[0].write_text(json.dumps(results))
    write_reproduction(paths[:1], tmp_path / "page.md")
    assert "## toy, in time order\n" in (tmp_path / "page.md").read_text()


def test_reproduction_has_the_tests_of_rows_that_stand(
    results: dict[str, Any], tmp_path: Path
) -> None:
    later = copy.deepcopy(results)
    later["models"] = [model("EASE", 0.3)]
    later["significance"]["comparisons"] = []
    paths = []
    for number, content in enumerate((results, later)):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps(content))
    told = "| Low_1 against EASE | Recall@20 | -0.1000 | 0.001 | 0.002 |"
    write_reproduction(paths[:1], tmp_path / "page.md")
    assert told in (tmp_path / "page.md").read_text()
    write_reproduction(paths, tmp_path / "page.md")  # EASE's row is another now
    assert told not in (tmp_path / "page.md").read_text()
    (same,) = (row for row in results["models"] if row["name"] == "EASE")
    later["models"] = [{**same, "costs": {}}]  # measured again, with the same figures
    paths[1].write_text(json.dumps(later))
    write_reproduction(paths, tmp_path / "page.md")
    assert told in (tmp_path / "page.md").read_text()


def test_reproduction_tells_what_a_search_would_take(
    results: dict[str, Any], tmp_path: Path
) -> None:
    trained, solved, unused = (spread([COSTS | {"parameters": count}]) for count in (500, None, 1))
    tuning = {"trials": 3, "minutes": 1.0, "asked_trials": 3, "has_space": True}
    results["models"] = [
        model("EASE", 0.5, costs=unused),
        model("Low_1", 0.5, costs=trained),
        model("Solved", 0.5, costs=solved),
        model("Searched", 0.5, costs=trained, tuning=tuning),
        model("Missing", None),
    ]
    (tmp_path / "one.json").write_text(json.dumps(results))
    write_reproduction([tmp_path / "one.json"], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    table = page.partition("### Not searched, and what that would take\n\n")[2]
    rows = table.partition("\n\n")[0].splitlines()
    assert rows[2] == "| Low_1 | 400 | 1.0 |"  # 9 runs of 400 s
    assert len(rows) == 3


def test_reproduction_has_baselines_first(results: dict[str, Any], tmp_path: Path) -> None:
    results["models"] = [model(name, 0.5) for name in ("Low_1", "EASE", "Missing")]
    (tmp_path / "one.json").write_text(json.dumps(results))
    write_reproduction([tmp_path / "one.json"], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    rows = [line.split(" ")[1] for line in page.splitlines() if "untuned; 2 seeds" in line]
    assert rows == ["EASE", "Low_1", "Missing"]


def test_reproduction_names_solved_models(results: dict[str, Any], tmp_path: Path) -> None:
    results["models"] = [model(name, 0.5) for name in ("EASE", "Low_1")]
    for row, count in zip(results["models"], (None, 64), strict=True):
        row["costs"] = spread([COSTS | {"parameters": count}])
    (tmp_path / "one.json").write_text(json.dumps(results))
    write_reproduction([tmp_path / "one.json"], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| EASE | untuned; solved; 2 seeds |" in page
    assert "| Low_1 | untuned; 2 seeds |" in page


def test_reproduction_names_accelerators(results: dict[str, Any], tmp_path: Path) -> None:
    ease, other = results["models"][0], results["models"][1]
    ease["cells"][0]["environment"] = {"device": "cuda Test GPU"}
    other["cells"][0]["environment"] = {"device": "cpu x86_64"}
    (tmp_path / "one.json").write_text(json.dumps(results))
    write_reproduction([tmp_path / "one.json"], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert f"| {ease['name']} | untuned; 2 seeds; cuda Test GPU |" in page
    assert page.count("cuda Test GPU") == 1
    assert "x86_64" not in page


def test_reproduction_refuses_other_files(
    results: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other, bad = (tmp_path / f"{name}.json" for name in ("one", "other", "bad"))
    one.write_text(json.dumps(results))
    results["data"]["split_hash"] = "xyz"
    other.write_text(json.dumps(results))
    with pytest.raises(UserError, match=r"other\.json: found split xyz of toy"):
        write_reproduction([one, other], tmp_path / "page.md")
    bad.write_text("{")
    with pytest.raises(UserError, match=r"bad\.json: found no JSON"):
        write_reproduction([bad], tmp_path / "page.md")
    bad.write_text('{"schema": "recbole_diffusion comparison 1"}')
    with pytest.raises(UserError, match=r"bad\.json: found no `dataset`"):
        write_reproduction([bad], tmp_path / "page.md")
    bad.write_text('{"schema": "other"}')
    assert main([str(bad), f"--target={tmp_path / 'page.md'}"]) == 2
    assert "found schema 'other'" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()


@pytest.mark.parametrize("content", ["# My own notes\n", "", "# Reproduction\n\nMy own.\n"])
def test_reproduction_overwrites_its_own_page_alone(
    content: str, results: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.json").write_text(json.dumps(results))
    target = tmp_path / "page.md"
    target.write_text(content)
    words = [str(tmp_path / "one.json"), f"--target={target}"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "page.md: found a file that is no page of this command" in error
    assert error.count("\n") == 1
    assert target.read_text() == content
    target.unlink()
    assert (main(words), main(words)) == (0, 0)


def test_reproduction_refuses_a_target_that_cannot_be_a_file(
    results: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.json").write_text(json.dumps(results))
    for target in (tmp_path, tmp_path / "missing" / "page.md"):
        assert main([str(tmp_path / "one.json"), f"--target={target}"]) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the results are in the repository only")
def test_committed_page_is_that_of_the_committed_results(tmp_path: Path) -> None:
    write_reproduction(sorted((BENCHMARKS / "results").glob("*.json")), tmp_path / "page.md")
    committed = BENCHMARKS.parent / "docs" / "reproduction.md"
    assert (tmp_path / "page.md").read_bytes() == committed.read_bytes()


def test_runs_that_were_stopped_while_they_got_better_are_told(results: dict[str, Any]) -> None:
    for entry, epochs, best in zip(results["models"], (10, 10, 1), (9, 4, 0), strict=False):
        entry["cells"][0] |= {"epochs_trained": epochs, "best_epoch": best}
    rising, others = results["models"][0]["name"], results["models"][1]["name"]
    notes = [note for note in make_tables(results)[0].notes if "still getting better" in note]
    assert len(notes) == 1
    assert f"the best: {rising};" in notes[0]
    assert others not in notes[0]


def test_without_a_baseline_it_is_said_that_nothing_is_tested(results: dict[str, Any]) -> None:
    told = "No test: none of the models is a baseline"
    assert not any(told in note for note in make_tables(results)[0].notes)
    results["models"] = [entry for entry in results["models"] if entry["role"] != "baseline"]
    results["significance"]["comparisons"] = []
    assert any(told in note for note in make_tables(results)[0].notes)
