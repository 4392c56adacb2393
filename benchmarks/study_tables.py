"""The tables of the study, and what each says in a sentence."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from picture import METRIC, PAPERS
from study_numbers import (
    CONTROL,
    DIFFUSION_RIVALS,
    OURS,
    SEQUENTIAL,
    UNORDERED,
    Pair,
    Results,
    Row,
    at_random,
    best_of_papers,
    best_rival,
    contenders,
    has_all,
    is_cut_once,
    is_plain,
    known,
    lindiffrec_with,
    mark,
    marked,
    marked_over_seeds,
    over_seeds,
    pairs,
    rivals,
    rows_of,
    seconds_of,
    seeds_text,
    split_name,
    time_text,
    value,
)

from recbole_diffusion.evaluation.significance import holm
from recbole_diffusion.pages.tables import metric_name
from recbole_diffusion.studies.compare.tables import training_seconds

METRIC_NAME = metric_name(METRIC)
COLD = f"{METRIC} (cold)"
# What the data are, for who looks for data like their own.
DATA = {
    "office": "purchases; texts of items, no times",
    "tiktok": "videos watched; images and sounds, no times",
    "microlens, in time order": "videos watched; titles, times",
    "ml-1m_clean": (
        "ratings of films; titles and genres, times; test right after train, and epochs chosen on "
        "what comes later"
    ),
    "ml-1m_clean-in-order": "as `ml-1m_clean`, each user's latest held out",
    "ml-100k, in time order": "ratings of films; titles, genres, times",
    "ml-100k, at random": "the same films, titles and genres, test drawn at random",
}
# How splits that come with their data are made; the others follow `eval_args`.
GIVEN = {
    "ml-1m_clean": "of each user's, as DiffRec's authors release it: validation is latest",
    "ml-1m_clean-in-order": "the same three parts of each user's, in the order of time",
    "office": "as InfoDCL's authors release it",
    "tiktok": "as DiffMM's authors release it",
}
# Of LinDiffRec: what a row leaves out.
PARTS = {
    "no-features": "item features",
    "no-recency": "recency: weights of a history's items that fall with age",
    "no-normalisation": "normalisation by a history's length and an item's popularity",
}
# Ours that seeds do not change.
SOLVED = ("LinDiffRec",)
# Fewer users than this say nothing of a group.
LEAST_USERS = 30
# Values that differ by less are level: without a test they say nothing.
LEVEL = 0.001
ALPHA = 0.05


def table(header: Iterable[str], rows: Iterable[Iterable[str]], n_texts: int = 1) -> list[str]:
    """A Markdown table, whose first columns are texts; nothing without rows."""
    names, lines = list(header), [f"| {' | '.join(row)} |" for row in rows]
    rule = ["---"] * n_texts + ["---:"] * (len(names) - n_texts)
    return [f"| {' | '.join(names)} |", f"| {' | '.join(rule)} |", *lines] if lines else []


def which_model(joined: Mapping[str, Results]) -> list[str]:
    """On each data set: our models, and the best of the papers' models and of the rivals."""
    rows = []
    for dataset, results in joined.items():
        data, found = results["data"], rows_of(results)
        size = f"{data['users']} x {data['items']}"
        rows.append(
            [
                f"{dataset}: {DATA[dataset]}",
                size,
                f"{data['train_interactions'] / data['users']:.0f}",
                *(_with_cost(row, found) for row in contenders(found)),
            ]
        )
    header = ("data", "users x items", "train rows a user, mean", *OURS)
    best = ("best of the papers' models (of how many)", "best rival (of how many)")
    return table([*header, *best], rows)


def _with_cost(row: Row | None, rows: Mapping[str, Row]) -> str:
    """A model's name where its column does not tell it, metric and time."""
    if row is None:
        return ""
    told = _with_time(row, marked_over_seeds(row))
    if row["name"] in OURS:
        return told
    beside = set(PAPERS) & rows.keys() if row["name"] in PAPERS else rivals(rows)
    return f"{row['name']} {told} (of {len(beside)})"


def _with_time(row: Row, metric: str) -> str:
    """Metric, and time to train where it was kept."""
    seconds = seconds_of(row)
    return metric if seconds is None else f"{metric}, {time_text(seconds)}"


