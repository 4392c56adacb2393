"""Keys of the command ``compare``."""

from typing import Literal

from recbole_diffusion.settings.kinds import TEXT, Kind, or_null
from recbole_diffusion.settings.schema import Settings, key

TEXTS = "list of str, or text with commas"


class CompareSettings(Settings):
    """Keys of the command `compare`; docs/compare.md explains them.

    Every other key goes to all models, and `--NAME.key=value` to the one of that name.
    """

    models: list[str] | None = key(
        None,
        "NAME, or LABEL=NAME for a second row of a model with keys of its own (--LABEL.key=value)",
        form=TEXTS,
    )
    modules: list[str] = key([], "modules that register models of yours", form=TEXTS)
    dataset: str = key("ml-100k", "as for a run")
    config_files: list[str] = key(
        [], "property files for all models", form="list of str, or text with blanks"
    )
    seeds: int | list[int] = key(
        3,
        kind=Kind((int, list), most=10_000),
        form="int > 0: seeds 1 to n; or a list of int >= 0",
    )
    output_dir: str = key(
        "comparisons", "each comparison has a folder in here, named by what is asked", kind=TEXT
    )
    processes: int = key(
        1,
        "runs at the same time on a machine, each in a process of its own",
        kind=Kind((int,), 1, 1024),
        form="int > 0",
    )
    memory_mb: float | None = key(
        None,
        "MiB for all of them; null: four fifths of the machine's, or of what a container, batch "
        "system or ulimit leaves of it; on a cluster what Ray has",
        kind=or_null(Kind((int, float), 1e-3)),
        form="float > 0",
    )
    cluster: str | None = key(
        None,
        "Ray cluster whose machines run them: auto, or HOST:PORT of its head; null: this machine",
    )
    retry_failed: bool = key(False, "run again what has failed before, or has a damaged file")
    baselines: list[str] | None = key(
        None,
        "labels that the others are tested against; null: RecBole's models, and ours and yours "
        "with is_baseline",
        form=TEXTS,
    )
    tested_metrics: list[str] | None = key(
        None,
        "such as Recall@20; null: each ranking metric at the cut-off of valid_metric",
        form=TEXTS,
    )
    significance: Literal["wilcoxon", "t"] = key(
        "wilcoxon", "paired test over users, against the best baseline"
    )
    alpha: float = key(0.05, "after Holm's correction", within="(0, 1)")
    protocol: list[str] = key(
        [],
        "paper:diffmm, paper:diffrec, paper:infodcl, paper:ld4mrec, paper:simdiff; each may end on "
        "+test-selection",
        form=TEXTS,
    )
    quoted: bool = key(True, "rows that papers report for the data set")
    tune: int = key(
        0, "trials for each model, on validation; 0: settings as they are", within=">= 0"
    )
    tune_minutes: float = key(
        240.0, "minutes for all trials of one model", kind=Kind((int, float), 1e-6),
        form="float > 0",
    )  # fmt: skip
    trial_minutes: float = key(
        8.0, "minutes for one trial", kind=Kind((int, float), 1e-6), form="float > 0"
    )
    tune_storage: str | None = key(None, "database URL of the studies, shared between machines")
