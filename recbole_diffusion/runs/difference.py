"""The command ``diff``: how two runs differ, in settings and in what their users got."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_diffusion.base.arguments import checked, described_keys
from recbole_diffusion.base.errors import expect
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.evaluation.per_user import per_user_frame
from recbole_diffusion.evaluation.significance import TESTS, compare_to_best_baseline
from recbole_diffusion.pages.tables import BETTER, WORSE, Entry, Table, as_text, metric_name
from recbole_diffusion.runs.quick_start import saved_run
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE

FIRST, SECOND = "first", "second"
# Settings, hash of the data, metrics of test, and those of each user.
Scored = tuple[Config, str, dict[str, float], pd.DataFrame]


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``diff RUN RUN``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: Another key, or what ``difference`` refuses.
    """
    with run_logger(None, "info") as log:
        log.info(as_text(difference(**checked(keys, difference, "diff", KEYS_OF_PLACE))))


def keys_text() -> str:
    """The command's own keys, for ``diff --help``."""
    return described_keys(difference, runs="RUN RUN")


def difference(
    runs: Sequence[str | Path], significance: str = "wilcoxon", alpha: float = 0.05, **places: Any
) -> list[Table]:
    """What two runs have otherwise: settings, metrics, and a test over the users of both.

    Both are scored again, since the test needs each user's metrics.

    Args:
        runs: Folders of two runs that have a best epoch.
        significance: wilcoxon or t: a paired test over users, two-sided.
        alpha: Level after Holm's correction over the metrics.
        **places: As ``load_run`` takes them.

    Returns:
        Two tables: settings; metrics of test. The second has p-values where both runs have the same
        split, else a note that they have not.

    Raises:
        UserError: Not two runs, or no run with a best epoch.
    """
    expect(len(runs) == 2, "runs", f"{len(runs)} folders", "two")
    expect(significance in TESTS, "significance", significance, f"one of {', '.join(TESTS)}")
    is_level = isinstance(alpha, float) and 0 < alpha < 1
    expect(is_level, "alpha", alpha, "a number between 0 and 1")
    scored = [_scored(Path(run), places) for run in runs]
    configs = [config for config, *_ in scored]
    return [_table_of_settings(configs), _table_of_metrics(scored, significance, alpha)]


def _scored(folder: Path, places: Mapping[str, Any]) -> Scored:
    """Settings, hash of the split, metrics of test, and those of each user."""
    run, trainer = saved_run(folder, places)
    with trainer.eval_collector.keeping_rankings() as kept:
        metrics = trainer.evaluate(run.split.test, load_best_model=False)
    per_user = per_user_frame(run.config, run.split, kept[-1], run.split.test)
    return run.config, f"{run.split.digest} {run.split.data_digest}", dict(metrics), per_user


def _table_of_settings(configs: Sequence[Config]) -> Table:
    settings = [{"model": c.model, "dataset": c.dataset, **c.settable()} for c in configs]
    keys = [key for key in dict.fromkeys([*settings[0], *settings[1]]) if key not in KEYS_OF_PLACE]
    nothing = object()
    rows = [
        [Entry(key), *(Entry(str(s.get(key, "-"))) for s in settings)]
        for key in keys
        if settings[0].get(key, nothing) != settings[1].get(key, nothing)
    ]
    notes = [] if rows else ["Both have the same settings."]
    return Table("Settings", ["key", FIRST, SECOND], rows, notes)


def _table_of_metrics(scored: Sequence[Scored], significance: str, alpha: float) -> Table:
    (_, split, metrics, users), (_, other_split, other_metrics, other_users) = scored
    names = [name for name in metrics if name in other_metrics]
    tests: dict[str, Mapping[str, Any]] = {}
    notes = [
        f"p: {significance} over users, two-sided, by Holm's correction over these metrics; "
        f"{BETTER} the second is better, {WORSE} worse, with p below {alpha}."
    ]
    if split == other_split:
        both = pd.concat([users.assign(model=FIRST), other_users.assign(model=SECOND)])
        columns = [name for name in names if name in users and name in other_users]
        found = compare_to_best_baseline(
            both.assign(seed=0), [FIRST], [SECOND], columns, significance, alpha
        )
        tests = {test["metric"]: test for test in found}
    else:
        notes = ["No test: the runs have other splits, so that their metrics are of other users."]
    rows = []
    for name in names:
        change, test = other_metrics[name] - metrics[name], tests.get(name)
        mark = (BETTER if change > 0 else WORSE) if test and test["is_significant"] else ""
        p = f"{test['p_holm']:.2g}" if test else "-"
        values = (f"{metrics[name]:.4f}", f"{other_metrics[name]:.4f}", f"{change:+.4f}")
        rows.append([Entry(metric_name(name)), *map(Entry, values), Entry(p, mark=mark)])
    return Table("Test", ["metric", FIRST, SECOND, "change", "p"], rows, notes)
