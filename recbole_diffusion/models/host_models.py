"""RecBole's models whose faults change results or end runs, mended in classes of the same names.

RecBole's own classes stay as they are. ``docs/host.md`` lists the faults.
"""

import os
from collections.abc import Callable
from logging import Logger, LoggerAdapter, getLogger
from typing import Any

import numpy as np
import torch
from recbole.model import general_recommender as host
from scipy.linalg import blas

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.memory import expect_memory
from recbole_diffusion.models.lindiffrec.linear import (
    BLOCK_BYTES,
    invert,
    second_moment,
    solve_chain,
)
from recbole_diffusion.nn.graph import NormalizedAdjacency, host_adjacency
from recbole_diffusion.nn.lightgcn import LightGCN as LightGCN


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


# RecBole fills the matrices of these entry by entry in Python.
class GCMC(NormalizedAdjacency, host.GCMC):
    """Makes its graph at once."""


class SpectralCF(host.SpectralCF):
    """Makes its graph at once."""

    interaction_matrix: Any
    get_eye_mat: Any

    def get_laplacian_matrix(self) -> torch.Tensor:
        """I - D^-1 A, sparse."""
        adjacency = host_adjacency(self.interaction_matrix, -1.0, 0.0)
        laplacian: torch.Tensor = self.get_eye_mat(adjacency.shape[0]) - adjacency
        return laplacian


class NGCF(NormalizedAdjacency, host.NGCF):
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
    # The rows that the history of losses learns from: `ImportanceSampler.of_all_processes`.
    of_all_processes: Callable[[torch.Tensor], torch.Tensor] = staticmethod(lambda rows: rows)

    def update_Lt_history(self, ts: torch.Tensor, reloss: torch.Tensor) -> None:
        """Keep losses by step."""
        super().update_Lt_history(self.of_all_processes(ts), self.of_all_processes(reloss))  # type: ignore[misc]

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


class NCL(NormalizedAdjacency, host.NCL):
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


class _JoiningLogger(LoggerAdapter[Logger]):
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
    """RecBole makes a dense table of users and items, and works in double precision in part."""

    other_parameter_name = ["interaction_matrix", "item_similarity", "item_means"]

    def __init__(self, config: Any, dataset: Any) -> None:
        super(host.ADMMSLIM, self).__init__(config, dataset)
        _expect_dense("ADMMSLIM", self.n_items, 6)
        self.dummy_param = torch.nn.Parameter(torch.zeros(1))  # RecBole asks for one
        self.interaction_matrix = dataset.inter_matrix(form="csr").astype(np.float32)
        self.center_columns = config["center_columns"]
        self.item_means = self.interaction_matrix.mean(axis=0).getA1().astype(np.float32)
        moment = second_moment(self.interaction_matrix)
        if self.center_columns:  # of rows less the means
            blas.sger(-self.n_users, *2 * (self.item_means,), a=moment.T, overwrite_a=1)
        penalty = config["lambda2"] * self.item_means ** config["alpha"]
        self.item_similarity = sparse_similarity(
            moment,
            penalty,
            threshold=config["lambda1"],
            rho=config["rho"],
            n_steps=config["k"],
            positive_only=config["positive_only"],
        )


def sparse_similarity(
    moment: np.ndarray,
    penalty: np.ndarray,
    threshold: float,
    rho: float,
    n_steps: int,
    positive_only: bool,
) -> np.ndarray:
    """ADMM SLIM's similarity of items; six n x n arrays at most.

    Args:
        moment: G float32 [n, n]; overwritten.
        penalty: lambda_2 of each item [n].
        threshold: lambda_1.
        rho: Penalty of the split.
        n_steps: Number of steps.
        positive_only: Whether weights below zero are left out.

    Returns:
        C float32 [n, n].

    Raises:
        UserError: G + diag(penalty + rho) is not positive definite.

    Source: Steck et al. 2020, Algorithm 1.
    """
    inverse = moment.copy()
    invert(inverse, moment.diagonal() + penalty + rho)
    fixed, work = inverse @ moment, moment
    scale = 1 / (inverse.diagonal() + 1e-7)
    sparse, dual, free = (np.zeros_like(fixed) for _ in range(3))
    bound = threshold / rho
    for _ in range(n_steps):
        np.multiply(sparse, rho, out=work)
        work -= dual
        np.matmul(inverse, work, out=free)
        free += fixed
        np.multiply(inverse, free.diagonal() * scale, out=work)
        free -= work  # B, whose diagonal is zero
        np.divide(dual, rho, out=sparse)
        sparse += free
        np.clip(sparse, -np.inf if positive_only else -bound, bound, out=work)
        sparse -= work  # the soft threshold
        free -= sparse
        free *= rho
        dual += free
    return sparse


class EASE(host.EASE):
    """RecBole inverts a general matrix; this one is positive definite, and inverted in place."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super(host.EASE, self).__init__(config, dataset)
        _expect_dense("EASE", self.n_items, 1)
        self.dummy_param = torch.nn.Parameter(torch.zeros(1))  # RecBole asks for one
        self.interaction_matrix = dataset.inter_matrix(form="csr").astype(np.float32)
        penalty = np.full(self.n_items, config["reg_weight"], np.float32)
        moment = second_moment(self.interaction_matrix)
        solved = solve_chain(moment, [penalty], [], torch.device("cpu"))
        self.item_similarity = solved.numpy()
        self.other_parameter_name = ["interaction_matrix", "item_similarity"]


def _expect_dense(model: str, n_items: int, n_arrays: int) -> None:
    """Refuse a solve of n x n arrays in single precision that does not fit, before it is begun."""
    needed = 4 * n_arrays * n_items**2 + 2 * BLOCK_BYTES
    expect_memory(needed, f"model {model} with {n_items} items (with the padding)")
