"""SASRec and GRU4Rec: rivals that know the order, trained with the full softmax.

General recommenders like all models here, so that they rank the same items for the same users:
those of the test part by the history of the train part.
"""

from collections.abc import Mapping
from logging import getLogger
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recbole_diffusion.base.errors import expect
from recbole_diffusion.data.recency import times_of
from recbole_diffusion.models.base import HistoryRecommender
from recbole_diffusion.nn.encoders import AttentionEncoder, CausalEncoder, RecurrentEncoder
from recbole_diffusion.nn.rows import InteractionRows, RowBatch
from recbole_diffusion.nn.softmax import Targets, softmax_loss
from recbole_diffusion.settings.recency import has_times, is_held_out_later
from recbole_diffusion.training.carry import ITEMS


class NextItemRecommender(HistoryRecommender):
    """Predicts each item of a history from those before it.

    A subclass gives ``_make_encoder``.
    """

    is_baseline = True
    id_axes = {"encoder.items.weight": (ITEMS,)}

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse settings by which no times are loaded.

        Raises:
            UserError: So they are.
        """
        field = config["TIME_FIELD"]
        expect(has_times(config), "TIME_FIELD", field, "a column of `.inter` that `load_col` holds")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.max_length = config["max_length"]
        users, items = (dataset.inter_feat[f].numpy() for f in (self.USER_ID, self.ITEM_ID))
        times = times_of(dataset, config["TIME_FIELD"])
        if not is_held_out_later(config):
            getLogger().warning(
                "histories are read in the order of their times, and what is held out does not "
                "follow them: by eval_args: {order: TO} the split does"
            )
        self.rows = InteractionRows(users, items, self.n_users, times)
        self.encoder = self._make_encoder(config)

    def _make_encoder(self, config: Any) -> CausalEncoder:
        raise TypeError(f"{type(self).__name__} does not define _make_encoder")

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Mean over places of the negative log-likelihood of the next item."""
        histories = self.rows.batch(interaction[self.USER_ID])
        histories = histories.keep(histories.ages <= self.max_length)
        is_read = histories.ages > 0
        if not is_read.any():
            return self._no_loss()
        following = histories.items[1:][is_read[:-1]]
        read = histories.keep(is_read)
        outputs = self.encoder(read, read.rows, read.places)
        places = torch.arange(len(outputs), device=outputs.device)
        targets = Targets(places, following, torch.ones_like(read.values))
        return softmax_loss(outputs, self.encoder.items.weight, targets)

    def loss_counts(self, interaction: Any) -> Tensor:
        """What each user of a batch counts in the mean that is its loss [B]: places."""
        lengths = self.rows.lengths_of(interaction[self.USER_ID])
        return (lengths - 1).clamp(0, self.max_length).float()

    def _logits(self, rows: RowBatch, row: Tensor, place: Tensor) -> Tensor:
        return functional.linear(self.encoder(rows, row, place), self.encoder.items.weight)

    def _scores(self, rows: RowBatch) -> Tensor:
        """Of the item after the last; a user without history has 0 for all."""
        last = rows.keep(rows.ages < self.max_length)
        row = torch.arange(len(last.lengths), device=last.items.device)
        return self._logits(last, row, last.lengths - 1)


class SASRec(NextItemRecommender):
    """Causal self-attention.

    Source: Kang and McAuley 2018; with the softmax over all items in place of one drawn negative.
    """

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse heads that do not divide the width, and no times; a ``UserError``."""
        NextItemRecommender.check_config(config)
        AttentionEncoder.check_config(config)

    def _make_encoder(self, config: Any) -> CausalEncoder:
        return AttentionEncoder.of(config, self.n_items)


class GRU4Rec(NextItemRecommender):
    """Gated recurrent units.

    Source: Hidasi et al. 2016; with the softmax over all items in place of drawn negatives.
    """

    def _make_encoder(self, config: Any) -> CausalEncoder:
        return RecurrentEncoder(
            self.n_items,
            width=config["embedding_size"],
            n_layers=config["n_layers"],
            hidden_size=config["hidden_size"],
            dropout=config["dropout"],
        )
