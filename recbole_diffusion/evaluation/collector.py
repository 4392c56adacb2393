"""What an evaluation hands to its metrics: each user's ranking, and counts of the train part."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.evaluator.collector import Collector, DataStruct

from recbole_diffusion.base.ranks import Ranks
from recbole_diffusion.evaluation.ranking import ranked_items
from recbole_diffusion.settings.evaluation_keys import of_group

# What metrics of users and lists need; counts of the train part, which they may need too, stay.
RANKINGS = ("rec.items", "rec.topk")
# Of what is collected.
DTYPES = (torch.int64, torch.float32, torch.float64)


def topk_of(group: str) -> str:
    """What is collected as "rec.topk" of a group of items."""
    return of_group("rec.topk", group)


class ScoresAreNaN(ValueError):
    """A score of an item that is to be ranked is not a number."""


class RankingCollector(Collector):
    """RecBole's collector, but equal scores rank by lot, and the padding is no item.

    RecBole ranks equal scores by item id, and early ids are those of popular items. It counts the
    padding as an item that could be recommended, and no item without train interactions. It marks
    what is to be found in an array of all users and items, and copies all users with every batch.

    Args:
        config: Settings of the run.

    Attributes:
        item_groups: Items that are ranked and found among themselves too, bool [n_items] by name;
            only users who want one of them count there.
    """

    # RecBole's collector sets these.
    data_struct: Any
    register: Any
    topk: list[int]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.item_groups: dict[str, torch.Tensor] = {}
        self._kept: list[Any] | None = None
        self._batches: defaultdict[str, list[torch.Tensor]] = defaultdict(list)

    @contextmanager
    def keeping_rankings(self) -> Iterator[list[Any]]:
        """What is handed to the metrics in the evaluations inside, an entry for each.

        The ranked items are among it, whatever the metrics need.
        """
        self._kept = []
        try:
            yield self._kept
        finally:
            self._kept = None

    def _is_needed(self, name: str) -> bool:
        return self._kept is not None or bool(self.register.need(name))

    def data_collect(self, train_data: Any) -> None:
        """Count the train part.

        Args:
            train_data: Its loader.
        """
        super().data_collect(train_data)
        n_items = train_data._dataset.item_num
        if "data.num_items" in self.data_struct:
            self.data_struct.set("data.num_items", n_items - 1)
        if "data.count_items" in self.data_struct:
            counts = Counter(dict.fromkeys(range(1, n_items), 0))
            counts.update(train_data._dataset.item_counter)
            self.data_struct.set("data.count_items", counts)

    def eval_batch_collect(
        self,
        scores_tensor: torch.Tensor,
        interaction: Any,
        positive_u: torch.Tensor,
        positive_i: torch.Tensor,
    ) -> None:
        """Rank the items of a batch of users.

        Args:
            scores_tensor: [n, n_items].
            interaction: The users.
            positive_u: Row of each item that is to be found, int64 [m].
            positive_i: That item, int64 [m].

        Raises:
            ScoresAreNaN: One of them is NaN.
        """
        positives = _Positives(positive_u, positive_i, scores_tensor)
        needed = {name for name in RANKINGS if self._is_needed(name)}
        if needed:
            values, items = ranked_items(scores_tensor, max(self.topk))
            _refuse_nan(values[:, 0])  # which ranks first
        if "rec.items" in needed:
            self._batches["rec.items"].append(items.cpu())
        if "rec.topk" in needed:
            self._batches["rec.topk"].append(positives.found(values, items).cpu())
            for name, is_in in self.item_groups.items():
                wanted = _within(is_in.to(scores_tensor.device), scores_tensor, positives)
                found = wanted.found(*ranked_items(wanted.scores, max(self.topk)))
                self._batches[topk_of(name)].append(found.cpu())
        if self.register.need("rec.meanrank"):
            self._batches["rec.meanrank"].append(_mean_ranks(scores_tensor, positives).cpu())

    def forget(self) -> None:
        """Start anew with the first batch."""
        self._batches.clear()

    def gather(self, ranks: Ranks) -> None:
        """Put the batches of all ranks in their order; rank r had numbers r, r + size, and so on.

        Args:
            ranks: Each with what it has collected.
        """
        names = [name for name in RANKINGS if self._is_needed(name)]
        names += map(topk_of, self.item_groups if "rec.topk" in names else ())
        names += ["rec.meanrank"] if self.register.need("rec.meanrank") else []
        for name in names:
            self._batches[name] = _of_all(self._batches[name], ranks)

    def get_data_struct(self) -> Any:
        """What was collected, tensors on the CPU; the next evaluation starts empty."""
        collected = DataStruct()
        for name, value in self.data_struct._data_dict.items():
            collected.set(name, value.cpu() if isinstance(value, torch.Tensor) else value)
        for name, batches in self._batches.items():
            collected.set(name, torch.cat(batches))
        self._batches.clear()
        if self._kept is not None:
            self._kept.append(collected)
        return collected


def _of_all(batches: list[torch.Tensor], ranks: Ranks) -> list[torch.Tensor]:
    """Batches [n, width] of all ranks, by number; a rank may have none."""
    kinds = [[batch.shape[1], DTYPES.index(batch.dtype)] for batch in batches]
    found = torch.cat(ranks.gathered(torch.tensor(kinds, dtype=torch.int64).reshape(-1, 2)))
    width, kind = found[0].tolist()
    rows = torch.cat([torch.empty(0, width, dtype=DTYPES[kind]), *batches])
    lengths = ranks.gathered(torch.tensor([len(batch) for batch in batches], dtype=torch.int64))
    parts = [
        of_rank.split(n.tolist()) for of_rank, n in zip(ranks.gathered(rows), lengths, strict=True)
    ]
    return [parts[i % ranks.size][i // ranks.size] for i in range(len(found))]


class _Positives:
    """The items of a batch that are to be found, as sorted keys row * n_items + item.

    Args:
        rows: int64 [m].
        items: int64 [m]; a pair may stand there twice.
        scores: [n, n_items], on the device of the result.
    """

    def __init__(self, rows: torch.Tensor, items: torch.Tensor, scores: torch.Tensor) -> None:
        self.scores = scores
        self.n_rows, self.n_items = scores.shape
        keys = rows.to(scores.device) * self.n_items + items.to(scores.device)
        self._keys = torch.unique_consecutive(keys.sort().values)
        self.rows = self._keys // self.n_items
        self.items = self._keys % self.n_items

    def among(self, items: torch.Tensor) -> torch.Tensor:
        """Whether each item of a row is one of them, int64 [n, k]."""
        keys = items + self.n_items * torch.arange(self.n_rows, device=items.device)[:, None]
        places = torch.searchsorted(self._keys, keys).clamp_(max=len(self._keys) - 1)
        return (self._keys[places] == keys).long()

    def found(self, values: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Whether ranked items [n, k] are some, and how many there are, int64 [n, k + 1].

        What is masked, by a score of -inf, is not found.
        """
        hits = self.among(items) * (values > -torch.inf)
        return torch.cat([hits, self.counts()[:, None]], dim=1)

    def counts(self) -> torch.Tensor:
        """How many there are, int64 [n]."""
        return torch.bincount(self.rows, minlength=self.n_rows)


