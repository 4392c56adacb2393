"""A variational autoencoder of interaction rows whose items fall into clusters."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.nn.rows import DenseRows, RowBatch


class ClusteredAutoencoder(nn.Module):
    """One variational encoder a cluster, and one decoder, or one a cluster as well.

    A row meets the encoders' first layers as sparse numbers: O(nnz * h), not O(n_items * h).
    tanh follows every layer but a decoder's last, the encoders' last layer included.

    Args:
        clusters: Cluster of each item [n_items], int64, from 0; -1 for an item in none, such as
            the padding, which is neither read nor scored.
        encoder_sizes: Widths from the latent outwards, one or more; each is divided among the
            clusters by their numbers of items.
        decoder_sizes: Widths of hidden layers from the latent outwards.
        split_decoder: Whether each cluster has a decoder of its own, which reads its own part of
            the latent; widths are divided as the encoders'.
        dropout: Share of a row's interactions that training drops.
        split_likelihood: Whether a row's likelihood is the product of one a cluster, over its
            items, in place of one over all items.

    Source: Wang et al. 2023, section 3.5; tanh and initialisation as in the authors' experiments.
    """

    place: Tensor
    encoder_places: Tensor

    def __init__(
        self,
        clusters: Tensor,
        encoder_sizes: Sequence[int],
        decoder_sizes: Sequence[int] = (),
        split_decoder: bool = False,
        dropout: float = 0.0,
        split_likelihood: bool = False,
    ) -> None:
        super().__init__()
        n_clusters = int(clusters.max()) + 1
        is_member = clusters == torch.arange(n_clusters, device=clusters.device)[:, None]
        counts = is_member.sum(dim=1).tolist()
        # Columns of the items: in their cluster, and with the clusters one after the other.
        within = torch.where(is_member, is_member.cumsum(dim=1) - 1, -1)
        starts = torch.tensor([0, *itertools.accumulate(counts)], device=clusters.device)
        place = torch.where(clusters >= 0, within.amax(dim=0) + starts[clusters.clamp_min(0)], -1)
        self.register_buffer("encoder_places", within, persistent=False)  # [C, n_items]
        self.register_buffer("place", place, persistent=False)  # [n_items]

        self.likelihood_sizes = counts if split_likelihood else [sum(counts)]
        self.dropout = nn.Dropout(dropout)
        shares = [proportional_sizes(size, counts) for size in encoder_sizes]
        self.latent_sizes = shares[0]
        self.encoders = nn.ModuleList(
            RowEncoder([n, *reversed(widths)])
            for n, widths in zip(counts, zip(*shares, strict=True), strict=True)
        )
        self.decoder_inputs = [encoder_sizes[0]]
        layers = [[encoder_sizes[0], *decoder_sizes, sum(counts)]]
        if split_decoder:
            self.decoder_inputs = self.latent_sizes
            hidden = [proportional_sizes(size, counts) for size in decoder_sizes]
            layers = [list(widths) for widths in zip(shares[0], *hidden, counts, strict=True)]
        self.decoders = nn.ModuleList(_decoder(widths) for widths in layers)

    def drop(self, rows: RowBatch) -> RowBatch:
        """The rows less dropped interactions, the others scaled up; as dropout of dense rows."""
        return rows._replace(values=self.dropout(rows.values))

    def encode(self, rows: RowBatch | DenseRows) -> tuple[Tensor, Tensor]:
        """Mean and logarithmic variance of the latent, each [B, d]."""
        parts = [
            encoder(rows.columns(place))
            for encoder, place in zip(self.encoders, self.encoder_places, strict=True)
        ]
        means, log_variances = zip(*parts, strict=True)
        return torch.cat(means, dim=1), torch.cat(log_variances, dim=1)

    def decode(self, latent: Tensor) -> Tensor:
        """Logits [B, n_clustered_items] from latents [B, d], cluster after cluster."""
        parts = latent.split(self.decoder_inputs, dim=1)
        return _joined([decoder(z) for decoder, z in zip(self.decoders, parts, strict=True)])

    def scores(self, latent: Tensor) -> Tensor:
        """Logits [B, n_items] in the order of the items; 0 for an item in no cluster."""
        scores = self.decode(latent)[:, self.place.clamp_min(0)]
        scores[:, self.place < 0] = 0.0
        return scores

    def reconstruction_loss(self, latent: Tensor, rows: RowBatch) -> Tensor:
        """Negative multinomial log-likelihood of the rows, a mean over them.

        Args:
            latent: What is decoded [B, d].
            rows: Of the batch.

        Source: Wang et al. 2023, Eq. 15; Liang et al. 2018, Eq. 2.
        """
        parts = self.decode(latent).split(self.likelihood_sizes, dim=1)
        log_probability = _joined([functional.log_softmax(part, dim=1) for part in parts])
        at_items = log_probability[rows.rows, self.place[rows.items]]
        return -(at_items * rows.values).sum() / len(rows.lengths)


class RowEncoder(nn.Module):
    """Mean and logarithmic variance from sparse rows; tanh after every layer.

    Args:
        widths: Of the rows, of the layers, and of the latent.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        n_items, first, *others = [*widths[:-1], 2 * widths[-1]]
        self.weight = nn.Parameter(torch.empty(n_items, first))
        self.bias = nn.Parameter(torch.zeros(first))
        nn.init.xavier_normal_(self.weight)
        self.layers = nn.ModuleList(_linear(*pair) for pair in itertools.pairwise([first, *others]))

    def forward(self, rows: RowBatch | DenseRows) -> tuple[Tensor, Tensor]:
        """Mean and logarithmic variance, each [B, d]."""
        hidden = torch.tanh(rows.product(self.weight) + self.bias)
        for layer in self.layers:
            hidden = torch.tanh(layer(hidden))
        mean, log_variance = hidden.chunk(2, dim=1)
        return mean, log_variance


def _decoder(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of these widths, tanh between them."""
    first, *others = (_linear(*pair) for pair in itertools.pairwise(widths))
    return nn.Sequential(first, *itertools.chain(*((nn.Tanh(), layer) for layer in others)))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Parts [B, n] of all clusters side by side; a single one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


def _linear(n_inputs: int, n_outputs: int) -> nn.Linear:
    """Xavier weights, zero bias."""
    layer = nn.Linear(n_inputs, n_outputs)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of N(mean, exp(log_variance)) [B, d] from N(0, 1), a mean over the batch."""
    terms = 1 + log_variance - mean.square() - log_variance.exp()
    return -0.5 * terms.sum(dim=1).mean()


def proportional_sizes(size: int, counts: Sequence[int]) -> list[int]:
    """Parts of a width in proportion to counts, each 1 or more; rounded down but for the last.

    Raises:
        ValueError: Fewer than one for each.
    """
    if size < len(counts):
        raise ValueError(f"found width {size}, expected at least one for each of {len(counts)}")
    sizes: list[int] = []
    for n_after, count in zip(range(len(counts) - 1, 0, -1), counts, strict=False):
        share = max(size * count // sum(counts), 1)
        sizes.append(min(share, size - sum(sizes) - n_after))
    return [*sizes, size - sum(sizes)]
