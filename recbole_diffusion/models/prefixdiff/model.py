"""PrefixDiff: absorbing diffusion along a history, whose latest items vanish first.

The numbered steps are those of ``docs/models/prefixdiff.md``, which derives them.
"""

import copy
from collections.abc import Mapping, Sequence
from logging import getLogger
from typing import Any

import torch
from torch import Tensor

from recbole_diffusion.base.errors import UserError, expect
from recbole_diffusion.data.recency import ALIKE, times_of
from recbole_diffusion.models.base import HistoryRecommender
from recbole_diffusion.models.diffrec.model import check_sizes
from recbole_diffusion.models.lindiffrec.model import LinDiffRec
from recbole_diffusion.models.prefixdiff.forward import PrefixSampler
from recbole_diffusion.models.prefixdiff.network import Network
from recbole_diffusion.models.prefixdiff.prefixes import (
    AttentionDenoiser,
    Prefixes,
    ViewDenoiser,
    extended,
    history_times,
    mean_loss,
    relative_times,
    usual_gap,
    views_of,
)
from recbole_diffusion.models.prefixdiff.settings import PrefixDiffSettings
from recbole_diffusion.nn.encoders import AttentionEncoder
from recbole_diffusion.nn.rows import InteractionRows, RowBatch, history_rows
from recbole_diffusion.nn.softmax import (
    Targets,
    drawn_items,
    masked,
    sampled_likelihood,
    softmax_loss,
)
from recbole_diffusion.settings.evaluation_keys import tells_cold_apart
from recbole_diffusion.settings.recency import is_held_out_later
from recbole_diffusion.training.carry import ITEMS, Matches

# Prefixes that the gain of the skip is fitted on, and steps of Newton's method.
GAIN_PREFIXES, GAIN_STEPS = 2000, 20
# Most numbers that the scores of these prefixes may be.
GAIN_SCORES = 2**27
# Of an item's number of interactions, by which items are drawn for a sampled softmax.
POPULARITY_POWER = 0.75
WITHOUT_ORDER = (
    "where histories have no order; by eval_args: {order: TO} the split follows the times"
)


