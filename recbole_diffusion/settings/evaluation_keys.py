"""How interactions are split and ranked: the keys ``eval_args``, ``metrics`` and ``topk``."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_diffusion.base.errors import UserError, expect
from recbole_diffusion.host.patch import is_1_2_0
from recbole_diffusion.settings.words import format_word, format_words

EVAL_ARGS = ("split", "order", "group_by", "mode")
EVAL_MODE = re.compile(r"full|(uni|pop)[1-9]\d{0,6}")
CUTOFF = re.compile(r"[1-9]\d{0,8}")
# What a split by time is called, of releases that have it.
BY_TIME = () if is_1_2_0() else ("TS",)
# RecBole's ranking metrics, and the one of them that has no cut-off.
RANKING = (
    *("averagepopularity", "gauc", "giniindex", "hit", "itemcoverage", "map", "mrr", "ndcg"),
    *("precision", "recall", "shannonentropy", "tailpercentage"),
)
WITHOUT_CUTOFF = "gauc"
# Items with and without train interactions, among which metrics are measured apart.
GROUPS = ("warm", "cold")


def check_evaluation(final: Mapping[str, Any]) -> None:
    """Check what RecBole would refuse in its own words, or read as something else.

    Args:
        final: The effective settings.

    Raises:
        UserError: The first value that does not fit.
    """
    rules = final["eval_args"]
    expect(isinstance(rules, dict), "eval_args", rules, "a dict")
    unknown = set(rules) - set(EVAL_ARGS)
    expect(not unknown, "eval_args", rules, f"no other keys than {', '.join(EVAL_ARGS)}")
    _check_split(rules)
    _check_mode(rules)
    if tells_cold_apart(final):
        _check_cold(final)
    _check_metrics(final)


def tells_cold_apart(config: Any) -> bool:
    """Whether items without train interactions are measured, and if need be masked, apart."""
    return bool(config["keep_cold_items"]) or draws_items(config)


def draws_items(config: Any) -> bool:
    """Whether the split is one of items, ``CI``."""
    return "CI" in (config["eval_args"].get("split") or ())


def split_in_words(config: Any) -> str:
    """What is held out, such as "random 80/10/10 per user".

    Args:
        config: Settings of a run.
    """
    if config["benchmark_filename"]:
        return "as released"
    rules = config["eval_args"]
    ((kind, sizes),) = (rules.get("split") or {"RS": [0.8, 0.1, 0.1]}).items()
    is_by_user = rules.get("group_by", "user") == "user"
    is_by_time = rules.get("order") == "TO"
    if kind == "LS":
        which = "latest" if is_by_time else "random"
        parts = {"valid_and_test": "validation and test", "valid_only": "validation"}
        return f"each user's {which} held out, one each for {parts.get(sizes, 'test')}"
    if not isinstance(sizes, list):
        return f"{kind}: {sizes}"
    shares = "/".join(f"{100 * size / sum(sizes):.3g}" for size in sizes)
    if kind == "CI":
        return f"random items {shares}"
    if kind != "RS":
        return f"{kind}: {shares}"
    if not is_by_time:
        return f"random {shares} per user" if is_by_user else f"random {shares} of all"
    return f"each user's latest held out, {shares}" if is_by_user else f"one cut in time, {shares}"


def of_group(metric: str, group: str) -> str:
    """What a metric is called among the items of one of ``GROUPS``."""
    return f"{metric} ({group})"


def without_group(metric: str) -> tuple[str, str]:
    """A metric's name among all items, and its group, "" for all."""
    name, _, group = metric.partition(" (")
    return name, group.removesuffix(")")


def _check_cold(final: Mapping[str, Any]) -> None:
    rules = final["eval_args"]
    mode = rules.get("mode", "full")
    is_full = set(mode.values() if isinstance(mode, dict) else [mode]) == {"full"}
    expect(is_full, "eval_args", rules, "mode full beside cold items")
    metrics = [str(metric).lower() for metric in final["metrics"]]
    is_ranked = WITHOUT_CUTOFF not in metrics
    expect(is_ranked, "metrics", final["metrics"], "no GAUC beside cold items, which may be masked")
    expect(
        not final["train_noise_ratio"],
        "train_noise_ratio",
        final["train_noise_ratio"],
        "0 beside cold items, which it would give interactions",
    )
    if draws_items(final):
        given = final["benchmark_filename"]
        expect(given is None, "benchmark_filename", given, "null beside a split CI, which is drawn")