def who_leads(joined: Mapping[str, Results]) -> str:
    """On how many splits one of ours is ahead of the papers' models that ran there."""
    found = [rows_of(results) for results in joined.values()]
    found = [rows for rows in found if best_of_papers(rows)]
    led = sum(
        max(value(rows[name]) for name in OURS if name in rows) > value(best_of_papers(rows))
        for rows in found
    )
    return f"all {led}" if led == len(found) else f"{led} of the {len(found)}"


def without_sequential(joined: Mapping[str, Results]) -> list[str]:
    """Data sets where PrefixDiff has run, and no rival of its kind."""
    return [
        f"`{dataset}`"
        for dataset, results in joined.items()
        if "PrefixDiff" in rows_of(results) and not set(SEQUENTIAL) & rows_of(results).keys()
    ]


def sequential_ahead(joined: Mapping[str, Results]) -> list[str]:
    """Where the best rival that reads sequences is ahead of LinDiffRec."""
    found = []
    for dataset, rows in ((dataset, rows_of(results)) for dataset, results in joined.items()):
        there = [rows[name] for name in SEQUENTIAL if name in rows]
        if there and value(best := max(there, key=value)) > value(rows["LinDiffRec"]):
            values = f"{_named_value(best)} to {marked(rows['LinDiffRec'])}"
            found.append(f"`{dataset}` ({values})")
    told = "- Where histories have an order, a rival that reads sequences is ahead of LinDiffRec on"
    return [told, f"  {', '.join(found)}."] if found else []


def diffusion_part(files: Iterable[Results]) -> tuple[list[str], str]:
    """The papers' models with and without their diffusion part, and a sentence of it."""
    found = pairs(files)
    corrected = holm([pair.p_value() for pair in found])
    rows = []
    for pair, p in zip(found, corrected, strict=True):
        low, high = pair.interval()
        better = "better" if pair.difference > 0 else "worse"
        rows.append(
            [
                pair.dataset,
                pair.name,
                f"{value(pair.with_it):.4f}",
                f"{value(pair.without):.4f}",
                f"{pair.difference:+.4f}",
                f"{low:+.4f} to {high:+.4f}",
                f"{p:.2g}",
                better if p < ALPHA else "not settled",
            ]
        )
    n_better = sum(pair.difference > 0 for pair in found)
    settled = [
        f"{pair.name}, {'better' if pair.difference > 0 else 'worse'}"
        for pair, p in zip(found, corrected, strict=True)
        if p < ALPHA
    ]
    told = (
        f"by its mean better in {n_better}, worse in {len(found) - n_better} of {len(found)}; "
        f"settled in {len(settled)}"
    )
    if settled:
        told += f" ({'; '.join(settled)})"
    differences = ("difference", "95 % of it", "p (Holm)", "with diffusion it is")
    header = ("data", "model", "with", "without", *differences)
    return table(header, rows, 2), told


def own_pairs(joined: Mapping[str, Results], files: list[Results]) -> list[Pair]:
    """Our models with and without their part, where both have run."""
    at_defaults = [
        Pair(split_name(results), "LinDiffRec", rows[2], rows[1])
        for results in files
        for rows in [{r["settings"]["steps"]: r for r in _of_steps([results], "LinDiffRec")}]
        if {1, 2} <= rows.keys()
    ]
    found = [
        Pair(dataset, name, found[name], found[control])
        for name, control in (("LinDiffRec", "one-step"), ("PrefixDiff", "next-item"))
        for dataset, results in joined.items()
        for found in [rows_of(results)]
        if {name, control} <= found.keys()
    ]
    return sorted([*found, *at_defaults], key=lambda pair: OURS.index(pair.name))


def own_part(joined: Mapping[str, Results], files: list[Results]) -> list[str]:
    """A table of our models with and without theirs."""
    rows = []
    for pair in own_pairs(joined, files):
        texts = map(marked_over_seeds, (pair.with_it, pair.without))
        p = "solved" if pair.name in SOLVED else f"{pair.p_value():.2g}"
        rows.append([pair.dataset, pair.name, *texts, f"{pair.difference:+.4f}", p])
    return table(("data", "model", "with", "without", "difference", "p"), rows, 2)


