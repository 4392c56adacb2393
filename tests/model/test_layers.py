"""The Gram-matrix SVD: numpy's result, a sign rule, finite gradients; dropout and unit rows."""

import numpy as np
import pytest
import torch

from recbole_diffusion.nn.layers import RowDropout, aligned_rows, right_singular_vectors, unit_rows

SHAPES = [(2, 1), (4, 4), (9, 5), (200, 16)]


def tall_matrix(n_rows, size, seed=0, dtype=torch.float64):
    """Columns of different lengths, so that singular values have clear gaps."""
    rng = np.random.default_rng(seed)
    scale = np.linspace(1, 3, size)
    return torch.tensor(rng.normal(size=(n_rows, size)) * scale, dtype=dtype)


def numpy_svd(matrix):
    """numpy's decomposition, signed so that each V column's largest entry is positive."""
    left, values, right = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    right = right.T
    largest = np.abs(right).argmax(axis=0)
    sign = np.sign(right[largest, np.arange(right.shape[1])])
    return left * sign, values, right * sign


def orthonormal_columns():
    """All singular values are equal."""
    return torch.linalg.qr(tall_matrix(9, 4))[0]


def scaled_unit_rows():
    """Singular values that are equal to the last bit, and U, V that are unit vectors."""
    return 3 * torch.eye(4, dtype=torch.float64)


def repeated_columns():
    column = tall_matrix(9, 2)
    return torch.cat([column, column[:, :1], column], dim=1)


def fewer_rows_than_columns():
    return tall_matrix(3, 6)


def some_zero_rows():
    matrix = tall_matrix(9, 4)
    matrix[[0, 4, 5, 6, 7, 8]] = 0
    return matrix


def only_zeros():
    return torch.zeros(5, 3, dtype=torch.float64)


DEGENERATE = [
    orthonormal_columns,
    scaled_unit_rows,
    repeated_columns,
    fewer_rows_than_columns,
    some_zero_rows,
    only_zeros,
]


def thin_svd(matrix):
    values, right = right_singular_vectors(matrix)
    return matrix @ right / values, values, right


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_numpy_up_to_sign_and_has_the_sign_rule(shape):
    matrix = tall_matrix(*shape)
    left, values, right = (x.numpy() for x in thin_svd(matrix))
    expected = numpy_svd(matrix)
    np.testing.assert_allclose(values, expected[1], rtol=1e-9)
    np.testing.assert_allclose(left, expected[0], atol=1e-8)
    np.testing.assert_allclose(right, expected[2], atol=1e-8)
    assert (np.diff(values) <= 0).all()


@pytest.mark.parametrize("n_rows", [64, 2048])
def test_single_precision_is_enough_for_a_batch(n_rows):
    matrix = tall_matrix(n_rows, 16, dtype=torch.float32)
    for ours, expected in zip(thin_svd(matrix), numpy_svd(matrix), strict=True):
        assert ours.dtype == torch.float32
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_factors_multiply_to_the_matrix_and_are_orthonormal(shape):
    matrix = tall_matrix(*shape)
    left, values, right = thin_svd(matrix)
    identity = torch.eye(shape[1], dtype=torch.float64)
    torch.testing.assert_close(left @ torch.diag(values) @ right.T, matrix)
    torch.testing.assert_close(left.T @ left, identity)
    torch.testing.assert_close(right.T @ right, identity)


