"""The order of a loader's rows in an epoch, cut into batches as arrays."""

from collections.abc import Iterator
from multiprocessing import get_all_start_methods
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import UserDataLoader

from recbole_diffusion.data.parts import rows_of


class ArrayBatches:
    """Before one of RecBole's loaders: PyTorch's order of rows, which it collects one by one.

    Batches are those of PyTorch's ``DataLoader``, and the generator ends where it would; worker
    processes (key ``worker``) are left to it.
    """

    # RecBole's loader sets these.
    generator: torch.Generator
    multiprocessing_context: str
    num_workers: int
    sample_size: int
    shuffle: bool
    step: int
    collate_fn: Any

    def __iter__(self) -> Iterator[Any]:
        if self.num_workers:
            if "fork" in get_all_start_methods():  # RecBole's loaders cannot be pickled
                self.multiprocessing_context = "fork"
            yield from super().__iter__()  # type: ignore[misc]
            return
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)  # the workers' seed
        order = torch.arange(self.sample_size)
        if self.shuffle:
            order = torch.randperm(self.sample_size, generator=self.generator)
        for places in order.split(self.step):
            yield self.collate_fn(places.numpy())
        if self.shuffle:  # PyTorch asks whether a part of another round is wanted
            torch.randperm(self.sample_size, generator=self.generator)


class UserLoader(ArrayBatches, UserDataLoader):
    """RecBole's loader of users."""

    user_list: Any

    def collate_fn(self, index: Any) -> Any:
        """The users at some places."""
        return rows_of(self.user_list, np.asarray(index))
