"""What the study reads from results: rows, the best of them, what each learns from, intervals."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from picture import BY_SETTINGS, METRIC, PAPERS
from scipy import stats

from recbole_diffusion.studies.compare.tables import knowledge_of, spread_text, training_seconds

OURS = ("LinDiffRec", "PrefixDiff")
SEQUENTIAL = ("SASRec", "GRU4Rec")
# Of further papers.
DIFFUSION_RIVALS = ("CFDiff", "GiffCF", "FlowCF", "DDRM", "BSPM")
# Behind the name of a model without its diffusion part.
CONTROL = "-none"
# What LinDiffRec learns from in some of its rows, where the data have it.
VARIANTS = {
    "LinDiffRec": {"interactions", "features", "order"},
    "no-recency": {"interactions", "features"},
    "no-features": {"interactions", "order"},
    "interactions-only": {"interactions"},
}
UNORDERED = ("office", "tiktok")
NOT_SEARCHED = "°"
Results = Mapping[str, Any]
Row = Mapping[str, Any]


def rows_of(results: Results) -> dict[str, Any]:
    """Models that have run, by name."""
    return {model["name"]: model for model in results["models"] if model["test"]}


def value(model: Row) -> float:
    """Mean of the metric on test."""
    return float(model["test"][METRIC]["mean"])


def mark(model: Row) -> str:
    """Behind the value of a model whose settings were not searched."""
    return "" if model["tuning"] else NOT_SEARCHED


def marked(model: Row, form: str = ".4f") -> str:
    """The value and its mark."""
    return format(value(model), form) + mark(model)


def over_seeds(model: Row, metric: str = METRIC) -> str:
    """Mean and standard deviation on test, where seeds differ."""
    return spread_text(model["test"][metric])


def marked_over_seeds(model: Row) -> str:
    """Mean, standard deviation where seeds differ, and mark."""
    return over_seeds(model) + mark(model)


def seconds_of(row: Row) -> float | None:
    """Time to train; None of a solved model whose time was not kept."""
    measured = row["costs"]
    is_solved = measured.get("epochs_trained", {"mean": 0})["mean"] <= 1
    return None if is_solved and "setup_seconds" not in measured else training_seconds(row)


def time_text(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def times_of(joined: Mapping[str, Results], names: Iterable[str]) -> str:
    """The least and the greatest time to train of some models."""
    found = map(seconds_of, _named(joined, names))
    each = [seconds for seconds in found if seconds is not None]
    return f"{time_text(min(each))} to {time_text(max(each))}"


def peaks_of(joined: Mapping[str, Results], names: Iterable[str]) -> str:
    """The least and the greatest peak memory of some models."""
    each = [row["costs"]["peak_memory_mb"]["mean"] for row in _named(joined, names)]
    return f"{min(each):.0f} to {max(each):.0f} MiB"


def _named(joined: Mapping[str, Results], names: Iterable[str]) -> list[Row]:
    """The rows of some models on all data sets."""
    each = (rows_of(results) for results in joined.values())
    return [rows[name] for rows in each for name in names if name in rows]


def known(model: Row) -> set[str]:
    """What a model learns from."""
    return BY_SETTINGS.get(model["name"]) or set(knowledge_of(model).split(", "))


def best_of_papers(rows: Mapping[str, Row]) -> Row | None:
    """The best of the eight models, if one has run."""
    return max((rows[name] for name in PAPERS if name in rows), key=value, default=None)


def rivals(rows: Mapping[str, Row]) -> dict[str, Row]:
    """The models that are neither ours nor the papers'."""
    return {
        name: row for name, row in rows.items() if row["role"] == "baseline" or name in BY_SETTINGS
    }


def best_rival(rows: Mapping[str, Row], knows: set[str] | None = None) -> Row:
    """The best rival, or the best whose knowledge is a part of this."""
    found = rivals(rows).values()
    return max((row for row in found if knows is None or known(row) <= knows), key=value)


def contenders(rows: Mapping[str, Row]) -> list[Row | None]:
    """Ours, the best of the papers' models and the best rival; None for what has not run."""
    return [*(rows.get(name) for name in OURS), best_of_papers(rows), best_rival(rows)]


def lindiffrec_with(rows: Mapping[str, Row], dataset: str, knows: set[str]) -> Row | None:
    """LinDiffRec with all of this knowledge and no other, if it has run so."""
    lacking = {"order"} if dataset in UNORDERED else set()
    for name, learnt in VARIANTS.items():
        if learnt - lacking == knows - lacking and name in rows:
            return rows[name]
    return None


def is_plain(name: str, row: Row) -> bool:
    """Whether a row is a model itself, or a rival told of the order or of features."""
    model = row["model"].rpartition(".")[2]
    return name in (model, f"{model}-recency", *BY_SETTINGS)


def has_all(results: Results) -> bool:
    """Whether a comparison has all models of the papers, and not one of the smaller studies."""
    return {"LD4MRec", "LDiffRec"} <= rows_of(results).keys()


def is_cut_once(results: Results) -> bool:
    """Whether one moment divides train from test for all users."""
    order = results["evaluation"]["eval_args"]
    return order.get("order") == "TO" and order.get("group_by") in (None, "none")


def seeds_text(results: Results) -> str:
    """How many seeds a comparison has."""
    count = len(results["seeds"])
    return f"{count} seed{'s' if count > 1 else ''}"


def split_name(results: Results) -> str:
    """The data set, and how it is split where ml-100k is split in several ways."""
    is_random = results["evaluation"]["eval_args"].get("order") == "RO"
    name = str(results["dataset"])
    return f"{name}, at random" if is_random and name == "ml-100k" else name


def at_random(files: Iterable[Results]) -> dict[str, Results]:
    """The comparison of all models on ml-100k, under the name that the study has for its split."""
    found = next(r for r in files if has_all(r) and r["dataset"] == "ml-100k")
    return {split_name(found): found}


@dataclass(frozen=True)
class Pair:
    """A model with and without its diffusion part.

    Attributes:
        dataset: Name.
        name: Of the model.
        with_it: Its row.
        without: The row of its control.
    """

    dataset: str
    name: str
    with_it: Row
    without: Row

    @property
    def difference(self) -> float:
        """What the diffusion part adds."""
        return value(self.with_it) - value(self.without)

    def interval(self) -> tuple[float, float]:
        """Welch's 95 % interval of the difference of the means over seeds."""
        parts = [spread["std"] ** 2 / spread["n"] for spread in self._spreads()]
        counts = [spread["n"] for spread in self._spreads()]
        freedom = sum(parts) ** 2 / sum(
            part**2 / (n - 1) for part, n in zip(parts, counts, strict=True)
        )
        reach = float(stats.t.ppf(0.975, freedom) * np.sqrt(sum(parts)))
        return self.difference - reach, self.difference + reach

    def p_value(self) -> float:
        """Of Welch's test that there is no difference."""
        numbers = [s[key] for s in self._spreads() for key in ("mean", "std", "n")]
        return float(stats.ttest_ind_from_stats(*numbers, equal_var=False).pvalue)

    def _spreads(self) -> list[Mapping[str, Any]]:
        return [row["test"][METRIC] for row in (self.with_it, self.without)]


def pairs(files: Iterable[Results]) -> list[Pair]:
    """Each model and its control, of the comparisons that have all models."""
    return [
        Pair(split_name(results), name, rows[name], rows[name + CONTROL])
        for results in filter(has_all, files)
        for rows in [rows_of(results)]
        for name in rows
        if name + CONTROL in rows
    ]
