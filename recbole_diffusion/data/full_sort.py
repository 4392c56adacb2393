"""The users of a full-sort evaluation, in batches that fit a budget of memory."""

from typing import Any

from recbole.data.dataloader import FullSortEvalDataLoader

# Scores, positive marks and two working copies of float32 or int32 are alive per user and item.
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


class FullSortLoader(FullSortEvalDataLoader):
    """RecBole's loader, which scores one user at a time once n_items > eval_batch_size / 2."""

    def _init_batch_size_and_step(self) -> None:
        super()._init_batch_size_and_step()
        n_items = self._dataset.item_num
        self.step = users_per_batch(self.config, n_items)
        self.set_batch_size(self.step * n_items)
