"""The user-item graph: normalised adjacency and its convolution."""

import numpy as np
import scipy.sparse as sp
import torch


def normalized_adjacency(interactions: sp.csr_matrix) -> torch.Tensor:
    """Symmetrically normalised adjacency of the bipartite graph.

    Args:
        interactions: Binary train matrix [n_users, n_items].

    Returns:
        Coalesced sparse float32 tensor [n_users + n_items, n_users + n_items], users first; the
        entry of user u and item i is 1 / sqrt(|N_u| |N_i|).

    Source: Liang et al. 2026, Eq. 16; He et al. 2020 (LightGCN), Eq. 3.
    """
    edges = interactions.tocoo()
    user_degree = np.bincount(edges.row, minlength=edges.shape[0])
    item_degree = np.bincount(edges.col, minlength=edges.shape[1])
    weight = 1.0 / np.sqrt(user_degree[edges.row] * item_degree[edges.col])
    item = edges.col + edges.shape[0]
    index = np.stack([np.concatenate([edges.row, item]), np.concatenate([item, edges.row])])
    values = torch.from_numpy(np.concatenate([weight, weight]).astype(np.float32))
    size = sum(edges.shape)
    adjacency = torch.sparse_coo_tensor(
        torch.from_numpy(index.astype(np.int64)), values, (size, size), check_invariants=False
    )
    return adjacency.coalesce()


def propagate(
    norm_adj: torch.Tensor,
    user_embedding: torch.Tensor,
    item_embedding: torch.Tensor,
    n_layers: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """LightGCN's convolution: the mean over layers 0..n_layers; n_layers sparse products.

    Args:
        norm_adj: From ``normalized_adjacency``.
        user_embedding: [n_users, d].
        item_embedding: [n_items, d].
        n_layers: Number of layers, 0 for none.

    Returns:
        User and item embeddings of the shapes given.

    Source: Liang et al. 2026, section 3.4; He et al. 2020 (LightGCN), Eq. 3-4.
    """
    layer = torch.cat([user_embedding, item_embedding])
    total = layer
    for _ in range(n_layers):
        layer = torch.sparse.mm(norm_adj, layer)
        total = total + layer
    users, items = (total / (n_layers + 1)).split([len(user_embedding), len(item_embedding)])
    return users, items
