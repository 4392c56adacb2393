"""Causal encoders of histories: an output at each place, which reads no later one."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.base.errors import expect
from recbole_diffusion.nn.layers import RowDropout
from recbole_diffusion.nn.rows import RowBatch

# Parts of a batch by length: short histories are not padded to the longest.
N_PARTS = 6
EMBEDDING_STD = 0.02


def padded_parts(rows: RowBatch, least_rows: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of a batch in parts of like length, each padded to its longest.

    Args:
        rows: B rows.
        least_rows: Of a part, but for the last one; above 0.

    Yields:
        The rows of a part [b], and their items [b, longest], int64, 0 behind the last.
    """
    order = rows.lengths.argsort(descending=True, stable=True)
    if not len(order):
        return
    for part in order.split(max(-(-len(order) // N_PARTS), least_rows)):
        yield part, rows.take(part).padded()


class CausalEncoder(nn.Module):
    """Embeddings of items, and outputs at the places of histories.

    A subclass gives ``encode``.

    Args:
        n_ids: Number of ids.
        width: Of embeddings and outputs.
        dropout: Share of the embeddings' entries that training drops.
    """

    least_rows = 1  # of a part that is encoded at once

    def __init__(self, n_ids: int, width: int, dropout: float) -> None:
        super().__init__()
        self.items = nn.Embedding(n_ids, width)
        nn.init.normal_(self.items.weight, std=EMBEDDING_STD)
        self.dropout = RowDropout(dropout)
        self.width = width

    def encode(self, embedded: Tensor) -> Tensor:
        """Outputs [b, L, width] from embeddings [b, L, width]."""
        raise TypeError(f"{type(self).__name__} does not define encode")

    def forward(self, rows: RowBatch, row: Tensor, place: Tensor) -> Tensor:
        """Outputs at some places.

        Args:
            rows: Histories.
            row: History of each output, int64 [P].
            place: Its place in the history, int64 [P].

        Returns:
            [P, width]; 0 at a place below 0.
        """
        outputs = self.items.weight.new_zeros(len(row), self.width)
        # Looked up once: each look-up has a gradient of the table's size.
        embedded = functional.pad(self.dropout(self.items(rows.items)), (0, 0, 1, 0))
        places = torch.arange(len(rows.items), device=rows.items.device) + 1
        rank = torch.empty_like(rows.lengths)  # in the present part, -1 for others
        for part, at in padded_parts(rows._replace(items=places), self.least_rows):
            rank.fill_(-1)[part] = torch.arange(len(part), device=part.device)
            encoded = self.encode(embedded[at])
            wanted = ((rank[row] >= 0) & (place >= 0)).nonzero()[:, 0]
            found = encoded[rank[row[wanted]], place[wanted]].to(outputs.dtype)
            outputs = outputs.index_put((wanted,), found)
        return outputs


class AttentionEncoder(CausalEncoder):
    """Blocks of causal self-attention.

    Args:
        n_ids: Number of ids.
        width: Of embeddings and outputs.
        n_layers: Number of blocks.
        n_heads: Of attention; divides ``width``.
        inner_size: Width within a block.
        max_length: Of a history.
        dropout: Share of embeddings and of blocks' outputs that training drops.

    Source: Kang and McAuley 2018 (SASRec), with the norm before each part of a block.
    """

    def __init__(
        self,
        n_ids: int,
        width: int,
        n_layers: int,
        n_heads: int,
        inner_size: int,
        max_length: int,
        dropout: float,
    ) -> None:
        super().__init__(n_ids, width, dropout)
        self.places = nn.Embedding(max_length, width)
        nn.init.normal_(self.places.weight, std=EMBEDDING_STD)
        blocks = (Block(width, n_heads, inner_size, dropout) for _ in range(n_layers))
        self.blocks, self.norm = nn.Sequential(*blocks), nn.LayerNorm(width)
        self.max_length = max_length

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse heads that do not divide the width.

        Raises:
            UserError: They do not.
        """
        width, n_heads = config["embedding_size"], config["n_heads"]
        is_whole = width % n_heads == 0
        expect(is_whole, "embedding_size", width, f"a multiple of {n_heads} (`n_heads`)")

    @classmethod
    def of(cls, config: Any, n_ids: int) -> "AttentionEncoder":
        """The encoder that a model's keys describe."""
        return cls(
            n_ids,
            width=config["embedding_size"],
            n_layers=config["n_layers"],
            n_heads=config["n_heads"],
            inner_size=config["inner_size"],
            max_length=config["max_length"],
            dropout=config["dropout"],
        )

    def encode(self, embedded: Tensor) -> Tensor:
        """Outputs [b, L, width] from embeddings [b, L, width]."""
        x = embedded * self.width**0.5 + self.dropout(self.places.weight[: embedded.shape[1]])
        encoded: Tensor = self.norm(self.blocks(x))
        return encoded


class Block(nn.Module):
    """Causal self-attention and a layer of its own for each place, the norm before both.

    Args:
        width: Of inputs and outputs.
        n_heads: Divides ``width``.
        inner_size: Width of the inner layer.
        dropout: Share of both parts' outputs that training drops.
    """

    def __init__(self, width: int, n_heads: int, inner_size: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm, self.inner_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, inner_size), nn.Linear(inner_size, width)
        self.dropout = RowDropout(dropout)
        for layer in (self.queries_keys_values, self.merge, self.widen, self.narrow):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[b, L, width]; an output reads places up to its own."""
        n_rows, length, width = x.shape
        parts = self.queries_keys_values(self.attention_norm(x))
        query, key, value = parts.view(n_rows, length, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.dropout(self.merge(seen.transpose(1, 2).reshape(n_rows, length, width)))
        inner = functional.gelu(self.widen(self.inner_norm(x)))
        output: Tensor = x + self.dropout(self.narrow(inner))
        return output


class RecurrentEncoder(CausalEncoder):
    """Gated recurrent units, and a layer back to the embeddings' width.

    Args:
        n_ids: Number of ids.
        width: Of embeddings and outputs.
        n_layers: Number of layers of units.
        hidden_size: Units of a layer.
        dropout: Share of the embeddings' entries that training drops.

    Source: Hidasi et al. 2016 (GRU4Rec).
    """

    least_rows = 64  # a place takes about as long for some rows as for one

    def __init__(
        self, n_ids: int, width: int, n_layers: int, hidden_size: int, dropout: float
    ) -> None:
        super().__init__(n_ids, width, dropout)
        self.units = nn.GRU(width, hidden_size, n_layers, batch_first=True)
        self.back = nn.Linear(hidden_size, width)

    def encode(self, embedded: Tensor) -> Tensor:
        """Outputs [b, L, width] from embeddings [b, L, width]."""
        outputs: Tensor = self.back(self.units(embedded)[0])
        return outputs
