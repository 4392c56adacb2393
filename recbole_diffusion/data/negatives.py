"""Negatives by the train part's popularity, and of users who have met nearly every item."""

from typing import Any

import numpy as np
from recbole.data.dataloader import TrainDataLoader
from recbole.sampler import Sampler


class NegativeSampler(Sampler):
    """RecBole's sampler, by popularity in the train part, the first of its datasets.

    RecBole's own counts all parts, may draw item -1 by rounding, and draws one by one. This one
    takes users who have met every item; for such a user it would draw without end: see
    ``has_negatives``.
    """

    # RecBole's sampler sets these.
    datasets: list[Any]
    iid_field: str
    alpha: float

    def get_used_ids(self) -> Any:
        """Items that each user has met, by phase, as RecBole counts them."""
        self.item_num += 1  # it refuses users who have met all items but the padding
        try:
            return super().get_used_ids()
        finally:
            self.item_num -= 1

    def _get_candidates_list(self) -> np.ndarray:
        items: np.ndarray = self.datasets[0].inter_feat[self.iid_field].numpy()
        return items

    def _build_alias_table(self) -> None:
        """Sums of counts^alpha up to each id; what has no count keeps the weight 0 at any alpha.

        The weights are divided by the greatest of them, which no alpha takes out of range.
        """
        counts = np.bincount(self._get_candidates_list()).astype(np.float64)
        logs = self.alpha * np.log(counts, where=counts > 0, out=np.full_like(counts, np.nan))
        self.cumulative = np.cumsum(np.exp(np.nan_to_num(logs - np.nanmax(logs), nan=-np.inf)))

    def _pop_sampling(self, sample_num: int) -> np.ndarray:
        drawn = np.random.random(sample_num) * self.cumulative[-1]
        return np.searchsorted(self.cumulative, drawn, side="right")


def has_negatives(sampler: Any) -> np.ndarray:
    """Whether each user has an item that can be drawn and that the user has not met.

    Args:
        sampler: A ``NegativeSampler`` of one phase, uniform or by popularity.

    Returns:
        bool [n_users].
    """
    is_popular = sampler.distribution == "popularity"
    drawn = sampler._get_candidates_list() if is_popular else range(1, sampler.item_num)
    candidates = set(np.asarray(drawn).tolist())
    return np.array([not candidates <= used for used in sampler.used_ids])


class PairLoader(TrainDataLoader):
    """RecBole's training loader without interactions of users who have no negative.

    The dataset stays whole: graphs and masks are made of it.

    Args:
        config: Settings of the run.
        dataset: RecBole's dataset of the train part.
        sampler: Of its negatives, or None.
        shuffle: Whether batches are drawn anew in each epoch.
    """

    def __init__(self, config: Any, dataset: Any, sampler: Any, shuffle: bool = False) -> None:
        users = dataset.inter_feat[dataset.uid_field].numpy()
        is_kept = np.ones(len(users), bool) if sampler is None else has_negatives(sampler)[users]
        self._rows = np.flatnonzero(is_kept)
        super().__init__(config, dataset, sampler, shuffle=shuffle)

    def _init_batch_size_and_step(self) -> None:
        super()._init_batch_size_and_step()
        self.sample_size = len(self._rows)  # RecBole has counted the whole dataset

    def collate_fn(self, index: Any) -> Any:
        """The interactions at some places, with their negatives.

        Args:
            index: Places among those that are kept.
        """
        return super().collate_fn(self._rows[np.asarray(index)])
