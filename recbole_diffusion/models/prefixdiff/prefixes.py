"""Prefixes of histories, their clock, and the two denoisers that read them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.base.errors import UserError, expect
from recbole_diffusion.data.recency import Recency
from recbole_diffusion.diffusion.embedding import sinusoidal_embedding
from recbole_diffusion.nn.encoders import EMBEDDING_STD, AttentionEncoder
from recbole_diffusion.nn.layers import RowDropout
from recbole_diffusion.nn.rows import InteractionRows, RowBatch, unit_length
from recbole_diffusion.nn.softmax import Targets, masked
from recbole_diffusion.settings.recency import KINDS

# Of levels, so that the embedding of steps tells them apart.
LEVEL_SCALE = 1000
# Of a view: exp(-age decay) is 0 in float32 for all but the last item long before.
MOST_DECAY = 100


class Prefixes(NamedTuple):
    """What a denoiser reads: P prefixes of B histories.

    Attributes:
        rows: Items of each prefix, values 1 or, where an item is hidden, 0.
        clock: When each was, to compare within a prefix, float32 [nnz].
        level: Of the process, float32 [P].
        histories: The histories whole, values 1 or, where an item is hidden, 0.
        of: History of each prefix, int64 [P].
    """

    rows: RowBatch
    clock: Tensor
    level: Tensor
    histories: RowBatch
    of: Tensor


class ViewDenoiser(nn.Module):
    """Hidden layers over sums of item embeddings: step 3, ``denoiser: views``.

    Args:
        n_items: Number of internal ids.
        views: Weights by age, one table of embeddings each.
        view_length: Euclidean length of each view's weights.
        hidden_sizes: Widths, one or more; tanh follows each.
        dropout: Share of hidden units that training drops.
        level_size: Width of the embedding of levels; 0: none.
    """

    def __init__(
        self,
        n_items: int,
        views: Sequence[Recency],
        view_length: float,
        hidden_sizes: Sequence[int],
        dropout: float,
        level_size: int = 0,
    ) -> None:
        super().__init__()
        self.views, self.view_length, self.level_size = tuple(views), view_length, level_size
        width = hidden_sizes[0]
        self.tables = nn.ParameterList(torch.empty(n_items, width) for _ in views)
        for table in self.tables:
            nn.init.normal_(table, std=EMBEDDING_STD)
        self.bias = nn.Parameter(torch.zeros(width))
        self.level_layer = nn.Linear(level_size, width, bias=False) if level_size else None
        pairs = zip(hidden_sizes, hidden_sizes[1:], strict=False)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairs)
        self.dropout = RowDropout(dropout)
        self.outputs = nn.Parameter(torch.zeros(n_items, hidden_sizes[-1]))

    def forward(self, prefixes: Prefixes) -> Tensor:
        """Last hidden layer [P, width]."""
        rows, age = prefixes.rows, ages_of(prefixes)
        views = [
            unit_length(rows, view.weights(age, rows.row_lengths), self.view_length).product(table)
            for view, table in zip(self.views, self.tables, strict=True)
        ]
        return self.behind(views, prefixes.level)

    def behind(self, views: Sequence[Tensor], level: Tensor) -> Tensor:
        """Last hidden layer [P, width] from what each view sums up [P, width], and levels [P]."""
        hidden: Tensor = self.bias
        for view in views:
            hidden = hidden + view
        if self.level_layer is not None:
            embedded = sinusoidal_embedding(level * LEVEL_SCALE, self.level_size)
            hidden = hidden + self.level_layer(embedded)
        hidden = torch.tanh(hidden)
        for layer in self.layers:
            hidden = torch.tanh(layer(self.dropout(hidden)))
        return self.dropout(hidden)


def ages_of(prefixes: Prefixes) -> Tensor:
    """How long before the last item of its prefix each item was [nnz]."""
    last = functional.pad(prefixes.clock, (1, 0))[prefixes.rows.offsets[1:]]
    return last.repeat_interleave(prefixes.rows.lengths) - prefixes.clock


class AttentionDenoiser(nn.Module):
    """Causal attention over histories: step 3, ``denoiser: attention``.

    One pass over a history serves all its prefixes. A hidden item is replaced by the absorbing
    state, which has the padding's id.

    Args:
        encoder: Of the items.
    """

    def __init__(self, encoder: AttentionEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def outputs(self) -> Tensor:
        """The items' own embeddings, as in SASRec [n_items, width]."""
        return self.encoder.items.weight

    def forward(self, prefixes: Prefixes) -> Tensor:
        """Output at the last item of each prefix [P, width]; 0 for one without items."""
        histories = prefixes.histories
        items = torch.where(histories.values > 0, histories.items, 0)
        window = histories._replace(items=items).keep(histories.ages < self.encoder.max_length)
        n_cut = histories.lengths - window.lengths
        place = prefixes.rows.lengths - 1 - n_cut[prefixes.of]
        outputs: Tensor = self.encoder(window, prefixes.of, place)
        return outputs


