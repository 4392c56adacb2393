"""The users of a full-sort evaluation, in batches that fit a budget of memory."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_diffusion.data.batches import ArrayBatches
from recbole_diffusion.data.parts import rows_of
from recbole_diffusion.data.user_items import UserItems

# Scores of float32, and as much three times again for what a model and the ranking make of them.
BYTES_PER_SCORE = 16


def users_per_batch(config: Any, n_items: int) -> int:
    """Number of users in one full-sort evaluation batch.

    Args:
        config: Reads ``eval_batch_users`` (int, or None for the budget) and
            ``eval_memory_mb`` (MiB for the [users, n_items] arrays of one batch).
        n_items: Number of items, padding included.

    Returns:
        At least 1.
    """
    if config["eval_batch_users"] is not None:
        return int(config["eval_batch_users"])
    budget = (config["eval_memory_mb"] or 64) * 2**20
    return max(int(budget // (BYTES_PER_SCORE * n_items)), 1)


class FullSortLoader(ArrayBatches, FullSortEvalDataLoader):
    """The users of a part, what they are to be given, and what they have met before.

    RecBole's loader, of which this is a kind for its trainers' sake, makes a set and two tensors a
    user, and scores one user at a time once n_items > eval_batch_size / 2.

    Args:
        config: Settings of the run.
        dataset: RecBole's dataset of the part; it is sorted by user.
        earlier: Parts whose items are masked, less those that are to be found in this one.
        shuffle: False; users come in the order of their ids.

    Attributes:
        uid_list: The users, int64 [n].
        positives: Items to be found, by user.
    """

    # RecBole's loader sets these.
    config: Any
    set_batch_size: Any

    def __init__(
        self, config: Any, dataset: Any, earlier: Sequence[Any], shuffle: bool = False
    ) -> None:
        self.uid_field, self.iid_field = dataset.uid_field, dataset.iid_field
        dataset.sort(by=self.uid_field, ascending=True)
        self.positives, self._earlier = UserItems.of_parts([dataset]), earlier
        self.uid_list = torch.unique_consecutive(torch.from_numpy(self.positives.users))
        self.user_df = dataset.join(Interaction({self.uid_field: self.uid_list}))
        self.sample_size = len(self.uid_list)
        # Not its own constructor, which has the loops.
        super(FullSortEvalDataLoader, self).__init__(config, dataset, None, shuffle=shuffle)

    @cached_property
    def history(self) -> UserItems:
        """Masked items, by user."""
        return UserItems.of_parts(self._earlier).without(self.positives)

    def _init_batch_size_and_step(self) -> None:
        n_items = self._dataset.item_num
        self.step = users_per_batch(self.config, n_items)
        self.set_batch_size(self.step * n_items)

    def collate_fn(self, index: Any) -> tuple[Any, tuple[Tensor, Tensor], Tensor, Tensor]:
        """A batch of users.

        Args:
            index: Places of n users.

        Returns:
            The users; rows and columns of masked items in [n, n_items]; rows and columns of those
            to be found; all int64.
        """
        batch = rows_of(self.user_df, np.asarray(index))
        users = batch[self.uid_field].numpy()
        history, positives = (
            tuple(map(torch.from_numpy, pairs.of(users)))
            for pairs in (self.history, self.positives)
        )
        return batch, history, *positives