def test_signs_do_not_come_from_the_eigenvalue_solver(monkeypatch):
    matrix = tall_matrix(9, 5)
    expected = thin_svd(matrix)
    solver = torch.linalg.eigh
    signs = torch.tensor([1.0, -1, 1, -1, -1], dtype=torch.float64)

    def other_solver(gram):
        values, vectors = solver(gram)
        return values, vectors * signs

    monkeypatch.setattr(torch.linalg, "eigh", other_solver)
    for ours, theirs in zip(thin_svd(matrix), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_order_and_sign_of_the_rows_move_only_the_left_vectors(rng):
    matrix = tall_matrix(20, 6)
    order = torch.tensor(rng.permutation(20))
    sign = torch.tensor(rng.choice([-1.0, 1.0], (20, 1)))
    left, values, right = thin_svd(matrix)
    moved_left, moved_values, moved_right = thin_svd(sign * matrix[order])
    torch.testing.assert_close(moved_left, sign * left[order])
    torch.testing.assert_close(moved_values, values)
    torch.testing.assert_close(moved_right, right)


@pytest.mark.parametrize("output", [0, 1, 2], ids=["U", "s", "V"])
@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (7, 3)])
def test_gradients_are_those_of_finite_differences(shape, output):
    left, _, right = numpy_svd(tall_matrix(*shape))
    # Damping is felt where squares of these are nearer than about 1e-3 of the largest.
    values = np.array([3.0, 2.2, 1.4, 0.8])[: shape[1]]
    matrix = torch.tensor(left * values @ right.T, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: thin_svd(m)[output], (matrix,), atol=1e-5, rtol=1e-4)


def test_damping_leaves_the_gradients_of_a_batch_alone():
    """A batch as in training: 16 singular values within a factor of two of each other."""
    matrix = torch.tensor(np.random.default_rng(3).normal(size=(300, 16)))
    weights = [torch.randn(shape, dtype=torch.float64) for shape in ((300, 16), (16,), (16, 16))]

    def gradient(decompose):
        leaf = matrix.clone().requires_grad_()
        sum((w * x).sum() for w, x in zip(weights, decompose(leaf), strict=True)).backward()
        return leaf.grad

    def signed_torch_svd(leaf):
        left, values, right = torch.linalg.svd(leaf, full_matrices=False)
        right = right.T
        sign = right.detach().gather(0, right.detach().abs().argmax(0, keepdim=True)).sign()
        return left * sign, values, right * sign

    ours, exact = gradient(thin_svd), gradient(signed_torch_svd)
    assert (ours - exact).norm() < 1e-3 * exact.norm()


@pytest.mark.parametrize("make_matrix", DEGENERATE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_matrices_have_finite_factors_and_gradients(make_matrix, dtype):
    matrix = make_matrix().to(dtype).requires_grad_()
    factors = thin_svd(matrix)
    weights = [torch.linspace(-1, 2, x.numel(), dtype=dtype).view_as(x) for x in factors]
    sum((w * x).sum() for w, x in zip(weights, factors, strict=True)).backward()
    for tensor in (*factors, matrix.grad):
        assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("make_matrix", DEGENERATE)
def test_degenerate_matrices_are_still_decomposed(make_matrix):
    """U diag(s) V^T is the matrix itself, so that its gradient is the identity."""
    matrix = make_matrix().requires_grad_()
    left, values, right = thin_svd(matrix)
    product = left @ torch.diag(values) @ right.T
    torch.testing.assert_close(product, matrix.detach().clone(), rtol=1e-9, atol=1e-9)
    identity = torch.eye(matrix.shape[1], dtype=torch.float64)
    torch.testing.assert_close(right.T @ right, identity)

    weight = torch.linspace(-1, 2, matrix.numel(), dtype=torch.float64).view_as(matrix)
    (weight * product).sum().backward()
    torch.testing.assert_close(matrix.grad, weight, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("make_matrix", "rank"),
    [(repeated_columns, 2), (fewer_rows_than_columns, 3), (some_zero_rows, 3)],
)
def test_left_vectors_of_vanishing_values_are_near_zero(make_matrix, rank):
    matrix = make_matrix()
    left, values, _ = thin_svd(matrix)
    expected = np.linalg.svd(matrix.numpy(), compute_uv=False)
    np.testing.assert_allclose(values[:rank], expected[:rank], rtol=1e-9)
    assert (values[rank:] <= 2e-3 * values[0]).all()
    assert (left[:, rank:].abs() < 1e-6).all()
    torch.testing.assert_close(
        left[:, :rank].T @ left[:, :rank], torch.eye(rank, dtype=torch.float64)
    )


def test_singular_vectors_stay_in_single_precision_under_autocast():
    matrix = torch.randn(30, 8, generator=torch.Generator().manual_seed(3))
    expected = right_singular_vectors(matrix)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (matrix.T @ matrix).dtype == torch.bfloat16
        for found, part in zip(right_singular_vectors(matrix), expected, strict=True):
            assert torch.equal(found, part)


def test_row_dropout_scales_what_it_keeps() -> None:
    dropout = RowDropout(0.2)
    torch.manual_seed(0)
    x = torch.rand(100, 1000) + 1
    out = dropout(x)
    is_kept = out != 0
    torch.testing.assert_close(out, torch.where(is_kept, x / 0.8, 0.0))
    share, deviation = is_kept.double().mean().item(), (0.2 * 0.8 / x.numel()) ** 0.5
    assert abs(share - 0.8) < 5 * deviation
    assert not torch.equal(is_kept, dropout(x) != 0)


def test_row_dropout_is_for_training_only() -> None:
    x = torch.rand(3, 5)
    assert RowDropout(0.5).eval()(x) is x
    assert RowDropout(0.0)(x) is x


def test_row_dropout_passes_gradients_of_what_it_keeps() -> None:
    x = torch.rand(4, 50, requires_grad=True)
    out = RowDropout(0.5)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.where(out != 0, 2.0, 0.0))


