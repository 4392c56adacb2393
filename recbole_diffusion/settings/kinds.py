"""What values each key takes: by the type of its default, or as the table here says."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import NoneType
from typing import Any

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.settings.values import check_plain

# No setting of a model or a run needs more; float32 overflows not far above.
GREATEST = 1e30
BELOW_INT32 = 2**31 - 1
# What messages call a type.
NAMES = {
    bool: "true or false",
    str: "a text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a dict",
}


@dataclass(frozen=True)
class Kind:
    """What a value may be.

    Attributes:
        types: Of the value; ``NoneType`` among them for null.
        least: Of a number.
        most: Of a number; a whole one is below 2^31 too, unless this says more.
        is_open_at_least: Whether the least itself is none of them.
        is_open_at_most: Whether the greatest itself is none of them.
        choices: Of a text; none given: any.
        any_case: Whether the choices stand for texts in capitals too.
        each: Of the values in a list or dict.
        entries: Of the values in a dict, by key.
    """

    types: tuple[type, ...]
    least: float = -GREATEST
    most: float = GREATEST
    is_open_at_least: bool = False
    is_open_at_most: bool = False
    choices: tuple[str, ...] = ()
    any_case: bool = False
    each: "Kind | None" = None
    entries: Mapping[str, "Kind"] = field(default_factory=dict)

    def has_type(self, value: Any) -> bool:
        """Whether a value has one of the types; true and false are no numbers."""
        if isinstance(value, bool):
            return bool in self.types
        return isinstance(value, self.types)

    def holds(self, value: Any) -> bool:
        """Whether a value is of this kind."""
        if not self.has_type(value):
            return False
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self._lies_within(value)
        if isinstance(value, str):
            text = value.lower() if self.any_case else value
            return not self.choices or text in self.choices
        if isinstance(value, dict):
            if self.entries and self.each is None and not set(value) <= set(self.entries):
                return False
            parts = [(self.entries.get(key, self.each), part) for key, part in value.items()]
        else:
            parts = [(self.each, part) for part in (value if isinstance(value, list) else ())]
        return all(kind.holds(part) if kind else _is_finite(part) for kind, part in parts)

    def _lies_within(self, value: float) -> bool:
        most = self.most
        if isinstance(value, int) and most == GREATEST:
            most = BELOW_INT32
        if self.is_open_at_least and value <= self.least:
            return False
        if self.is_open_at_most and value >= self.most:
            return False
        return max(self.least, -most) <= value <= most

    def range(self) -> str:
        """Both ends of what a number may be."""
        low = "" if self.least == -GREATEST else f"{self.least:g}"
        if self.most == GREATEST:
            high = "below 1e30" if float in self.types else "below 2^31"
            start = "above" if self.is_open_at_least else "at least"
            return f"{start} {low}, {high}" if low else high
        is_power = BELOW_INT32 <= self.most < math.inf
        high = f"2^{math.log2(self.most + 1):g} - 1" if is_power else f"{self.most}"
        start = "above" if self.is_open_at_least else "from"
        comma = "," if self.is_open_at_least else ""
        end = f"below {high}" if self.is_open_at_most else high
        return f"{start} {low}{comma} to {end}" if low else f"at most {high}"

    def __str__(self) -> str:
        names = [NAMES[kind] for kind in self.types if kind in NAMES]
        if int in self.types and float in self.types:
            names.remove(NAMES[int])
        text = " or ".join(names)
        if int in self.types:
            text += f" {self.range()}"
        if self.choices:
            text += f", one of {', '.join(self.choices)}"
        if self.each is not None:
            text += f", each value {self.each}"
        for key, kind in self.entries.items():
            text += f", {key} {kind}"
        return text + (", or null" if NoneType in self.types else "")


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _finite_part(value: Any) -> Any:
    """A list or dict without its infinite numbers and NaN."""
    if isinstance(value, dict):
        return {k: _finite_part(v) for k, v in value.items() if _is_finite(v) or _holds_parts(v)}
    if isinstance(value, list):
        return [_finite_part(part) for part in value if _is_finite(part) or _holds_parts(part)]
    return value


def _holds_parts(value: Any) -> bool:
    return isinstance(value, (list, dict))


def or_null(kind: Kind) -> Kind:
    """A kind that takes null too."""
    return replace(kind, types=(*kind.types, NoneType))


def _each(kind: Kind, *keys: str) -> dict[str, Kind]:
    return dict.fromkeys(keys, kind)


FLAG = Kind((bool,))
TEXT = Kind((str,))
WHOLE = Kind((int,))
NUMBER = Kind((int, float))
NOT_NEGATIVE = Kind((int, float), 0)
POSITIVE = Kind((int, float), 1e-6)
SHARE = Kind((int, float), 0, 1)
COUNT = Kind((int,), 0)
SIZE = Kind((int,), 1)
# Widths and numbers of parts, of which each takes memory.
WIDTH = Kind((int,), 1, 2**20)
DEPTH = Kind((int,), 0, 1000)
TEXTS = Kind((list, NoneType), each=TEXT)
WIDTHS = Kind((list,), each=WIDTH)
COLUMNS = Kind((dict, NoneType), each=Kind((list,), each=TEXT))
DICT = Kind((dict, NoneType))

LEVELS = ("debug", "info", "warning", "error", "critical")
LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop")
# Keys that take other values than those of the type of their default, and that no typed settings of
# runs or models tell.
KINDS: dict[str, Kind] = {
    # Run
    "state": Kind((str,), choices=LEVELS, any_case=True),
    "use_gpu": Kind((bool, str)),
    "gpu_id": Kind((int, str, NoneType)),
    "worker": Kind((int,), 0, 64),
    "wandb_project": TEXT,
    "data_path": or_null(TEXT),
    # Data
    "encoding": or_null(TEXT),
    **_each(TEXT, "USER_ID_FIELD", "ITEM_ID_FIELD", "LABEL_FIELD", "NEG_PREFIX"),
    **_each(TEXT, "field_separator", "seq_separator"),
    **_each(COLUMNS, "unload_col", "unused_col"),
    # "*" stands for all columns of a file.
    "load_col": Kind((dict, NoneType), each=Kind((list, str), each=TEXT)),
    **_each(TEXTS, "additional_feat_suffix", "normalize_field", "benchmark_filename"),
    **_each(TEXTS, "alias_of_user_id", "alias_of_item_id"),
    "preload_weight": Kind((dict, NoneType), each=TEXT),
    "normalize_all": or_null(FLAG),
    "seq_len": Kind((dict, NoneType), each=SIZE),
    "MAX_ITEM_LIST_LENGTH": SIZE,
    "val_interval": Kind((dict, NoneType), each=Kind((str, list))),
    **_each(or_null(TEXT), "user_inter_num_interval", "item_inter_num_interval"),
    **_each(or_null(TEXT), "rm_dup_inter"),
    "item_features": DICT,
    "tail_ratio": Kind((int, float, NoneType), 1e-6, 1),
    # Training
    "learner": Kind((str,), choices=LEARNERS, any_case=True),
    "learning_rate": NOT_NEGATIVE,
    "weight_decay": Kind((int, float), 0, 1e6),
    "train_neg_sample_args": Kind(
        (dict, NoneType),
        entries={
            "distribution": or_null(TEXT),
            "sample_num": WIDTH,
            # Beyond, one item has all the weight, and who knows it gets no negative.
            "alpha": Kind((int, float), -10, 10),
            "dynamic": FLAG,
            "candidate_num": Kind((int,), 0, 2**20),
        },
    ),
    "clip_grad_norm": Kind(
        (dict, NoneType),
        entries={
            "max_norm": POSITIVE,
            "norm_type": Kind((int, float), 1, math.inf),
            "error_if_nonfinite": FLAG,
        },
    ),
    # Evaluation
    "metrics": Kind((list, str)),
    "topk": Kind((list, int)),
    "eval_args": Kind(
        (dict,),
        entries={
            "split": DICT,
            "order": TEXT,
            "group_by": or_null(TEXT),
            "mode": Kind((str, dict)),
        },
    ),
    "eval_batch_size": SIZE,
    # Models
    **_each(or_null(TEXT), "pretrained_user_embedding", "pretrained_item_embedding"),
    **_each(WIDTH, "embedding_size", "hidden_size", "steps", "n_heads", "inner_size"),
    "n_layers": DEPTH,
    "temperature": POSITIVE,
    **_each(NOT_NEGATIVE, "reg_weight", "lamda"),
    **_each(or_null(TEXT), "pretrain_path", "mf_pretrain_path", "mlp_pretrain_path"),
    **_each(WIDTH, "class_num", "conv_kernel_size", "gcn_output_dim", "hidden_dimension"),
    **_each(WIDTH, "item_embedding_size", "user_embedding_size", "k", "kfac", "metrics_k"),
    **_each(WIDTH, "latent_dimension", "mf_embedding_size", "mlp_embedding_size", "n_cate"),
    **_each(WIDTH, "n_factors", "neigh_embedding_size", "neigh_num", "num_basis_functions"),
    **_each(WIDTH, "num_clusters", "num_conv_kernel", "pool_kernel_size", "rank"),
    **_each(WIDTH, "ui_embedding_size", "weight_size", "history_len", "history_num_per_term"),
    **_each(DEPTH, "n_iterations", "hyper_layers", "n_dec_epochs", "n_enc_epochs"),
    **_each(COUNT, "anneal_steps", "vae_anneal_steps", "total_anneal_steps", "warm_up_step"),
    **_each(SIZE, "m_step", "save_step"),
    "split_to": Kind((int,), 0, 2**20),
    **_each(NUMBER, "negative_weight", "w_max", "resolution"),
    **_each(NOT_NEGATIVE, "shrink", "anneal_cap"),
    **_each(SHARE, "dropout", "dropout_prob", "drop_ratio", "corruption_ratio", "l1_ratio"),
    **_each(SHARE, "message_dropout", "node_dropout"),
    **_each(WIDTHS, "cnn_channels", "cnn_kernels", "cnn_strides", "critic_layers", "dims_dnn"),
    **_each(WIDTHS, "encoder_hidden_size", "hidden_size_list", "in_dims", "out_dims"),
    **_each(WIDTHS, "item_hidden_size_list", "user_hidden_size_list", "mlp_hidden_size"),
    **_each(Kind((list,), each=NUMBER), "mixture_weights", "reg_weights"),
}
# By the type of a default, bool before int.
BASE = {
    bool: FLAG,
    int: WHOLE,
    float: NUMBER,
    str: or_null(TEXT),
    list: Kind((list, NoneType)),
    dict: DICT,
}


def kind_of(key: str, default: Any, table: Mapping[str, Kind] = KINDS) -> Kind | None:
    """What a key takes; None for whatever is plain.

    A model of the user's may have a key of a name in the table, for another thing: its default
    then has another type, and says what it takes.
    """
    kind = table.get(key)
    if kind is not None and (default is None or kind.has_type(default)):
        return kind
    return next((base for known, base in BASE.items() if isinstance(default, known)), None)


def check_value(
    source: str, key: str, value: Any, default: Any, table: Mapping[str, Kind] = KINDS
) -> None:
    """Check type, range and choices of a key's value.

    Args:
        source: File or command line, for the message; may be empty.
        key: The key.
        value: What it is given.
        default: Its default; None if it has none.
        table: Of keys that take other values than those of the type of their default.

    Raises:
        UserError: A value that does not fit.
    """
    where = f"{source}: key `{key}`" if source else f"key `{key}`"
    check_plain(source, value, (key,))
    kind = kind_of(key, default, table)
    is_sound = kind.holds(value) if kind is not None else _is_finite(value)
    if is_sound:
        return
    if kind is None or (not _is_finite(value) and kind.holds(_finite_part(value))):
        raise UserError(f"{where}: found {value!r}, expected finite numbers")
    if kind.has_type(value) and isinstance(value, (int, float)):
        finite = "" if _is_finite(value) else "a finite number, "
        raise UserError(f"{where}: found {value!r}, expected {finite}{kind.range()}")
    if kind.has_type(value) and kind.choices:
        raise UserError(f"{where}: found {value!r}, expected one of {', '.join(kind.choices)}")
    like = f", such as {default!r}" if default is not None and kind.holds(default) else ""
    raise UserError(f"{where}: found {value!r} ({type(value).__name__}), expected {kind}{like}")
