"""DDRM: embeddings of users and items, noised and denoised, each guided by the other side.

Zhao et al. 2024, Denoising Diffusion Recommender Model, SIGIR, https://arxiv.org/abs/2401.06982.
Departures, and what could not be read in the paper, stand in ``docs/models/ddrm.md``.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.base.errors import expect
from recbole_diffusion.diffusion import GaussianDiffusion, sinusoidal_embedding
from recbole_diffusion.models.base import EmbeddingRecommender
from recbole_diffusion.models.channels import check_base_files, check_base_widths, schedule_of
from recbole_diffusion.models.ddrm.settings import DDRMSettings
from recbole_diffusion.nn.rows import InteractionRows, interaction_matrix
from recbole_diffusion.settings.item_features import EMBEDDING_FILES

# Users that are denoised at a time.
BLOCK_USERS = 2**15


class DDRM(EmbeddingRecommender):
    """LightGCN's embeddings with a denoiser a side; what an item's makes of a history scores."""

    input_type = InputType.PAIRWISE
    train_loader = "interactions"
    is_baseline = True
    loss_names = ("reconstruction", "BPR")
    # Read by the trainer: the embeddings come before the first epoch.
    needs_base_embeddings = True
    base_embedding_keys = EMBEDDING_FILES

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys = keys = DDRMSettings(config)
        self.seed = config["seed"]
        check_base_widths(config, dataset, keys.embedding_size)
        users, items = (ids.astype(np.int64) for ids in interaction_matrix(dataset).nonzero())
        self.rows = InteractionRows(users, items, self.n_users)
        self.diffusion = GaussianDiffusion(schedule_of(config, "DDRM"))
        self.user_embedding = nn.Embedding(self.n_users, keys.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, keys.embedding_size)
        for table in (self.user_embedding, self.item_embedding):
            nn.init.xavier_normal_(table.weight)
        sizes = keys.embedding_size, keys.hidden_sizes, keys.step_embedding_size
        self.user_denoiser, self.item_denoiser = GuidedMLP(*sizes), GuidedMLP(*sizes)

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse steps that there are not, and a file for one side alone."""
        steps, n_taken = config["steps"], config["sampling_steps"]
        expect(n_taken <= steps, "sampling_steps", n_taken, f"1..{steps} (`steps`)")
        check_base_files(config, list(EMBEDDING_FILES), "DDRM begins with")

    def set_base_embeddings(self, user_embedding: np.ndarray, item_embedding: np.ndarray) -> None:
        """Begin with embeddings of LightGCN, or of files.

        Args:
            user_embedding: [n_users, d].
            item_embedding: [n_items, d].
        """
        for table, base in (
            (self.user_embedding, user_embedding),
            (self.item_embedding, item_embedding),
        ):
            table.weight.data.copy_(torch.from_numpy(base))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Denoisers and embeddings for an optimiser, each with its learning rate."""
        denoisers = [*self.user_denoiser.parameters(), *self.item_denoiser.parameters()]
        embeddings = [self.user_embedding.weight, self.item_embedding.weight]
        rates = self.keys.learning_rate, self.keys.embedding_learning_rate
        return [
            {"params": part, "lr": rate}
            for part, rate in zip((denoisers, embeddings), rates, strict=True)
        ]

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """Weighted reconstruction and BPR of a batch, at a random step a pair."""
        names = self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID
        users, positive, negative = (interaction[name] for name in names)
        start = torch.stack(
            [
                self.user_embedding.weight.index_select(0, users),
                self.item_embedding.weight.index_select(0, positive),
                self.item_embedding.weight.index_select(0, negative),
            ]
        )
        n_steps = self.diffusion.num_timesteps
        timesteps = torch.randint(n_steps, users.shape, device=start.device)
        terms = self.pair_losses(start, timesteps, torch.randn_like(start))
        return terms[0].mean(), terms[1].mean()

    def pair_losses(self, start: Tensor, timesteps: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted terms of each pair.

        Args:
            start: Embeddings of users, their items, and items drawn for them [3, B, d].
            timesteps: Of each pair [B], int64, from 0.
            noise: Standard normal [3, B, d].

        Returns:
            Reconstruction [B] and BPR [B].
        """
        noisy = [
            self.diffusion.q_sample(clean, timesteps, drawn)
            for clean, drawn in zip(start, noise, strict=True)
        ]
        user, item, _ = start
        pred_user = self.user_denoiser(noisy[0], item, timesteps)
        pred_item = self.item_denoiser(noisy[1], user, timesteps)
        pred_drawn = self.item_denoiser(noisy[2], user, timesteps)
        reconstruction = _square_distance(pred_user, user) + _square_distance(pred_item, item)
        score, drawn_score = ((pred_user * x).sum(dim=1) for x in (pred_item, pred_drawn))
        weight = torch.sigmoid(score.detach()) ** self.keys.reweight_power
        share = self.keys.reconstruction_weight
        ranking = functional.softplus(drawn_score - score)
        return share * weight * reconstruction, (1 - share) * weight * ranking

    def scoring_embeddings(self) -> tuple[Tensor, Tensor]:
        """What is generated for each user [n_users, d], and the item embeddings [n_items, d].

        The noise is drawn from the run's seed, so that scores are the same in each call.
        """
        items = self.item_embedding.weight
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(self.n_users, items.shape[1], generator=generator)
        noise = noise.to(items.device)
        ids = torch.arange(self.n_users, device=items.device)
        generated = [self.generate(block, noise[block]) for block in ids.split(BLOCK_USERS)]
        return torch.cat(generated), items

    def generate(self, users: Tensor, noise: Tensor) -> Tensor:
        """From the mean of each user's items T' steps forward and back, guided by the user.

        Args:
            users: int64 [B].
            noise: Standard normal [B, d].

        Returns:
            The item that each would like [B, d].
        """
        rows, guide = self.rows.batch(users), self.user_embedding.weight[users]
        mean = rows.product(self.item_embedding.weight) / rows.lengths.clamp_min(1)[:, None]
        n_steps = self.keys.sampling_steps
        x_t = self.diffusion.q_sample(mean, torch.full_like(users, n_steps - 1), noise)

        def denoise(x: Tensor, timesteps: Tensor) -> Tensor:
            output: Tensor = self.item_denoiser(x, guide, timesteps)
            return output

        return self.diffusion.p_sample_loop(denoise, x_t, "x0", num_steps=n_steps)


def _square_distance(output: Tensor, target: Tensor) -> Tensor:
    """Of each row [B]."""
    return (output - target).square().sum(dim=1)


class GuidedMLP(nn.Module):
    """Predicts an embedding from its noisy one, its guide and the step; ReLU between layers.

    Args:
        size: Width d of the embedding and of its guide.
        hidden_sizes: Of the hidden layers, from the input on.
        step_embedding_size: Width of the step's embedding.
    """

    def __init__(self, size: int, hidden_sizes: Sequence[int], step_embedding_size: int) -> None:
        super().__init__()
        self.step_embedding_size = step_embedding_size
        self.step_layer = nn.Linear(step_embedding_size, step_embedding_size)
        widths = [2 * size + step_embedding_size, *hidden_sizes, size]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(widths))

    def forward(self, x_t: Tensor, guide: Tensor, timesteps: Tensor) -> Tensor:
        """Of noisy embeddings and guides [B, d] each, at steps int64 [B]; returns [B, d]."""
        step = self.step_layer(sinusoidal_embedding(timesteps, self.step_embedding_size))
        hidden = torch.cat([x_t, guide, step], dim=1)
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        output: Tensor = self.layers[-1](hidden)
        return output
