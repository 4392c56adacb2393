"""Keys of LinDiffRec, and of what is built on it."""

from typing import Literal

from recbole_diffusion.settings.kinds import NOT_NEGATIVE, Kind
from recbole_diffusion.settings.schema import Settings, key


class ClosedForm(Settings):
    """Of a linear diffusion that is solved; steps are those of docs/models/lindiffrec.md."""

    history_power: float = key(
        0.25,
        "a: a row is divided by its number of items to this power",
        within=">= 0",
        section="Closed form",
    )
    popularity_power: float = key(
        0.0,
        "b: scores times an item's number of interactions to this power",
    )
    reg_weight: float = key(
        3.0,
        "lambda, in units of the mean diagonal of the second moment",
        within="> 0",
    )
    noise: Literal["gaussian", "dropout"] = key(
        "gaussian",
        "dropout: lambda times each item's own diagonal",
    )
    steps: int = key(2, "T, reverse steps; 1 is EASE's form", within="1..2^20")
    step_ratio: float = key(0.2, "r, of the noise after and before a step", within="[0, 1)")
    noise_schedule: Literal["constant", "geometric"] = key(
        "constant",
        "whether lambda grows with the noise, by 1 / r^2 a step backwards",
    )
    feature_weights: float | dict[str, float] = key(
        0.3,
        "alpha: of all `item_features`, or by name; 0: none",
        kind=Kind((int, float, dict), 0, each=NOT_NEGATIVE),
        form="float >= 0, or dict",
    )
    recency: Literal["auto", "none", "linear", "power", "exponential"] = key(
        "auto",
        "what a history's items weigh by age; auto: power where what is held out is "
        "later, which is where the split follows the times or is given with them; else "
        "none",
    )
    recency_decay: float = key(
        0.75,
        "linear: from 1 - decay, power: (1 + age)^-decay, exponential: exp(-decay * "
        "age); age is the number of later items",
        within=">= 0",
    )
    recency_in_training: bool = key(
        False,
        "weigh by age in the second moment too; target: future always does",
    )
    target: Literal["history", "future"] = key(
        "history",
        "future: a denoiser predicts what comes after a prefix",
    )
    local_items: int | None = key(
        None,
        "for large catalogues: each block of items is solved among so many items near "
        "it (500: within 3 % of all at once); null: all at once",
        within="1..2^20",
    )
    kept_weights: int = key(
        200,
        "with local_items: entries that are kept for each item",
        within="1..2^20",
    )


class LinDiffRecSettings(ClosedForm):
    """Keys of LinDiffRec; numbered steps are those of docs/models/lindiffrec.md."""

    train_batch_size: int = key(100000, "nothing is trained in batches", within="> 0")