def own_gain(joined: Mapping[str, Results], files: list[Results], name: str) -> str:
    """What its part adds to one of ours: on each split with its test, or how far it ranges."""
    found = [pair for pair in own_pairs(joined, files) if pair.name == name]
    if name in SOLVED:
        each = [pair.difference for pair in found]
        return f"{min(each):+.4f} to {max(each):+.4f} on {len(found)} splits"
    return "; ".join(map(_gain, found))


def _gain(pair: Pair) -> str:
    """A difference, its split and its test."""
    p = pair.p_value()
    verdict = "settled" if p < ALPHA else "not settled"
    return f"{pair.difference:+.4f} on {pair.dataset} (p {p:.2g}, {verdict})"


def _beside_its_rival(
    joined: Mapping[str, Results], knows: set[str]
) -> Iterator[tuple[str, Row, Row]]:
    """LinDiffRec of this knowledge, where it has run, and the best rival that knows no more."""
    for dataset, results in joined.items():
        rows = rows_of(results)
        solved = lindiffrec_with(rows, dataset, knows)
        if solved is not None:
            yield dataset, solved, best_rival(rows, knows)


def _values(solved: Row, rival: Row) -> str:
    """LinDiffRec's value, and the rival's with its name."""
    return f"{marked(solved)}, {_named_value(rival)}"


def beside_best_rival(joined: Mapping[str, Results], knows: set[str]) -> str:
    """Where LinDiffRec is ahead of the best rival that knows no more, level with it or behind."""
    verdicts: dict[str, list[str]] = {"ahead of": [], "level with": [], "behind": []}
    for dataset, solved, rival in _beside_its_rival(joined, knows):
        difference = value(solved) - value(rival)
        is_level = abs(difference) < LEVEL
        verdict = "level with" if is_level else "ahead of" if difference > 0 else "behind"
        verdicts[verdict].append(f"`{dataset}` ({_values(solved, rival)})")
    return "; ".join(
        f"{verdict} the best such rival on {', '.join(where)}"
        for verdict, where in verdicts.items()
        if where
    )


def diffusion_rivals(joined: Mapping[str, Results]) -> list[str]:
    """Where the best rival with interactions alone is a diffusion model, and the best other."""
    found = []
    for dataset, results in joined.items():
        rows = rows_of(results)
        best = best_rival(rows, {"interactions"})
        if best["name"] in DIFFUSION_RIVALS:
            others = {name: row for name, row in rows.items() if name not in DIFFUSION_RIVALS}
            other = best_rival(others, {"interactions"})
            found.append(f"{best['name']} on `{dataset}`, the best other {_named_value(other)}")
    told = f"Best with interactions alone, and a diffusion model itself: {'; '.join(found)}."
    return [told, ""] if found else []


def _named_value(row: Row) -> str:
    """A model's name and its value."""
    return f"{row['name']} {marked(row)}"


def no_rival_knows(joined: Mapping[str, Results], knows: set[str]) -> bool:
    """Whether no rival that has run learns from all of this."""
    each = (row for results in joined.values() for row in rivals(rows_of(results)).values())
    return not any(knows <= known(row) for row in each)


def beside_rivals(joined: Mapping[str, Results]) -> list[str]:
    """Each paper's model beside LinDiffRec and the best rival that know no more."""
    rows = []
    for dataset, results in joined.items():
        found = rows_of(results)
        for name in (name for name in (*PAPERS, "PrefixDiff") if name in found):
            knows = known(found[name])
            rival = best_rival(found, knows)
            solved = lindiffrec_with(found, dataset, knows)
            rows.append(
                [
                    dataset,
                    name,
                    ", ".join(sorted(knows - {"interactions"})) or "interactions alone",
                    marked(found[name]),
                    marked(solved) if solved else "",
                    _named_value(rival),
                ]
            )
    header = ("data", "model", "knows", METRIC_NAME, "LinDiffRec, same knowledge")
    return table([*header, "best rival that knows no more"], rows, 3)


def by_knowledge(joined: Mapping[str, Results]) -> list[str]:
    """LinDiffRec with each kind of knowledge, beside the best rival that knows no more."""
    kinds = [*map({"interactions"}.union, ((), ("features",), ("order",), ("features", "order")))]
    columns = [
        {
            dataset: _values(solved, rival)
            for dataset, solved, rival in _beside_its_rival(joined, knows)
            if not (dataset in UNORDERED and "order" in knows)
        }
        for knows in kinds
    ]
    rows = [[dataset, *(column.get(dataset, "") for column in columns)] for dataset in joined]
    return table(("data", "interactions alone", "features", "order", "features and order"), rows)


