"""InfoDCL's trainer: base embeddings first, then RecBole's loop."""

from typing import Any

import numpy as np

from recbole_diffusion.data.features import load_matrix
from recbole_diffusion.model.infodcl import GRAPH_CHANNELS
from recbole_diffusion.trainer.base import DiffusionTrainer
from recbole_diffusion.trainer.pretrain import lightgcn_embeddings

# In place of embeddings that no channel is made from.
UNUSED = np.zeros((0, 0), dtype=np.float32)


class InfoDCLTrainer(DiffusionTrainer):
    """Gives the model its metadata before the first epoch (section 3.1.1)."""

    def on_fit_start(self, train_data: Any, valid_data: Any) -> None:
        """Make the graph channels, from the user's embedding files or from LightGCN."""
        if self.model.needs_base_embeddings:
            self.model.set_base_embeddings(*self._base_embeddings(train_data, valid_data))

    def _base_embeddings(self, train_data: Any, valid_data: Any) -> tuple[np.ndarray, np.ndarray]:
        needed = {GRAPH_CHANNELS[name] for name in self.model.graph_channels}
        if any(self.config[key] is None for key in needed):
            return lightgcn_embeddings(self.config, train_data, valid_data)
        fields = {
            "pretrained_user_embedding": self.config["USER_ID_FIELD"],
            "pretrained_item_embedding": self.config["ITEM_ID_FIELD"],
        }
        users, items = (
            load_matrix(self.config[key], train_data._dataset, field) if key in needed else UNUSED
            for key, field in fields.items()
        )
        return users, items
