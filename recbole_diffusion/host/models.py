"""Patches of single models of RecBole."""

import importlib
import os
from logging import LoggerAdapter, getLogger
from typing import Any

import numpy as np
import torch

from recbole_diffusion.host.patch import (
    Overlay,
    Patch,
    in_every_version,
    is_1_2_0,
    is_1_2_1_on,
)

# What these compute in their constructors, from draws or settings, and score by.
UNSTORED_SCORES = {
    "NNCF": ["u_neigh", "i_neigh"],
    "NCEPLRec": ["user_embeddings", "item_embeddings"],
    "ADMMSLIM": ["interaction_matrix", "item_similarity", "item_means"],
}


def _count_every_interaction() -> None:
    from recbole.model.general_recommender import Pop

    host_init = Pop.__init__

    def init(self: Any, config: Any, dataset: Any) -> None:
        host_init(self, config, dataset)
        items = dataset.inter_feat[dataset.iid_field]
        self.item_cnt = torch.bincount(items, minlength=self.n_items)[:, None].to(self.device)
        self.max_cnt = self.item_cnt.max(dim=0).values

    def calculate_loss(self: Any, interaction: Any) -> torch.Tensor:
        return self.fake_loss.sum()  # zero; the counts are complete

    Pop.__init__, Pop.calculate_loss = init, calculate_loss


def _drop_messages_in_training_only() -> None:
    from recbole.model.general_recommender import NGCF

    host_forward = NGCF.forward

    def forward(self: Any) -> Any:
        probability = self.message_dropout
        try:
            if not self.training:
                self.message_dropout = 0.0
            return host_forward(self)
        finally:
            self.message_dropout = probability

    NGCF.forward = forward


def _predict_pairs(self: Any, interaction: Any) -> torch.Tensor:
    """One score a pair; the host's is a column of every pair's item, for every pair's user."""
    items = interaction[self.ITEM_ID][:, None]
    scores: torch.Tensor = self.full_sort_predict(interaction).gather(1, items)
    return scores.squeeze(1)


def _score_pairs_by_diffusion() -> None:
    from recbole.model.general_recommender import DiffRec, LDiffRec

    DiffRec.predict = LDiffRec.predict = _predict_pairs


def _allow_diffusion_without_noise() -> None:
    from recbole.model.general_recommender import DiffRec

    host_method = DiffRec.calculate_for_diffusion

    def calculate_for_diffusion(self: Any) -> None:
        if self.noise_scale == 0.0:
            self.reweight = False  # the weights are ratios of signal to noise
        else:
            host_method(self)

    DiffRec.calculate_for_diffusion = calculate_for_diffusion


def _keep_padding_out_of_enmf() -> None:
    from recbole.model.general_recommender import ENMF

    host_init = ENMF.__init__

    def init(self: Any, config: Any, dataset: Any) -> None:
        host_init(self, config, dataset)
        for embedding in (self.user_embedding, self.item_embedding):
            embedding.weight.data[0] = 0.0  # padding_idx keeps it there

    ENMF.__init__ = init


def _learn_fism_from_probabilities() -> None:
    from recbole.model.general_recommender import FISM

    host_init = FISM.__init__

    def init(self: Any, config: Any, dataset: Any) -> None:
        host_init(self, config, dataset)
        self.bceloss = torch.nn.BCELoss()

    FISM.__init__ = init


def _draw_for_every_user() -> None:
    from recbole.model.general_recommender import Random

    def full_sort_predict(self: Any, interaction: Any) -> torch.Tensor:
        return torch.rand(len(interaction[self.USER_ID]) * self.n_items, device=self.device)

    Random.full_sort_predict = full_sort_predict


def _find_neighbours_by_method() -> None:
    from recbole.model.general_recommender import itemknn, nncf

    class ComputeSimilarity:
        """The host's, called as RecBole 1.2.0 called it."""

        def __init__(self, matrix: Any, topk: int) -> None:
            self._arguments = {"dataMatrix": matrix, "topk": topk}

        def compute_similarity(self, method: str) -> Any:
            return itemknn.ComputeSimilarity(**self._arguments, method=method).compute_similarity()

    nncf.ComputeSimilarity = ComputeSimilarity


def _refuse_more_clusters_than_nodes() -> None:
    from recbole.model.general_recommender import NCL

    host_init = NCL.__init__

    def init(self: Any, config: Any, dataset: Any) -> None:
        host_init(self, config, dataset)
        most = min(self.n_users, self.n_items)
        if self.k > most:
            raise ValueError(
                f"key `num_clusters`: found {self.k}, expected at most {most}, the smaller number "
                "of users and items (with the padding)"
            )

    NCL.__init__ = init


