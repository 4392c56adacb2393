"""RecBole's models whose faults change results or end runs, mended in classes of the same names.

RecBole's own classes stay as they are. ``docs/host.md`` lists the faults.
"""

import os
from logging import LoggerAdapter, getLogger
from typing import Any

import numpy as np
import torch
from recbole.model import general_recommender as host

from recbole_diffusion.base.errors import UserError


class Pop(host.Pop):
    """RecBole counts an item once a batch, sampled negatives included."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        items = dataset.inter_feat[dataset.iid_field]
        self.item_cnt = torch.bincount(items, minlength=self.n_items)[:, None].to(self.device)
        self.max_cnt = self.item_cnt.max(dim=0).values

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """Zero; the counts are complete."""
        return self.fake_loss.sum()


class NGCF(host.NGCF):
    """RecBole 1.2.0 drops messages when it scores, too."""

    message_dropout: float

    def forward(self) -> Any:
        """Embeddings of users and items."""
        share = self.message_dropout
        try:
            if not self.training:
                self.message_dropout = 0.0
            return super().forward()
        finally:
            self.message_dropout = share


class _Diffusion:
    """RecBole 1.2.0 stops without noise, and scores a batch of pairs as a table."""

    ITEM_ID: str
    full_sort_predict: Any
    noise_scale: float

    def calculate_for_diffusion(self) -> None:
        """Set what follows from the schedule of noise."""
        if self.noise_scale == 0.0:
            self.reweight = False  # the weights are ratios of signal to noise
        else:
            super().calculate_for_diffusion()  # type: ignore[misc]

    def predict(self, interaction: Any) -> torch.Tensor:
        """One score a pair."""
        items = interaction[self.ITEM_ID][:, None]
        scores: torch.Tensor = self.full_sort_predict(interaction).gather(1, items)
        return scores.squeeze(1)


class DiffRec(_Diffusion, host.DiffRec):
    """As ``_Diffusion`` says."""


class LDiffRec(_Diffusion, host.LDiffRec):
    """As ``_Diffusion`` says; with clusters, RecBole unpickles a file that it may not find."""

    def __init__(self, config: Any, dataset: Any) -> None:
        if config["n_cate"] > 1:
            _check_item_vectors(os.path.join(dataset.dataset_path, "item_emb.npy"))
        super().__init__(config, dataset)


def _check_item_vectors(path: str) -> None:
    if not os.path.isfile(path):
        raise UserError(
            f"{path}: no such file; with key `n_cate` above 1 it holds a vector for every item, in "
            "the order of RecBole's ids (.npy)"
        )
    try:
        np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: found no plain numbers of .npy: {error}") from error


class ENMF(host.ENMF):
    """RecBole draws the padding's vectors, and learns them as an item of every short history."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        for embedding in (self.user_embedding, self.item_embedding):
            embedding.weight.data[0] = 0.0  # padding_idx keeps it there


class FISM(host.FISM):
    """RecBole takes the sigmoid of its scores twice in the loss, and learns next to nothing."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.bceloss = torch.nn.BCELoss()


class Random(host.Random):
    """RecBole draws one ranking for all users of an evaluation batch."""

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """Scores [n x n_items]."""
        return torch.rand(len(interaction[self.USER_ID]) * self.n_items, device=self.device)


class NCL(host.NCL):
    """RecBole fails in its first epoch with more clusters than there are users or items."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        most = min(self.n_users, self.n_items)
        if self.k > most:
            raise UserError(
                f"key `num_clusters`: found {self.k}, expected at most {most}, the smaller number "
                "of users and items (with the padding)"
            )


class LINE(host.LINE):
    """RecBole draws without end for an item that every user has met."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        full = [item for item, users in enumerate(self.used_ids) if len(users) == self.n_users - 1]
        if full:
            item = str(dataset.id2token(self.ITEM_ID, full[0]))
            raise UserError(
                f"model LINE draws users who have not met an item, and {len(full)} items, such as "
                f"{item!r}, have been met by all; leave them out by item_inter_num_interval"
            )


class _JoiningLogger(LoggerAdapter):
    """Takes a message in parts, as ``print`` does."""

    def info(self, *parts: Any) -> None:  # type: ignore[override]
        self.logger.info(" ".join(map(str, parts)))


class RaCT(host.RaCT):
    """RecBole logs its pre-trained file in parts, which prints a traceback."""

    # RecBole's constructor sets a logger; this one stays.
    logger = property(lambda self: _JoiningLogger(getLogger()), lambda self, value: None)


# These score by what they compute in their constructors, and RecBole's checkpoints leave it out.
class NNCF(host.NNCF):
    """Keeps the neighbours, which it may draw."""

    other_parameter_name = ["u_neigh", "i_neigh"]


class NCEPLRec(host.NCEPLRec):
    """Keeps the embeddings."""

    other_parameter_name = ["user_embeddings", "item_embeddings"]


class ADMMSLIM(host.ADMMSLIM):
    """Keeps the matrices."""

    other_parameter_name = ["interaction_matrix", "item_similarity", "item_means"]
