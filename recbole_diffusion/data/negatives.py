"""Items that users have not met, drawn for training and for sampled evaluations."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import NegSampleEvalDataLoader, TrainDataLoader
from recbole.sampler import Sampler
from recbole.utils import InputType

from recbole_diffusion.base.randomness import fresh_generator
from recbole_diffusion.data.batches import ArrayBatches
from recbole_diffusion.data.user_items import UserItems, spans

# After so many rounds of drawing again what users have met, the rest is drawn from what is left.
ROUNDS = 16
# Weights of users times items that are alive at once then.
MOST_WEIGHTS = 2**22
# Negatives of an epoch that are drawn at once; of more, each batch draws its own.
MOST_DRAWN = 2**26


def popularity_weights(items: np.ndarray, n_items: int, alpha: float) -> np.ndarray:
    """Counts^alpha up to a common factor; what has no count keeps the weight 0 at any alpha.

    The weights are divided by the greatest of them, which no alpha takes out of range.

    Args:
        items: Of the interactions, int64 [n].
        n_items: Number of items, padding included.
        alpha: Exponent.

    Returns:
        float64 [n_items].
    """
    counts = np.bincount(items, minlength=n_items).astype(np.float64)
    logs = alpha * np.log(counts, where=counts > 0, out=np.full_like(counts, np.nan))
    weights: np.ndarray = np.exp(np.nan_to_num(logs - np.nanmax(logs), nan=-np.inf))
    return weights


class VectorisedSampler:
    """Draws items that users have not met, for all rows of a call at once.

    Args:
        parts: RecBole's datasets of the train part and, of a later phase, those up to its own;
            what stands in any of them is met.
        phase: "train", "valid" or "test".
        distribution: "uniform" over all items, or "popularity" by counts^alpha of the train part.
        alpha: That exponent.
    """

    def __init__(
        self, parts: Sequence[Any], phase: str, distribution: str, alpha: float = 1.0
    ) -> None:
        self.phase, self.distribution, self.alpha = phase, distribution, alpha
        self._parts = parts
        self.item_num = parts[0].item_num

    @cached_property
    def met(self) -> UserItems:
        """What each user has met."""
        return UserItems.of_parts(self._parts)

    @cached_property
    def weights(self) -> np.ndarray:
        """Of each item before it is asked who has met it, float64 [n_items]."""
        train = self._parts[0]
        if self.distribution == "popularity":
            items = train.inter_feat[train.iid_field].numpy()
            return popularity_weights(items, self.item_num, self.alpha)
        weights = np.ones(self.item_num)
        weights[0] = 0.0
        return weights

    @cached_property
    def _cumulative(self) -> np.ndarray:
        return np.cumsum(self.weights)

    def sample_by_user_ids(self, user_ids: np.ndarray, item_ids: Any, num: int) -> torch.Tensor:
        """Called by RecBole's loaders; ``draw`` in one row, int64 [num * n]."""
        return torch.from_numpy(self.draw(np.asarray(user_ids), num).reshape(-1))

    def draw(self, users: np.ndarray, num: int) -> np.ndarray:
        """Draw for each row, independently, in proportion to the weights of what is not met.

        Args:
            users: int64 [n].
            num: Draws a row.

        Returns:
            int64 [num, n].

        Raises:
            ValueError: A user has met all items with a weight.
        """
        generator, wanted = fresh_generator(), np.tile(users, num)
        items = self._proposed(len(wanted), generator)
        left = np.flatnonzero(self.met.has(wanted, items))
        for _ in range(ROUNDS):
            items[left] = self._proposed(len(left), generator)
            left = left[self.met.has(wanted[left], items[left])]
        items[left] = self._from_what_is_left(wanted[left], generator)
        return items.reshape(num, -1)

    def _proposed(self, size: int, generator: np.random.Generator) -> np.ndarray:
        """Items by their weights, met or not."""
        if self.distribution == "uniform":
            return generator.integers(1, self.item_num, size)
        drawn = generator.random(size) * self._cumulative[-1]
        return np.searchsorted(self._cumulative, drawn, side="right")

    def _from_what_is_left(self, users: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """For users who have met nearly all that is proposed, O(n_items) a distinct user."""
        items = np.empty(len(users), dtype=np.int64)
        distinct, row = np.unique(users, return_inverse=True)
        size = max(MOST_WEIGHTS // self.item_num, 1)
        for start in range(0, len(distinct), size):
            is_here = (row >= start) & (row < start + size)
            cumulative = self._cumulative_of(distinct[start : start + size])
            drawn = generator.random(int(is_here.sum()))
            items[is_here] = _bisected(cumulative, row[is_here] - start, drawn)
        return items

    def _cumulative_of(self, users: np.ndarray) -> np.ndarray:
        """Sums up to each item of the weights that a user has not met, float64 [n, n_items]."""
        weights = np.tile(self.weights, (len(users), 1))
        weights[self.met.of(users)] = 0.0
        cumulative = weights.cumsum(axis=1)
        if not cumulative[:, -1].all():
            user = users[np.flatnonzero(cumulative[:, -1] == 0)[0]]
            raise ValueError(f"user {user} has met every item that can be drawn")
        return cumulative


def _bisected(cumulative: np.ndarray, rows: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The first column of each row whose sum exceeds a share in [0, 1) of the row's last one."""
    sought = drawn * cumulative[rows, -1]
    low, high = np.zeros_like(rows), np.full_like(rows, cumulative.shape[1] - 1)
    while (low < high).any():
        middle = (low + high) // 2
        is_beyond = cumulative[rows, middle] > sought
        low, high = np.where(is_beyond, low, middle + 1), np.where(is_beyond, middle, high)
    return low


class NegativeSampler(Sampler):
    """RecBole's sampler and its draws, by popularity in the train part, the first of its datasets.

    RecBole's own counts all parts, may draw item -1 by rounding, and draws one by one. This one
    takes users who have met every item; for such a user it would draw without end: see
    ``has_negatives``.
    """

    # RecBole's sampler sets these.
    datasets: list[Any]
    phases: list[str]
    phase: str
    iid_field: str
    distribution: str
    item_num: int
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
        self.cumulative = np.cumsum(popularity_weights(self._get_candidates_list(), 0, self.alpha))

    def _pop_sampling(self, sample_num: int) -> np.ndarray:
        drawn = np.random.random(sample_num) * self.cumulative[-1]
        return np.searchsorted(self.cumulative, drawn, side="right")

    def vectorised(self) -> VectorisedSampler:
        """Another sampler of the same phase and weights."""
        parts = self.datasets[: self.phases.index(self.phase) + 1]
        return VectorisedSampler(parts, self.phase, self.distribution, self.alpha)


def has_negatives(sampler: VectorisedSampler | NegativeSampler) -> np.ndarray:
    """Whether each user has an item that can be drawn and that the user has not met.

    Args:
        sampler: Of one phase.

    Returns:
        bool [n_users].
    """
    if isinstance(sampler, NegativeSampler):
        sampler = sampler.vectorised()
    is_drawn, met = sampler.weights > 0, sampler.met
    n_met = np.bincount(met.users[is_drawn[met.items]], minlength=met.n_users)
    has: np.ndarray = n_met < is_drawn.sum()
    return has


class PairLoader(ArrayBatches, TrainDataLoader):
    """RecBole's training loader without interactions of users who have no negative.

    The dataset stays whole: graphs and masks are made of it. The negatives of an epoch are drawn at
    its start, unless the model chooses among candidates or the sampler is RecBole's.

    Args:
        config: Settings of the run.
        dataset: RecBole's dataset of the train part.
        sampler: Of its negatives, or None.
        shuffle: Whether batches are drawn anew in each epoch.
    """

    # RecBole's loader sets these.
    neg_sample_args: dict[str, Any]
    sampling_func: Any
    transform: Any
    uid_field: str
    _dataset: Any

    def __init__(self, config: Any, dataset: Any, sampler: Any, shuffle: bool = False) -> None:
        self._users = dataset.inter_feat[dataset.uid_field].numpy()
        n = len(self._users)
        is_kept = np.ones(n, bool) if sampler is None else has_negatives(sampler)[self._users]
        self._rows = np.flatnonzero(is_kept)
        self._drawn: np.ndarray | None = None
        super().__init__(config, dataset, sampler, shuffle=shuffle)

    def _init_batch_size_and_step(self) -> None:
        super()._init_batch_size_and_step()
        self.sample_size = len(self._rows)  # RecBole has counted the whole dataset

    def __iter__(self) -> Iterator[Any]:
        self._drawn = self._negatives_of_an_epoch()
        return super().__iter__()

    def _negatives_of_an_epoch(self) -> np.ndarray | None:
        """For each row that is kept [num, n_rows], or None where a batch draws its own."""
        args, sampler = self.neg_sample_args, self._sampler
        if args["distribution"] == "none" or args.get("dynamic", False):
            return None
        num = args["sample_num"]
        is_small = num * len(self._rows) <= MOST_DRAWN
        if not is_small or not isinstance(sampler, VectorisedSampler):
            return None
        return sampler.draw(self._users[self._rows], num).astype(np.int32)

    def collate_fn(self, index: Any) -> Any:
        """The interactions at some places, with their negatives.

        Args:
            index: Places among those that are kept.
        """
        places = np.asarray(index)
        batch = self.transform(self._dataset, self._dataset[self._rows[places]])
        if self._drawn is None:
            return self._neg_sampling(batch)
        negatives = self._drawn[:, places].astype(np.int64).reshape(-1)
        return self.sampling_func(batch, torch.from_numpy(negatives))


class CandidateLoader(ArrayBatches, NegSampleEvalDataLoader):
    """RecBole's loader of users with candidates, which are drawn for a whole batch at once.

    Args:
        config: Settings of the run.
        dataset: RecBole's dataset of the part, sorted by user from then on.
        sampler: Of the part's phase.
        shuffle: False; users come in the order of their ids.

    Attributes:
        uid_list: The users, int64 [n].
    """

    # RecBole's loader sets these.
    config: Any
    times: int
    neg_sample_num: int
    uid_field: str
    iid_field: str
    sampling_func: Any
    transform: Any
    set_batch_size: Any
    _dataset: Any
    _sampler: VectorisedSampler

    def __init__(
        self, config: Any, dataset: Any, sampler: VectorisedSampler, shuffle: bool = False
    ) -> None:
        args = config[f"{sampler.phase}_neg_sample_args"]
        self._set_neg_sample_args(config, dataset, InputType.POINTWISE, args)
        dataset.sort(by=self.uid_field, ascending=True)
        self._users = dataset.inter_feat[self.uid_field].numpy()
        counts = np.bincount(self._users)
        self.uid_list = np.flatnonzero(counts)
        self._ends = np.cumsum(counts[self.uid_list])
        self._starts = self._ends - counts[self.uid_list]
        self.sample_size = len(self.uid_list)
        # Not its own constructor, which has the loops.
        super(NegSampleEvalDataLoader, self).__init__(config, dataset, sampler, shuffle=shuffle)

    def _init_batch_size_and_step(self) -> None:
        """As many users as ``eval_batch_size`` has room for, those with most candidates."""
        sizes = np.cumsum(np.sort(self.times * (self._ends - self._starts))[::-1])
        self.step = max(int(np.searchsorted(sizes, self.config["eval_batch_size"], "right")), 1)
        self.set_batch_size(int(sizes[self.step - 1]))

    def collate_fn(self, index: Any) -> tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor]:
        """A batch of users.

        Args:
            index: Places of n users.

        Returns:
            Pairs of a user and a candidate, those that are to be found first; the row of each pair
            in [n, n_items]; rows and columns of those to be found; all int64.
        """
        places = np.asarray(index)
        rows, at = spans(self._starts[places], self._ends[places])
        batch = self.transform(self._dataset, self._dataset[at])
        positives = batch[self.iid_field]
        drawn = self._sampler.sample_by_user_ids(self._users[at], None, self.neg_sample_num)
        row = torch.from_numpy(rows)
        return self.sampling_func(batch, drawn), row.repeat(self.times), row, positives
