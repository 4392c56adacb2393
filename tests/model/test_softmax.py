import numpy as np
import pytest
import torch

from recbole_diffusion.nn import softmax
from recbole_diffusion.nn.rows import RowBatch
from recbole_diffusion.nn.softmax import Targets, softmax_loss

N_ITEMS, WIDTH = 30, 4
# Three rows: two targets, one that weighs all, and three; the second knows nothing.
TARGETS = Targets(
    torch.tensor([0, 0, 1, 2, 2, 2]),
    torch.tensor([3, 9, 7, 1, 5, 29]),
    torch.tensor([0.75, 0.25, 1.0, 0.5, 0.3, 0.2], dtype=torch.float64),
)
KNOWN = RowBatch(torch.tensor([1, 5, 3, 9, 20]), torch.tensor([0, 2, 2, 5]), torch.ones(5))


def parts(bias: bool, added: bool) -> dict[str, torch.Tensor | None]:
    made = torch.Generator().manual_seed(0)
    sizes = {"hidden": (3, WIDTH), "outputs": (N_ITEMS, WIDTH)}
    sizes |= ({"bias": (N_ITEMS,)} if bias else {}) | ({"added": (3, N_ITEMS)} if added else {})
    numbers = {name: 3 * torch.randn(size, generator=made).double() for name, size in sizes.items()}
    return {name: values.requires_grad_(name != "added") for name, values in numbers.items()}


def expected(given: dict[str, np.ndarray], known: bool) -> float:
    total = 0.0
    for row in range(3):
        logits = given["outputs"] @ given["hidden"][row] + given.get("bias", 0.0)
        logits = logits + given.get("added", np.zeros((3, N_ITEMS)))[row]
        if known:
            logits[[0, *KNOWN.items[KNOWN.offsets[row] : KNOWN.offsets[row + 1]].tolist()]] = -1e300
        each = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        mine = TARGETS.prefixes.numpy() == row
        total -= each[TARGETS.items.numpy()[mine]] @ TARGETS.weights.numpy()[mine]
    return total / 3


@pytest.mark.filterwarnings("error")  # a block of another size would be resized with a warning
@pytest.mark.parametrize("rows_a_block", [1, 2, 64])
@pytest.mark.parametrize(("bias", "added", "known"), [(False,) * 3, (True,) * 3])
def test_loss_and_gradients_are_those_of_the_formula(
    monkeypatch: pytest.MonkeyPatch, rows_a_block: int, bias: bool, added: bool, known: bool
) -> None:
    monkeypatch.setattr(softmax, "LEAST_ROWS", rows_a_block)
    monkeypatch.setitem(softmax.BLOCK_NUMBERS, "cpu", 1)
    given = parts(bias, added)
    added_to = given.get("added")
    # The known items of a row tell which row it is.
    which = {(1, 5): 0, (): 1, (3, 9, 20): 2}
    keys = {key: value for key, value in given.items() if key != "added"}
    if added_to is not None:
        keys["added"] = lambda rows: added_to[
            [which[tuple(each.tolist())] for each in rows.items.split(rows.lengths.tolist())]
        ]
    loss = softmax_loss(**keys, targets=TARGETS, known=KNOWN if known else None)
    values = {name: tensor.detach().numpy().copy() for name, tensor in given.items()}
    assert loss.item() == pytest.approx(expected(values, known), rel=1e-12)
    (2 * loss).backward()
    step = 1e-5
    for name, tensor in given.items():
        if not tensor.requires_grad:
            continue
        slopes = np.zeros(tensor.numel())
        for i in range(tensor.numel()):
            for sign in (1, -1):
                moved = {key: value.copy() for key, value in values.items()}
                moved[name].reshape(-1)[i] += sign * step
                slopes[i] += sign * expected(moved, known) / step
        np.testing.assert_allclose(tensor.grad.reshape(-1), slopes, atol=1e-8)


def test_half_precision_around_it_changes_nothing_but_its_input() -> None:
    hidden, outputs = torch.randn(3, WIDTH), torch.randn(N_ITEMS, WIDTH)
    targets = TARGETS._replace(weights=TARGETS.weights.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = softmax_loss(hidden.bfloat16(), outputs, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, softmax_loss(hidden.bfloat16().float(), outputs, targets))
