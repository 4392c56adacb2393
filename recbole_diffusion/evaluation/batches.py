"""How many users a full-sort evaluation scores at a time; the metrics are the host's."""

from typing import Any

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
