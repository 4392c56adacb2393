r"""SimDiff: A Simple yet Efficient Diffusion-based Collaborative Filtering Framework.

Item features take the place of noise: the latent variable mixes item embeddings with a guide made
of features, a denoiser generates item embeddings from it in one step, and BPR learns on what was
generated. Scores come from embeddings generated in all steps, after a few graph convolutions.

Departures from the paper and from the authors' code are listed in docs/models/simdiff.md.
"""

from collections.abc import Sequence
from logging import getLogger
from typing import Any

import numpy as np
import torch
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.base.errors import expect, refusals_of
from recbole_diffusion.diffusion import GaussianDiffusion
from recbole_diffusion.diffusion.inference import (
    ReverseCoefficients,
    compose_affine_chain,
    reverse_coefficients,
)
from recbole_diffusion.diffusion.schedule import respaced_betas
from recbole_diffusion.models.channels import (
    GRAPH_CHANNELS,
    ChannelRecommender,
    check_base_files,
    check_base_widths,
    check_channels,
    schedule_of,
)
from recbole_diffusion.nn.layers import StepEmbedding
from recbole_diffusion.nn.loss import bpr_of_products, square_error
from recbole_diffusion.settings.item_features import feature_names


class SimDiff(ChannelRecommender):
    """The model of section V; keys and their meaning stand in properties/model/SimDiff.yaml.

    Raises:
        UserError: A channel that names nothing known, or a key out of its range.
    """

    input_type = InputType.PAIRWISE
    # Terms of the loss in their order, as logs and figures call them.
    loss_names = ("BPR", "L2", "reconstruction", "balance")

    @staticmethod
    def check_config(config: Any) -> None:
        """Called before data are read."""
        if config["use_diffusion"] and config["latent"] != "noise":
            check_channels(config, _channel_names(config))

    @staticmethod
    def scores_cold_items(config: Any) -> bool:
        """Whether embeddings are generated from features that guide the denoiser.

        With ``latent: guide`` they tell too little, and ``target: pretrained`` mixes in a fixed
        embedding that nobody has trained. Elsewhere what a cold item's embedding began with is
        small beside its guide.
        """
        channels = config["channels"]
        names = feature_names(config) if channels is None else channels
        is_guided = config["use_diffusion"] and config["latent"] in ("mixed", "item")
        has_features = any(name not in GRAPH_CHANNELS for name in names)
        return bool(is_guided and config["target"] != "pretrained" and has_features)

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.use_diffusion = config["use_diffusion"]
        self.bpr_weight = config["bpr_weight"]
        self.reg_weight = config["reg_weight"]
        self.balance_weight = config["balance_weight"]
        self.reconstruction_reduction = config["reconstruction_reduction"]
        self.balance_form = config["balance_form"]
        self.channels: list[str] = []
        self.target = "item"
        self._generated: Tensor | None = None
        if self.use_diffusion:
            self._build_generation(config, dataset)

    def _build_generation(self, config: Any, dataset: Any) -> None:
        self.latent = config["latent"]
        self.target = config["target"]
        self.reverse_step = config["reverse_step"]
        self.injection_ratio = config["injection_ratio"]
        self.guidance_scale = config["guidance_scale"]
        self.guide_dropout = config["guide_dropout"]
        self.sampling_noise = config["sampling_noise"]
        self._check_generation()
        size = self.embedding_size
        if self.target == "pretrained":
            self._check_pretrained(config, dataset)
        if self.latent != "noise":
            self.channels = check_channels(config, _channel_names(config))
        widths = self._load_channels(config, dataset, self.channels)
        if self.channels:
            self.alignment = SignalAlignment(
                list(widths.values()), size, config["alignment_hidden_size"], config["guide_fusion"]
            )
        if self.latent == "noise" or self.guidance_scale > 0:
            self.unconditional = nn.Parameter(torch.zeros(size))
        with refusals_of(f"SimDiff with key `embedding_size`: found {size}", ValueError):
            self.denoiser = GuidedDenoiser(config["steps"], size, config["denoiser_hidden_size"])
        self._build_process(config)
        if self.target == "pretrained":  # Table IV: only the denoising model learns
            self.user_embedding.requires_grad_(False)
            self.item_embedding.requires_grad_(False)

    def _check_generation(self) -> None:
        is_learned = self.guidance_scale == 0 or (self.guide_dropout > 0 and self.latent != "noise")
        expected = "0 without a guide, and with guide_dropout: 0, which trains nothing to guide by"
        expect(is_learned, "guidance_scale", self.guidance_scale, expected)
        has_guide = self.target != "mixed" or self.latent != "noise"
        expect(has_guide, "target", self.target, "another with latent: noise, which has no guide")
        has_variance = not self.sampling_noise or self.reverse_step == "posterior"
        expect(has_variance, "sampling_noise", True, "false with reverse_step: direct")

    def _check_pretrained(self, config: Any, dataset: Any) -> None:
        """Files of base embeddings, where given, are both there and of the embeddings' width."""
        check_base_files(config, list(GRAPH_CHANNELS.values()), "target: pretrained needs")
        check_base_widths(config, dataset, self.embedding_size)

    def _build_process(self, config: Any) -> None:
        betas = schedule_of(config, "SimDiff")
        with refusals_of("SimDiff", ValueError):
            n_taken = config["respaced_steps"]
            respaced, kept = respaced_betas(betas, len(betas) if n_taken is None else n_taken)
        self.diffusion, self.respaced = GaussianDiffusion(betas), GaussianDiffusion(respaced)
        self.register_buffer("kept_steps", kept, persistent=False)

    @property
    def base_embedding_keys(self) -> set[str]:
        """Keys of the pre-trained embeddings that ``set_base_embeddings`` reads."""
        if self.target == "pretrained":
            return {"pretrained_user_embedding", "pretrained_item_embedding"}
        return super().base_embedding_keys

    def set_base_embeddings(self, user_embedding: np.ndarray, item_embedding: np.ndarray) -> None:
        """Make the graph channels, and with ``target: pretrained`` the embeddings, of these.

        Args:
            user_embedding: [n_users, d].
            item_embedding: [n_items, d].

        Raises:
            ValueError: Embeddings of another shape.
        """
        if self.target == "pretrained":
            tables = {self.user_embedding: user_embedding, self.item_embedding: item_embedding}
            for table, base in tables.items():
                if table.weight.shape != base.shape:
                    found, expected = base.shape, tuple(table.weight.shape)
                    raise ValueError(f"pre-trained embeddings: found {found}, expected {expected}")
                table.weight.data.copy_(torch.from_numpy(base))
        super().set_base_embeddings(user_embedding, item_embedding)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """Weighted terms of Eq. 10 for a batch of (user, positive, negative).

        Returns:
            BPR and regularisation; then, with diffusion, reconstruction and balance.
        """
        user = self.users_of(interaction)
        drawn = torch.stack([interaction[self.ITEM_ID], interaction[self.NEG_ITEM_ID]])
        # Eq. 6 and 8 sum over items, so an item is generated once however often it is drawn.
        items, places, counts = drawn.unique(return_inverse=True, return_counts=True)
        embedding = self.item_embedding.weight.index_select(0, items)
        generated, target = self._generate_once(items, embedding)
        terms = [
            self.bpr_weight * bpr_of_products(user, generated, *places),  # Eq. 7
            self.reg_weight * self.regularization(user, embedding, counts),  # Eq. 9
        ]
        if self.use_diffusion:
            terms += [
                (1 - self.bpr_weight) * self._reconstruction(generated, target),
                self.balance_weight * self._balance(generated),
            ]
        return tuple(terms)

    def _generate_once(self, items: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """One step of generation from a random step, and its target; both [B, d]."""
        if not self.use_diffusion:
            return embedding, embedding
        timesteps = torch.randint(self.diffusion.num_timesteps, items.shape, device=items.device)
        guide = self.guide(items)
        latent, condition = self._latent(embedding, guide, timesteps)
        if self.guidance_scale > 0:
            is_dropped = torch.rand(len(items), 1, device=items.device) < self.guide_dropout
            condition = torch.where(is_dropped, self.unconditional, condition)
        generated: Tensor = self.denoiser(latent, condition, timesteps)
        target = embedding + guide if guide is not None and self.target == "mixed" else embedding
        return generated, target

    def guide(self, items: Tensor | None = None) -> Tensor | None:
        """Guide signal G of Eq. 2 [B, d] of items int64 [B], or of all; None without channels."""
        if self.needs_base_embeddings:
            raise RuntimeError("SimDiff: set_base_embeddings (done by its trainer) comes first")
        if not self.channels:
            return None
        signal: Tensor = self.alignment([self.metadata(name, items) for name in self.channels])
        return signal

    def _latent(
        self, embedding: Tensor, guide: Tensor | None, timesteps: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """X_T (Eq. 3, or a variant of Table IV) and the denoiser's condition, both [B, d].

        Without a guide, Gaussian noise of the steps int64 [B] takes its place, or nothing does.
        """
        if guide is None:
            noisy = (
                embedding if timesteps is None else self.diffusion.q_sample(embedding, timesteps)
            )
            return noisy, self.unconditional.expand_as(embedding)
        if self.latent == "guide":
            return guide, embedding
        if self.latent == "item":
            return embedding, guide
        return self.injection_ratio * embedding + (1 - self.injection_ratio) * guide, guide  # Eq. 3

    def _reconstruction(self, generated: Tensor, target: Tensor) -> Tensor:
        """Eq. 6, as a mean over the batch; both sides learn."""
        return square_error(generated, target, self.reconstruction_reduction)

    def _balance(self, generated: Tensor) -> Tensor:
        """Dual-objective collaboration of Eq. 8."""
        if self.balance_form == "squared":
            return generated.square().sum() / len(generated)
        # A norm, and not the root of a sum, has a gradient at 0.
        return torch.linalg.vector_norm(generated) / len(generated)

    @torch.no_grad()
    def generate(self) -> Tensor:
        """All item embeddings [n_items, d] after the reverse steps (section V-C).

        With a denoiser of one layer and no sampling noise the steps are one affine map, composed in
        O(steps * d^3); else they are taken one by one.
        """
        latent, condition = self.latent_variable()
        if self.denoiser.is_affine and not self.sampling_noise:
            if self.guidance_scale > 0:  # of an affine denoiser, the same as guiding its output
                condition = torch.lerp(self.unconditional, condition, 1 + self.guidance_scale)
            chain = compose_affine_chain(*self.denoiser.affine_parts(), self._coefficients())
            return torch.addmm(chain.bias, latent, chain.input.T).addmm_(condition, chain.guide.T)
        return self._generate_step_by_step(latent, condition)

    @torch.no_grad()
    def latent_variable(self, is_noisy: bool = False) -> tuple[Tensor, Tensor]:
        """X_T of all items and the denoiser's condition, both [n_items, d].

        Args:
            is_noisy: With ``latent: noise``, after all forward steps instead of none.
        """
        last = self._last_step() if is_noisy else None
        return self._latent(self.item_embedding.weight, self.guide(), last)

    @torch.no_grad()
    def noised_embeddings(self) -> Tensor:
        """All item embeddings [n_items, d] with Gaussian noise, after all forward steps."""
        noised: Tensor = self.diffusion.q_sample(self.item_embedding.weight, self._last_step())
        return noised

    def _last_step(self) -> Tensor:
        last = torch.full((self.n_items,), self.diffusion.num_timesteps - 1)
        return last.to(self.item_embedding.weight.device)

    def _generate_step_by_step(self, latent: Tensor, condition: Tensor) -> Tensor:
        """The chain as Eq. 4 writes it; O(steps * n_items * d * h)."""

        def denoise(x_t: Tensor, timesteps: Tensor) -> Tensor:
            timesteps = self.kept_steps[timesteps]
            output: Tensor = self.denoiser(x_t, condition, timesteps)
            if self.guidance_scale == 0:
                return output
            free = self.denoiser(x_t, self.unconditional.expand_as(condition), timesteps)
            return torch.lerp(free, output, 1 + self.guidance_scale)

        if self.reverse_step == "posterior":
            return self.respaced.p_sample_loop(denoise, latent, "x0", self.sampling_noise)
        for step in reversed(range(len(self.kept_steps))):
            latent = denoise(latent, torch.full((len(latent),), step, device=latent.device))
        return latent

    def _coefficients(self) -> ReverseCoefficients:
        if self.reverse_step == "posterior":
            return reverse_coefficients(self.respaced, "x0", self.kept_steps)
        ones = torch.ones(len(self.kept_steps), device=self.kept_steps.device)
        return ReverseCoefficients(ones, 0 * ones, self.kept_steps)

    def scoring_embeddings(self) -> tuple[Tensor, Tensor]:
        """Eq. 11-12: ``n_layers`` graph convolutions of the user and generated item embeddings."""
        if not self.use_diffusion:
            return self.propagated(self.item_embedding.weight)
        self._generated = self.generate()
        return self.propagated(self._generated)

    @property
    def generated(self) -> Tensor | None:
        """Item embeddings [n_items, d] that the last scoring embeddings were made of."""
        return self._generated


class SignalAlignment(nn.Module):
    """MLP of Eq. 2, from features to the guide.

    Args:
        widths: Of each channel's features.
        size: Width d of the guide.
        hidden_size: Of the hidden layer; None for one linear layer (section V-D).
        fusion: ``concat``: one MLP of the concatenated features; ``mean``: the mean of one for each
            channel.

    Raises:
        UserError: Another fusion.
    """

    def __init__(
        self, widths: Sequence[int], size: int, hidden_size: int | None, fusion: str
    ) -> None:
        super().__init__()
        self.is_concat = fusion == "concat"
        inputs = [sum(widths)] if self.is_concat else widths
        self.mlps = nn.ModuleList(_mlp(width, hidden_size, size) for width in inputs)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features [B, width] of each channel; returns the guide [B, d]."""
        is_joined = self.is_concat and len(features) > 1
        inputs = [torch.cat(list(features), dim=1)] if is_joined else features
        signals = [mlp(x) for mlp, x in zip(self.mlps, inputs, strict=True)]
        return signals[0] if len(signals) == 1 else torch.stack(signals).mean(dim=0)


class GuidedDenoiser(nn.Module):
    """MLP of Eq. 4 on [x_t, guide, step embedding], with one layer or two.

    The parts of the first layer are apart: the step's is computed for the T steps, not for rows.

    Args:
        steps: T.
        size: Width d of items and guide.
        hidden_size: Of the hidden layer; None for one linear layer, as in the authors' code.
    """

    def __init__(self, steps: int, size: int, hidden_size: int | None) -> None:
        super().__init__()
        width = hidden_size or size
        self.embed_step = StepEmbedding(steps, size)
        self.from_latent = nn.Linear(size, width)
        self.from_guide = nn.Linear(size, width, bias=False)
        self.from_step = nn.Linear(size, width, bias=False)
        self.to_output = None if hidden_size is None else nn.Linear(width, size)

    @property
    def is_affine(self) -> bool:
        """Whether there is one layer only."""
        return self.to_output is None

    def forward(self, x_t: Tensor, guide: Tensor, timesteps: Tensor) -> Tensor:
        """Latent variables and guides [B, d] at steps int64 [B]; returns embeddings [B, d]."""
        of_latent, of_guide, of_step = self.affine_parts()
        first = torch.addmm(of_step.index_select(0, timesteps), x_t, of_latent.T)
        first = torch.addmm(first, guide, of_guide.T)
        return first if self.to_output is None else self.to_output(functional.gelu(first))

    def affine_parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the first layer: weights of x_t and guide [h, d], and the rest of each step [T, h]."""
        step_bias = self.from_step(self.embed_step()) + self.from_latent.bias
        return self.from_latent.weight, self.from_guide.weight, step_bias


def log_snr(values: Tensor) -> Tensor:
    """Logarithm of the squared mean over the variance of all elements.

    Source: Eq. 22 (Figure 5).
    """
    return (values.mean().square() / values.var(correction=0)).log()


def _mlp(width: int, hidden_size: int | None, size: int) -> nn.Module:
    if hidden_size is None:
        return nn.Linear(width, size)
    return nn.Sequential(nn.Linear(width, hidden_size), nn.GELU(), nn.Linear(hidden_size, size))


def _channel_names(config: Any) -> list[str]:
    """Key ``channels``; by default all features of the data set, else the knowledge channel."""
    if config["channels"] is not None:
        return list(config["channels"])
    names = feature_names(config) or ["knowledge"]
    getLogger().info(f"SimDiff: guided by {', '.join(names)} (key `channels` is null)")
    return names
