"""InfoDCL's metadata (section 3.1.1) against sets, fractions and loops."""

from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_diffusion.models import metadata
from recbole_diffusion.models.metadata import jaccard_blocks, knowledge_metadata, social_metadata

OFFICE = Path(__file__).resolve().parents[3] / "shared" / "data" / "infodcl_office"

N_USERS, N_ITEMS, SIZE = 14, 31, 3
BLOCK_ROWS = [1, 4, 1000]
IDLE_USER, IDLE_ITEM = 7, 5  # in no pair
LONER, LONERS_ITEM = 9, 12  # a pair that shares neither side with another


@pytest.fixture
def interactions(rng):
    """Random pairs with padding, and users and items without pairs or without peers."""
    dense = rng.random((N_USERS, N_ITEMS)) < 0.2
    dense[[0, IDLE_USER, LONER]] = False
    dense[:, [0, IDLE_ITEM, LONERS_ITEM]] = False
    dense[LONER, LONERS_ITEM] = True
    return sp.csr_matrix(dense.astype(np.float32))


@pytest.fixture
def embeddings(rng):
    users = rng.normal(size=(N_USERS, SIZE)).astype(np.float32)
    items = rng.normal(size=(N_ITEMS, SIZE)).astype(np.float32)
    return users, items


def set_blocks(monkeypatch, block_rows):
    monkeypatch.setattr(metadata, "jaccard_blocks", partial(jaccard_blocks, block_rows=block_rows))


def row_sets(matrix):
    return [set(np.flatnonzero(row)) for row in matrix.toarray()]


def jaccard(first, second):
    both = first | second
    return Fraction(len(first & second), len(both)) if both else Fraction(0)


def similarities(sets):
    """Exact similarities [n][n] with a zero diagonal."""
    n = len(sets)
    return [
        [jaccard(sets[i], sets[j]) if i != j else Fraction(0) for j in range(n)] for i in range(n)
    ]


def expected_social(interactions, user_embedding):
    alike = similarities(row_sets(interactions))
    social = []
    for user, own in enumerate(user_embedding.astype(np.float64)):
        weights = np.array([float(value) for value in alike[user]])
        if weights.sum() > 0:
            own = (own + weights @ user_embedding / weights.sum()) / 2
        social.append(own)
    users_of = row_sets(interactions.T)
    return np.array(
        [
            np.mean([social[u] for u in users], axis=0) if users else np.zeros(SIZE)
            for users in users_of
        ]
    )


def nearest_items(interactions, n_neighbors):
    """Ids of each item's most similar others; of equal ones the lowest ids."""
    alike = similarities(row_sets(interactions.T))
    return [
        sorted((j for j, value in enumerate(row) if value > 0), key=lambda j: (-row[j], j))[
            :n_neighbors
        ]
        for row in alike
    ]


def expected_knowledge(interactions, item_embedding, n_neighbors):
    rows = nearest_items(interactions, n_neighbors)
    return np.array(
        [
            item_embedding[near].astype(np.float64).mean(axis=0) if near else item_embedding[item]
            for item, near in enumerate(rows)
        ]
    )


@pytest.mark.parametrize("block_rows", BLOCK_ROWS)
def test_jaccard_similarity_of_sets(interactions, block_rows):
    expected = similarities(row_sets(interactions))
    seen = []
    for rows, block in jaccard_blocks(interactions, block_rows):
        assert block.shape == (rows.stop - rows.start, N_USERS)
        assert rows.stop - rows.start <= block_rows
        assert block.dtype == np.float32
        assert (block.data > 0).all()  # nothing is stored at a zero, so not on the diagonal either
        wanted = np.array([[float(v) for v in row] for row in expected[rows]], dtype=np.float32)
        np.testing.assert_array_equal(block.toarray(), wanted)
        seen += range(N_USERS)[rows]
    assert seen == list(range(N_USERS))


def test_jaccard_similarity_of_given_sets():
    sets = sp.csr_matrix(np.array([[0, 0, 0], [1, 1, 0], [1, 1, 0], [0, 1, 1]], dtype=np.float32))
    ((rows, block),) = jaccard_blocks(sets)
    third = np.float32(1) / np.float32(3)
    expected = [[0, 0, 0, 0], [0, 0, 1, third], [0, 1, 0, third], [0, third, third, 0]]
    np.testing.assert_array_equal(block.toarray(), np.array(expected, dtype=np.float32))
    assert rows == slice(0, 4)


