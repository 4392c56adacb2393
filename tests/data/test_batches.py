"""Batches as arrays, against those that PyTorch's loader collects row by row."""

import multiprocessing
from typing import Any

import pytest
import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader

from recbole_diffusion.data.batches import ArrayBatches

pytestmark = pytest.mark.compat


class Rows(AbstractDataLoader):
    """Gives the places of its batches."""

    def __init__(self, size: int, step: int, shuffle: bool, workers: int = 0) -> None:
        self.sample_size, self._wanted_step = size, step
        keys = {"seed": 5, "MODEL_TYPE": None, "single_spec": True, "worker": workers}
        super().__init__({**keys, "transform": None}, None, None, shuffle=shuffle)

    def _init_batch_size_and_step(self) -> None:
        self.step = self._wanted_step

    def collate_fn(self, index: Any) -> list[int]:
        return [int(place) for place in index]


class ArrayRows(ArrayBatches, Rows):
    pass


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("size", "step"), [(12, 4), (13, 4), (3, 5), (1, 1)])
def test_batches_are_pytorchs_epoch_after_epoch(size: int, step: int, shuffle: bool) -> None:
    expected, found = Rows(size, step, shuffle), ArrayRows(size, step, shuffle)
    for _ in range(3):
        assert list(found) == list(expected)
        assert torch.equal(found.generator.get_state(), expected.generator.get_state())
    assert len(found) == len(expected)


@pytest.mark.parametrize("method", ["fork", "forkserver"])  # forkserver: as from Python 3.14 on
def test_workers_are_left_to_pytorch(method: str) -> None:
    usual = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    try:
        assert list(ArrayRows(7, 3, True, workers=1)) == list(Rows(7, 3, True))
    finally:
        multiprocessing.set_start_method(usual, force=True)