def knowledge_worth(joined: Mapping[str, Results]) -> list[str]:
    """What LinDiffRec loses without each part."""
    each = {dataset: rows_of(results) for dataset, results in joined.items()}
    each = {dataset: found for dataset, found in each.items() if PARTS.keys() & found.keys()}
    rows = []
    for name, part in PARTS.items():
        cells = []
        for found in each.values():
            has_both = {name, "LinDiffRec"} <= found.keys()
            cells.append(
                f"{value(found[name]) - value(found['LinDiffRec']):+.4f}{mark(found[name])}"
                if has_both
                else ""
            )
        rows.append([part, *cells])
    return table(("left out", *each), rows)


def by_activity(joined: Mapping[str, Results]) -> list[str]:
    """Ours, the best of the papers' models and the best rival by users' activity."""
    lines = []
    for dataset, results in joined.items():
        found = rows_of(results)
        shown = [row for row in contenders(found) if row is not None and row["groups"]]
        between = shown[0]["groups"]["between"]
        groups = [n for n, group in enumerate(between) if group["users"] >= LEAST_USERS]
        rows = []
        for row in shown:
            spreads = [row["groups"]["between"][n]["metrics"].get(METRIC) for n in groups]
            cells = [f"{s['mean']:.4f}" if s and s["mean"] is not None else "" for s in spreads]
            rows.append([row["name"] + mark(row), *cells])
        lines += ["", f"{dataset}, users by number of train rows:", ""]
        lines += table(("model", *(between[n]["group"] for n in groups)), rows)
        counts = [between[n]["users"] for n in groups]
        lines += ["", f"Users in each: {', '.join(map(str, counts))}"]
        n_left = sum(group["users"] for group in between) - sum(counts)
        lines[-1] += f"; {n_left} are in smaller groups." if n_left else "."
        lines += _behind(shown, [(n, between[n]["group"]) for n in groups])
    return lines


def _behind(rows: list[Row], groups: list[tuple[int, str]]) -> list[str]:
    """The groups of which our best model is not the first."""
    best = max((row for row in rows if row["name"] in OURS), key=value)
    found = []
    for n, group in groups:
        means = {
            row["name"]: row["groups"]["between"][n]["metrics"][METRIC]["mean"] for row in rows
        }
        first = max(means, key=lambda name, m=means: m[name])
        if means[first] > means[best["name"]]:
            found.append(f"{first} at {group}")
    return [f"Ahead of {best['name']}: {', '.join(found) or 'none'}."]


def by_noise(files: Iterable[Results]) -> list[str]:
    """Recall as random interactions are added to train, and what is lost."""
    found = {
        ratio: rows_of(results)
        for ratio, results in sorted(((_ratio_of(r), r) for r in files), key=lambda pair: pair[0])
        if "DiffRec-none" in rows_of(results)
        and not has_all(results)
        and "train_share" not in results
    }
    return _as_columns({f"{ratio:.0%} added": rows for ratio, rows in found.items()})


def by_share(files: list[Results]) -> list[str]:
    """Recall as the train part grows to the whole."""
    found = {
        results.get("train_share", 1.0): rows_of(results)
        for results in files
        if "train_share" in results or has_all(results)
    }
    wanted = rows_of(next((r for r in files if "train_share" in r), {"models": []}))
    return _as_columns(
        {
            f"{share:.0%}": {name: row for name, row in found[share].items() if name in wanted}
            for share in sorted(found)
        }
    )


def _as_columns(found: Mapping[str, Mapping[str, Row]]) -> list[str]:
    """A table of the models of the first of some comparisons, each of which is a column."""
    if len(found) < 2:
        return []
    first, *_, last = found.values()
    rows = [
        [name, *(over_seeds(rows[name]) if name in rows else "" for rows in found.values())]
        for name in first
    ]
    changes = ", ".join(
        f"{name} {value(last[name]) / value(first[name]) - 1:+.1%}" for name in first
    )
    return [
        *table(("model", *found), rows),
        "",
        f"From the first column to the last (`{CONTROL}`: without the diffusion part): {changes}.",
    ]


