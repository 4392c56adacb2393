"""LD4MRec: Simplifying and Powering Diffusion Model for Multimedia Recommendation.

Zhu et al., https://arxiv.org/abs/2309.15363. Interaction rows are noised a little in training; a
network that is told of the user's collaborative and modality preference signals predicts softened
rows. Scores come from the rows as they are, in one pass. What the paper leaves open, and departures
from it, stand in ``docs/models/ld4mrec.md``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.base.errors import expect, refusals_of
from recbole_diffusion.data.features import load_item_features
from recbole_diffusion.diffusion import (
    GaussianDiffusion,
    ImportanceSampler,
    UniformSampler,
    make_betas,
    sinusoidal_embedding,
)
from recbole_diffusion.models.base import MeanOverUsers, RowRecommender
from recbole_diffusion.models.channels import (
    check_digests,
    check_modalities,
    digest_of,
    modality_names,
)
from recbole_diffusion.models.ld4mrec.network import ConditionalNetwork, Conditions
from recbole_diffusion.nn.factors import item_factors
from recbole_diffusion.nn.rows import (
    DenseRows,
    InteractionRows,
    RowBatch,
    history_rows,
    interaction_matrix,
)
from recbole_diffusion.training.carry import ITEMS, USERS, WHOLE, Matches


class LD4MRec(MeanOverUsers, RowRecommender):
    """The model of sections 4 and 5; keys and their meaning stand in properties/model/LD4MRec.yaml.

    Raises:
        UserError: A modality that names no features, a rank that the train matrix does not have,
            or a key out of its range.
    """

    id_axes = {
        "initial_step_embedding.weight": (USERS,),
        "denoiser.input_weight": (ITEMS,),
        "denoiser.output_layer.*": (ITEMS,),
        "item_vectors": (ITEMS,),
        "singular_values": (WHOLE,),
    }
    item_degrees: Tensor
    item_vectors: Tensor
    singular_values: Tensor
    step_table: Tensor

    @staticmethod
    def check_config(config: Any) -> None:
        """Called before data are read."""
        check_modalities(config)

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.steps = config["steps"]
        self.sampling_steps = config["sampling_steps"]
        self.soft_label_prob = config["soft_label_prob"]
        self.soft_label_shift = config["soft_label_shift"]
        self.activation = config["activation"]
        self.use_collaboration = config["use_collaboration"]
        self._check_settings(config)
        self.modalities = modality_names(config, "LD4MRec")
        self._build_diffusion(config)
        interactions = interaction_matrix(dataset)
        users, items = (places.astype(np.int64) for places in interactions.nonzero())
        self.rows = InteractionRows(users, items, self.n_users)
        degrees = np.bincount(items, minlength=self.n_items).astype(np.float32)
        self.register_buffer("item_degrees", torch.from_numpy(degrees), persistent=False)
        self._build_signals(config, dataset, interactions)
        self._build_network(config)

    def _build_signals(self, config: Any, dataset: Any, interactions: sp.csr_matrix) -> None:
        """Section 5.1 for all users; checkpoints hold all but the features."""
        everyone = self.rows.batch(torch.arange(self.n_users))
        if self.use_collaboration:
            factors = item_factors(interactions, config["svd_rank"], config["seed"])
            self.register_buffer("item_vectors", torch.from_numpy(factors.vectors))
            self.register_buffer("singular_values", torch.from_numpy(factors.singular_values))
            self.register_buffer("collaborative", self._collaborative(everyone))
        for name in self.modalities:
            features = load_item_features(config, dataset, name)
            self.register_buffer(f"digest_{name}", digest_of(features))
            self.register_buffer(f"features_{name}", torch.from_numpy(features), persistent=False)
            self.register_buffer(f"preference_{name}", self._preference(everyone, name))

    def _check_settings(self, config: Any) -> None:
        steps, forward = self.steps, self.sampling_steps
        expect(forward <= steps, "sampling_steps", forward, f"0..{steps} (`steps`)")

    def _build_diffusion(self, config: Any) -> None:
        with refusals_of("LD4MRec", ValueError):
            betas = make_betas(  # Eq. 3: the noise grows to noise_scale itself
                "linear-var",
                self.steps,
                noise_scale=config["noise_scale"],
                noise_min=config["noise_min"],
                noise_max=1.0,
            )
        self.diffusion = GaussianDiffusion(betas)
        self.sampler: ImportanceSampler | UniformSampler = UniformSampler(self.steps)
        if config["importance_sampling"]:  # Eq. 8
            self.sampler = ImportanceSampler(self.steps, uniform_prob=0.0, power=1)
        timesteps = torch.arange(1, self.steps + 1)
        table = sinusoidal_embedding(timesteps, config["step_embedding_size"], "interleaved")
        self.register_buffer("step_table", table, persistent=False)  # Eq. 17

    def _build_network(self, config: Any) -> None:
        std, step_size = config["embedding_std"], config["step_embedding_size"]
        self.initial_step_embedding = nn.Embedding(self.n_users, step_size)
        if std is None:
            nn.init.xavier_normal_(self.initial_step_embedding.weight)
        else:
            nn.init.normal_(self.initial_step_embedding.weight, std=std)
        self.denoiser = ConditionalNetwork(
            self.n_items,
            config["hidden_size"],
            step_size,
            self.collaborative.shape[1] if self.use_collaboration else None,
            {name: self.get_buffer(f"preference_{name}").shape[1] for name in self.modalities},
            config["preference_hidden_size"],
            self.activation,
        )

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Mean weighted loss of the users in a batch that have interactions.

        Source: Algorithm 1; Eq. 8.
        """
        users = self.rows.non_empty(interaction[self.USER_ID])
        if not len(users):
            return self._no_loss()
        x_start = self.rows.batch(users).dense(self.n_items)
        timesteps, weights = self.sampler.sample(len(users))
        noise = torch.randn_like(x_start)
        target = soft_labels(x_start, self.soft_label_prob, self.soft_label_shift)
        losses = self.step_losses(users, x_start, target, timesteps, noise)
        self.sampler.update(timesteps, losses)
        return (weights * losses).mean()

    def step_losses(
        self, users: Tensor, x_start: Tensor, target: Tensor, timesteps: Tensor, noise: Tensor
    ) -> Tensor:
        """Loss of each user at a step [B].

        Args:
            users: int64 [B].
            x_start: Their rows [B, n_items].
            target: Their softened rows [B, n_items].
            timesteps: Steps [B], int64, from 0.
            noise: Standard normal [B, n_items].

        Source: Eq. 2, 4 and 6.
        """
        x_t = self.diffusion.q_sample(x_start, timesteps, noise)
        output = self.denoiser(x_t, self._conditions(users, timesteps))
        return functional.mse_loss(output, target, reduction="none").sum(dim=1)

    def _conditions(self, users: Tensor, timesteps: Tensor | None) -> Conditions:
        """Of users [B] of the data, after some forward steps [B] or none."""
        step = self.initial_step_embedding(users)
        if timesteps is not None:
            step = step + self.step_table[timesteps]
        collaborative = self.get_buffer("collaborative")[users] if self.use_collaboration else None
        preferences = [self.get_buffer(f"preference_{name}")[users] for name in self.modalities]
        return Conditions(step, collaborative, preferences)

    def _collaborative(self, rows: RowBatch | DenseRows) -> Tensor:
        """Eq. 15 [B, 2 * svd_rank] for any rows; U = R V diag(s)^-1 holds for those of the data."""
        user_vectors = rows.product(self.item_vectors / self.singular_values)
        hop = rows.normalized(self.item_degrees).product(self.item_vectors)
        return torch.cat([user_vectors, hop], dim=1)

    def _preference(self, rows: RowBatch | DenseRows, name: str) -> Tensor:
        """Eq. 16 [B, width] for any rows."""
        features = self.get_buffer(f"features_{name}").float()  # may be kept in half precision
        return rows.normalized(self.item_degrees).product(features)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores [B, n_items] of given users for every item."""
        users = interaction[self.USER_ID]
        return self._scores(self.rows.batch(users), self._conditions(users, self._last_step(users)))

    @torch.no_grad()
    def score_histories(self, histories: Sequence[Sequence[int] | Tensor]) -> Tensor:
        """Scores of users outside the data, without training on them.

        Their signals come from their items, and the initial step embedding is the mean of those of
        the users with interactions.

        Args:
            histories: Internal item ids of each user, in any order.

        Returns:
            [len(histories), n_items]; items of the history are not masked.

        Raises:
            UserError: An item that is not in the data, or is in a history twice.
        """
        rows = history_rows(histories, self.n_items).to(self.step_table.device)
        return self.scores_of_strangers(rows, self.mean_step().expand(len(histories), -1))

    def mean_step(self) -> Tensor:
        """Mean initial step embedding [d] of the users with interactions."""
        has_items = self.rows.offsets.diff() > 0
        return self.initial_step_embedding.weight[has_items].mean(dim=0)

    def scores_of_strangers(self, rows: RowBatch | DenseRows, step: Tensor) -> Tensor:
        """Scores [B, n_items] of any rows, by signals from their items.

        Args:
            rows: Of B users.
            step: Initial step embeddings [B, d].
        """
        last = self._last_step(rows.lengths)
        if last is not None:
            step = step + self.step_table[last]
        collaborative = self._collaborative(rows) if self.use_collaboration else None
        preferences = [self._preference(rows, name) for name in self.modalities]
        return self._scores(rows, Conditions(step, collaborative, preferences))

    def _last_step(self, like: Tensor) -> Tensor | None:
        """Forward steps before the scores for as many users as there are entries; None for none."""
        return torch.full_like(like, self.sampling_steps - 1) if self.sampling_steps else None

    def _scores(self, rows: RowBatch | DenseRows, conditions: Conditions) -> Tensor:
        """Algorithm 2; with ``sampling_steps`` on noised rows, as Figure 3 compares."""
        last, weight = self._last_step(rows.lengths), self.denoiser.input_weight
        if last is None:
            projected = rows.product(weight)
        else:
            projected = self.diffusion.q_sample(rows.dense(self.n_items), last) @ weight
        return self.denoiser.from_projected(projected, conditions)

    def adopt(self, saved: Mapping[str, Any], matches: Matches) -> None:
        """Make the signals of newer data from the older run's singular vectors.

        Those of the newer matrix are others, and mean nothing to the network. A new item gets the
        vector that its users give it: v = R^T U diag(s)^-1 (``training.carry``).
        """
        if not self.use_collaboration:
            return
        device = self.rows.items.device
        everyone = self.rows.batch(torch.arange(self.n_users, device=device))
        is_new = (matches.items < 0).to(device)
        self.item_vectors[is_new] = 0.0
        users = everyone.product(self.item_vectors / self.singular_values)
        summed = torch.zeros_like(self.item_vectors)
        summed.index_add_(0, everyone.items, users[everyone.rows])
        self.item_vectors[is_new] = (summed / self.singular_values)[is_new]
        self.get_buffer("collaborative").copy_(self._collaborative(everyone))

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As PyTorch's.

        Raises:
            UserError: Features have changed since the checkpoint was written.
        """
        check_digests(self, state_dict)
        return super().load_state_dict(state_dict, *args, **kwargs)


def soft_labels(x_start: Tensor, prob: float, shift: float) -> Tensor:
    """Rows of which some entries, drawn one by one, are moved towards the other label.

    Args:
        x_start: Rows of 0 and 1 [B, n].
        prob: Probability of an entry to be drawn.
        shift: A drawn 1 becomes 1 - shift, a drawn 0 becomes shift.

    Source: Eq. 7.
    """
    if prob == 0 or shift == 0:
        return x_start
    is_drawn = torch.rand_like(x_start) < prob
    return torch.where(is_drawn, shift + (1 - 2 * shift) * x_start, x_start)
