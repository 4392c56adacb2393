"""iALS: each user's factors are solved with the items' held fixed, and the other way about.

Source: Hu, Koren and Volinsky 2008, Collaborative Filtering for Implicit Feedback Datasets (ICDM).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from recbole.utils import InputType, ModelType
from torch import Tensor, nn

from recbole_diffusion.base.arguments import needed_package
from recbole_diffusion.models.base import EmbeddingRecommender
from recbole_diffusion.models.ials.settings import IALSSettings
from recbole_diffusion.nn.rows import interaction_matrix


class IALS(EmbeddingRecommender):
    """Minimises sum over all pairs of c_ui (p_ui - x_u y_i)^2 + lambda (|X|^2 + |Y|^2) (Eq. 3).

    Attributes:
        user_factors: X [n_users, f], made by ``solve``.
        item_factors: Y [n_items, f].
    """

    type = ModelType.TRADITIONAL
    input_type = InputType.PAIRWISE
    train_loader = "interactions"
    is_baseline = True
    user_factors: Tensor
    item_factors: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys, self.seed = IALSSettings(config), config["seed"]
        self._interactions = interaction_matrix(dataset)
        size = self.keys.embedding_size
        self.register_buffer("user_factors", torch.zeros(self.n_users, size))
        self.register_buffer("item_factors", torch.zeros(self.n_items, size))
        self.unused = nn.Parameter(torch.zeros(1))  # RecBole's optimiser wants one

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse a run without the package that solves.

        Raises:
            UserError: It is not installed.
        """
        needed_package("implicit", "ials", "model IALS")

    def solve(self) -> None:
        """Alternate between users and items; the trainer calls it once."""
        als = needed_package("implicit.cpu.als", "ials", "model IALS")
        keys = self.keys
        solver = als.AlternatingLeastSquares(
            factors=keys.embedding_size,
            regularization=keys.reg_weight,
            alpha=keys.confidence,
            iterations=keys.iterations,
            num_threads=torch.get_num_threads(),
            random_state=self.seed,
        )
        # The package's bar would write into the middle of ours.
        solver.fit(self._interactions, show_progress=False)
        for name, factors in (("user", solver.user_factors), ("item", solver.item_factors)):
            self.get_buffer(f"{name}_factors").copy_(torch.from_numpy(np.asarray(factors)))

    def scoring_embeddings(self) -> tuple[Tensor, Tensor]:
        """X and Y."""
        return self.user_factors, self.item_factors

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Zero: nothing is trained by gradients."""
        return self.unused.sum() * 0.0
