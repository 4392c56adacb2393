"""How a trainer measures what users get."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.randomness import own_randomness, torch_states
from recbole_diffusion.base.ranks import ALONE, Ranks
from recbole_diffusion.evaluation.collector import RankingCollector, ScoresAreNaN
from recbole_diffusion.evaluation.metrics import ExactEvaluator
from recbole_diffusion.training.host_attributes import HostAttributes
from recbole_diffusion.training.progress import evaluation_bar


class EvaluationMixin(HostAttributes):
    """Scores the users of a loader, and ranks and measures them by classes of this package."""

    eval_collector: RankingCollector
    evaluator: ExactEvaluator
    saved_model_file: str
    epochs_trained: int
    ranks: Ranks
    # Whether the model draws when it scores: then no rank knows the draws of the batches before.
    _draws_scores = False
    # Items that the model cannot score, bool [n_items]: masked as the padding is.
    unranked_items: torch.Tensor | None = None
    load_checkpoint: Any

    @torch.no_grad()
    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | Path | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Measure what a loader's users get; arguments and result are RecBole's.

        What a loader or a model draws comes from the run's seed anew each time: every validation
        ranks the same sampled candidates, and none shifts the training that follows.
        """
        if load_best_model:
            self.load_checkpoint(model_file or self.saved_model_file)
        self.tot_item_num = eval_data._dataset.item_num
        is_full = isinstance(eval_data, FullSortEvalDataLoader)
        scored = self._full_sort_batch_eval if is_full else self._neg_sample_batch_eval
        batches = evaluation_bar(eval_data) if show_progress else eval_data
        if self.ranks.is_shared and not self._draws_scores:
            has_drawn = self._rank_users(eval_data, batches, scored, self.ranks)
            self._draws_scores = self.ranks.any(has_drawn)
            self.eval_collector.gather(self.ranks)
        if not self.ranks.is_shared or self._draws_scores:
            self.eval_collector.forget()
            self._rank_users(eval_data, batches, scored, ALONE)
        return self._measured(self.eval_collector.get_data_struct())

    def _rank_users(self, eval_data: Any, batches: Any, scored: Any, ranks: Ranks) -> bool:
        """Rank the users of this rank's batches: whole ones, which compute as they do alone.

        Returns:
            Whether the model has drawn from PyTorch's generators.
        """
        self.model.eval()  # anew: what it keeps for an evaluation may have been drawn
        with own_randomness(self.config["seed"], self.device):
            eval_data.generator.manual_seed(self.config["seed"])
            before = torch_states(self.device)
            for number, batch in enumerate(batches):
                if number % ranks.size == ranks.rank:
                    users, scores, positive_u, positive_i = scored(batch)
                    self._collect(scores, users, positive_u, positive_i)
            after = torch_states(self.device)
        return any(not torch.equal(before[name], after[name]) for name in before)

    def _measured(self, ranking: Any) -> Any:
        """Metrics of a ranking, which rank 0 computes for all: their choices follow from them."""
        if not self.ranks.is_shared:
            return self.evaluator.evaluate(ranking)
        found = self.ranks.of_first(lambda: json.dumps(self.evaluator.evaluate(ranking)))
        return OrderedDict(json.loads(found))

    def _collect(self, scores: torch.Tensor, *batch: Any) -> None:
        try:
            self.eval_collector.eval_batch_collect(scores, *batch)
        except ScoresAreNaN as error:
            raise UserError(
                f"model {self.config['model']}: scores are NaN after {self.epochs_trained} "
                f"epochs: {self._cure_of_nan()}"
            ) from error

    def _full_sort_batch_eval(self, batched_data: Any) -> tuple[Any, torch.Tensor, Any, Any]:
        """Called by RecBole with the users of a batch; an error in scoring stays an error."""
        users, history, positive_u, positive_i = batched_data
        scores = self._score_all_items(users.to(self.device)).view(-1, self.tot_item_num)
        scores[:, 0] = -torch.inf
        if self.unranked_items is not None:
            scores[:, self.unranked_items.to(scores.device)] = -torch.inf
        scores[history] = -torch.inf
        return users, scores, positive_u, positive_i

    def _score_all_items(self, users: Any) -> torch.Tensor:
        """Scores [n, n_items]; pair by pair for a model that defines ``predict`` alone."""
        if type(self.model).full_sort_predict is not AbstractRecommender.full_sort_predict:
            scores: torch.Tensor = self.model.full_sort_predict(users)
            return scores
        n_items = self.tot_item_num
        pairs = users.repeat_interleave(n_items)
        items = torch.arange(n_items, device=self.device).repeat(len(users))
        pairs.update(Interaction({self.config["ITEM_ID_FIELD"]: items}))
        size = self.test_batch_size
        blocks = (pairs[start : start + size] for start in range(0, len(pairs), size))
        return torch.cat([self.model.predict(block).reshape(-1) for block in blocks])

    def _cure_of_nan(self) -> str:
        cure = f"lower key `learning_rate` (found {self.config['learning_rate']})"
        return cure + (", scale the `item_features`" if self.config["item_features"] else "")
