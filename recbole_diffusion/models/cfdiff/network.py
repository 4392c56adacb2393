"""CF-Diff's network: rows as tokens, to which the users and items some hops away attend."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.nn.graph import BipartiteGraph
from recbole_diffusion.nn.layers import RowDropout, StepEmbedding


class HopEncoder(nn.Module):
    """Linear encoder of what lies h hops from a row of items.

    The users who share items with a row c are u_2 = c R' / |c|, the items of these
    u_3 = u_2 R / sum(u_2). As they are linear in c, so is what they are encoded to: the matrix
    that takes c there is made once for all rows, and no vector over users is.

    Args:
        hop: h, 2 or 3.
        n_users: With the padding.
        n_items: With the padding.
        size: Width k of what is encoded.
    """

    def __init__(self, hop: int, n_users: int, n_items: int, size: int) -> None:
        super().__init__()
        self.hop, self.n_users, self.n_items = hop, n_users, n_items
        self.weight = nn.Parameter(torch.empty(n_users if hop == 2 else n_items, size))
        nn.init.xavier_normal_(self.weight)

    def forward(self, graph: BipartiteGraph) -> Tensor:
        """What each item of a row adds to the encoded sum over the row's walks of h - 1 steps.

        Args:
            graph: R with its transpose, of ones, users first.

        Returns:
            R' W of 2 hops, R' R W of 3: [n_items, k]; O(nnz * k).
        """
        if self.hop == 2:
            of_nodes = functional.pad(self.weight, (0, 0, 0, self.n_items))
        else:
            of_nodes = graph(functional.pad(self.weight, (0, 0, self.n_users, 0)))
        product: Tensor = graph(of_nodes)
        return product[self.n_users :]


class Tokens(nn.Module):
    """A token for each of k numbers: the number times one learned vector, plus a position.

    Args:
        n_tokens: k.
        size: Width d.
    """

    def __init__(self, n_tokens: int, size: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.randn(size))
        self.positions = nn.Parameter(torch.randn(n_tokens, size))

    def forward(self, numbers: Tensor) -> Tensor:
        """Tokens [B, k, d] of numbers [B, k]."""
        return torch.addcmul(self.positions, numbers.unsqueeze(2), self.direction)


class CrossAttention(nn.Module):
    """Adds to tokens what several sets of queries find in them, weighted by learned shares.

    Args:
        n_sets: Number H of sets.
    """

    def __init__(self, n_sets: int) -> None:
        super().__init__()
        self.set_logits = nn.Parameter(torch.zeros(n_sets))  # all alike at first

    def forward(self, tokens: Tensor, queries: Tensor) -> Tensor:
        """X + sum_h w_h softmax(Q_h X' / sqrt(d)) X.

        Args:
            tokens: X [B, k, d].
            queries: Q [B, H, k, d].

        Returns:
            [B, k, d].
        """
        known = tokens.unsqueeze(1)
        flat = queries.flatten(1, 2).unsqueeze(1)  # [B, 1, H * k, d]: one product for all sets
        found = functional.scaled_dot_product_attention(flat, known, known)
        shares = self.set_logits.softmax(dim=0)
        return tokens + torch.einsum("bhkd,h->bkd", found.view_as(queries), shares)


class CrossAttentionAutoencoder(nn.Module):
    """Predicts rows from noisy rows, their steps, and the rows' neighbourhoods (CAM-AE).

    Args:
        n_users: With the padding.
        n_items: n, with the padding.
        hops: Of the neighbourhoods; none: the row's own tokens are the queries.
        steps: T.
        latent_size: k, numbers that a vector is encoded to.
        token_size: d.
        n_layers: L.
        dropout: Of the noisy row.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        hops: Sequence[int],
        steps: int,
        latent_size: int,
        token_size: int,
        n_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.dropout = RowDropout(dropout)
        self.encoder = nn.Linear(n_items, latent_size)
        self.step_embedding = StepEmbedding(steps, latent_size)
        self.tokens = Tokens(latent_size, token_size)
        self.hop_encoders = nn.ModuleDict(
            {str(hop): HopEncoder(hop, n_users, n_items, latent_size) for hop in hops}
        )
        self.hop_tokens = nn.ModuleList(Tokens(latent_size, token_size) for _ in hops)
        self.layers = nn.ModuleList(CrossAttention(max(len(hops), 1)) for _ in range(n_layers))
        self.numbers = nn.Linear(token_size, 1)
        self.decoder = nn.Linear(latent_size, n_items)
        for end in (self.encoder, self.decoder):
            nn.init.xavier_normal_(end.weight)

    def forward(self, x_t: Tensor, hop_vectors: Sequence[Tensor], timesteps: Tensor) -> Tensor:
        """Predicted rows.

        Args:
            x_t: Noisy rows [B, n].
            hop_vectors: Encoded neighbourhoods [B, k], one a hop.
            timesteps: Steps [B], int64, from 0.

        Returns:
            [B, n].
        """
        encoded = self.encoder(self.dropout(x_t)) + self.step_embedding()[timesteps]
        tokens = self.tokens(encoded)
        of_hops = [
            to_tokens(vector)
            for to_tokens, vector in zip(self.hop_tokens, hop_vectors, strict=True)
        ]
        queries = torch.stack(of_hops or [tokens], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, queries)
        predicted: Tensor = self.decoder(self.numbers(tokens).squeeze(2))
        return predicted
