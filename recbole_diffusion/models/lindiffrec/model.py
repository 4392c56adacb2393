"""LinDiffRec: a linear diffusion of interaction rows whose denoisers are solved, not trained.

The numbered steps are those of ``docs/models/lindiffrec.md``, which derives them. EASE is the model
of one step, and nothing else.
"""

from collections.abc import Mapping, Sequence
from logging import getLogger
from math import ceil, log2
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_diffusion.base.errors import UserError, expect
from recbole_diffusion.base.memory import machine_memory_mb
from recbole_diffusion.data.features import load_unit_vectors
from recbole_diffusion.data.recency import recency_of, times_of
from recbole_diffusion.models.base import MatrixRecommender
from recbole_diffusion.models.lindiffrec.linear import (
    BLOCK_BYTES,
    add_second_moment,
    causal_moments,
    second_moment,
    solve_causal_chain,
    solve_chain,
)
from recbole_diffusion.models.lindiffrec.local import LocalWeights, block_size, solve_local
from recbole_diffusion.models.lindiffrec.settings import ClosedForm
from recbole_diffusion.nn.rows import InteractionRows, RowBatch, history_rows, unit_length
from recbole_diffusion.settings.item_features import feature_names

# Of lambda over all steps, beyond which float32 has nothing left of the second moment.
MOST_GROWTH = 1e12


