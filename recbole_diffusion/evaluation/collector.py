"""What an evaluation hands to its metrics: each user's ranking, and counts of the train part."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.evaluator.collector import Collector, DataStruct

from recbole_diffusion.evaluation.ranking import ranked_items

RANKING = ("rec.items", "rec.topk")
# Of one evaluation; counts of the train part stay.
OF_AN_EVALUATION = (*RANKING, "rec.meanrank", "rec.score", "data.label")


class RankingCollector(Collector):
    """RecBole's collector, but equal scores rank by lot, and the padding is no item.

    RecBole ranks equal scores by item id, and early ids are those of popular items. It counts the
    padding as an item that could be recommended, and no item without train interactions.

    Args:
        config: Settings of the run.
    """

    # RecBole's collector sets these.
    data_struct: Any
    register: Any
    topk: list[int]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._kept: list[Any] | None = None
        self._others = Collector(config)  # of what is no ranking of k items
        self._others.data_struct = self.data_struct
        for name in RANKING:
            vars(self._others.register).pop(name, None)

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
        """
        needed = [name for name in RANKING if self._is_needed(name)]
        if needed:
            items = ranked_items(scores_tensor, max(self.topk))[1]
        if "rec.items" in needed:
            self.data_struct.update_tensor("rec.items", items)
        if "rec.topk" in needed:
            is_positive = torch.zeros_like(scores_tensor, dtype=torch.int)
            is_positive[positive_u, positive_i] = 1
            found = is_positive.gather(1, items), is_positive.sum(dim=1, keepdim=True)
            self.data_struct.update_tensor("rec.topk", torch.cat(found, dim=1))
        self._others.eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)

    def get_data_struct(self) -> Any:
        """What was collected, tensors on the CPU; the next evaluation starts empty."""
        collected = DataStruct()
        for name, value in self.data_struct._data_dict.items():
            collected.set(name, value.cpu() if isinstance(value, torch.Tensor) else value)
        for name in OF_AN_EVALUATION:
            if name in self.data_struct:
                del self.data_struct[name]
        if self._kept is not None:
            self._kept.append(collected)
        return collected
