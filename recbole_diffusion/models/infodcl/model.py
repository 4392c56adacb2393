r"""InfoDCL: Informative Noise Enhanced Diffusion Based Contrastive Learning (KDD 2026).

Liang, Qin, Zhang, Huang, Ding. A network (PSNet) turns Gaussian noise into noise that carries item
metadata; the diffusion process mixes it into item embeddings, a denoiser rebuilds them, and what
it generates is contrasted with the embeddings that BPR learns. Scores come from these embeddings
after a few graph convolutions: no diffusion and no graph are needed where the other is used.

Departures from the paper and from the authors' code are listed in docs/models/infodcl.md.
"""

from typing import Any

import torch
from recbole.utils import InputType
from torch import nn
from torch.nn import functional

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.diffusion import GaussianDiffusion
from recbole_diffusion.models.channels import (
    ChannelRecommender,
    check_channels,
    schedule_of,
)
from recbole_diffusion.nn.layers import StepEmbedding, right_singular_vectors
from recbole_diffusion.nn.loss import bpr_of_products, info_nce, square_error


class InfoDCL(ChannelRecommender):
    """The model of section 3; keys and their meaning stand in properties/model/InfoDCL.yaml.

    Raises:
        UserError: A channel that names nothing known, or a key out of its range.
    """

    input_type = InputType.PAIRWISE
    # Terms of the loss in their order, as logs and figures call them.
    loss_names = ("BPR", "L2", "reconstruction", "contrast", "balance")

    @property
    def summed_terms(self) -> tuple[str, ...]:
        """Terms of the loss that are sums over items of a batch, and no means."""
        return ("contrast",) if self.contrastive_reduction == "sum" else ()

    @staticmethod
    def check_config(config: Any) -> None:
        """Called before data are read."""
        if config["use_diffusion"]:
            check_channels(config, config["channels"])

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.temperature = config["temperature"]
        self.reconstruction_weight = config["reconstruction_weight"]
        self.bpr_weight = config["bpr_weight"]
        self.contrastive_weight = config["contrastive_weight"]
        self.balance_weight = config["balance_weight"]
        self.reg_weight = config["reg_weight"]
        self.reconstruction_reduction = config["reconstruction_reduction"]
        self.contrastive_reduction = config["contrastive_reduction"]
        self.balance_form = config["balance_form"]
        self.use_diffusion = config["use_diffusion"]
        self.use_psnet = config["use_psnet"]

        self.channels: list[str] = []
        if self.use_diffusion:
            self._build_diffusion(config, dataset)

    def _build_diffusion(self, config: Any, dataset: Any) -> None:
        self.channels = check_channels(config, config["channels"])
        size, steps = self.embedding_size, config["steps"]
        with refusals_of(f"InfoDCL with key `embedding_size`: found {size}", ValueError):
            self.denoiser = nn.ModuleDict({name: Denoiser(steps, size) for name in self.channels})
        self.diffusion = GaussianDiffusion(schedule_of(config, "InfoDCL"))
        if self.use_psnet:
            self._build_psnet(config, dataset)

    def _build_psnet(self, config: Any, dataset: Any) -> None:
        """One PSNet a channel, and its metadata; the graph channels' comes before training."""
        if not (config["use_spectral_rectification"] or config["use_contextual_reencoding"]):
            raise UserError(
                "keys `use_spectral_rectification` and `use_contextual_reencoding`: both false "
                "leave no noise in Eq. 8; set use_psnet: false for plain Gaussian noise"
            )
        widths = self._load_channels(config, dataset, self.channels)
        self.psnet = nn.ModuleDict()
        for name in self.channels:
            self.psnet[name] = PSNet(
                widths[name],
                self.embedding_size,
                use_spectral_rectification=config["use_spectral_rectification"],
                use_contextual_reencoding=config["use_contextual_reencoding"],
                use_embedded_metadata=config["use_embedded_metadata"],
                use_vector_mlps=config["use_vector_mlps"],
            )

    def calculate_loss(self, interaction: Any) -> tuple[torch.Tensor, ...]:
        """Weighted terms of Eq. 14 for a batch of (user, positive, negative).

        Returns:
            BPR and regularisation; then, with diffusion, reconstruction, contrast and balance.
        """
        user, table = self.users_of(interaction), self.item_embedding.weight
        drawn = interaction[self.ITEM_ID], interaction[self.NEG_ITEM_ID]
        # Eq. 10, 11 and 13 sum over items, so an item counts once however often it is drawn.
        items, counts = drawn[0].unique(return_counts=True)
        x_start = table.index_select(0, items)
        terms = [
            self.bpr_weight * bpr_of_products(user, table, *drawn),  # Eq. 12
            self.reg_weight * self.regularization(user, x_start, counts),  # Eq. 15
        ]
        if self.use_diffusion:
            generated = [self.generate(name, items, x_start) for name in self.channels]
            terms += [
                self.reconstruction_weight
                * sum(self._reconstruction(g, x_start) for g in generated),
                self.contrastive_weight * self._contrast(generated, items),
                self.balance_weight * sum(self._balance(g) for g in generated),
            ]
        return tuple(terms)

    def generate(self, channel: str, items: torch.Tensor, x_start: torch.Tensor) -> torch.Tensor:
        """Noise item embeddings by one channel's informative noise, and denoise them.

        Args:
            channel: One of ``self.channels``.
            items: int64 [B].
            x_start: Embeddings of these items [B, d].

        Returns:
            Generated embeddings [B, d].

        Source: Liang et al. 2026, Eq. 9 and section 3.2.
        """
        if self.needs_base_embeddings:
            raise RuntimeError("InfoDCL: set_base_embeddings (done by its trainer) comes first")
        noise = torch.randn_like(x_start)
        if self.use_psnet:
            noise = self.psnet[channel](noise, self.metadata(channel, items))
        timesteps = torch.randint(self.diffusion.num_timesteps, items.shape, device=items.device)
        x_t = self.diffusion.q_sample(x_start, timesteps, noise=noise)  # Eq. 9
        generated: torch.Tensor = self.denoiser[channel](x_t, timesteps)
        return generated

    def _reconstruction(self, generated: torch.Tensor, x_start: torch.Tensor) -> torch.Tensor:
        """Eq. 10, as a mean over the batch; both sides learn."""
        return square_error(generated, x_start, self.reconstruction_reduction)

    def _contrast(self, generated: list[torch.Tensor], items: torch.Tensor) -> torch.Tensor:
        """Eq. 11 over all items but the padding, summed over the channels."""
        anchors, targets = self.item_embedding.weight[1:], (items - 1).repeat(len(generated))
        total = info_nce(torch.cat(generated), anchors, targets, self.temperature)
        return total if self.contrastive_reduction == "sum" else total / len(items)

    def _balance(self, generated: torch.Tensor) -> torch.Tensor:
        """Eq. 13."""
        squares = generated.square().sum()
        return (squares if self.balance_form == "squared" else squares.sqrt()) / len(generated)

    def scoring_embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Eq. 16: ``n_layers`` graph convolutions of the learned embeddings, no diffusion."""
        return self.propagated(self.item_embedding.weight)


class PSNet(nn.Module):
    """Preference Signal Network: Gaussian noise and metadata in, informative noise out.

    Args:
        metadata_size: Width of the metadata.
        size: Width d of noise and item embeddings.
        use_spectral_rectification: Without it, Eq. 8 loses its first term.
        use_contextual_reencoding: Without it, Eq. 8 loses its second term.
        use_embedded_metadata: Eq. 1 with phi(m), as in the authors' code, in place of m; so it is
            in any case where m has another width than d.
        use_vector_mlps: Eq. 2 with MLPs for U and V too, in place of linear maps.

    Source: Liang et al. 2026, section 3.1.
    """

    def __init__(
        self,
        metadata_size: int,
        size: int,
        use_spectral_rectification: bool = True,
        use_contextual_reencoding: bool = True,
        use_embedded_metadata: bool = False,
        use_vector_mlps: bool = False,
    ) -> None:
        super().__init__()
        # Raw metadata of another width than the noise cannot be added to it.
        self.use_embedded_metadata = use_embedded_metadata or metadata_size != size
        self.embed_metadata = nn.Linear(metadata_size, size)  # phi
        self.fusion_scale = nn.Parameter(torch.ones(2))  # eta_0, eta_1 of Eq. 8
        self.rectification = (
            SpectralRectification(size, use_vector_mlps) if use_spectral_rectification else None
        )
        self.reencoding = ContextualReencoding(size) if use_contextual_reencoding else None

    def forward(self, noise: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
        """Eq. 8 for noise [B, d] and metadata [B, metadata_size]; returns [B, d]."""
        embedded = self.embed_metadata(metadata)
        output = torch.sigmoid(self.fusion_scale[1] - 1) * embedded
        if self.rectification is not None:
            signal = noise + (embedded if self.use_embedded_metadata else metadata)  # Eq. 1
            output = output + self.rectification(signal)
        if self.reencoding is not None:
            output = output + self.fusion_scale[0] * self.reencoding(noise, embedded)
        return output


class SpectralRectification(nn.Module):
    """S of Eq. 2-4: the signal's singular vectors and values, re-encoded, as a residual.

    Args:
        size: Width d of the signal.
        use_mlps: Eq. 2 as it stands; without, U and V go through linear maps.
    """

    def __init__(self, size: int, use_mlps: bool = False) -> None:
        super().__init__()
        self.left = _mlp(size) if use_mlps else nn.Linear(size, size)
        self.right = _mlp(size) if use_mlps else nn.Linear(size, size)
        self.values = _mlp(size)
        self.recover = nn.Sequential(  # Phi
            nn.Linear(3 * size, 2 * size), nn.GELU(), nn.Linear(2 * size, size)
        )
        self.residual_scale = nn.Parameter(torch.zeros(size))  # alpha

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        """Signal [B, d] of a batch, decomposed as one matrix; returns [B, d]."""
        values, right = right_singular_vectors(signal)
        to_left = right / values  # U is the signal times this
        shared = torch.cat([self.right(right[:, 0]), self.values(values)])  # [2d], Eq. 2
        weight, bias = self.recover[0].parameters()
        of_left, of_shared = weight.split([len(values), len(shared)], dim=1)
        bias = bias + of_shared @ shared  # the same for all rows
        if isinstance(self.left, nn.Linear):  # one product with the rows in place of three
            bias = bias + of_left @ self.left.bias
            hidden = torch.addmm(bias, signal, to_left @ (of_left @ self.left.weight).T)
        else:
            hidden = functional.linear(self.left(signal @ to_left), of_left, bias)
        recovered: torch.Tensor = self.recover[2](self.recover[1](hidden))  # Eq. 3
        return signal + torch.tanh(self.residual_scale) * recovered  # Eq. 4


def _mlp(size: int) -> nn.Sequential:
    """One hidden layer of the same width."""
    return nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, size))


class ContextualReencoding(nn.Module):
    """C of Eq. 5-7."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.encode = nn.Linear(size, size)  # Psi
        self.normalize = nn.LayerNorm(size)
        self.residual_scale = nn.Parameter(torch.zeros(()))  # rho

    def forward(self, noise: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        """Noise and embedded metadata, each [B, d]; returns [B, d]."""
        hidden = self.normalize(self.encode(noise + embedded))  # Eq. 5-6
        return noise + torch.sigmoid(self.residual_scale) * hidden  # Eq. 7


class Denoiser(nn.Module):
    """mu_theta of Eq. 10: one linear map of the noised embedding and the embedded step.

    The step's part is computed for the T steps, not for the B rows of a batch.
    """

    def __init__(self, steps: int, size: int) -> None:
        super().__init__()
        self.embed_step = StepEmbedding(steps, size)
        self.from_step = nn.Linear(size, size, bias=False)
        self.from_noised = nn.Linear(size, size)

    def forward(self, x_t: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Noised embeddings [B, d] at steps int64 [B]; returns predicted embeddings [B, d]."""
        step = self.from_step(self.embed_step())  # [T, d]
        output: torch.Tensor = self.from_noised(x_t) + step.index_select(0, timesteps)
        return output
