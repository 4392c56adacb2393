"""SASRec and GRU4Rec: loss and scores against one history and one place at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from history_tools import histories, made_histories

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.nn.encoders import padded_parts
from recbole_diffusion.nn.rows import RowBatch
from recbole_diffusion.runs.run import Run
from recbole_diffusion.settings.config import Config

N_USERS, N_ITEMS = 12, 15
MODELS = pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])


@pytest.fixture
def own(write_dataset: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    """Settings of a run on made histories of 4 to 12 items, in a file of no order."""
    path = write_dataset("made", inter=made_histories(2, N_USERS, N_ITEMS, (4, 13)))
    return {
        "topk": [5], "valid_metric": "Recall@5", "show_progress": False, "state": "WARNING",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "data_path": str(path),
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        "embedding_size": 8, "inner_size": 8, "hidden_size": 8, "max_length": 5,
        "output_dir": str(tmp_path / "runs"),
    }  # fmt: skip


def made(name: str, keys: dict[str, Any]) -> tuple[Any, list[np.ndarray]]:
    """A model with random weights, and the items of each user in the order of time."""
    run = Run(Config(name, "made", (), keys))
    model = run.network.eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model, [items for items, _ in histories(run.split.train._dataset)]


def logits_after(model: Any, items: np.ndarray) -> np.ndarray:
    """Of all items, by the output at the last of a few items, read alone."""
    rows = RowBatch(torch.tensor(items), torch.tensor([0, len(items)]), torch.ones(len(items)))
    output = model.encoder(rows, torch.tensor([0]), torch.tensor([len(items) - 1]))[0]
    return (output @ model.encoder.items.weight.T).detach().double().numpy()


@MODELS
def test_loss_is_that_of_each_next_item(own: dict[str, Any], name: str) -> None:
    model, histories = made(name, own)
    total, count = 0.0, 0
    for items in histories[1:]:
        latest = items[-6:]  # five that are read, and what follows the last of them
        for n_read in range(1, len(latest)):
            logits = logits_after(model, latest[:n_read])
            total += np.log(np.exp(logits).sum()) - logits[latest[n_read]]
            count += 1
    loss = model.calculate_loss({"user_id": torch.arange(1, model.n_users)})
    assert loss.item() == pytest.approx(total / count, rel=1e-5)


@MODELS
def test_scores_follow_the_latest_items(own: dict[str, Any], name: str) -> None:
    model, histories = made(name, own)
    found = model.full_sort_predict({"user_id": torch.arange(model.n_users)}).detach().numpy()
    for user, items in enumerate(histories):
        expected = logits_after(model, items[-5:]) if len(items) else np.zeros(model.n_items)
        np.testing.assert_allclose(found[user], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n_rows", "sizes"), [(20, [20]), (150, [64, 64, 22]), (600, [100] * 6)])
def test_parts_have_each_row_once_and_rows_enough(n_rows: int, sizes: list[int]) -> None:
    lengths = torch.randint(0, 9, (n_rows,), generator=torch.Generator().manual_seed(3))
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    items = 1 + torch.arange(int(offsets[-1]))
    parts = list(padded_parts(RowBatch(items, offsets, torch.ones(len(items))), least_rows=64))
    assert [len(part) for part, _ in parts] == sizes
    assert torch.cat([part for part, _ in parts]).sort().values.tolist() == list(range(n_rows))
    for part, padded in parts:
        for row, found in zip(part, padded, strict=True):
            own_items = items[offsets[row] : offsets[row + 1]]
            assert found[: len(own_items)].tolist() == own_items.tolist()
            assert not found[len(own_items) :].any()


@MODELS
def test_half_precision_has_about_the_loss_of_single(own: dict[str, Any], name: str) -> None:
    model, _ = made(name, own)
    users = {"user_id": torch.arange(1, model.n_users)}
    single = model.calculate_loss(users)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model.calculate_loss(users)
    torch.testing.assert_close(half, single, atol=0, rtol=0.02)


def test_heads_that_do_not_divide_the_width_are_refused(own: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="`embedding_size`: found 8, expected a multiple of 3"):
        made("SASRec", {**own, "n_heads": 3})


@MODELS
def test_data_without_times_are_refused_before_they_are_read(
    own: dict[str, Any], name: str
) -> None:
    keys = {**own, "load_col": {"inter": ["user_id", "item_id"]}, "eval_args": {"order": "RO"}}
    with pytest.raises(UserError, match="key `TIME_FIELD`: found 'timestamp', expected a column"):
        Config(name, "made", (), keys)


@MODELS
def test_a_split_that_does_not_follow_the_times_is_told(
    own: dict[str, Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    made(name, own)
    assert "do not follow" not in caplog.text
    made(name, {**own, "eval_args": {"order": "RO"}})
    assert "what is held out does not follow them" in caplog.text