def _refuse_items_of_every_user() -> None:
    from recbole.model.general_recommender import LINE

    host_init = LINE.__init__

    def init(self: Any, config: Any, dataset: Any) -> None:
        host_init(self, config, dataset)
        full = [item for item, users in enumerate(self.used_ids) if len(users) == self.n_users - 1]
        if full:
            item = str(dataset.id2token(self.ITEM_ID, full[0]))
            raise ValueError(
                f"draws users who have not met an item, and {len(full)} items, such as {item!r}, "
                "have been met by all; leave them out by item_inter_num_interval"
            )

    LINE.__init__ = init


def _load_item_vectors(path: str, allow_pickle: bool = False) -> Any:
    """Read plain numbers, whatever the host allows."""
    if not os.path.isfile(path):
        raise ValueError(
            f"{path}: no such file; with key `n_cate` above 1 it holds a vector for every item, in "
            "the order of RecBole's ids (.npy)"
        )
    return np.load(path, allow_pickle=False)


def _read_item_vectors_without_pickle() -> None:
    from recbole.model.general_recommender import ldiffrec

    ldiffrec.np = Overlay(np, load=_load_item_vectors)


class _JoiningLogger(LoggerAdapter):
    """Takes a message in parts, as ``print`` does."""

    def info(self, *parts: Any) -> None:  # type: ignore[override]
        self.logger.info(" ".join(map(str, parts)))


def _log_the_pretrained_file() -> None:
    from recbole.model.general_recommender import RaCT

    # The host's constructor sets a logger; this one stays.
    RaCT.logger = property(lambda self: _JoiningLogger(getLogger()), lambda self, value: None)


def _store_what_scores() -> None:
    package = importlib.import_module("recbole.model.general_recommender")
    for name, attributes in UNSTORED_SCORES.items():
        getattr(package, name).other_parameter_name = attributes


PATCHES = (
    Patch(
        "count_every_interaction",
        "Pop counts an item once a batch, sampled negatives included: batch size moves its ranking",
        in_every_version,
        _count_every_interaction,
    ),
    Patch(
        "drop_messages_in_training_only",
        "NGCF of RecBole 1.2.0 drops messages when it scores, too",
        is_1_2_0,
        _drop_messages_in_training_only,
    ),
    Patch(
        "score_pairs_by_diffusion",
        "DiffRec and LDiffRec of RecBole 1.2.0 score a batch of pairs as a table",
        is_1_2_0,
        _score_pairs_by_diffusion,
    ),
    Patch(
        "allow_diffusion_without_noise",
        "DiffRec and LDiffRec of RecBole 1.2.0 stop at noise_scale: 0",
        is_1_2_0,
        _allow_diffusion_without_noise,
    ),
    Patch(
        "keep_padding_out_of_enmf",
        "ENMF initialises the padding's vector and learns it as an item of every short history",
        in_every_version,
        _keep_padding_out_of_enmf,
    ),
    Patch(
        "learn_fism_from_probabilities",
        "FISM takes the sigmoid of its scores twice in the loss, and learns next to nothing",
        in_every_version,
        _learn_fism_from_probabilities,
    ),
    Patch(
        "draw_for_every_user",
        "Random draws one ranking for all users of an evaluation batch",
        in_every_version,
        _draw_for_every_user,
    ),
    Patch(
        "find_neighbours_by_method",
        "NNCF of RecBole 1.2.1 calls ComputeSimilarity as it was in 1.2.0: no neighbours by knn",
        is_1_2_1_on,
        _find_neighbours_by_method,
    ),
    Patch(
        "refuse_more_clusters_than_nodes",
        "NCL takes more clusters than there are users or items, and fails in its first epoch",
        in_every_version,
        _refuse_more_clusters_than_nodes,
    ),
    Patch(
        "refuse_items_of_every_user",
        "LINE draws without end for an item that every user has met",
        in_every_version,
        _refuse_items_of_every_user,
    ),
    Patch(
        "read_item_vectors_without_pickle",
        "LDiffRec with clusters unpickles item_emb.npy, and does not say what is missing",
        in_every_version,
        _read_item_vectors_without_pickle,
    ),
    Patch(
        "log_the_pretrained_file",
        "RaCT logs its pre-trained file in parts, which prints a traceback",
        in_every_version,
        _log_the_pretrained_file,
    ),
    Patch(
        "store_what_scores",
        "NNCF, NCEPLRec and ADMMSLIM score by arrays that their checkpoints leave out",
        in_every_version,
        _store_what_scores,
    ),
)
