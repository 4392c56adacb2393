"""A model of drawn weights on the planted set, and the train matrix that it reads."""

from typing import Any

import numpy as np
from channel_tools import randomize

from recbole_diffusion import load_run, run_recbole_diffusion


def made_on_planted(name: str, keys: dict[str, Any]) -> tuple[Any, np.ndarray]:
    """The model, and interactions of users and items [n_users, n_items].

    Args:
        name: Of the model.
        keys: Of a run that trains nothing.
    """
    result = run_recbole_diffusion(name, "planted", (), keys)
    model, data = load_run(result["run_folder"])
    rows = np.zeros((data.user_num, data.item_num))
    rows[data.inter_feat["user_id"].numpy(), data.inter_feat["item_id"].numpy()] = 1
    return randomize(model), rows
