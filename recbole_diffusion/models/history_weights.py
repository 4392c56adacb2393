"""RecBole's linear models on histories whose items weigh by how recent they are.

They score a user by the row of interactions times a matrix that is solved. Only the row changes, so
that a rival of a model which knows the order of time knows it too.
"""

from typing import Any

import torch

from recbole_diffusion.data.recency import recency_of, times_of
from recbole_diffusion.nn.rows import InteractionRows


def weigh_histories(model: Any, config: Any, dataset: Any) -> None:
    """Give a solved model of RecBole's the rows with weights by age, if ``recency`` says so.

    They and the weights are its attributes ``rows`` and ``recency`` then.

    Args:
        model: One of ``settings.recency.HOST_MODELS``, solved.
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
    model.rows, model.recency = (
        InteractionRows(users, items, dataset.user_num, times, recency),
        recency,
    )
    weighted = model.rows.batch(torch.arange(dataset.user_num)).matrix(dataset.item_num)
    if type(model).__name__ == "ItemKNN":  # keeps all scores
        model.pred_mat = weighted.dot(model.w).tolil()
    else:
        model.interaction_matrix = weighted.asformat(model.interaction_matrix.format)
