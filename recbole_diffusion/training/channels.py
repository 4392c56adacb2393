"""The trainer of models with metadata by channel: base embeddings first, then RecBole's loop."""

from typing import Any

import numpy as np

from recbole_diffusion.settings.item_features import EMBEDDING_FILES
from recbole_diffusion.training.pretrain import base_embeddings
from recbole_diffusion.training.rows import RowTrainer

# In place of embeddings that nothing is made from.
UNUSED = np.zeros((0, 0), dtype=np.float32)


class ChannelTrainer(RowTrainer):
    """Gives the model its metadata before the first epoch (InfoDCL, section 3.1.1)."""

    def on_fit_start(self, train_data: Any, valid_data: Any) -> None:
        """Make the graph channels, from the user's embedding files or from LightGCN."""
        if self.model.needs_base_embeddings:
            needed = self.model.base_embedding_keys
            found, self.pretrain_seconds = base_embeddings(
                self.config, train_data, valid_data, needed
            )
            self.model.set_base_embeddings(*(found.get(key, UNUSED) for key in EMBEDDING_FILES))