def views_of(views: Any) -> list[Recency]:
    """Weights by age, from the key ``views``: pairs of a kind and a decay.

    Raises:
        UserError: Something else, or linear weights.
    """
    kinds = [kind for kind in KINDS if kind != "linear"]
    expected = f"a list of [kind, decay], one or more, each kind one of {', '.join(kinds)}"
    expect(isinstance(views, list) and len(views) > 0, "views", views, expected)
    for view in views:
        is_pair = isinstance(view, list) and len(view) == 2 and view[0] in kinds
        is_pair = is_pair and type(view[1]) in (int, float) and 0 <= view[1] <= MOST_DECAY
        expect(is_pair, "views", views, f"{expected}, each decay from 0 to {MOST_DECAY}")
    return [Recency(kind, float(decay)) for kind, decay in views]


def likelihood(logits: Tensor, prefixes: Prefixes, targets: Targets) -> Tensor:
    """Logarithms [m] of the targets' probabilities by the softmax over all items."""
    found = functional.log_softmax(masked(logits, prefixes.rows), dim=1)
    return found[targets.prefixes, targets.items]


def mean_loss(found: Tensor, prefixes: Prefixes, targets: Targets) -> Tensor:
    """Step 4: mean over prefixes of the weighted negative log-likelihood [m] of their targets."""
    return -(found @ targets.weights) / len(prefixes.of)


def extended(rows: RowBatch, clock: Tensor, items: Tensor) -> tuple[RowBatch, Tensor]:
    """Histories with further items behind, one unit of the clock apart.

    Args:
        rows: B histories.
        clock: Of each item [nnz].
        items: What follows each history, int64 [B, m].

    Returns:
        The longer histories, values 1, and their clock.
    """
    n_rows, n_more = items.shape
    counts = rows.lengths.new_full((n_rows,), n_more)
    offsets = rows.offsets + n_more * torch.arange(n_rows + 1, device=items.device)
    last = functional.pad(clock, (1, 0))[rows.offsets[1:]] * (rows.lengths > 0)
    step = torch.arange(1, n_more + 1, device=items.device)
    # Old items first within each row: a stable sort by row of the two lists in turn.
    row = torch.cat(
        [rows.rows, torch.arange(n_rows, device=items.device).repeat_interleave(counts)]
    )
    order = row.argsort(stable=True)
    merged = torch.cat([rows.items, items.reshape(-1)])[order]
    times = torch.cat([clock, (last[:, None] + step).reshape(-1)])[order]
    return RowBatch(merged, offsets, torch.ones_like(times)), times


def usual_gap(rows: InteractionRows) -> float:
    """Median of the gaps above 0 between two items of a history; values are times.

    Raises:
        UserError: There is none.
    """
    later = torch.ones(len(rows.values), dtype=torch.bool)
    later[rows.offsets[:-1][rows.offsets.diff() > 0]] = False
    gaps = rows.values.diff()[later[1:]]
    gaps = gaps[gaps > 0]
    if not len(gaps):
        raise UserError("key `age`: found time, expected rank: no user has items of two times")
    return float(gaps.median())


def relative_times(rows: RowBatch | InteractionRows, unit: float) -> Tensor:
    """Times since the first item of each history, in a unit, float32 [nnz]; values are times."""
    lengths = rows.offsets.diff()
    if not len(rows.values):
        return rows.values.float()
    first = rows.values[rows.offsets[:-1].clamp_max(len(rows.values) - 1)]
    return ((rows.values - first.repeat_interleave(lengths)) / unit).float()


def history_times(rows: RowBatch, times: Sequence[Sequence[float] | Tensor] | None) -> Tensor:
    """Times of histories from outside, float64 [nnz].

    Raises:
        UserError: Missing, not in order, or not as many as items.
    """
    if times is None:
        raise UserError("times: found none, expected those of all items with key `age`: time")
    parts = [torch.as_tensor(part, dtype=torch.float64) for part in times]
    found, wanted = [len(part) for part in parts], rows.lengths.tolist()
    if found != wanted:
        raise UserError(f"times: found {found} of the histories, expected {wanted}")
    if any((part.diff() < 0).any() for part in parts):
        raise UserError("times: found an item before the one in front of it, expected their order")
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
