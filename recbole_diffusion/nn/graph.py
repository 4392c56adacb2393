"""The user-item graph: normalised adjacency and its convolution."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recbole_diffusion.nn.rows import RowBatch


class BipartiteGraph(nn.Module):
    """A symmetric sparse matrix over users and items, users first, for products with embeddings.

    24 bytes an edge and 8 a node beside the edges themselves; moves with the model that holds it.

    Args:
        sources: One end of each edge, int64 [n_edges]; no edge stands twice.
        targets: The other end; the same for a self-loop.
        weights: float32 [n_edges].
        n_nodes: Number N of users and items.
    """

    sources: Tensor
    targets: Tensor
    weights: Tensor
    items: Tensor
    offsets: Tensor
    values: Tensor

    def __init__(self, sources: Tensor, targets: Tensor, weights: Tensor, n_nodes: int) -> None:
        super().__init__()
        is_pair = sources != targets  # it stands in two rows
        rows = torch.cat([sources, targets[is_pair]])
        columns = torch.cat([targets, sources[is_pair]])
        order = torch.argsort(rows * n_nodes + columns)
        lengths = torch.bincount(rows, minlength=n_nodes)
        tensors = {
            **{"sources": sources, "targets": targets, "weights": weights},
            "items": columns[order],
            "offsets": functional.pad(lengths.cumsum(0), (1, 0)),
            "values": torch.cat([weights, weights[is_pair]])[order],
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    @property
    def rows(self) -> RowBatch:
        """The matrix, row after row, columns in rising order."""
        return RowBatch(self.items, self.offsets, self.values)

    def forward(self, x: Tensor) -> Tensor:
        """Product [N, d] with embeddings [N, d]; O(nnz * d), its gradient too."""
        product: Tensor = _SymmetricProduct.apply(x, self.items, self.offsets, self.values)
        return product

    def summed_layers(self, x: Tensor, n_layers: int) -> Tensor:
        """Sum [N, d] over layers 0..n_layers of the convolution of embeddings [N, d].

        Source: DiffMM, Eq. 17 and 22.
        """
        total = x
        for _ in range(n_layers):
            x = self(x)
            total = total + x
        return total

    def dropped(self, keep_rate: float) -> "BipartiteGraph":
        """The graph less edges drawn at random, the others over ``keep_rate``.

        Args:
            keep_rate: Probability of an edge, or a self-loop, to stay; 1 gives the graph itself.
        """
        if keep_rate == 1:
            return self
        is_kept = torch.rand_like(self.weights) < keep_rate
        sources, targets = self.sources[is_kept], self.targets[is_kept]
        n_nodes = len(self.offsets) - 1
        return BipartiteGraph(sources, targets, self.weights[is_kept] / keep_rate, n_nodes)


class _SymmetricProduct(torch.autograd.Function):
    """Of a symmetric matrix in rows with embeddings; the gradient is the same product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *rows: Tensor) -> Tensor:
        ctx.save_for_backward(*rows)
        return RowBatch(*rows).product(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        rows = RowBatch(*ctx.saved_tensors)
        return rows.product(grad_output.contiguous()), None, None, None


def normalized_graph(
    users: Tensor, items: Tensor, n_users: int, n_items: int, self_loops: bool = False
) -> BipartiteGraph:
    """Symmetrically normalised graph of users and items.

    Args:
        users: int64 [n_edges].
        items: int64 [n_edges], with the users no pair twice.
        n_users: Number of users.
        n_items: Number of items.
        self_loops: Whether each node is its own neighbour too.

    Returns:
        The graph in which an edge of nodes a and b weighs 1 / sqrt(|N_a| |N_b|).

    Source: DiffMM, Eq. 16; He et al. 2020 (LightGCN), Eq. 3; Kipf and Welling 2017 (self-loops).
    """
    n_nodes = n_users + n_items
    loops = torch.arange(n_nodes if self_loops else 0, device=users.device)
    sources, targets = torch.cat([users, loops]), torch.cat([items + n_users, loops])
    degree = torch.bincount(torch.cat([users, items + n_users, loops]), minlength=n_nodes)
    weights = 1 / (degree[sources] * degree[targets]).double().sqrt()
    return BipartiteGraph(sources, targets, weights.float(), n_nodes)


def interaction_graph(interactions: sp.csr_matrix, self_loops: bool = False) -> BipartiteGraph:
    """The normalised graph of a binary train matrix [n_users, n_items]."""
    users, items = (torch.from_numpy(ends.astype(np.int64)) for ends in interactions.nonzero())
    n_users, n_items = interactions.shape
    return normalized_graph(users, items, n_users, n_items, self_loops)


def normalized_adjacency(interactions: sp.csr_matrix) -> torch.Tensor:
    """Symmetrically normalised adjacency of the bipartite graph.

    Args:
        interactions: Binary train matrix [n_users, n_items].

    Returns:
        Coalesced sparse float32 tensor [n_users + n_items, n_users + n_items], users first; the
        entry of user u and item i is 1 / sqrt(|N_u| |N_i|).

    Source: Liang et al. 2026, Eq. 16; He et al. 2020 (LightGCN), Eq. 3.
    """
    rows = interaction_graph(interactions).rows
    index, size = torch.stack([rows.rows, rows.items]), sum(interactions.shape)
    return torch.sparse_coo_tensor(
        index, rows.values, (size, size), check_invariants=False, is_coalesced=True
    )


# RecBole adds it to degrees, none of which is zero where there is an edge.
HOST_EPSILON = 1e-7


def host_adjacency(
    interactions: sp.spmatrix, row_power: float, column_power: float
) -> torch.Tensor:
    """The bipartite adjacency of RecBole's models, each entry over powers of its ends' degrees.

    Args:
        interactions: Train matrix [n_users, n_items]; any entry is an edge, and counts once.
        row_power: Of the degree of an entry's row; RecBole adds 1e-7 to degrees.
        column_power: Of the degree of its column.

    Returns:
        Coalesced sparse float32 tensor [n_users + n_items, n_users + n_items], users first, of the
        bits that RecBole's own functions give.
    """
    n_users, n_items = interactions.shape
    of_users = sp.csr_matrix(interactions)
    of_users.sum_duplicates()
    of_items = of_users.T.tocsr()  # columns in rising order, too
    degrees = [np.diff(rows.indptr) for rows in (of_users, of_items)]
    rows = np.repeat(np.arange(n_users + n_items), np.concatenate(degrees))
    columns = np.concatenate([of_users.indices.astype(np.int64) + n_users, of_items.indices])
    shifted = np.concatenate(degrees) + HOST_EPSILON
    factors = [np.power(shifted, power) for power in (row_power, column_power)]
    values = (factors[0][rows] * factors[1][columns]).astype(np.float32)
    return torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([rows, columns])),
        torch.from_numpy(values),
        (n_users + n_items,) * 2,
        check_invariants=False,
        is_coalesced=True,
    )


class NormalizedAdjacency:
    """Mixed in before RecBole's graph models, which fill their matrix entry by entry in Python."""

    interaction_matrix: sp.coo_matrix

    def get_norm_adj_mat(self) -> torch.Tensor:
        """Sparse float32 [n_users + n_items, n_users + n_items], users first."""
        return host_adjacency(self.interaction_matrix, -0.5, -0.5)


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
