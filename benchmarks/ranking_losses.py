"""BPR, LightGCN and InfoDCL with the loss as a key; ``losses.py`` compares them.

The key exchanges the term that ranks a user's item and leaves what each model has beside it:
nothing, the squared lengths of embeddings, or those and the diffusion.
"""

from typing import Any, Literal

import torch
from recbole.model.general_recommender import BPR
from torch import Tensor
from torch.nn import functional

from recbole_diffusion import register
from recbole_diffusion.models.infodcl.model import InfoDCL
from recbole_diffusion.models.infodcl.settings import InfoDCLSettings
from recbole_diffusion.nn.lightgcn import LightGCN
from recbole_diffusion.settings.schema import Settings, key
from recbole_diffusion.settings.shared import Training
from recbole_diffusion.training.channels import ChannelTrainer


class RankingLoss(Settings):
    """What is exchanged."""

    ranking_loss: Literal["bpr", "bce", "softmax"] = key(
        "bpr",
        "bpr: a drawn item below the user's; bce: of each of both whether it is the user's; "
        "softmax: the user's among all items",
    )


class BPRSettings(RankingLoss, Training, defaults={"learner": "adam"}):
    """RecBole's keys of BPR."""

    embedding_size: int = key(64, within="1..2^20")


class LightGCNSettings(BPRSettings):
    """RecBole's keys of LightGCN."""

    n_layers: int = key(2, within="1..1000")
    reg_weight: float = key(1e-5, within=">= 0")


class InfoDCLLossSettings(RankingLoss, InfoDCLSettings):
    """Keys of InfoDCL."""


def ranking_loss(
    form: str, users: Tensor, items: Tensor, positive: Tensor, negative: Tensor
) -> Tensor:
    """Mean loss of a batch of pairs, of scores that are inner products.

    Args:
        form: Value of the key.
        users: Embeddings of the users [B, d].
        items: Of all items [n_items, d], the padding first.
        positive: Each user's item, int64 [B].
        negative: An item drawn for it, int64 [B]; softmax reads none.

    Returns:
        Scalar.
    """
    if form == "softmax":
        return functional.cross_entropy(users @ items[1:].T, positive - 1)  # [B, n_items - 1]
    met, drawn = ((users * items[ids]).sum(dim=1) for ids in (positive, negative))
    if form == "bpr":
        return functional.softplus(drawn - met).mean()
    return (functional.softplus(-met) + functional.softplus(drawn)).mean() / 2


class BPRByLoss(BPR):
    """RecBole's matrix factorisation."""

    settings_class = BPRSettings

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.ranking_loss = config["ranking_loss"]

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Of the learned embeddings."""
        ids = (interaction[name] for name in (self.ITEM_ID, self.NEG_ITEM_ID))
        users = self.user_embedding(interaction[self.USER_ID])
        return ranking_loss(self.ranking_loss, users, self.item_embedding.weight, *ids)


class LightGCNByLoss(LightGCN):
    """RecBole's LightGCN."""

    settings_class = LightGCNSettings

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.ranking_loss = config["ranking_loss"]

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Of the convolved embeddings, and RecBole's penalty of the learned ones."""
        self.restore_user_e = self.restore_item_e = None  # RecBole keeps them to score
        names = self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID
        user, positive, negative = (interaction[name] for name in names)
        users, items = self.forward()
        ranking = ranking_loss(self.ranking_loss, users[user], items, positive, negative)
        drawn = self.item_embedding(positive), self.item_embedding(negative)
        learned = self.user_embedding(user), *drawn
        penalty: Tensor = self.reg_loss(*learned, require_pow=self.require_pow)
        return ranking + self.reg_weight * penalty


class InfoDCLByLoss(InfoDCL):
    """InfoDCL, its other terms as they are."""

    settings_class = InfoDCLLossSettings

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.ranking_loss = config["ranking_loss"]

    def calculate_loss(self, interaction: Any) -> tuple[torch.Tensor, ...]:
        """Terms of Eq. 14, the first exchanged."""
        others = super().calculate_loss(interaction)[1:]
        ids = (interaction[name] for name in (self.ITEM_ID, self.NEG_ITEM_ID))
        users, items = self.users_of(interaction), self.item_embedding.weight
        ranking = ranking_loss(self.ranking_loss, users, items, *ids)
        return self.bpr_weight * ranking, *others


register(BPRByLoss)
register(LightGCNByLoss)
register(InfoDCLByLoss, ChannelTrainer)
