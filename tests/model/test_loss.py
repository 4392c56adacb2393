"""BPR against its formula, and the blocked contrastive loss against Eq. 11 of InfoDCL."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_diffusion.data.recency import Recency
from recbole_diffusion.nn import loss as loss_module
from recbole_diffusion.nn.loss import bpr_of_products, info_nce, row_square_error
from recbole_diffusion.nn.rows import history_rows

N_VIEWS, N_ANCHORS, SIZE = 7, 11, 5
TARGETS = [3, 0, 10, 3, 3, 7, 0]  # first and last anchor, and repeats within and across blocks
# Blocks of one row (also where a row is more than a block), of three with one left, of all.
BLOCK_SIZES = [1, N_ANCHORS, 3 * N_ANCHORS + 2, 10**6]


def definition(views, anchors, targets, temperature):
    """Eq. 11 in float64, row by row, with autograd's own gradients."""
    total = torch.zeros((), dtype=torch.float64)
    for view, target in zip(views, targets, strict=True):
        similarity = torch.stack([view @ a / (view.norm() * a.norm()) for a in anchors])
        logits = similarity / temperature
        total = total - (logits[target] - torch.logsumexp(logits, dim=0))
    return total


def make_case(seed=0, n_views=N_VIEWS):
    """Views and anchors of very different lengths, and targets."""
    generator = torch.Generator().manual_seed(seed)
    views = torch.randn(n_views, SIZE, generator=generator, dtype=torch.float64)
    anchors = torch.randn(N_ANCHORS, SIZE, generator=generator, dtype=torch.float64)
    anchors = anchors * torch.logspace(-2, 1, N_ANCHORS, dtype=torch.float64)[:, None]
    return views, anchors, torch.tensor(TARGETS * (n_views // N_VIEWS))


def value_and_gradients(function, views, anchors, *arguments):
    """The value, and the gradients of three times the value."""
    views, anchors = views.clone().requires_grad_(), anchors.clone().requires_grad_()
    value = function(views, anchors, *arguments)
    (3 * value).backward()
    return value.detach(), views.grad, anchors.grad


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("block_entries", BLOCK_SIZES)
def test_info_nce_is_equation_11(monkeypatch, block_entries, temperature):
    monkeypatch.setattr(loss_module, "BLOCK_ENTRIES", block_entries)
    monkeypatch.setattr(loss_module, "MIN_BLOCK_ROWS", 1)
    views, anchors, targets = make_case()
    found = value_and_gradients(info_nce, views, anchors, targets, temperature)
    expected = value_and_gradients(definition, views, anchors, targets, temperature)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("block_entries", BLOCK_SIZES)
def test_info_nce_where_the_views_come_from_the_anchors(monkeypatch, block_entries):
    """Both gradients reach the same parameter, as in the model."""
    monkeypatch.setattr(loss_module, "BLOCK_ENTRIES", block_entries)
    monkeypatch.setattr(loss_module, "MIN_BLOCK_ROWS", 1)
    views, anchors, targets = make_case()

    def through_anchors(function):
        table = anchors.clone().requires_grad_()
        function(table[targets] + views, table, targets, 0.3).backward()
        return table.grad

    torch.testing.assert_close(through_anchors(info_nce), through_anchors(definition))


@pytest.mark.parametrize("own_sign", [1, -1])
@pytest.mark.parametrize("block_entries", BLOCK_SIZES)
def test_info_nce_at_a_low_temperature(monkeypatch, block_entries, own_sign):
    """Logits of +-100 in single precision, for the best and the worst possible view."""
    monkeypatch.setattr(loss_module, "BLOCK_ENTRIES", block_entries)
    monkeypatch.setattr(loss_module, "MIN_BLOCK_ROWS", 1)
    _, anchors, targets = make_case()
    views = own_sign * 5 * anchors[targets]
    found = value_and_gradients(info_nce, views.float(), anchors.float(), targets, 0.01)
    expected = value_and_gradients(definition, views, anchors, targets, 0.01)
    if own_sign < 0:
        assert expected[0] > 100 * N_VIEWS  # a naive exp(100) would overflow
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        scale = theirs.abs().max().item()
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5 * scale + 1e-5)


def test_info_nce_is_a_sum_over_views():
    views, anchors, targets = make_case(n_views=2 * N_VIEWS)
    whole = info_nce(views, anchors, targets, 0.5)
    parts = [
        info_nce(views[i : i + 1], anchors, targets[i : i + 1], 0.5) for i in range(len(views))
    ]
    torch.testing.assert_close(whole, torch.stack(parts).sum())


@pytest.mark.parametrize("temperature", [0.01, 0.5])
@pytest.mark.parametrize("block_entries", BLOCK_SIZES)
def test_info_nce_of_views_that_count_several_times(monkeypatch, block_entries, temperature):
    monkeypatch.setattr(loss_module, "BLOCK_ENTRIES", block_entries)
    monkeypatch.setattr(loss_module, "MIN_BLOCK_ROWS", 1)
    views, anchors, targets = make_case()
    counts = torch.tensor([1, 3, 2, 1, 5, 1, 4])

    def repeated(views, anchors, *arguments):
        return definition(
            views.repeat_interleave(counts, dim=0), anchors,
            targets.repeat_interleave(counts), temperature,
        )  # fmt: skip

    found = value_and_gradients(info_nce, views, anchors, targets, temperature, counts)
    expected = value_and_gradients(repeated, views, anchors)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_info_nce_gives_no_gradient_where_none_is_asked_for():
    views, anchors, targets = make_case()
    views.requires_grad_()
    info_nce(views, anchors, targets, 0.5).backward()
    expected = value_and_gradients(definition, views.detach(), anchors, targets, 0.5)[1]
    torch.testing.assert_close(3 * views.grad, expected)
    assert anchors.grad is None


class _LargestTensor(TorchDispatchMode):
    """Notes the entries of the largest tensor that any operation gives."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple) else (result,):
            if isinstance(value, torch.Tensor):
                self.entries = max(self.entries, value.numel())
        return result


def test_info_nce_holds_no_array_of_views_by_anchors(monkeypatch):
    n_views, n_anchors, size, block_entries = 60, 50, 4, 500
    monkeypatch.setattr(loss_module, "BLOCK_ENTRIES", block_entries)
    monkeypatch.setattr(loss_module, "MIN_BLOCK_ROWS", 1)
    views = torch.randn(n_views, size, requires_grad=True)
    anchors = torch.randn(n_anchors, size, requires_grad=True)
    with _LargestTensor() as largest:
        info_nce(views, anchors, torch.arange(n_views) % n_anchors, 0.5).backward()
    # Room for a block (500) and the embeddings (240 and 200), not for all similarities (3000).
    assert largest.entries == block_entries


def test_bpr_is_its_formula(rng):
    """An item stands in several pairs, also on both sides."""
    users, items = rng.normal(0, 1, (50, 4)), rng.normal(0, 1, (7, 4))
    positive, negative = rng.integers(0, 6, (2, 50))
    tensors = [torch.tensor(x, requires_grad=True) for x in (users, items)]
    loss = bpr_of_products(*tensors, torch.tensor(positive), torch.tensor(negative))
    (3 * loss).backward()

    margins = (users * (items[positive] - items[negative])).sum(axis=1)
    likelihood = 1 / (1 + np.exp(-margins))
    np.testing.assert_allclose(loss.item(), -np.log(likelihood).mean(), rtol=1e-12)
    weights = -3 * (1 - likelihood)[:, None] / 50
    expected = np.zeros_like(items)
    for i, j, push in zip(positive, negative, weights * users, strict=True):
        expected[i] += push
        expected[j] -= push
    np.testing.assert_allclose(
        tensors[0].grad, weights * (items[positive] - items[negative]), rtol=1e-10
    )
    np.testing.assert_allclose(tensors[1].grad, expected, rtol=1e-10, atol=1e-14)
    assert not tensors[1].grad[6].any()


def test_bpr_of_far_scores_neither_overflows_nor_vanishes():
    user, items = torch.tensor([[1.0]]), torch.tensor([[1000.0], [0.0]]).requires_grad_()
    far, near = torch.tensor([0]), torch.tensor([1])
    assert bpr_of_products(user, items, far, near).item() == 0
    wrong_order = bpr_of_products(user, items, near, far)
    wrong_order.backward()
    assert wrong_order.item() == 1000
    assert items.grad.tolist() == [[1], [-1]]


def test_bpr_stays_in_single_precision_under_autocast():
    users, items = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    places = torch.arange(9), torch.arange(9).flip(0)
    expected = bpr_of_products(users, items, *places)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bpr_of_products(users, items, *places), expected)


def test_info_nce_stays_in_single_precision_under_autocast():
    generator = torch.Generator().manual_seed(3)
    views = torch.randn(30, 8, generator=generator)
    anchors = torch.randn(50, 8, generator=generator)
    targets = torch.randint(50, (30,), generator=generator)
    expected = info_nce(views, anchors, targets, 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (views @ anchors.T).dtype == torch.bfloat16
        assert torch.equal(info_nce(views, anchors, targets, 0.1), expected)


# Square errors of sparse rows

N_ROW_ITEMS, N_HIDDEN = 9, 4
HISTORIES = [[2, 5, 8], [], [1], [3, 4, 1, 8]]


def row_case(dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    sizes = (len(HISTORIES), N_HIDDEN), (N_ROW_ITEMS, N_HIDDEN), (N_ROW_ITEMS,)
    tensors = [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]
    rows = history_rows(HISTORIES, N_ROW_ITEMS, Recency("linear", least=0.3, most=0.9))
    return [tensor.to(dtype).requires_grad_() for tensor in tensors], rows


def plain_square_error(hidden, weight, bias, rows):
    target = rows.dense(N_ROW_ITEMS).to(hidden.dtype)
    return (hidden @ weight.T + bias - target).square().sum(dim=1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_row_square_error_and_its_gradients_are_plain_autograds(dtype, tolerance):
    results = []
    for function, kind in ((row_square_error, dtype), (plain_square_error, torch.float64)):
        tensors, rows = row_case(kind)
        losses = function(*tensors, rows)
        (losses * torch.tensor([1.0, -2.0, 0.5, 3.0]).to(losses.dtype)).sum().backward()
        results.append([losses.detach(), *(tensor.grad for tensor in tensors)])
    for found, expected in zip(*results, strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_row_square_error_makes_no_row_of_predictions():
    """With more items than any other array has entries for a row."""
    hidden = torch.randn(60, 5, requires_grad=True)
    weight = torch.randn(400, 5, requires_grad=True)
    bias = torch.randn(400, requires_grad=True)
    rows = history_rows([[1 + user, 300] for user in range(60)], 400)
    with _LargestTensor() as largest:
        row_square_error(hidden, weight, bias, rows).sum().backward()
    assert largest.entries == weight.numel()


def test_row_square_error_stays_in_single_precision_under_autocast():
    tensors, rows = row_case(torch.float32)
    expected = row_square_error(*tensors, rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(row_square_error(*tensors, rows), expected)