class LinDiffRec(MatrixRecommender):
    """Scores are a user's row times one matrix, which ``solve`` makes of the training data.

    Attributes:
        weights: M float32 [n_items, n_items] after ``solve`` or from a checkpoint, else [0, 0].
        local_weights: M, if it is solved locally.
    """

    popularity: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        keys = ClosedForm(config)
        self.history_power = keys.history_power
        self.noise = keys.noise
        self.steps = keys.steps
        self.step_ratio = keys.step_ratio
        self.noise_schedule = keys.noise_schedule
        self.reg_weight = keys.reg_weight
        self.is_recent_in_training = keys.recency_in_training
        self.target = keys.target
        self.n_local = keys.local_items
        self.n_kept = keys.kept_weights
        self.recency = recency_of(config, dataset)
        times = None
        if self.recency.kind != "none" or self.target == "future":
            times = times_of(dataset, config["TIME_FIELD"])
        users, items = (dataset.inter_feat[f].numpy() for f in (self.USER_ID, self.ITEM_ID))
        self.rows = InteractionRows(users, items, self.n_users, times, self.recency)
        counts = torch.from_numpy(np.bincount(items, minlength=self.n_items)).float()
        self.register_buffer("counts", counts, persistent=False)
        power = keys.popularity_power
        popularity = counts.clamp_min(1).pow(power)
        expect(bool(popularity.isfinite().all()), "popularity_power", power, "a smaller number")
        self.register_buffer("popularity", popularity, persistent=False)
        self.features = {
            name: (weight, load_unit_vectors(config, dataset, name))
            for name, weight in feature_weights(config).items()
        }
        self.local_weights = LocalWeights()

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse choices that do not go together.

        Raises:
            UserError: One of them.
        """
        ratio, steps, kind = config["step_ratio"], config["steps"], config["recency"]
        is_causal = config["target"] == "future"
        is_geometric = config["noise_schedule"] == "geometric"
        if is_geometric:
            least = MOST_GROWTH ** (-0.5 / max(steps - 1, 1))
            expect(
                ratio >= least,
                "step_ratio",
                ratio,
                f"{least:.3g} or more with geometric noise and steps: {steps}",
            )
        expect(
            not (is_causal and is_geometric),
            "noise_schedule",
            "geometric",
            "constant with target: future",
        )
        expect(
            not (is_causal and config["local_items"] is not None),
            "local_items",
            config["local_items"],
            "null with target: future",
        )
        expect(
            not (is_causal and kind == "linear"),
            "recency",
            kind,
            "another kind with target: future",
        )
        feature_weights(config)

    @staticmethod
    def scores_cold_items(config: Mapping[str, Any]) -> bool:
        """Whether features tell which items go together (step 4), those without rows too."""
        return bool(feature_weights(config))

    # Training

    def solve(self) -> None:
        """Make the matrix; the trainer calls it once.

        Raises:
            UserError: The penalty is too small for a factorisation, or the memory.
        """
        needed = self._needed_mib()
        self._check_memory(needed)
        getLogger().info(f"{self._work()} and those of the second moment, {needed:.0f} MiB")
        getLogger().info(f"histories weigh by age: {self.recency.kind}")
        if self.n_local is not None:
            self._solve_locally()
            return
        if self.target == "future":
            seen, after = self._causal_moments()
            tau = self._add_features(seen, after)
            penalty = self._penalty(seen.diagonal(), tau)
            weights = solve_causal_chain(seen, after, penalty, self._ratios())
        else:
            moment = second_moment(self._matrix())
            tau = self._add_features(moment)
            penalties = self._penalties(moment.diagonal(), tau)
            weights = solve_chain(moment, penalties, self._ratios(), self.device)
        self.weights = weights.to(self.device)

    def _solve_locally(self) -> None:
        """Steps 2 to 5 for blocks of items, each among those near it."""
        rows = self._matrix()
        tau = self._mean_diagonal(rows.power(2).sum(dtype=np.float64))
        observations = [rows]
        for weight, vectors in self.features.values():
            scaled = vectors.T * np.float32((weight * tau) ** 0.5)
            observations.append(sp.csr_matrix(scaled) if sp.issparse(scaled) else scaled)

        def penalty(diagonal: np.ndarray) -> np.ndarray:
            return self._penalty(diagonal, tau)

        def solve(moment: np.ndarray) -> np.ndarray:
            penalties = self._penalties(moment.diagonal(), tau)
            return solve_chain(moment, penalties, self._ratios(), torch.device("cpu")).numpy()

        assert self.n_local is not None
        found = solve_local(observations, penalty, solve, self.n_local, self.n_kept)
        self.local_weights.set(*found)

    def _ratios(self) -> list[float]:
        return [self.step_ratio] * (self.steps - 1)

    def _work(self) -> str:
        """What is solved, and the operations that are counted for it."""
        n_solved = self.steps if self.noise_schedule == "geometric" else 1
        n, n_blocks, where = self.n_items, 1, ""
        if self.n_local is not None and self.n_local < n:
            n_blocks = 2 ** ceil(log2(n / block_size(self.n_local)))
            n, where = self.n_local, f" about {n_blocks} times among"
        flops = n_blocks * n**3 * (n_solved + 2 * (self.steps - 1))
        one = f"the denoiser of all {self.steps} steps" if self.steps > 1 else "the denoiser"
        what = one if n_solved == 1 else f"{n_solved} denoisers"
        return f"solving {what},{where} {n} x {n}: {flops / 1e9:.1f} GFLOP"

    def _needed_mib(self) -> float:
        """Of the arrays [n, n] that are alive at once, or kept entries thrice, and of blocks."""
        n_arrays = 3 if self.target == "future" else min(self.steps, 2) + 1
        square = 4 * self.n_items**2
        n_bytes = square * n_arrays + min(BLOCK_BYTES, square)
        if self.n_local is not None:
            kept = 8 * self.n_items * min(self.n_kept, self.n_local, self.n_items)
            n_bytes = 3 * (kept + min(BLOCK_BYTES, square))
        return n_bytes / 2**20

    def _check_memory(self, needed: float) -> None:
        """Refuse before the system ends the process; a GPU that solves says what it lacks."""
        is_here = self.device.type == "cpu" or self.n_local is not None
        if is_here and needed > machine_memory_mb():
            key = "local_items" if self.n_local is None else "kept_weights"
            raise UserError(
                f"model LinDiffRec: {self.n_items} items need {needed / 1024:.1f} GiB, and this "
                f"machine has {machine_memory_mb() / 1024:.1f} GiB for it; expected key `{key}` "
                f"{'to be set, such as 500' if self.n_local is None else 'to be less'}, or fewer "
                "items, such as by key `item_inter_num_interval`"
            )

    def _row_scale(self, lengths: Tensor) -> Tensor:
        """Step 1: 1 / |x_u|^a of each row."""
        return lengths.clamp_min(1).double().pow(-self.history_power).float()

    def _all_rows(self) -> RowBatch:
        users = torch.arange(self.n_users, device=self.counts.device)
        return self.rows.batch(users).to(torch.device("cpu"))

    def _matrix(self) -> sp.csr_matrix:
        """Y [n_users, n_items] of step 1, with weights by age if they are asked for in training."""
        rows = self._all_rows()
        values = self._scaled(rows).values if self.is_recent_in_training else self._even(rows)
        return rows._replace(values=values).matrix(self.n_items)

    def _even(self, rows: RowBatch) -> Tensor:
        return self._row_scale(rows.lengths)[rows.rows]

    def _scaled(self, rows: RowBatch) -> RowBatch:
        """Rows of step 1 with the weights by age of step 6."""
        return rows._replace(values=rows.values * self._even(rows))

    def _causal_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Step 6: the denoiser's target is what comes after."""
        rows = self._all_rows()
        age = torch.arange(int(rows.lengths.max()))
        weights = self.recency.weights(age, age + 1).double().numpy()
        scale = self._row_scale(rows.lengths).double().square().numpy()
        return causal_moments(rows, self.n_items, weights, scale)

    def _add_features(self, *moments: np.ndarray) -> float:
        """Step 4: features are further rows that tell which items go together; gives tau."""
        tau = self._mean_diagonal(moments[0].trace(dtype=np.float64))
        for weight, vectors in self.features.values():
            for moment in moments:
                add_second_moment(moment, vectors.T, weight * tau)
        return tau

    def _mean_diagonal(self, trace: float) -> float:
        tau = float(trace) / (self.n_items - 1)
        expect(tau > 0, "history_power", self.history_power, "a smaller number: all rows are 0")
        return tau

    def _penalty(self, diagonal: np.ndarray, tau: float, growth: float = 1.0) -> np.ndarray:
        """Step 3: the noise's part of a denoiser's second moment; lambda counts in units of tau."""
        strength = self.reg_weight * growth
        if self.noise == "gaussian":
            return np.full(len(diagonal), strength * tau, np.float32)
        return np.where(diagonal > 0, strength * diagonal, 1).astype(np.float32)

    def _penalties(self, diagonal: np.ndarray, tau: float) -> list[np.ndarray]:
        """Step 5: of each denoiser; a constant one is one object, for which one solution serves."""
        if self.noise_schedule == "constant":
            return [self._penalty(diagonal, tau)] * self.steps
        growth = self.step_ratio**-2  # sigma_t^2 / sigma_{t-1}^2
        return [self._penalty(diagonal, tau, growth**t) for t in range(self.steps)]

    # Scoring

    @torch.no_grad()
    def explain(self, history: Sequence[int] | Tensor, item: int) -> Tensor:
        """What each item of a history adds to the score of an item; the score is their sum.

        Args:
            history: Internal item ids, with ``recency`` in the order of time; not empty.
            item: Internal id.

        Returns:
            [len(history)].

        Raises:
            UserError: An item that is not in the data, or is in the history twice.
        """
        if not 0 < item < self.n_items:
            raise UserError(f"explain: found item {item}, expected 1..{self.n_items - 1}")
        rows = self._scaled(history_rows([history], self.n_items, self.recency))
        rows = rows.to(self.counts.device)
        is_local = self.local_weights.is_set
        column = self.local_weights.column(item) if is_local else self.weights[:, item]
        return rows.values * column[rows.items] * self.popularity[item]

    def matrix(self) -> np.ndarray | sp.csr_matrix:
        """M [n_items, n_items] on the CPU, without the popularity of step 7; sparse if local."""
        return self.local_weights.matrix() if self.local_weights.is_set else super().matrix()

    def _scores(self, rows: RowBatch) -> Tensor:
        """Step 7; a row without items is ranked by popularity."""
        scores = self._product(self._scaled(rows))
        scores[rows.lengths == 0] = self.counts
        return scores

    def _product(self, scaled: RowBatch, items: Tensor | None = None) -> Tensor:
        """Scaled rows times M, of all items or of some [n]."""
        popularity = self.popularity if items is None else self.popularity[items]
        if self.local_weights.is_set:
            return self.local_weights.product(scaled, items) * popularity
        weights = self.weights if items is None else self.weights[:, items]
        return scaled.product(weights) * popularity

    def unit_scores(self, rows: RowBatch, items: Tensor | None = None) -> Tensor:
        """Scores of rows that step 1 scales to Euclidean length 1, for another model to learn on.

        Args:
            rows: Items in the order of time; values 1, or 0 for an item that counts for nothing.
            items: Internal ids, int64 [n]; None for all.

        Returns:
            [B, n_items], or [B, n]; zeros for a row without items.
        """
        weights = self.recency.weights(rows.ages, rows.row_lengths)
        return self._product(unit_length(rows, weights), items)


def feature_weights(config: Mapping[str, Any]) -> dict[str, float]:
    """Weight alpha of each feature that guides the model; one number stands for all declared.

    Raises:
        UserError: A name that is not declared.
    """
    declared, weights = feature_names(config), config["feature_weights"]
    if not isinstance(weights, Mapping):
        return {name: weights for name in declared if weights}
    for name in weights:
        expect(
            name in declared,
            "feature_weights",
            weights,
            f"names under `item_features`: {', '.join(declared) or 'none are declared'}",
        )
    return {name: weight for name, weight in weights.items() if weight}