def _ratio_of(results: Results) -> float:
    """Share of random interactions that a comparison's command adds."""
    words = results["command"].split()
    told = [word.partition("=")[2] for word in words if word.startswith("--train_noise_ratio=")]
    return float(told[0]) if told else 0.0


def by_steps(files: list[Results]) -> list[str]:
    """Recall by number of steps, and the best number of each model."""
    found = _of_steps(files)
    rows = [
        [
            row["model"],
            str(row["settings"]["steps"]),
            over_seeds(row),
            f"{training_seconds(row):.1f}",
        ]
        for row in found
    ]
    models = dict.fromkeys(row["model"] for row in found)
    told = [f"{model} with {_best_steps(files, model)}" for model in models]
    said = ["", f"Best on test: {'; '.join(told)}."] if told else []
    return [*table(("model", "steps", METRIC_NAME, "s to train"), rows), *said]


def _of_steps(files: Iterable[Results], model: str | None = None) -> list[Row]:
    """Rows, of one model or of all, that differ from the defaults by their number of steps."""
    each = (row for results in files for row in rows_of(results).values())
    return [
        row for row in each if set(row["settings"]) == {"steps"} and model in (None, row["model"])
    ]


def _best_steps(files: Iterable[Results], model: str) -> str:
    """A model's best number of steps, and its value."""
    best = max(_of_steps(files, model), key=value)
    return f"{best['settings']['steps']}, {value(best):.4f}"


def of_cold_items(files: Iterable[Results]) -> list[str]:
    """Recall of items that no train interaction has: among themselves, and among all."""
    for results in filter(has_cold, files):
        found = rows_of(results)
        rows = [[name, over_seeds(row, COLD), over_seeds(row)] for name, row in found.items()]
        first = max(found, key=lambda name: found[name]["test"][COLD]["mean"])
        among_all = max(found, key=lambda name: value(found[name]))
        return [
            *table(("model", "ranked among cold items", "ranked among all items"), rows),
            "",
            f"Ahead: {first} among cold items, {among_all} among all.",
            "",
            f"Command, once the released parts are joined as told there: `{results['command']}`",
        ]
    return []


def has_cold(results: Results) -> bool:
    """Whether items were held out; the data for that are joined first, so it needs more to run."""
    return any(COLD in row["test"] for row in rows_of(results).values())


def costs(joined: Mapping[str, Results]) -> list[str]:
    """Metric, time and memory of each model on each data set."""
    found = [rows_of(results) for results in joined.values()]
    names = dict.fromkeys(name for rows in found for name in rows if is_plain(name, rows[name]))
    rows = [[name, *(_cost(models.get(name)) for models in found)] for name in names]
    return table(("model", *joined), rows)


def epochs_of(joined: Mapping[str, Results]) -> str:
    """How many epochs PrefixDiff trains on each data set."""
    found = {
        dataset: rows_of(results)["PrefixDiff"]["costs"]["epochs_trained"]["mean"]
        for dataset, results in joined.items()
        if "PrefixDiff" in rows_of(results)
    }
    return "; ".join(f"{epochs:.0f} epochs on {dataset}" for dataset, epochs in found.items())


def searches(joined: Mapping[str, Results]) -> str:
    """The longest search of a model on each data set, in minutes."""
    found = {
        dataset: max(row["tuning"]["minutes"] for row in rows_of(results).values() if row["tuning"])
        for dataset, results in joined.items()
    }
    return "; ".join(f"{minutes:.0f} min on {dataset}" for dataset, minutes in found.items())


def _cost(row: Row | None) -> str:
    if row is None:
        return ""
    memory = row["costs"].get("peak_memory_mb", {}).get("mean")
    return _with_time(row, marked(row, ".3f")) + (f", {memory:.0f} MiB" if memory else "")


def _cut_once(files: Iterable[Results]) -> dict[str, Results]:
    """The comparisons with one cut in time, under the names of their splits."""
    return {
        f"{results['dataset']}, one cut in time, {seeds_text(results)}": results
        for results in filter(is_cut_once, files)
    }


def splits(joined: Mapping[str, Results], files: list[Results]) -> list[str]:
    """How each split is made, and the sizes of its parts."""
    parts = ("train", "validation", "test")
    rows = [
        [dataset, how_split(dataset, results)]
        + [str(results["data"][f"{part}_interactions"]) for part in parts]
        for dataset, results in {**joined, **_cut_once(files)}.items()
    ]
    return table(("data", "split", *parts), rows, 2)


