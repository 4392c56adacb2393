"""DDRM's trainer: embeddings of LightGCN first, and two learning rates."""

from typing import Any

from recbole_diffusion.training.channels import ChannelTrainer


class DDRMTrainer(ChannelTrainer):
    """Embeddings move by a rate of their own."""

    def _build_optimizer(self, **kwargs: Any) -> Any:
        return super()._build_optimizer(params=self.model.parameter_groups(), **kwargs)
