"""L-DiffRec's trainer: clusters of items first, and two learning rates."""

from pathlib import Path
from typing import Any

from recbole_diffusion.training.pretrain import base_embeddings
from recbole_diffusion.training.rows import RowTrainer

ITEM_KEY = "pretrained_item_embedding"


class LDiffRecTrainer(RowTrainer):
    """Gives the model its clusters before the first epoch (section 3.5)."""

    def on_fit_start(self, train_data: Any, valid_data: Any) -> None:
        """Cluster the items, by the user's embedding file or by LightGCN."""
        if not self.model.is_clustered:
            found, self.pretrain_seconds = base_embeddings(
                self.config, train_data, valid_data, [ITEM_KEY]
            )
            self.model.cluster_items(found[ITEM_KEY])
            counts = self.model.clusters[1:].bincount().tolist()
            n_parameters = sum(p.numel() for p in self.model.parameters())
            self._log(f"clusters of {counts} items; trainable parameters now: {n_parameters}")
            self.optimizer = self._build_optimizer()  # the autoencoder is new

    def load_checkpoint(self, path: str | Path) -> dict[str, Any]:
        """As the base does; a checkpoint may bring the autoencoder, which is learned from then."""
        was_clustered = self.model.is_clustered
        content = super().load_checkpoint(path)
        if not was_clustered:
            self.optimizer = self._build_optimizer()
        return content

    def _build_optimizer(self, **kwargs: Any) -> Any:
        return super()._build_optimizer(params=self.model.parameter_groups(), **kwargs)

    def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        self.model.epoch = epoch_idx  # the weight of a loss hangs on it
        return super()._train_epoch(train_data, epoch_idx, *args, **kwargs)