def test_unit_rows_are_those_of_normalize_with_its_gradients() -> None:
    x = tall_matrix(9, 4).requires_grad_()
    upstream = tall_matrix(9, 4, seed=3)
    found, expected = unit_rows(x), torch.nn.functional.normalize(x, dim=1)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(y, x, upstream)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_unit_rows_of_zeros_stay_and_give_no_gradient() -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    unit = unit_rows(x)
    unit.sum().backward()
    assert unit.tolist() == [[0.0, 0.0], [pytest.approx(0.6), pytest.approx(0.8)]]
    assert x.grad is not None
    assert x.grad[0].tolist() == [0.0, 0.0]
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("width", [1, 15, 16, 17, 6711])
def test_aligned_rows_start_on_cache_lines_of_one_memory(width: int) -> None:
    memory = torch.empty(0)
    rows = aligned_rows(memory, 3, width)
    assert rows.shape == (3, width)
    assert rows.stride() == ((width + 15) // 16 * 16, 1)
    first = rows.data_ptr()
    assert aligned_rows(memory, 2, width).data_ptr() == first


def test_aligned_rows_take_a_product() -> None:
    left, right = torch.randn(5, 3), torch.randn(3, 21)
    out = aligned_rows(torch.empty(0), 5, 21)
    assert torch.mm(left, right, out=out) is out
    torch.testing.assert_close(out, left @ right)


def test_gradients_near_equal_singular_values_follow_the_scale() -> None:
    """What damps them is relative: the same matrix in other units has the same right vectors."""
    made = torch.Generator().manual_seed(5)
    left = torch.linalg.qr(torch.randn(9, 3, generator=made).double())[0]
    right = torch.linalg.qr(torch.randn(3, 3, generator=made).double())[0]
    matrix = left @ torch.diag(torch.tensor([1.0, 1.0 + 1e-5, 0.5]).double()) @ right
    wanted = torch.randn(3, 3, generator=made).double()
    gradients = []
    for scale in (1e-2, 1.0, 1e2):
        moved = (scale * matrix).requires_grad_()
        (thin_svd(moved)[2] * wanted).sum().backward()
        assert moved.grad is not None
        gradients.append(scale * moved.grad)
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-4, atol=1e-6)


def test_rows_of_hardly_any_length_stay_finite() -> None:
    x = torch.tensor([[3.0, 4.0], [1e-42, 0.0], [1e-18, 0.0], [0.0, 0.0]], requires_grad=True)
    unit = unit_rows(x)
    expected = torch.tensor([[0.6, 0.8], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(unit, expected)
    unit[[0, 1, 3]].sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
