"""RecBole's linear models on histories whose items weigh by how recent they are.

They score a user by the row of interactions times a matrix that is solved. Only the row changes, so
that a rival of a model which knows the order of time knows it too.
"""

from collections.abc import Mapping
from typing import Any

import torch

from recbole_diffusion.data.interactions import InteractionRows
from recbole_diffusion.data.recency import check_recency, recency_of, times_of
from recbole_diffusion.errors import expect

HOST_MODELS = ("EASE", "ItemKNN", "SLIMElastic")
OUR_MODELS = ("LinDiffRec", "PrefixDiff", "TDiffRec", "LTDiffRec")


def check_history_weights(config: Mapping[str, Any], model_class: type, is_host: bool) -> None:
    """Check the key ``recency``, which not every model reads.

    Args:
        config: Settings.
        model_class: The model; one of ours that reads the key has ``takes_recency``.
        is_host: Whether it is RecBole's.

    Raises:
        UserError: The model does not read it, or its values do not fit.
    """
    kind = config.get("recency", "none")
    if kind != "none":
        name = model_class.__name__
        is_read = name in HOST_MODELS if is_host else getattr(model_class, "takes_recency", False)
        readers = ", ".join((*HOST_MODELS, *OUR_MODELS))
        expect(is_read, "recency", kind, f"none for {name}; {readers} read it")
        check_recency(config)


def weigh_histories(model: Any, config: Any, dataset: Any) -> None:
    """Give a solved model of RecBole's the rows with weights by age, if ``recency`` says so.

    Args:
        model: One of ``HOST_MODELS``, solved.
        config: Settings.
        dataset: RecBole's dataset of the train split.

    Raises:
        UserError: The data have no time.
    """
    recency = recency_of(config, dataset)
    if recency.kind == "none":
        return
    users, items = (dataset.inter_feat[f].numpy() for f in (dataset.uid_field, dataset.iid_field))
    times = times_of(dataset, config["TIME_FIELD"])
    rows = InteractionRows(users, items, dataset.user_num, times, recency)
    weighted = rows.batch(torch.arange(dataset.user_num)).matrix(dataset.item_num)
    if type(model).__name__ == "ItemKNN":  # keeps all scores
        model.pred_mat = weighted.dot(model.w).tolil()
    else:
        model.interaction_matrix = weighted.asformat(model.interaction_matrix.format)
