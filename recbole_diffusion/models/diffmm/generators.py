"""DiffMM's generators of a modality's user-item graph: the denoiser, and the VGAE in its place.

A generator learns from batches of users' interaction rows, and scores all items for some users; the
graph is made of the items with the largest scores.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.base.errors import expect, refusals_of
from recbole_diffusion.diffusion import GaussianDiffusion, make_betas
from recbole_diffusion.diffusion.inference import HiddenChain, reverse_coefficients
from recbole_diffusion.models.diffrec.model import check_sizes
from recbole_diffusion.nn.autoencoder import gaussian_kl
from recbole_diffusion.nn.graph import BipartiteGraph
from recbole_diffusion.nn.layers import MirroredMLP, aligned_rows
from recbole_diffusion.nn.loss import row_square_error
from recbole_diffusion.nn.rows import RowBatch

Scorer = Callable[[Tensor, RowBatch], Tensor]
"""Scores [B, n_items] of users [B] with their rows; the next call may write over them."""


class Signal(NamedTuple):
    """What a generator is told by the recommendation task, whose weights it leaves alone.

    Attributes:
        users: Id embeddings E^u [n_users, d].
        items: Id embeddings E^i [n_items, d].
        features: Aligned features e_m of the modality [n_items, d].
    """

    users: Tensor
    items: Tensor
    features: Tensor


class DiffusionGenerator(nn.Module):
    """A modality's denoiser of interaction rows; keys stand in properties/model/DiffMM.yaml.

    Args:
        config: Settings.
        n_items: Width of a row.

    Raises:
        UserError: A key out of its range.

    Source: DiffMM, section 2.2.
    """

    def __init__(self, config: Any, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.reweight = config["reweight"]
        self.use_half_snr = config["use_half_snr"]
        self.msi_weight = config["msi_weight"]
        self.sampling_steps = config["sampling_steps"]
        self.reduction = config["generator_reduction"]
        self._check_settings(config)
        with refusals_of("DiffMM", ValueError):
            betas = make_betas(  # Eq. 3
                config["noise_schedule"],
                config["steps"],
                noise_scale=config["noise_scale"],
                noise_min=config["noise_min"],
                noise_max=config["noise_max"],
                first_beta=config["first_beta"],
            )
        self.diffusion = GaussianDiffusion(betas)
        self.denoiser = MirroredMLP(
            n_items, config["hidden_sizes"], config["step_embedding_size"], config["dropout"]
        )

    def _check_settings(self, config: Any) -> None:
        steps, forward = config["steps"], self.sampling_steps
        expect(forward <= steps, "sampling_steps", forward, f"0..{steps} (`steps`)")
        check_sizes("hidden_sizes", config["hidden_sizes"])

    def losses(self, users: Tensor, rows: RowBatch, signal: Signal) -> tuple[Tensor, ...]:
        """Weighted terms of Eq. 24, as means over a batch: ELBO, and with a weight the signal's.

        Args:
            users: int64 [B].
            rows: Of these users.
            signal: What the modality tells.
        """
        timesteps = torch.randint(self.diffusion.num_timesteps, users.shape, device=users.device)
        x_t = self.diffusion.q_sample(rows.dense(self.n_items), timesteps)
        return self.step_losses(x_t, timesteps, rows, signal)

    def step_losses(
        self, x_t: Tensor, timesteps: Tensor, rows: RowBatch, signal: Signal
    ) -> tuple[Tensor, ...]:
        """The terms for given noisy rows; no predicted row is made.

        Args:
            x_t: Noisy rows [B, n_items].
            timesteps: Their steps [B], int64, from 0.
            rows: Clean.
            signal: What the modality tells.

        Source: Eq. 13 (11 and 12 with ``reweight``) and 14.
        """
        hidden = self.denoiser.last_hidden(x_t, timesteps)
        weight, bias = self.denoiser.output_weight, self.denoiser.output_bias
        errors = row_square_error(hidden, weight, bias, rows)  # Eq. 13
        if self.reweight:
            errors = self.diffusion.snr_weight(timesteps, self.use_half_snr) * errors
        is_element = self.reduction == "element"
        elbo = errors.mean() / (self.n_items if is_element else 1)
        if self.msi_weight == 0:
            return (elbo,)
        # Eq. 14; (h V^T) e = h (V^T e)
        predicted = hidden @ (weight.T @ signal.features) + bias @ signal.features
        observed = rows.product(signal.items)
        injection = (predicted - observed).square().sum(dim=1).mean()
        return elbo, self.msi_weight * injection / (observed.shape[1] if is_element else 1)

    def scorer(self, signal: Signal) -> Scorer:
        """The reverse chain of the weights as they are, without dropout (section 2.2.3).

        Args:
            signal: Not read: what the modality tells lies in the weights.
        """
        chain = HiddenChain(self.denoiser, reverse_coefficients(self.diffusion, "x0"))
        memory = chain.input_weight.new_empty(0)

        def scores(users: Tensor, rows: RowBatch) -> Tensor:
            out = aligned_rows(memory, len(users), self.n_items)
            if self.sampling_steps == 0:
                return chain.scores(rows.product(chain.input_weight), out=out)
            last = torch.full_like(users, self.sampling_steps - 1)
            x_t = self.diffusion.q_sample(rows.dense(self.n_items), last)
            return chain.scores(x_t @ chain.input_weight, out=out)

        return scores


class GraphAutoencoder(nn.Module):
    """VGAE of the interaction graph, which takes the denoiser's place in the ablation w/o DM.

    Users bring their id embeddings, items their aligned features. Two graph convolutions with
    self-loops make Gaussian latents, whose inner products are the logits of edges.

    Args:
        config: Settings.
        graph: Normalised, with self-loops.
        n_users: Of its nodes, the padding among them.

    Source: Kipf and Welling 2016, Variational Graph Auto-Encoders; DiffMM, section 3.3.
    """

    def __init__(self, config: Any, graph: BipartiteGraph, n_users: int) -> None:
        super().__init__()
        self.graph, self.n_users = graph, n_users
        self.reduction = config["generator_reduction"]
        size = config["embedding_size"]
        self.hidden_layer = nn.Linear(size, size, bias=False)
        self.latent_layer = nn.Linear(size, 2 * size, bias=False)
        for layer in (self.hidden_layer, self.latent_layer):
            nn.init.xavier_uniform_(layer.weight)

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor]:
        """Mean and logarithmic variance of all nodes' latents, each [N, d]."""
        nodes = torch.cat([signal.users, signal.features])
        hidden = functional.relu(self.graph(self.hidden_layer(nodes)))
        mean, log_variance = self.graph(self.latent_layer(hidden)).chunk(2, dim=1)
        return mean, log_variance

    def losses(self, users: Tensor, rows: RowBatch, signal: Signal) -> tuple[Tensor, ...]:
        """Reconstruction of a batch's rows, and KL divergence of all nodes; a mean over users.

        Args:
            users: int64 [B].
            rows: Of these users.
            signal: What the modality tells.
        """
        mean, log_variance = self.encode(signal)
        latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        logits = latent[users] @ latent[self.n_users + 1 :].T  # without the padding item
        observed = logits[rows.rows, rows.items - 1] * rows.values
        reconstruction = (functional.softplus(logits).sum() - observed.sum()) / len(users)
        is_node = torch.ones(len(mean), dtype=torch.bool, device=mean.device)
        is_node[[0, self.n_users]] = False
        n_nodes = len(mean) - 2
        kl = gaussian_kl(mean[is_node], log_variance[is_node]) * n_nodes / (self.n_users - 1)
        scale = logits.shape[1] if self.reduction == "element" else 1
        return reconstruction / scale, kl / scale

    def scorer(self, signal: Signal) -> Scorer:
        """Logits of edges between mean latents."""
        mean, _ = self.encode(signal)
        items = mean[self.n_users :].T
        return lambda users, rows: mean[users] @ items
