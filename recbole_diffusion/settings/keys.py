"""Which keys a setting may have, and which values."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import UnreadKey, UserError, expect
from recbole_diffusion.host.patch import host_arguments
from recbole_diffusion.settings import property_files
from recbole_diffusion.settings.evaluation_keys import check_evaluation
from recbole_diffusion.settings.kinds import Kind, check_value
from recbole_diffusion.settings.property_files import HOST_PROPERTIES, read_once

OUR_CACHE = (
    "what a run caches lies in `<output_dir>/cache`, keyed by data and settings, and holds no "
    "pickles; nothing pickled is read"
)
# Keys of the host that would do nothing here, or harm.
REFUSED = {
    "checkpoint_dir": "every run writes to a folder of its own under `output_dir`",
    "config_file": "name the files by `config_files`",
    "save_dataset": f"data is read from its atomic files; {OUR_CACHE}",
    "dataset_save_path": f"data is read from its atomic files; {OUR_CACHE}",
    "save_dataloaders": f"splits are drawn from `split_seed`; {OUR_CACHE}",
    "dataloaders_save_path": f"splits are drawn from `split_seed`; {OUR_CACHE}",
    "device": "it follows from `use_gpu` and `gpu_id`",
    "split_hash": "it follows from the data and `split_seed`",
    "data_hash": "it follows from the data and `split_seed`",
    "MODEL_TYPE": "it follows from the model",
    "MODEL_INPUT_TYPE": "it follows from the model",
    "eval_type": "it follows from `metrics`",
    "valid_neg_sample_args": "it follows from `eval_args`",
    "test_neg_sample_args": "it follows from `eval_args`",
    "single_spec": "a run is one process",
    "local_rank": "a run is one process",
    "world_size": "a run is one process",
    "nproc": "a run is one process",
    "offset": "a run is one process",
    "ip": "a run is one process",
    "port": "a run is one process",
    "valid_metric_bigger": "it follows from `valid_metric`",
    "loss_decimal_place": "losses are printed to four digits, whatever it says",
    **{
        key: f"RecBole replaced it by {successor}"
        for key, successor in {
            "neg_sampling": "`train_neg_sample_args`",
            "training_neg_sample_num": "`train_neg_sample_args`",
            "training_neg_sample_distribution": "`train_neg_sample_args`",
            "eval_neg_sample_args": "`eval_args`: {mode: full}, or uniN or popN",
            "eval_setting": "`eval_args`, such as {order: RO, split: {RS: [0.8, 0.1, 0.1]}, "
            "mode: full}",
            "split_ratio": "`eval_args`: {split: {RS: [0.8, 0.1, 0.1]}}",
            "leave_one_num": "`eval_args`: {split: {LS: valid_and_test}}",
            "group_by_user": "`eval_args`: {group_by: user}, or none",
            "min_user_inter_num": "`user_inter_num_interval`, such as [5,inf)",
            "max_user_inter_num": "`user_inter_num_interval`, such as [0,100]",
            "min_item_inter_num": "`item_inter_num_interval`, such as [5,inf)",
            "max_item_inter_num": "`item_inter_num_interval`, such as [0,100]",
            "lowest_val": '`val_interval`, such as {rating: "[4,inf)"}',
            "highest_val": '`val_interval`, such as {rating: "(-inf,4]"}',
            "equal_val": '`val_interval`, such as {rating: "[4,4]"}',
            "not_equal_val": '`val_interval`, such as {rating: "(-inf,4);(4,inf)"}',
            "fields_in_same_space": "`alias_of_user_id`, `alias_of_item_id`",
        }.items()
    },
    "real_time_process": "RecBole dropped it; data are read once, before training",
    "config_file_list": "name the files by `config_files`",
    "numerical_features": "context-aware models read it, which do not run here",
    "discretization": "context-aware models read it, which do not run here",
    "transform": "sequential models read it, which do not run here",
    "alias_of_entity_id": "no model here reads a knowledge graph",
    "alias_of_relation_id": "no model here reads a knowledge graph",
    "kg_reverse_r": "no model here reads a knowledge graph",
    "entity_kg_num_interval": "no model here reads a knowledge graph",
    "relation_kg_num_interval": "no model here reads a knowledge graph",
    "reproducibility": "runs always are, by `seed`",
    "repeatable": "history would stay among the candidates; it serves sequential models",
    "threshold": "it only writes labels, and ranking takes every row for a positive; keep the rows "
    'meant by val_interval, such as {rating: "[4,inf)"}',
}
# Keys that RecBole's code reads, and none of its property files has.
HOST_CODE_KEYS = frozenset({"encoding", "tail_ratio"})
CLIP_ARGS = {"max_norm", "norm_type", "error_if_nonfinite"}
COUNT_FILTERS = ("user_inter_num_interval", "item_inter_num_interval")
INTERVAL = re.compile(r"[(\[]([^,]+),([^,]+)[)\]]")
INTERVAL_FORM = "intervals such as [5,inf) or (0,1];[3,4], the lower end first"


def check_layer(
    source: str,
    layer: Mapping[str, Any],
    defaults: Mapping[str, Any],
    kinds: Mapping[str, Kind],
) -> None:
    """Check the keys and types of one layer that the user gave.

    Args:
        source: File or command line, for the message.
        layer: Its keys and values.
        defaults: The settings below the user's; a value has the type of its default.
        kinds: What the model's keys and those of runs take.

    Raises:
        UserError: A key that is unknown or cannot be set, or a value of another type.
    """
    for key, value in layer.items():
        if not isinstance(key, str):
            raise UserError(f"{source}: found key {key!r:.200}, expected a text")
        if key in ("model", "dataset", "config_files"):
            raise UserError(f"{source}: key `{key}`: found {value!r}, expected as --{key} only")
        if key in REFUSED:
            raise UserError(f"{source}: key `{key}` cannot be set: {REFUSED[key]}")
        check_known(source, key, defaults)
        check_value(source, key, value, defaults.get(key), kinds)


@cache
def declared_keys() -> frozenset[str]:
    """Keys of every property file, RecBole's and ours, and of RecBole's argument lists."""
    keys = {"model", "dataset", "config_files"}
    for arguments in host_arguments().values():
        keys.update(arguments)
    for folder in (HOST_PROPERTIES, property_files.properties_folder()):
        for path in folder.rglob("*.yaml"):
            if not path.name.endswith("url.yaml") and _is_of_runs(path):
                keys.update(read_once(path))
    return frozenset(keys)


def _is_of_runs(path: Path) -> bool:
    """Whether a property file holds keys of a run, and not of a command that starts several."""
    return path.name != "compare.yaml" and path.parent.name != "quoted"


def check_known(source: str, key: str, defaults: Mapping[str, Any]) -> None:
    """Refuse a key that nothing reads.

    Args:
        source: File or command line, for the message.
        key: The key.
        defaults: Keys of the model's property files.

    Raises:
        UnreadKey: It is one; the message offers the nearest name.
    """
    if key in declared_keys() or key in HOST_CODE_KEYS or key in defaults:
        return
    known = declared_keys() | HOST_CODE_KEYS | defaults.keys()
    near = get_close_matches(key, known - set(REFUSED), n=1, cutoff=0.82)  # slips, not kinship
    hint = f"; did you mean `{near[0]}`?" if near else ""
    raise UnreadKey(f"{source}: unknown key `{key}`{hint}", key)


def check_values(final: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Check ranges and choices of the effective settings, before RecBole's code meets them.

    Args:
        final: The effective settings.
        kinds: What the model's keys and those of runs take.

    Raises:
        UserError: The first value that does not fit.
    """
    for key, value in final.items():
        if key not in REFUSED:
            check_value("", key, value, value, kinds)
    _check_columns(final)
    _check_training(final)
    _check_filters(final)
    check_evaluation(final)


