"""Singular vectors of sparse matrices against dense decompositions."""

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.nn import factors
from recbole_diffusion.nn.factors import item_factors


def train_matrix(n_users, n_items, density=0.2, seed=3):
    """Binary, with an empty row and column for the padding; no two singular values are near."""
    rng = np.random.default_rng(seed)
    dense = (rng.random((n_users, n_items)) < density).astype(np.float32)
    dense[0], dense[:, 0] = 0, 0
    return dense


@pytest.mark.parametrize(
    ("n_users", "n_items", "rank"), [(30, 14, 5), (20, 30, 19), (30, 20, 19), (12, 12, 1)]
)
def test_factors_are_those_of_a_dense_decomposition(n_users, n_items, rank):
    dense = train_matrix(n_users, n_items)
    found = item_factors(sp.csr_matrix(dense), rank, seed=1)
    _, values, vectors = np.linalg.svd(dense.astype(np.float64))
    assert found.vectors.dtype == found.singular_values.dtype == np.float32
    np.testing.assert_allclose(found.singular_values, values[:rank], rtol=1e-5)
    expected = vectors[:rank].T
    signs = np.sign((found.vectors * expected).sum(axis=0))
    np.testing.assert_allclose(found.vectors, signs * expected, atol=1e-5)
    assert np.abs(found.vectors[0]).max() < 1e-12


def test_a_seed_repeats_exactly_and_another_gives_the_same_space():
    matrix = sp.csr_matrix(train_matrix(400, 300))
    first, again, other = (item_factors(matrix, 30, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first.vectors, other.vectors)
    np.testing.assert_allclose(first.singular_values, other.singular_values, rtol=0.02)


def test_the_matrix_is_never_made_dense(monkeypatch):
    matrix = sp.csr_matrix(train_matrix(30, 20))

    def refuse(*args, **kwargs):
        raise AssertionError("made dense")

    for name in ("toarray", "todense"):
        monkeypatch.setattr(type(matrix), name, refuse)
    item_factors(matrix, 4, seed=1)


@pytest.mark.parametrize("shape", [(9, 6), (6, 9)])
def test_a_rank_above_the_smaller_number(shape):
    dense = np.random.default_rng(4).random(shape)
    dense[0] = dense[:, 0] = 0
    matrix = sp.csr_matrix(dense)
    found, most = (item_factors(matrix, rank, seed=1) for rank in (60, 5))
    assert found.vectors.shape == (shape[1], 5)
    np.testing.assert_allclose(found.singular_values, most.singular_values, rtol=1e-6)


def test_a_matrix_without_interactions():
    with pytest.raises(UserError, match=r"`svd_rank`: found 4, expected a train matrix with"):
        item_factors(sp.csr_matrix((20, 15)), 4, seed=1)


@pytest.mark.parametrize(("n_distinct", "rank"), [(3, 4), (3, 7)])
def test_a_rank_that_the_matrix_lacks(n_distinct, rank, caplog):
    """Users with the same items; the vectors beyond their number would be any."""
    dense = np.zeros((20, 15))
    for user in range(1, 20):
        dense[user, 1 + user % n_distinct :: n_distinct] = 1
    assert np.linalg.matrix_rank(dense) == n_distinct
    found = item_factors(sp.csr_matrix(dense), rank, seed=1)
    assert found.vectors.shape == (15, n_distinct)
    projected = dense @ found.vectors @ found.vectors.T  # which the vectors lose nothing of
    np.testing.assert_allclose(projected, dense, atol=1e-5)
    assert f"found {rank}; the train matrix has rank {n_distinct}, which is used" in caplog.text


def test_a_failed_decomposition_is_told_with_the_way_out(monkeypatch):
    def fail(*args, **kwargs):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(factors, "randomized_svd", fail)
    with pytest.raises(UserError, match=r"did not converge: lower key `svd_rank` .found 2."):
        item_factors(sp.csr_matrix(train_matrix(9, 9)), 2, seed=1)
