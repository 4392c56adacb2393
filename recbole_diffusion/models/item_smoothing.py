"""The graph of items: who shares users, as a product that is never formed."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.nn.factors import item_factors
from recbole_diffusion.nn.rows import InteractionRows

# Bytes of the signals over users that a product makes on its way.
BLOCK_BYTES = 2**28


def normalized_entries(interactions: sp.csr_matrix, user_power: float) -> sp.csr_matrix:
    """R~ = D_U^-a R D_I^(a - 1), float32 [n_users, n_items].

    Args:
        interactions: R, of ones.
        user_power: a, from 0 to 1; .5 is the symmetric normalisation.
    """
    of_users, of_items = np.diff(interactions.indptr), np.bincount(
        interactions.indices, minlength=interactions.shape[1]
    )  # fmt: skip
    rows = np.repeat(np.arange(interactions.shape[0]), of_users)
    values = of_users[rows] ** -float(user_power) * of_items[interactions.indices] ** (
        user_power - 1.0
    )
    content = (values.astype(np.float32), interactions.indices, interactions.indptr)
    return sp.csr_matrix(content, interactions.shape)


class ItemSmoothing(nn.Module):
    """Products with P = R~' R~ of the symmetric normalisation; memory grows with interactions.

    Args:
        interactions: R, of ones, [n_users, n_items].
    """

    def __init__(self, interactions: sp.csr_matrix) -> None:
        super().__init__()
        entries = normalized_entries(interactions, 0.5).tocoo()
        users, items = entries.row.astype(np.int64), entries.col.astype(np.int64)
        self.of_users = InteractionRows(users, items, entries.shape[0], values=entries.data)
        self.of_items = InteractionRows(items, users, entries.shape[1], values=entries.data)

    def forward(self, x: Tensor) -> Tensor:
        """Product of signals [B, n_items] with P; O(nnz * B)."""
        n_users = len(self.of_users.offsets) - 1
        step = max(1, BLOCK_BYTES // (4 * n_users))
        users, items = self.of_users.all, self.of_items.all
        products = [items.product(users.product(part.T.contiguous())) for part in x.split(step)]
        return torch.cat(products, dim=1).T.contiguous()


class IdealLowPass(nn.Module):
    """x D_I^-1/2 V V' D_I^1/2: what lies in the first singular vectors V of R~.

    Source: Shen et al. 2021 (GF-CF), Eq. 13.
    """

    vectors: Tensor
    roots: Tensor

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(n_items, 0))
        self.register_buffer("roots", torch.ones(n_items))

    def solve(self, interactions: sp.csr_matrix, rank: int, seed: int) -> None:
        """Find the vectors.

        Args:
            interactions: R, of ones, [n_users, n_items].
            rank: Number of vectors.
            seed: Of the random start.
        """
        factors = item_factors(normalized_entries(interactions, 0.5), rank, seed)
        degrees = np.bincount(interactions.indices, minlength=interactions.shape[1])
        device = self.roots.device
        self.vectors = torch.from_numpy(factors.vectors).to(device)
        self.roots = torch.from_numpy(degrees).clamp_min(1).float().sqrt().to(device)

    def forward(self, x: Tensor) -> Tensor:
        """Of signals [B, n_items]; O(B * n_items * rank)."""
        return functional.linear((x / self.roots) @ self.vectors, self.vectors) * self.roots

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *others: object
    ) -> None:
        """A checkpoint brings as many vectors as were found."""
        found = state_dict.get(f"{prefix}vectors")
        if isinstance(found, Tensor) and found.dim() == 2 and len(found) == len(self.vectors):
            self.vectors = torch.empty_like(found, device=self.roots.device)
        super()._load_from_state_dict(state_dict, prefix, *others)