def _check_split(rules: Mapping[str, Any]) -> None:
    order = rules.get("order", "RO")
    expect(order in ("RO", "TO"), "eval_args", rules, "order RO (random) or TO (of time)")
    group = rules.get("group_by", "user")
    is_group = group in (None, "user", "none", "None")
    expect(is_group, "eval_args", rules, "group_by user or none")
    split = rules.get("split", {"RS": [0.8, 0.1, 0.1]})
    forms = ("RS", "LS", "CI", *BY_TIME)
    # RecBole 1.2.1 splits rows at a time by their places in that order.
    is_ordered = "TS" not in (split or ()) or order == "TO"
    expect(is_ordered, "eval_args", rules, "order TO beside a split TS")
    is_one = isinstance(split, dict) and len(split) == 1 and set(split) <= set(forms)
    expect(is_one, "eval_args", rules, f"one split of {', '.join(forms)}")
    for form in {"RS", "CI"} & set(split):
        is_share = _are_shares(split[form])
        shares = f"split {{{form}: [train, validation, test]}}, shares above 0"
        expect(is_share, "eval_args", rules, shares)
    is_drawn = "CI" not in split or order == "RO"
    expect(is_drawn, "eval_args", rules, "order RO beside a split CI, which draws items")
    if "LS" in split:
        is_whole = split["LS"] == "valid_and_test"
        expect(is_whole, "eval_args", rules, "split {LS: valid_and_test}: both parts are needed")
        is_user = group == "user"
        expect(is_user, "eval_args", rules, "group_by user beside a split LS, which is by user")


def _are_shares(values: Any) -> bool:
    """Whether values are three positive numbers."""
    is_three = isinstance(values, list) and len(values) == 3
    return is_three and all(
        type(value) in (int, float) and 0 < value < math.inf for value in values
    )


def _check_mode(rules: Mapping[str, Any]) -> None:
    mode = rules.get("mode", "full")
    modes = mode.values() if isinstance(mode, dict) else [mode]
    is_mode = all(EVAL_MODE.fullmatch(str(m)) for m in modes)
    expect(is_mode, "eval_args", rules, "mode full, or uniN or popN with N from 1 to 9999999")
    # Of a dict with one of them, RecBole takes that one for both.
    is_whole = not isinstance(mode, dict) or set(mode) == {"valid", "test"}
    expect(is_whole, "eval_args", rules, "a mode for both valid and test")


def _check_metrics(final: Mapping[str, Any]) -> None:
    metrics, topk = final["metrics"], final["topk"]
    metrics = [metrics] if isinstance(metrics, str) else metrics
    is_known = metrics and all(str(metric).lower() in RANKING for metric in metrics)
    expect(is_known, "metrics", metrics, f"one or more of {', '.join(RANKING)}")
    topk = [topk] if isinstance(topk, int) else topk
    is_cut = topk and all(type(k) is int and k > 0 for k in topk)
    expect(is_cut, "topk", topk, "positive whole numbers")
    names = {name for m in metrics for name in _names(m, topk)}
    valid_metric, group = without_group(final["valid_metric"])
    if group:
        groups = GROUPS if tells_cold_apart(final) else ()
        is_group = group.lower() in groups and valid_metric.lower() != WITHOUT_CUTOFF
        expected = (
            f"a metric with a cut-off and {' or '.join(f'({g})' for g in GROUPS)} behind, beside "
            "keep_cold_items: true or a split CI"
        )
        expect(is_group, "valid_metric", final["valid_metric"], expected)
    if valid_metric.lower() not in {name.lower() for name in names}:
        advice = _metric_advice(valid_metric, metrics, topk)
        raise UserError(
            f"key `valid_metric`: found {valid_metric!r}, expected `metrics` at `topk`: "
            f"{sorted(names)}; type {advice}"
        )


def _names(metric: str, topk: Sequence[int]) -> list[str]:
    """What a ranking metric is called at each cut-off, or as a whole."""
    return [metric] if metric.lower() == WITHOUT_CUTOFF else [f"{metric}@{k}" for k in topk]


def _metric_advice(wanted: str, metrics: Sequence[str], topk: Sequence[int]) -> str:
    """Words of the command line: another ``valid_metric``, or the keys that measure the wanted."""
    metric, _, cutoff = wanted.partition("@")
    k = int(cutoff) if CUTOFF.fullmatch(cutoff) else 0
    known = {name.lower(): name for name in metrics}
    near = known.get(metric.lower(), metrics[0])
    advice = format_word("valid_metric", _names(near, [k if k in topk else max(topk)])[0])
    keys: dict[str, Any] = {}
    if metric.lower() not in known:
        keys["metrics"] = [*metrics, metric]
    if k and k not in topk:
        keys["topk"] = sorted([*topk, k])
    is_name = metric.lower() in RANKING and wanted in _names(metric, [k] if k else [])
    return f"{advice}, or {' '.join(format_words(keys))}" if is_name else advice


def words_for_few_items(n_items: int, valid_metric: str) -> list[str]:
    """Words of the command line with cut-offs of at most a quarter of the items, one at least.

    Args:
        n_items: Number of items.
        valid_metric: Its metric is kept.
    """
    topk = [k for k in (1, 2, 5, 10, 20, 50) if 4 * k <= n_items][-2:] or [1]
    metric, at, _ = valid_metric.partition("@")
    return format_words({"topk": topk, "valid_metric": f"{metric}@{max(topk)}" if at else metric})
