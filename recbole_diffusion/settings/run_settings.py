"""Keys of every run."""

from typing import Any, Literal

from recbole_diffusion.settings.kinds import KINDS
from recbole_diffusion.settings.schema import Settings, key

# What a resumed or evaluated run may be given anew: where it runs and what it shows.
KEYS_OF_PLACE = ("data_path", "gpu_id", "show_progress", "state", "use_gpu", "verbose")
# Settings that change no result: where a run is, what it shows, how evaluations are cut up.
KEYS_WITHOUT_EFFECT = (
    *KEYS_OF_PLACE,
    "output_dir",
    "data_cache_mb",
    "metric_decimal_place",
    "eval_memory_mb",
    "eval_batch_users",
    "energy",
    "log_wandb",
    "tracker",
    "tracker_project",
    "wandb_project",
)


class RunSettings(Settings):
    """Keys of every run; RecBole's overall.yaml lies beneath."""

    seed: int = key(
        2020,
        "initial weights, batches, negatives and noise",
        within="0..4294967295",
        section="Run",
    )
    split_seed: int = key(
        2020,
        "draws the split (and train_noise_ratio's interactions) only, so that runs of "
        "any `seed` share it",
        within="0..4294967295",
    )
    output_dir: str = key("runs", "each run makes a folder of its own in here")
    data_path: str | None = key(
        None,
        "folder of data sets, searched before ./dataset_atomic and RecBole's",
    )
    use_gpu: bool | str = key(
        "auto",
        "true is an error where PyTorch sees no GPU",
        kind=KINDS["use_gpu"],
        form="auto | true | false",
    )
    gpu_id: int | None = key(None, "which of several GPUs", kind=KINDS["gpu_id"], form="int >= 0")
    show_progress: bool = key(True, "progress bars")
    verbose: bool = key(
        False,
        "all settings, the model's parts and every metric of each epoch on the console "
        "too; run.log always has them",
    )
    filter_inter_by_user_or_item: bool = key(
        False,
        "true removes interactions of users or items that their feature file lacks; "
        "false, so that feature files change no split",
        section="Data",
    )
    keep_cold_items: bool = key(
        False,
        "true: items of the .item file that stand in no interaction keep an id, behind the "
        "others, and items without train interactions are told apart as cold; "
        "docs/cold_items.md",
    )
    data_cache_mb: float | None = key(
        8.0,
        "data files of at least so many MiB are kept as read and split, in <output_dir>/cache; "
        "null keeps none",
        within=">= 0",
    )
    train_noise_ratio: float = key(
        0.0,
        "random interactions added to the train part, in those that it has, user by "
        "user; drawn from split_seed",
        within="[0, 1]",
    )
    item_features: dict[str, Any] | None = key(
        None,
        "vectors of items, by a name of your own: {file: path}, {field: column of "
        ".item}, {fields: [columns of .item to encode]}, {images: folder or column} or "
        "{sounds: folder or column}; read by models that take them; docs/features.md lists "
        "the options",
        kind=KINDS["item_features"],
        form="dict",
    )
    recency: Literal["none", "linear", "power", "exponential", "auto"] = key(
        "none",
        "what an item of a history weighs by age, the number of later items of the same"
        " user: evenly from 1 - recency_decay to 1, (1 + age)^-recency_decay, or "
        "exp(-recency_decay * age). Read by EASE, ItemKNN, SLIMElastic (in their "
        "scores), LinDiffRec, PrefixDiff (in its closed form), TDiffRec and LTDiffRec "
        "(whose linear weights are w_min to w_max); needs TIME_FIELD",
    )
    recency_decay: float = key(0.75, within=">= 0")
    epochs: int = key(300, "at most this many", within=">= 0", section="Training")
    train_batch_size: int = key(
        2048,
        "interactions (or users, for models on user rows) a step",
        within="> 0",
    )
    negative_sampler: Literal["vectorised", "recbole"] = key(
        "vectorised",
        "negatives of training and of sampled evaluations: drawn for all rows at once, or "
        "RecBole's slower draws, for figures to compare with RecBole's; both draw from the same "
        "distribution",
    )
    eval_step: int = key(1, "epochs between two validations; 0 means none", within=">= 0")
    stopping_step: int = key(
        10,
        "validations (not epochs) in a row without a better score that are let pass; "
        "the next one stops training",
        within=">= 0",
    )
    log_diagnostics: bool = key(
        False,
        "how much scores change from one validation to the next, into history.jsonl; "
        "costs the scores of 64 users a validation",
    )
    tracker: Literal["none", "wandb", "mlflow"] = key(
        "none",
        "where settings, losses and metrics of the run are tracked too; needs extra `track`; the "
        "tracker's own variables say where that is, such as WANDB_MODE=offline or "
        "MLFLOW_TRACKING_URI=sqlite:///mlflow.db",
    )
    tracker_project: str = key(
        "recbole_diffusion", "wandb's project or mlflow's experiment of the run"
    )
    energy: bool = key(
        False,
        "estimate the energy of training by codecarbon, without a network; needs extra `energy`",
    )
    eval_args: dict[str, Any] = key(
        {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"},
        "RecBole's: the split, its order and grouping; split {CI: [0.8, 0.1, 0.1]} draws items "
        "in place of interactions, so that those held out are cold",
        kind=KINDS["eval_args"],
        form="dict",
        section="Evaluation: every item that the user has not interacted with is ranked",
    )
    metrics: list[str] = key(
        ["Recall", "NDCG"],
        "RecBole's ranking metrics",
        kind=KINDS["metrics"],
        form="list of str",
    )
    topk: list[int] = key(
        [10, 20, 50],
        "cut-offs, at most the number of items",
        kind=KINDS["topk"],
        form="list of int > 0",
    )
    valid_metric: str = key(
        "Recall@20",
        "picks the best epoch, on unrounded values; ties keep the earlier; where cold items are "
        "told apart, Recall@20 (cold) is that among them",
    )
    metric_decimal_place: int = key(
        4,
        "digits printed; nothing is rounded before that",
        within="0..17",
    )
    eval_memory_mb: float = key(
        64.0,
        "MiB for one evaluation batch's [users, n_items] arrays",
        within="[1e-3, 2^30]",
    )
    eval_batch_users: int | None = key(
        None,
        "users in an evaluation batch, in place of the budget",
        within="> 0",
    )
