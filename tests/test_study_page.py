"""The study: its numbers against SciPy's, and its page against the committed results."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats

from recbole_diffusion.studies.compare.reproduction import joined_results, write_reproduction

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module("study")


@pytest.fixture
def numbers(study: ModuleType) -> ModuleType:
    return import_module("study_numbers")


@pytest.fixture
def tables(study: ModuleType) -> ModuleType:
    return import_module("study_tables")


def row(name: str, values: Sequence[float], **changes: Any) -> dict[str, Any]:
    spread = {"mean": np.mean(values), "std": np.std(values, ddof=1), "n": len(values)}
    found = {"name": name, "model": name, "role": "candidate", "settings": {}, "tuning": None}
    return {**found, "test": {"recall@20": spread}, **changes}


def comparison(*rows: dict[str, Any]) -> dict[str, Any]:
    evaluation = {"eval_args": {"order": "RO", "group_by": "user"}}
    return {"dataset": "planted", "models": rows, "command": "", "evaluation": evaluation}


def test_intervals_and_p_are_welchs(numbers: ModuleType) -> None:
    draw = np.random.default_rng(1)
    with_it, without = draw.normal(0.3, 0.01, 4), draw.normal(0.28, 0.03, 7)
    pair = numbers.Pair("planted", "A", row("A", with_it), row("A-none", without))
    expected = stats.ttest_ind(with_it, without, equal_var=False)
    assert pair.p_value() == pytest.approx(expected.pvalue)
    assert pair.interval() == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_verdicts_are_those_of_all_pairs_together(numbers: ModuleType, tables: ModuleType) -> None:
    seeds = np.array([-1.0, 0.0, 1.0])
    one = [row("LD4MRec", 0.30 + 0.002 * seeds), row("LD4MRec-none", 0.292 + 0.002 * seeds)]
    two = [row("LDiffRec", 0.2 + 0.02 * seeds), row("LDiffRec-none", 0.3 + 0.02 * seeds)]
    alone = numbers.Pair("planted", "LD4MRec", *one).p_value()
    _, told = tables.diffusion_part([comparison(*one, *two)])
    assert alone < tables.ALPHA
    assert alone * 2 < tables.ALPHA
    expected = (
        "by its mean better in 1, worse in 1 of 2; settled in 2 (LD4MRec, better; LDiffRec, worse)"
    )
    assert told == expected
    more = [row("DiffRec", 0.3 + 0.2 * seeds), row("DiffRec-none", 0.31 + 0.2 * seeds)]
    many = [model for n in range(20) for model in ({**m, "name": f"{n}{m['name']}"} for m in more)]
    lines, told = tables.diffusion_part([comparison(*one, *two, *many)])
    assert told == "by its mean better in 1, worse in 21 of 22; settled in 0"
    assert len(lines) == 24


def test_lindiffrec_is_the_one_of_the_same_knowledge(numbers: ModuleType) -> None:
    rows = {
        name: row(name, [0.1, 0.2])
        for name in ("LinDiffRec", "no-features", "no-recency", "interactions-only")
    }
    for dataset, knows, name in (
        ("films", {"interactions", "features", "order"}, "LinDiffRec"),
        ("films", {"interactions", "order"}, "no-features"),
        ("films", {"interactions", "features"}, "no-recency"),
        ("films", {"interactions"}, "interactions-only"),
        ("office", {"interactions", "features"}, "LinDiffRec"),
        ("office", {"interactions"}, "no-features"),
    ):
        found = numbers.lindiffrec_with(rows, dataset, knows)
        assert found is not None
        assert found["name"] == name
    assert numbers.lindiffrec_with({}, "films", {"interactions"}) is None


def test_a_lead_below_the_margin_is_none(tables: ModuleType) -> None:
    def split(solved: float) -> dict[str, Any]:
        rival = row("EASE", [0.2, 0.2], role="baseline")
        return comparison(row("interactions-only", [solved] * 2), rival)

    splits = {"a": split(0.2009), "b": split(0.2011), "c": split(0.1)}
    told = tables.beside_best_rival(splits, {"interactions"})
    ahead, level, behind = told.split("; ")
    assert ahead == "ahead of the best such rival on `b` (0.2011°, EASE 0.2000°)"
    assert level == "level with the best such rival on `a` (0.2009°, EASE 0.2000°)"
    assert behind == "behind the best such rival on `c` (0.1000°, EASE 0.2000°)"


def test_a_best_rival_that_is_a_diffusion_model_has_the_best_other_beside_it(
    tables: ModuleType,
) -> None:
    rows = [row(name, [v] * 2, role="baseline") for name, v in (("GiffCF", 0.3), ("EASE", 0.2))]
    first, second = comparison(*rows), comparison(rows[1])
    told = tables.diffusion_rivals({"one": first, "two": second})
    said = "Best with interactions alone, and a diffusion model itself"
    assert told == [f"{said}: GiffCF on `one`, the best other EASE 0.2000°.", ""]
    assert tables.diffusion_rivals({"two": second}) == []


def test_rivals_that_read_sequences_are_told_where_they_are_ahead(tables: ModuleType) -> None:
    def split(**values: float) -> dict[str, Any]:
        return comparison(*(row(name, [v] * 2) for name, v in values.items()))

    splits = {
        "ahead": split(LinDiffRec=0.2, SASRec=0.3, GRU4Rec=0.25),
        "behind": split(LinDiffRec=0.2, SASRec=0.1),
        "none": split(LinDiffRec=0.2),
    }
    said = "- Where histories have an order, a rival that reads sequences is ahead of LinDiffRec on"
    assert tables.sequential_ahead(splits) == [said, "  `ahead` (SASRec 0.3000° to 0.2000°)."]
    assert tables.sequential_ahead({"none": splits["none"]}) == []


def test_knowledge_that_no_rival_has(tables: ModuleType) -> None:
    rows = [row("EASE-recency", [0.1] * 2), row("EASE-features", [0.1] * 2)]
    assert tables.no_rival_knows({"one": comparison(*rows)}, {"features", "order"})
    assert not tables.no_rival_knows({"one": comparison(*rows)}, {"interactions", "order"})


@pytest.mark.parametrize(
    ("dataset", "order", "group_by", "expected"),
    [
        ("a", "RO", "user", "70, 20, 10 % of each user's, drawn at random"),
        ("a", "TO", "user", "70, 20, 10 % of each user's, in the order of time"),
        ("a", "TO", "none", "70, 20, 10 % of all rows, in the order of time"),
        ("office", "RO", "user", "as InfoDCL's authors release it"),
    ],
)
def test_a_split_is_told_in_words(
    tables: ModuleType, dataset: str, order: str, group_by: str, expected: str
) -> None:
    eval_args = {"split": {"RS": [0.7, 0.2, 0.1]}, "order": order, "group_by": group_by}
    evaluation = {"eval_args": eval_args}
    assert tables.how_split(dataset, {**comparison(), "evaluation": evaluation}) == expected


def test_a_rival_may_be_made_by_settings_of_ours(numbers: ModuleType) -> None:
    rows = {
        "EASE": row("EASE", [0.1, 0.1], role="baseline"),
        "EASE-features": row("EASE-features", [0.2, 0.2]),
        "LinDiffRec": row("LinDiffRec", [0.3, 0.3]),
    }
    assert numbers.best_rival(rows)["name"] == "EASE-features"
    assert numbers.best_rival(rows, {"interactions", "order"})["name"] == "EASE"


def test_one_cut_in_time_tells_which_of_ours_is_ahead(tables: ModuleType) -> None:
    def split(group_by: str, lindiffrec: float, seeds: list[int], rival: str) -> dict[str, Any]:
        groups = {"between": [{"users": 4}, {"users": 5}]}
        values = (("LinDiffRec", lindiffrec), ("PrefixDiff", 0.2), (rival, 0.15))
        rows = [row(name, [value] * 2, groups=groups) for name, value in values]
        rows[2]["role"] = "baseline"
        evaluation = {"eval_args": {"order": "TO", "group_by": group_by}}
        return {**comparison(*rows), "evaluation": evaluation, "seeds": seeds}

    by_user = split("user", 0.9, [1], "EASE")
    on = "on planted (9 users with test items, "
    none = "; no rival that reads sequences has run there"
    one = f"LinDiffRec is ahead of PrefixDiff {on}1 seed), 0.3000° to 0.2000°, "
    two = f"PrefixDiff is ahead of LinDiffRec {on}2 seeds), 0.2000° to 0.1000°, "
    for lindiffrec, seeds, rival, expected in (
        (0.3, [1], "EASE", f"{one}and the best rival is EASE, 0.1500°{none}"),
        (0.1, [1, 2], "SASRec", f"{two}and the best rival is SASRec, 0.1500°"),
    ):
        cut = split("none", lindiffrec, seeds, rival)
        assert tables.under_one_cut([by_user, cut]) == expected


def test_what_a_part_adds_is_told_with_its_test_on_each_split(tables: ModuleType) -> None:
    seeds = 0.001 * np.array([-1.0, 0.0, 1.0])

    def split(difference: float) -> dict[str, Any]:
        return comparison(
            row("PrefixDiff", 0.3 + difference + seeds), row("next-item", 0.3 + seeds)
        )

    told = tables.own_gain({"far": split(0.1), "near": split(0.0)}, [], "PrefixDiff")
    far, near = told.split("; ")
    assert far.startswith("+0.1000 on far (p ")
    assert far.endswith(", settled)")
    assert near == "+0.0000 on near (p 1, not settled)"


def test_the_front_is_what_none_beats_in_both(study: ModuleType) -> None:
    def trained(name: str, seconds: float, value: float) -> dict[str, Any]:
        costs = {
            "train_seconds_per_epoch": {"mean": seconds},
            "epochs_trained": {"mean": 1.0},
            "setup_seconds": {"mean": 0.0},
        }
        return row(name, [value, value], costs=costs)

    made = [("fast", 1, 0.1), ("slow", 9, 0.3), ("beaten", 10, 0.2), ("middle", 5, 0.2)]
    models = {name: trained(name, seconds, value) for name, seconds, value in made}
    assert study.front(models) == {"fast", "middle", "slow"}


def test_the_committed_pages_are_those_of_the_committed_results(
    study: ModuleType, tmp_path: Path
) -> None:
    files = sorted((ROOT / "benchmarks" / "results" / "study").glob("*.json"))
    page = study.page(joined_results(COMMITTED), [json.loads(path.read_text()) for path in files])
    assert page == (ROOT / "docs" / "study.md").read_text()
    write_reproduction(COMMITTED, tmp_path / "page.md")
    expected = (ROOT / "docs" / "reproduction.md").read_text()
    assert (tmp_path / "page.md").read_text() == expected
