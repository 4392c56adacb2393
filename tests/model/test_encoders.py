"""Causal self-attention against numpy, a place at a time."""

import numpy as np
import torch

from recbole_diffusion.nn.encoders import AttentionEncoder
from recbole_diffusion.nn.rows import RowBatch

WIDTH, N_HEADS, N_IDS = 6, 2, 9


def norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def gelu(x: np.ndarray) -> np.ndarray:
    erf = torch.special.erf(torch.from_numpy(x / np.sqrt(2))).numpy()
    return 0.5 * x * (1 + erf)


def expected(weights: dict[str, np.ndarray], items: list[int]) -> np.ndarray:
    """The output at the last of some items, all norms without their own scale and shift."""

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = weights["items.weight"][items] * WIDTH**0.5 + weights["places.weight"][: len(items)]
    for block in ("blocks.0", "blocks.1"):
        parts = linear(norm(x), f"{block}.queries_keys_values")
        size = WIDTH // N_HEADS
        seen = np.zeros_like(x)
        for place in range(len(items)):
            for head in range(N_HEADS):
                at = slice(head * size, (head + 1) * size)
                query, key, value = (parts[:, i * WIDTH : (i + 1) * WIDTH][:, at] for i in range(3))
                scores = np.exp(key[: place + 1] @ query[place] / size**0.5)
                seen[place, at] = scores @ value[: place + 1] / scores.sum()
        x = x + linear(seen, f"{block}.merge")
        x = x + linear(gelu(linear(norm(x), f"{block}.widen")), f"{block}.narrow")
    return norm(x)[-1]


def test_outputs_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    encoder = AttentionEncoder(N_IDS, WIDTH, 2, N_HEADS, 5, max_length=7, dropout=0.3).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "norm" not in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    histories = [[3, 1, 8, 2], [5], [4, 4, 7], [6, 2, 1, 3, 5, 8, 7]]
    rows = RowBatch(
        torch.tensor(sum(histories, [])),
        torch.tensor([0, *np.cumsum([len(history) for history in histories])]),
        torch.ones(15),
    )
    row, place = torch.tensor([3, 0, 2, 0, 1, 3]), torch.tensor([6, 3, 1, 0, 0, -1])
    found = encoder(rows, row, place).detach().numpy()
    weights = {name: value.double().numpy() for name, value in encoder.state_dict().items()}
    for output, r, p in zip(found, row.tolist(), place.tolist(), strict=True):
        wanted = np.zeros(WIDTH) if p < 0 else expected(weights, histories[r][: p + 1])
        np.testing.assert_allclose(output, wanted, rtol=1e-4, atol=1e-5)
