"""InfoDCL's trainer: base embeddings first, then RecBole's loop."""

from typing import Any

import numpy as np

from recbole_diffusion.data.features import load_matrix
from recbole_diffusion.trainer.base import DiffusionTrainer
from recbole_diffusion.trainer.pretrain import lightgcn_embeddings


class InfoDCLTrainer(DiffusionTrainer):
    """Gives the model its metadata before the first epoch (section 3.1.1)."""

    def on_fit_start(self, train_data: Any, valid_data: Any) -> None:
        """Make the graph channels, from the user's embedding files or from LightGCN."""
        if self.model.needs_base_embeddings:
            self.model.set_base_embeddings(*self._base_embeddings(train_data, valid_data))

    def _base_embeddings(self, train_data: Any, valid_data: Any) -> tuple[np.ndarray, np.ndarray]:
        paths = {
            self.config["USER_ID_FIELD"]: self.config["pretrained_user_embedding"],
            self.config["ITEM_ID_FIELD"]: self.config["pretrained_item_embedding"],
        }
        if all(path is not None for path in paths.values()):
            users, items = (load_matrix(p, train_data._dataset, f) for f, p in paths.items())
            return users, items
        return lightgcn_embeddings(
            self.config, train_data, valid_data, show_progress=self.config["show_progress"]
        )