def _check_columns(final: Mapping[str, Any]) -> None:
    """Each of these names a column of its own."""
    keys: dict[Any, str] = {}
    for key in ("ITEM_ID_FIELD", "USER_ID_FIELD", "TIME_FIELD", "LABEL_FIELD"):
        other = keys.setdefault(final[key], key)
        expect(other == key, key, final[key], f"another column than key `{other}` names")
    prefix = final["NEG_PREFIX"]
    expect(prefix, "NEG_PREFIX", prefix, "what the column of negatives is called beside the items'")
    for suffix, fields in (final["load_col"] or {}).items():
        is_list = isinstance(fields, list) and "*" not in fields
        expect(
            fields in (None, "*") or is_list,
            "load_col",
            final["load_col"],
            f'a list of columns for `{suffix}`, or "*" for all of them',
        )


def check_neumf(final: Mapping[str, Any]) -> None:
    """Refuse what RecBole's NeuMF takes, and fails with in its own words.

    Raises:
        UserError: The first value that does not fit.
    """
    is_trained = final["mf_train"] or final["mlp_train"]
    expect(is_trained, "mf_train", False, "true, or mlp_train: true")
    expect(final["mlp_hidden_size"], "mlp_hidden_size", [], "one width or more")
    if final["use_pretrain"]:
        for key in ("mf_pretrain_path", "mlp_pretrain_path"):
            path = final[key]
            is_file = path is not None and Path(path).suffix == ".pth" and Path(path).is_file()
            expect(is_file, key, path, "a checkpoint (.pth), for use_pretrain: true")


