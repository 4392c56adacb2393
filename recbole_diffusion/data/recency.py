"""What an interaction weighs by how recent it is in its user's history."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.settings.recency import check_recency, is_held_out_later


@dataclass(frozen=True)
class Recency:
    """Weights of a history's interactions, of which the latest has age 0.

    Attributes:
        kind: ``none``: all weigh 1. ``linear``: evenly from ``least`` for the first to ``most`` for
            the latest, as T-DiffRec does; a single one has ``least``. ``power``: (1 + age)^-decay.
            ``exponential``: exp(-decay age).
        decay: Of power and exponential.
        least: Of linear.
        most: Of linear.

    Source: Wang et al. 2023, section 3.6 (linear).
    """

    kind: str = "none"
    decay: float = 0.0
    least: float = 1.0
    most: float = 1.0

    def __str__(self) -> str:
        """The weight as a formula of age and length."""
        return {
            "linear": f"{self.least} + ({self.most} - {self.least}) (length - 1 - age) / "
            "max(length - 1, 1)",
            "power": f"(1 + age)^-{self.decay}",
            "exponential": f"exp(-{self.decay} age)",
        }.get(self.kind, "1")

    def weights(self, age: Tensor, length: Tensor) -> Tensor:
        """Weights of interactions.

        Args:
            age: Number of later interactions of the same user, int64 [n].
            length: Number of all interactions of that user, int64 [n].

        Returns:
            float32 [n].
        """
        if self.kind == "linear":
            share = (length - 1 - age) / (length - 1).clamp_min(1)
            return (self.least + (self.most - self.least) * share).float()
        if self.kind == "power":
            return (1.0 + age.double()).pow(-self.decay).float()
        if self.kind == "exponential":
            return torch.exp(-self.decay * age.double()).float()
        return torch.ones_like(age, dtype=torch.float32)


ALIKE = Recency()


def times_of(dataset: Any, time_field: str) -> Any:
    """Times of a data set's interactions [n], float64.

    Raises:
        UserError: The data have no time.
    """
    if time_field not in dataset.inter_feat:
        raise UserError(
            f"data set {dataset.dataset_name}: no time field is loaded: expected key `TIME_FIELD` "
            f"(found {time_field!r}) to name a float column of `.inter`, and `load_col` to hold it"
        )
    return dataset.inter_feat[time_field].numpy()


def recency_of(config: Any, dataset: Any) -> Recency:
    """The weights that the keys ``recency`` and ``recency_decay`` name.

    For linear weights the first interaction weighs 1 - ``recency_decay``. ``auto`` is ``power``
    where what is held out is later: the split follows the times, or is given with times.

    Raises:
        UserError: Values that do not fit.
    """
    check_recency(config)
    kind, decay = config["recency"], config["recency_decay"]
    if kind == "auto":
        is_timed = config["TIME_FIELD"] in dataset.inter_feat
        kind = "power" if is_timed and is_held_out_later(config) else "none"
    return Recency(kind, decay, least=1 - decay if kind == "linear" else 1.0)
