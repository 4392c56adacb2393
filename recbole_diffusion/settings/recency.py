"""Whether what is held out is later, and the keys ``recency`` and ``recency_decay``."""

from collections.abc import Mapping
from typing import Any

from recbole_diffusion.base.errors import expect
from recbole_diffusion.settings.registry import Registration

KINDS = ("none", "linear", "power", "exponential")
# Models that read the keys: those of RecBole whose rows are weighed for them, and ours.
HOST_MODELS = ("EASE", "ItemKNN", "SLIMElastic")
OUR_MODELS = ("LinDiffRec", "PrefixDiff", "TDiffRec", "LTDiffRec")


def is_ordered_by_time(config: Any) -> bool:
    """Whether the split follows the times."""
    return config["benchmark_filename"] is None and config["eval_args"]["order"] == "TO"


def has_times(config: Any) -> bool:
    """Whether a run loads the time field, as far as its settings say."""
    field, load_col = config["TIME_FIELD"], config["load_col"]
    if field in (config["unload_col"] or {}).get("inter", ()):
        return False
    fields = "*" if load_col is None else load_col.get("inter", ())
    return fields == "*" or field in fields or is_ordered_by_time(config)


def is_held_out_later(config: Any) -> bool:
    """Whether the split follows the times, or is given, so that it may."""
    return config["benchmark_filename"] is not None or is_ordered_by_time(config)


def check_recency(config: Any) -> None:
    """Check the keys ``recency`` and ``recency_decay``.

    Raises:
        UserError: Another kind, or linear weights below 0.
    """
    kind, decay = config["recency"], config["recency_decay"]
    expect(kind in (*KINDS, "auto"), "recency", kind, f"one of {', '.join(KINDS)}, auto")
    expect(kind != "linear" or decay <= 1, "recency_decay", decay, "0 to 1 with recency: linear")


def check_history_weights(config: Mapping[str, Any], registration: Registration) -> None:
    """Check the key ``recency``, which not every model reads.

    Args:
        config: Settings.
        registration: Of the model; a user's that reads the key has ``takes_recency``.

    Raises:
        UserError: The model does not read it, or its values do not fit.
    """
    kind = config.get("recency", "none")
    if kind != "none":
        name = registration.name
        is_read = name in (HOST_MODELS if registration.is_host else OUR_MODELS)
        if registration.module is not None:
            is_read = getattr(registration.model_class, "takes_recency", False)
        readers = ", ".join((*HOST_MODELS, *OUR_MODELS))
        expect(is_read, "recency", kind, f"none for {name}; {readers} read it")
        check_recency(config)