def how_split(dataset: str, results: Results) -> str:
    """Which share of what is in each part, in words."""
    if dataset in GIVEN:
        return GIVEN[dataset]
    eval_args = results["evaluation"]["eval_args"]
    shares = ", ".join(f"{share:.0%}".rstrip("%") for share in eval_args["split"]["RS"])
    whose = "all rows" if is_cut_once(results) else "each user's"
    how = "drawn at random" if eval_args["order"] == "RO" else "in the order of time"
    return f"{shares} % of {whose}, {how}"


def by_protocol(joined: Mapping[str, Results], files: list[Results]) -> list[str]:
    """The same interactions under several splits, and which model is first."""
    ordered = ("ml-1m_clean", "ml-1m_clean-in-order", "ml-100k, in time order")
    cut = _cut_once(files)
    each = {**{name: joined[name] for name in ordered}, **at_random(files), **cut}
    wanted = (*OURS, "SASRec", "EASE", "EASE-recency", "LightGCN", "DiffRec", "TDiffRec", "ItemKNN")
    found = [rows_of(results) for results in each.values()]
    rows = [
        [name, *(marked(models[name], ".3f") if name in models else "" for models in found)]
        for name in wanted
    ]
    first = [
        max((name for name in wanted if name in models), key=lambda name, m=models: value(m[name]))
        for models in found
    ]
    told = []
    for name in dict.fromkeys(first):
        where = [f"`{split}`" for split, best in zip(each, first, strict=True) if best == name]
        told.append(f"{name} on {', '.join(where)}")
    lines = [*table(("model", *each), rows), "", f"First of those that ran: {'; '.join(told)}."]
    if not cut:
        return lines
    new = "Where one moment cuts, most users with test items have hardly a train row:"
    return [*lines, "", new, *by_activity(cut)]


def under_one_cut(files: Iterable[Results]) -> str:
    """Ours and the best rival under one cut in time for all users, where both have run."""
    for results in filter(is_cut_once, files):
        found = rows_of(results)
        first, second = sorted((found[name] for name in OURS), key=value, reverse=True)
        tested = sum(group["users"] for group in first["groups"]["between"])
        rival = best_rival(found)
        told = (
            f"{first['name']} is ahead of {second['name']} on {results['dataset']} "
            f"({tested} users with test items, {seeds_text(results)}), "
            f"{marked_over_seeds(first)} to {marked_over_seeds(second)}, "
            f"and the best rival is {rival['name']}, {marked_over_seeds(rival)}"
        )
        has_sequential = set(SEQUENTIAL) & found.keys()
        return told if has_sequential else f"{told}; no rival that reads sequences has run there"
    return "neither has run"


def chosen_on_test(folder: Path) -> list[str]:
    """What the best epoch on test would claim, beside the one that validation picks."""
    rows, claims = [], []
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text())
        for model in dict.fromkeys(row["model"] for row in found["rows"]):
            seeds = [row for row in found["rows"] if row["model"] == model]
            honest, claimed = (
                float(np.mean([row[chosen] for row in seeds]))
                for chosen in ("by_validation", "by_test")
            )
            claims.append(claimed - honest)
            rows.append(
                [
                    f"{found['dataset']}, at random",
                    *(model, f"{honest:.4f}", f"{claimed:.4f}", f"{claims[-1]:+.4f}"),
                ]
            )
    if not rows:
        return []
    told = (
        "The best epoch by test in place of the best by validation claims "
        f"{min(claims):.4f} to {max(claims):.4f} too much; means of three seeds, the defaults:"
    )
    header = ("data", "model", "epoch by validation", "epoch by test", "claimed too much")
    return ["", told, "", *table(header, rows, 2)]


def steps_sentence(files: list[Results]) -> str:
    """What DiffRec has with its steps, with its best number of them and without diffusion."""
    pair = next(pair for pair in pairs(files) if pair.name == "DiffRec")
    return (
        f"DiffRec has {value(pair.with_it):.4f} with its default of steps, the most with "
        f"{_best_steps(files, 'DiffRec')} (section 4), and {value(pair.without):.4f} without its "
        "diffusion part."
    )