def _check_training(final: Mapping[str, Any]) -> None:
    """Settings of a step that RecBole takes, and fails or goes wrong with."""
    clip = final["clip_grad_norm"]
    is_clip = clip is None or ("max_norm" in clip and set(clip) <= CLIP_ARGS)
    expect(is_clip, "clip_grad_norm", clip, "{max_norm: 5.0}")
    # RecBole would clip gradients that the scaler has multiplied.
    expect(not (clip and final["enable_scaler"]), "clip_grad_norm", clip, "null with enable_scaler")
    negatives = final["train_neg_sample_args"] or {}
    is_known = negatives.get("distribution") in ("uniform", "popularity", None, "None")
    expected = "distribution uniform or popularity, or null where no negatives are drawn"
    expect(is_known, "train_neg_sample_args", negatives, expected)
    is_fed = not negatives.get("dynamic") or negatives.get("candidate_num", 0) > 0
    expect(is_fed, "train_neg_sample_args", negatives, "candidate_num above 0 with dynamic")


def _check_filters(final: Mapping[str, Any]) -> None:
    """What RecBole reads with a printed warning, or not at all beside a given split."""
    separator = final["field_separator"]
    is_one = isinstance(separator, str) and len(separator) == 1 and separator.isascii()
    expect(is_one and separator not in "\r\n", "field_separator", separator, "one ASCII character")
    separator = final["seq_separator"]
    expect(separator != "", "seq_separator", separator, "one character or more")
    keep = final["rm_dup_inter"]
    expect(keep in (None, "first", "last"), "rm_dup_inter", keep, "null, first or last")
    for key in COUNT_FILTERS:
        expect(is_interval(final[key]), key, final[key], INTERVAL_FORM)
    by_value = final["val_interval"]
    expect(by_value is None or isinstance(by_value, dict), "val_interval", by_value, "a dict")
    for value in (by_value or {}).values():
        is_sound = isinstance(value, list) or is_interval(value)
        expect(is_sound, "val_interval", by_value, f"{INTERVAL_FORM}, or a list of tokens")
    parts = final["benchmark_filename"]
    expect(parts != [], "benchmark_filename", parts, "null, or names such as [train, valid, test]")
    if parts is not None:
        _check_given_split(final)


def _check_given_split(final: Mapping[str, Any]) -> None:
    """RecBole skips every filter beside `benchmark_filename`."""
    filters = {key: final[key] for key in COUNT_FILTERS if not takes_all(final[key])}
    if final["filter_inter_by_user_or_item"]:
        filters["filter_inter_by_user_or_item"] = True
    if final["val_interval"]:
        filters["val_interval"] = final["val_interval"]
    for key, value in filters.items():
        raise UserError(
            f"key `{key}`: found {value!r} beside benchmark_filename "
            f"{final['benchmark_filename']}, expected none: a given split is used whole, but for "
            "`rm_dup_inter`; filter its files, or drop the key"
        )


def is_interval(text: Any) -> bool:
    """Whether RecBole reads a value as intervals, or as none."""
    return text is None or all(_ends(part) for part in str(text).split(";"))


def takes_all(text: Any) -> bool:
    """Whether an interval of counts leaves nothing out."""
    ends = [_ends(part) for part in str(text).split(";")] if text is not None else []
    return text is None or any(e and e[0] <= 0 and e[1] == float("inf") for e in ends)


def _ends(text: str) -> tuple[float, float] | None:
    """Both ends of one interval, if it is one."""
    match = INTERVAL.fullmatch(text.strip())
    try:
        lower, upper = map(float, match.groups()) if match else (1.0, 0.0)
    except ValueError:
        return None
    return (lower, upper) if lower <= upper else None
