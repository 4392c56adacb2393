"""The normalised graph and its convolution against dense float64 numpy."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_diffusion.nn.graph import (
    interaction_graph,
    normalized_adjacency,
    normalized_graph,
    propagate,
)

N_USERS, N_ITEMS, SIZE = 7, 5, 3


def random_interactions(rng):
    """Random pairs; row and column 0 are padding, user 4 and item 2 have no pair either."""
    dense = rng.random((N_USERS, N_ITEMS)) < 0.5
    dense[[0, 4]] = False
    dense[:, [0, 2]] = False
    dense[1, 1] = dense[2, 4] = True
    return sp.csr_matrix(dense.astype(np.float32))


def dense_normalized(interactions, self_loops=False):
    """D^-1/2 A D^-1/2 of the bipartite graph, zero in the rows of isolated nodes."""
    r = interactions.toarray().astype(np.float64)
    a = np.block([[np.zeros((N_USERS, N_USERS)), r], [r.T, np.zeros((N_ITEMS, N_ITEMS))]])
    a += self_loops * np.eye(N_USERS + N_ITEMS)
    degree = a.sum(axis=1)
    scale = np.zeros_like(degree)
    scale[degree > 0] = degree[degree > 0] ** -0.5
    return scale[:, None] * a * scale


def test_adjacency_is_symmetrically_normalised(rng):
    interactions = random_interactions(rng)
    degrees = interactions.toarray().sum(axis=1)
    assert len(set(degrees)) > 2  # else a normalisation by one side only would pass
    adjacency = normalized_adjacency(interactions)
    expected = dense_normalized(interactions)
    assert adjacency.is_sparse
    assert adjacency.is_coalesced()
    assert adjacency.dtype == torch.float32
    assert adjacency.values().numel() == 2 * interactions.nnz
    np.testing.assert_allclose(adjacency.to_dense().numpy(), expected, rtol=1e-6)


def test_isolated_nodes_have_no_edge_and_no_nan(rng):
    adjacency = normalized_adjacency(random_interactions(rng)).to_dense()
    for node in (0, 4, N_USERS, N_USERS + 2):
        assert not adjacency[node].any()
        assert not adjacency[:, node].any()
    assert torch.isfinite(adjacency).all()


def test_graph_without_an_edge_is_all_zero():
    adjacency = normalized_adjacency(sp.csr_matrix((N_USERS, N_ITEMS), dtype=np.float32))
    assert adjacency.shape == (N_USERS + N_ITEMS,) * 2
    assert not adjacency.to_dense().any()


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3])
def test_propagation_is_the_mean_over_layers(rng, n_layers):
    interactions = random_interactions(rng)
    users, items = rng.normal(size=(N_USERS, SIZE)), rng.normal(size=(N_ITEMS, SIZE))
    found = propagate(
        normalized_adjacency(interactions),
        torch.tensor(users, dtype=torch.float32),
        torch.tensor(items, dtype=torch.float32),
        n_layers,
    )

    dense, start = dense_normalized(interactions), np.concatenate([users, items])
    layers = [np.linalg.matrix_power(dense, k) @ start for k in range(n_layers + 1)]
    expected = sum(layers) / (n_layers + 1)
    np.testing.assert_allclose(found[0].numpy(), expected[:N_USERS], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1].numpy(), expected[N_USERS:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_propagation_only_shrinks_isolated_nodes(rng, n_layers):
    users, items = torch.ones(N_USERS, SIZE), 2 * torch.ones(N_ITEMS, SIZE)
    found = propagate(normalized_adjacency(random_interactions(rng)), users, items, n_layers)
    for node in (0, 4):
        torch.testing.assert_close(found[0][node], users[node] / (n_layers + 1))
    for node in (0, 2):
        torch.testing.assert_close(found[1][node], items[node] / (n_layers + 1))


def test_propagation_carries_gradients_to_both_sides(rng):
    interactions = random_interactions(rng)
    users = torch.randn(N_USERS, SIZE, requires_grad=True)
    items = torch.randn(N_ITEMS, SIZE, requires_grad=True)
    found, _ = propagate(normalized_adjacency(interactions), users, items, 1)
    found[1].sum().backward()

    edges = torch.tensor(dense_normalized(interactions)[1, N_USERS:], dtype=torch.float32)
    torch.testing.assert_close(items.grad, edges[:, None].expand(-1, SIZE) / 2)
    expected = torch.zeros(N_USERS, SIZE)
    expected[1] = 0.5
    torch.testing.assert_close(users.grad, expected)


def dense_graph(graph):
    """The matrix of a graph, by its products with unit vectors."""
    return graph(torch.eye(N_USERS + N_ITEMS)).numpy()


@pytest.mark.parametrize("self_loops", [False, True])
def test_graph_multiplies_as_the_normalised_matrix_and_so_do_its_gradients(rng, self_loops):
    interactions = random_interactions(rng)
    graph = interaction_graph(interactions, self_loops)
    expected = dense_normalized(interactions, self_loops)
    np.testing.assert_allclose(dense_graph(graph), expected, rtol=1e-6, atol=1e-7)
    x = torch.tensor(rng.normal(size=(N_USERS + N_ITEMS, SIZE)).astype(np.float32)).requires_grad_()
    upstream = rng.normal(size=x.shape).astype(np.float32)
    # Not contiguous, as gradients of a slice are.
    graph(x).backward(torch.tensor(upstream.T.copy()).T)
    np.testing.assert_allclose(x.grad, expected.T @ upstream, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_summed_layers(rng, n_layers):
    interactions = random_interactions(rng)
    x = rng.normal(size=(N_USERS + N_ITEMS, SIZE))
    dense = dense_normalized(interactions)
    expected = sum(np.linalg.matrix_power(dense, k) @ x for k in range(n_layers + 1))
    found = interaction_graph(interactions).summed_layers(torch.tensor(x).float(), n_layers)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_graph_of_edges_in_any_order_is_the_same(rng):
    users, items = np.nonzero(random_interactions(rng).toarray())
    order = rng.permutation(len(users))
    graphs = [
        normalized_graph(torch.tensor(u), torch.tensor(i), N_USERS, N_ITEMS, True)
        for u, i in ((users, items), (users[order], items[order]))
    ]
    for one, other in zip(graphs[0].rows, graphs[1].rows, strict=True):
        assert torch.equal(one, other)


def test_dropped_edges_leave_in_both_directions_and_the_others_are_rescaled():
    torch.manual_seed(0)
    n_users, n_items, keep_rate = 200, 300, 0.7
    users, items = (torch.rand(n_users, n_items) < 0.1).nonzero(as_tuple=True)
    graph = normalized_graph(users, items, n_users, n_items, self_loops=True)
    dropped = graph.dropped(keep_rate)
    before, after = (g.rows.dense(n_users + n_items) for g in (graph, dropped))
    is_kept = after > 0
    assert torch.equal(after, after.T)
    torch.testing.assert_close(after[is_kept], before[is_kept] / keep_rate)
    for part in (torch.eye(n_users + n_items) > 0, torch.triu(before, diagonal=1) > 0):
        share, n_edges = is_kept[part].double().mean().item(), part.sum().item()
        assert share == pytest.approx(keep_rate, abs=4.5 * (0.21 / n_edges) ** 0.5)
    assert graph.dropped(1.0) is graph