class PrefixDiff(HistoryRecommender):
    """A denoiser that gives back the latest items of a history, trained at random levels.

    Attributes:
        network: What is trained.
        averaged: The average of its weights over the last steps, which scores.
    """

    # A key, a value of it, and the keys that change nothing beside that.
    idle_keys = (
        ("denoiser", "views", ("n_layers", "embedding_size", "n_heads", "inner_size")),
        ("denoiser", "attention", ("hidden_sizes", "view_length", "level_embedding_size")),
        ("absorption", "age", ("absorbed_share",)),
        ("horizon", 1, ("horizon_decay",)),
        ("skip", False, ("skip_gain", "reg_weight", "history_power", "step_ratio")),
    )
    # Of the network and of its average; the closed form is solved anew.
    id_axes = {
        **{f"{part}.bias": (ITEMS,) for part in ("network", "averaged")},
        "*.gain": (),
        "*.denoiser.encoder.items.weight": (ITEMS,),
        "*.denoiser.tables.*": (ITEMS,),
        "*.denoiser.outputs": (ITEMS,),
    }
    item_shares: Tensor
    cold_items: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        keys = PrefixDiffSettings(config)
        self.reverse_steps = keys.reverse_steps
        self.n_given_back = keys.given_back
        self.weight_average = keys.weight_average
        self.n_updates = 0
        self.softmax_items = keys.softmax_items
        self.sampled_items = keys.sampled_items
        self.is_timed = config["TIME_FIELD"] in dataset.inter_feat and is_held_out_later(config)
        if not self.is_timed:
            getLogger().warning(_why_without_order(config, dataset))
        self.clock_unit: float | None = None
        self.rows = self._make_rows(config, dataset)
        counts = self.rows.items.bincount(minlength=self.n_items).double()
        shares = (counts + 1).pow(POPULARITY_POWER)
        shares[0] = 0  # padding
        self.register_buffer("item_shares", (shares / shares.sum()).float(), persistent=False)
        self.skip = LinDiffRec(config, dataset) if keys.skip else None
        if self.skip is not None and not self.is_timed:
            kind = keys.recency
            is_even = kind in ("auto", "none")
            expect(is_even, "recency", kind, f"auto or none {WITHOUT_ORDER}")
        cold = (counts == 0) & tells_cold_apart(config)
        self.register_buffer("cold_items", cold, persistent=False)
        self.has_cold_items = bool(cold[1:].any())
        self.skip_gain = keys.skip_gain
        self.likeliest_gain = 0.0
        is_attention = keys.denoiser == "attention"
        max_length = keys.max_length if is_attention else None
        self.sampler = PrefixSampler(keys, max_length, self._clock)
        denoiser = self._attention(config) if is_attention else self._views(keys)
        self.network = Network(denoiser, self.n_items)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse choices that do not go together.

        Raises:
            UserError: One of them.
        """
        levels = config["levels"]
        is_range = len(levels) == 2 and levels[0] < levels[1]
        expect(is_range, "levels", levels, "two numbers from 0 to 1, the lower first")
        size = config["level_embedding_size"]
        expect(size != 1, "level_embedding_size", size, "0, or 2 or more")
        check_sizes("hidden_sizes", config["hidden_sizes"])
        views_of(config["views"])
        if config["denoiser"] == "attention":
            AttentionEncoder.check_config(config)
            is_prefix = config["absorption"] != "random"
            expect(is_prefix, "absorption", "random", "age or both with denoiser: attention")
            expect(config["age"] == "rank", "age", "time", "rank with denoiser: attention")
        LinDiffRec.check_config(config)

    @staticmethod
    def scores_cold_items(config: Mapping[str, Any]) -> bool:
        """Whether the skip does; the network, which learns of no cold item, says nothing of any."""
        return bool(config["skip"]) and LinDiffRec.scores_cold_items(config)

    def _make_rows(self, config: Any, dataset: Any) -> InteractionRows:
        """Histories in their order, values the time since the first in units of the usual gap."""
        users, items = (dataset.inter_feat[f].numpy() for f in (self.USER_ID, self.ITEM_ID))
        times = times_of(dataset, config["TIME_FIELD"]) if self.is_timed else None
        if config["age"] == "rank":
            return InteractionRows(users, items, self.n_users, times)
        expect(self.is_timed, "age", "time", f"rank {WITHOUT_ORDER}")
        rows = InteractionRows(users, items, self.n_users, times, values=times)
        self.clock_unit = usual_gap(rows)
        rows.values = relative_times(rows, self.clock_unit)
        return rows

    def _views(self, keys: PrefixDiffSettings) -> ViewDenoiser:
        return ViewDenoiser(
            self.n_items,
            views_of(keys.views) if self.is_timed else [ALIKE],
            keys.view_length,
            keys.hidden_sizes,
            keys.dropout,
            keys.level_embedding_size,
        )

    def _attention(self, config: Any) -> AttentionDenoiser:
        return AttentionDenoiser(AttentionEncoder.of(config, self.n_items))

    # Training

    def prepare(self) -> None:
        """Solve the skip, and fit its gain; the trainer calls it once."""
        if self.skip is not None:
            self.skip.solve()
            self._fit_gain()

    @torch.no_grad()
    def _fit_gain(self) -> None:
        """The gain with which the skip alone has the greatest likelihood, by Newton's method."""
        users = self._trainable(torch.randperm(self.n_users, device=self.device))
        histories = self._histories(users[: min(GAIN_PREFIXES, GAIN_SCORES // self.n_items)])
        prefixes, targets = self.sampler.draw_one(histories)
        scores = self.skip_scores(prefixes.rows)
        assert scores is not None
        known = masked(torch.zeros_like(scores), prefixes.rows)
        wanted = scores[targets.prefixes, targets.items] @ targets.weights
        gain = torch.zeros((), device=scores.device)
        for _ in range(GAIN_STEPS):
            shares = torch.softmax(known + gain * scores, dim=1)
            mean = (shares * scores).sum(dim=1)
            variance = (shares * scores.square()).sum(dim=1) - mean.square()
            step = (wanted - mean.sum()) / variance.sum().clamp_min(torch.finfo(mean.dtype).tiny)
            # Convex, but flat far from the optimum: no step may more than double what is there.
            gain = (gain + step).clamp(torch.zeros_like(gain), 2 * gain + 1)
        self.likeliest_gain = gain.item()
        gain *= self.skip_gain
        for network in (self.network, self.averaged):
            network.gain.fill_(gain)
        getLogger().info(f"gain of the closed-form score: {gain:.3g}")

    def _trainable(self, users: Tensor) -> Tensor:
        """Users of whose items one can vanish and one remain."""
        return users[self.rows.lengths_of(users) > 1]

    def loss_counts(self, interaction: Any) -> Tensor:
        """What each user of a batch counts in the mean that is its loss [B]: prefixes."""
        lengths = self.rows.lengths_of(interaction[self.USER_ID])
        return self.sampler.n_prefixes(lengths) * (lengths > 1).float()

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Step 4: mean negative log-likelihood of what vanished."""
        users = self._trainable(interaction[self.USER_ID])
        if not len(users):
            return self._no_loss()
        prefixes, targets = self._absorb(users)
        if self.n_items > self.softmax_items:
            items, counts = drawn_items(self.item_shares, self.sampled_items, targets.items)
            logits = self.network(prefixes, self.skip_scores(prefixes.rows, items), items)
            found = sampled_likelihood(logits, targets, items, counts, prefixes.rows, self.n_items)
            return mean_loss(found, prefixes, targets)
        return softmax_loss(
            self.network.denoiser(prefixes),
            self.network.denoiser.outputs,
            targets,
            bias=self.network.bias,
            known=prefixes.rows,
            added=None if self.skip is None else self._gained_skip,
        )

    def _gained_skip(self, rows: RowBatch) -> Tensor:
        """What the closed form adds to the logits of prefixes: z times its gain g."""
        scores = self.skip_scores(rows)
        assert scores is not None
        return scores.mul_(self.network.gain)

    def _absorb(self, users: Tensor) -> tuple[Prefixes, Targets]:
        """Step 2: what is left of users' histories at random levels, and what is to come back."""
        return self.sampler.draw(self._histories(users))

    def absorb_at(self, users: Tensor, level: float) -> tuple[Prefixes, Targets]:
        """Step 2 at one level, once for each user of whose items one can vanish and one remain."""
        return self.sampler.draw_one(self._histories(self._trainable(users)), (level, level))

    def _histories(self, users: Tensor) -> RowBatch:
        """Step 1: histories in their order; without times a new one each time."""
        histories = self.rows.batch(users)
        if self.is_timed:
            return histories
        keys = histories.rows + torch.rand_like(histories.values, dtype=torch.float64)
        return histories._replace(items=histories.items[keys.argsort()])

    def _clock(self, rows: RowBatch) -> Tensor:
        """When each item of whole histories was, up to a constant for each history [nnz]."""
        return -rows.ages.float() if self.clock_unit is None else rows.values

    def skip_scores(self, rows: RowBatch, items: Tensor | None = None) -> Tensor | None:
        """The closed-form scores z of prefixes, of all items or some; None without a skip."""
        if self.skip is None:
            return None
        with torch.no_grad():
            return self.skip.unit_scores(rows, items)

    def update_average(self) -> None:
        """Move the averaged weights towards those of the last step; the trainer calls it."""
        self.n_updates += 1
        share = min(self.weight_average, self.n_updates / (10 + self.n_updates))
        pairs = zip(self.averaged.parameters(), self.network.parameters(), strict=True)
        with torch.no_grad():
            for average, weight in pairs:
                average.lerp_(weight, 1 - share)

    def adopt(self, saved: Mapping[str, Any], matches: Matches) -> None:
        """Go on with the average where an older run's best epoch stood (``training.carry``)."""
        self.n_updates = saved["attributes"].get(".n_updates", 0)

    def forget_training(self) -> None:
        """Score by the closed form alone, as before the first step."""
        self.n_updates = 0

    # Scoring

    def _scores(self, rows: RowBatch) -> Tensor:
        """Step 5: a history is the prefix of a longer one, whose rest is given back in steps.

        Each step but the last takes the likeliest items for what comes next. The score is the
        logarithm of the sum of probabilities over the steps.
        """
        total = each = self._likelihood(rows, self._clock(rows))
        longer, clock = rows, self._clock(rows)
        for _ in range(self.reverse_steps - 1):
            likeliest = each.topk(min(self.n_given_back, self.n_items)).indices
            longer, clock = extended(longer, clock, likeliest)
            each = self._likelihood(longer, clock)
            total = torch.logaddexp(total, each)
        return total

    def logits(self, prefixes: Prefixes, skip: Tensor | None) -> Tensor:
        """Logits [P, n_items] that score; before the first step those of the skip alone."""
        network = self.network if self.training else self.averaged
        if skip is not None and self.n_updates == 0:
            return skip * network.gain
        if skip is None or not self.has_cold_items:
            logits: Tensor = network(prefixes, skip)
            return logits
        own: Tensor = network(prefixes, None)
        own[:, self.cold_items] = own[:, ~self.cold_items].mean(dim=1, keepdim=True)
        return own + skip * network.gain

    def _likelihood(self, rows: RowBatch, clock: Tensor) -> Tensor:
        """Logarithms [B, n_items] of what follows; -inf for the items of a history."""
        shown = rows._replace(values=torch.ones_like(rows.values))
        level = shown.values.new_zeros(len(rows.lengths))
        of = torch.arange(len(level), device=level.device)
        skip = self.skip_scores(shown)
        logits = masked(self.logits(Prefixes(shown, clock, level, shown, of), skip), rows)
        total = logits.logsumexp(dim=1, keepdim=True)
        return logits - total.masked_fill(total == -torch.inf, 0.0)  # nothing is left to give back

    @torch.no_grad()
    def score_histories(
        self,
        histories: Sequence[Sequence[int] | Tensor],
        times: Sequence[Sequence[float] | Tensor] | None = None,
    ) -> Tensor:
        """Scores of users outside the data, without training on them.

        Args:
            histories: Internal item ids of each user, in the order of time.
            times: Of each item, as in the data; read with ``age: time`` only.

        Returns:
            [len(histories), n_items]; -inf for items of the history.

        Raises:
            UserError: An item that is not in the data, or is in a history twice; times that are
                missing, not in order, or not as many as items.
        """
        rows = history_rows(histories, self.n_items)
        if self.clock_unit is not None:
            rows = rows._replace(values=history_times(rows, times))
            rows = rows._replace(values=relative_times(rows, self.clock_unit))
        return self._scores(rows.to(self.rows.items.device))

    @torch.no_grad()
    def score_prefix(self, user: int, n_items: int) -> Tensor:
        """Scores [n_items of the data] of a user of the data by the first items of the history."""
        row = self.rows.batch(torch.tensor([user], device=self.rows.items.device))
        return self._scores(row.keep(row.places < n_items))[0]

    @torch.no_grad()
    def explain(
        self,
        history: Sequence[int] | Tensor,
        item: int,
        times: Sequence[float] | Tensor | None = None,
    ) -> Tensor:
        """What the score of an item loses without each item of a history.

        Args:
            history: Internal item ids in the order of time; not empty.
            item: Internal id; not in the history.
            times: As ``score_histories`` takes them.

        Returns:
            [len(history)].

        Raises:
            UserError: As ``score_histories``, or an item that is in the history.
        """
        whole = torch.as_tensor(history)
        if not 0 < item < self.n_items or item in whole.tolist():
            expected = f"one of 1..{self.n_items - 1} that is not in the history"
            raise UserError(f"explain: found item {item}, expected {expected}")
        places = range(len(whole))
        kept = [whole, *(torch.cat([whole[:i], whole[i + 1 :]]) for i in places)]
        kept_times = None
        if times is not None:
            at = torch.as_tensor(times)
            kept_times = [at, *(torch.cat([at[:i], at[i + 1 :]]) for i in places)]
        scores = self.score_histories(kept, kept_times)[:, item]
        return scores[0] - scores[1:]


def _why_without_order(config: Any, dataset: Any) -> str:
    why = "no times are loaded (key `TIME_FIELD`)"
    if config["TIME_FIELD"] in dataset.inter_feat:
        why = (
            "there are times, but the split does not follow them: by eval_args: {order: TO} it does"
        )
    return f"each history has a random order in each epoch, since {why}"
