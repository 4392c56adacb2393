"""Draws of a search that hang on its seed and results alone, not on the process that makes them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

# Trials at random before the search learns from them; budgets here are of 6 to 50 trials.
N_RANDOM_TRIALS = 5


class SlotSampler(BaseSampler):
    """Optuna's TPE, seeded anew for each slot and parameter; some slots may be given.

    A slot is a place among the trials that are asked for. A trial that was killed leaves its slot
    to a later one, which, after the same results, is given the same parameters.

    Args:
        seed: Of the search.
        given: Parameters of the first slots, such as the defaults, or a whole grid.
    """

    def __init__(self, seed: int, given: Sequence[Mapping[str, Any]] = ()) -> None:
        self._seed = seed
        self._given = given

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing: each parameter is drawn by itself."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing, as its space is empty."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter of a trial whose user attribute ``slot`` is set."""
        slot = trial.user_attrs["slot"]
        if slot < len(self._given):
            return self._given[slot][param_name]
        digest = hashlib.sha256(f"{self._seed}/{slot}/{param_name}".encode()).digest()
        sampler = TPESampler(
            seed=int.from_bytes(digest[:4], "big"),
            n_startup_trials=N_RANDOM_TRIALS,
            multivariate=False,
        )
        return sampler.sample_independent(study, trial, param_name, param_distribution)