def _within(is_in: torch.Tensor, scores: torch.Tensor, positives: _Positives) -> _Positives:
    """What is to be found among some items, by the users who want one of them."""
    is_wanted = is_in[positives.items]
    users, rows = positives.rows[is_wanted].unique(return_inverse=True)
    among = scores[users].masked_fill(~is_in, -torch.inf)
    return _Positives(rows, positives.items[is_wanted], among)


def _mean_ranks(scores: torch.Tensor, positives: _Positives) -> torch.Tensor:
    """Sum of the positives' ranks, number of candidates and of positives [n, 3].

    Equal scores share the mean of their ranks; candidates are all but the lowest scores, -inf. The
    result is float32, or float64 if the scores are.
    """
    n_items, counts = positives.n_items, positives.counts()
    ordered = scores.sort(dim=1).values
    _refuse_nan(ordered[:, -1])  # which is last
    # Rows of the scores that are looked for, [n, most], filled up.
    first = counts.cumsum(0) - counts
    column = torch.arange(len(positives.rows), device=scores.device) - first[positives.rows]
    is_sought = torch.arange(int(counts.max()), device=scores.device) < counts[:, None]
    sought = scores.new_zeros(is_sought.shape)
    sought[positives.rows, column] = scores[positives.rows, positives.items]
    n_lower = torch.searchsorted(ordered, sought)
    n_upto = torch.searchsorted(ordered, sought, right=True)
    ranks = (n_items - (n_lower + n_upto - 1).double() / 2) * is_sought
    n_masked = torch.searchsorted(ordered, ordered[:, :1].contiguous(), right=True)[:, 0]
    found = torch.stack([ranks.sum(dim=1), n_items - n_masked, counts], dim=1)
    return found.to(torch.promote_types(scores.dtype, torch.float32))


def _refuse_nan(scores: torch.Tensor) -> None:
    if scores.isnan().any():
        raise ScoresAreNaN("found NaN among the scores that are ranked")