@pytest.mark.parametrize("block_rows", BLOCK_ROWS)
def test_social_channel(monkeypatch, interactions, embeddings, block_rows):
    set_blocks(monkeypatch, block_rows)
    users, _ = embeddings
    before = users.copy()
    found = social_metadata(interactions, users)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected_social(interactions, users), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(users, before)


def test_social_channel_of_items_without_peers_or_pairs(interactions, embeddings):
    users, _ = embeddings
    found = social_metadata(interactions, users)
    # The loner's item has the loner's own vector: no peer is averaged in.
    np.testing.assert_array_equal(found[LONERS_ITEM], users[LONER])
    for item in (0, IDLE_ITEM):
        assert not found[item].any()


def test_social_channel_ignores_users_without_pairs(interactions, embeddings):
    users, _ = embeddings
    found = social_metadata(interactions, users)
    users[[0, IDLE_USER]] = 1e6
    np.testing.assert_array_equal(social_metadata(interactions, users), found)


@pytest.mark.parametrize("n_neighbors", [1, 3, 20])
@pytest.mark.parametrize("block_rows", BLOCK_ROWS)
def test_knowledge_channel(monkeypatch, interactions, embeddings, block_rows, n_neighbors):
    set_blocks(monkeypatch, block_rows)
    _, items = embeddings
    before = items.copy()
    found = knowledge_metadata(interactions, items, n_neighbors)
    expected = expected_knowledge(interactions, items, n_neighbors)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(items, before)


@pytest.mark.parametrize("n_neighbors", [1, 3])
def test_random_data_has_ties_at_the_last_neighbour(interactions, n_neighbors):
    """Else the test above could not tell one rule for ties from another."""
    alike = similarities(row_sets(interactions.T))
    ranked = [sorted(row, reverse=True) for row in alike]
    tied = [row for row in ranked if row[n_neighbors - 1] == row[n_neighbors] > 0]
    assert len(tied) >= 3


def test_knowledge_channel_of_items_without_peers_is_their_own_vector(interactions, embeddings):
    _, items = embeddings
    found = knowledge_metadata(interactions, items, 3)
    for item in (0, IDLE_ITEM, LONERS_ITEM):
        np.testing.assert_array_equal(found[item], items[item])


@pytest.mark.parametrize("block_rows", BLOCK_ROWS)
def test_ties_go_to_the_lowest_id_and_never_to_the_item_itself(monkeypatch, block_rows):
    set_blocks(monkeypatch, block_rows)
    interactions = np.zeros((4, 9), dtype=np.float32)
    interactions[1:, 1:] = 1  # items 1..8 have the same users, in every block
    one_hot = np.eye(9, dtype=np.float32)
    found = knowledge_metadata(sp.csr_matrix(interactions), one_hot, 2)
    neighbours = [np.flatnonzero(row).tolist() for row in found]
    assert neighbours == [[0], [2, 3], [1, 3], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2]]
    np.testing.assert_array_equal(found[found > 0], [1.0] + [0.5] * 16)


def test_default_number_of_neighbours_is_twenty():
    interactions = sp.csr_matrix(np.ones((2, 40), dtype=np.float32))
    found = knowledge_metadata(interactions, np.eye(40, dtype=np.float32))
    assert (np.count_nonzero(found, axis=1) == 20).all()


@pytest.mark.data
@pytest.mark.skipif(not OFFICE.is_dir(), reason="the released Office split is not beside the clone")
def test_released_metadata_is_reproduced():
    def read(name):
        return np.load(OFFICE / f"{name}.npy", allow_pickle=False)

    users, items = read("uEmbeds_pt"), read("iEmbeds_pt")
    user, item = np.loadtxt(OFFICE / "train.txt", dtype=np.int64, unpack=True)
    ones = np.ones(len(user), dtype=np.float32)
    interactions = sp.csr_matrix((ones, (user, item)), shape=(len(users), len(items)))
    assert interactions.nnz == len(user) == 40877
    has_users = np.diff(interactions.tocsc().indptr) > 0
    assert has_users.sum() > 2000

    social = social_metadata(interactions, users)[has_users]
    knowledge = knowledge_metadata(interactions, items)[has_users]
    np.testing.assert_allclose(social, read("item_social_emb")[has_users], rtol=0, atol=1e-5)
    np.testing.assert_allclose(knowledge, read("item_knowledge_emb")[has_users], rtol=0, atol=1e-5)
