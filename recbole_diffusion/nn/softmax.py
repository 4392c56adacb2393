"""The likelihood of items by a softmax over all, without the logits of a whole batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_diffusion.nn.rows import RowBatch

# Numbers of a block of logits: a processor's cache holds them; a GPU wants many at once.
BLOCK_NUMBERS = {"cpu": 2**19, "cuda": 2**26}
# Rows of a block at least: each block goes through the gradient of all outputs once.
LEAST_ROWS = 64


class Targets(NamedTuple):
    """Items whose likelihood is asked for, in the order of their rows.

    Attributes:
        prefixes: Row of each, int64 [m].
        items: int64 [m].
        weights: float32 [m]; those of a row sum to 1, or to 0 for a row without targets.
    """

    prefixes: Tensor
    items: Tensor
    weights: Tensor


def masked(logits: Tensor, rows: RowBatch) -> Tensor:
    """Logits [B, n_items], changed in place: -inf for the padding and the items of the rows."""
    logits[:, 0] = -torch.inf
    logits[rows.rows, rows.items] = -torch.inf
    return logits


def softmax_loss(
    hidden: Tensor,
    outputs: Tensor,
    targets: Targets,
    bias: Tensor | None = None,
    known: RowBatch | None = None,
    added: Callable[[RowBatch], Tensor] | None = None,
) -> Tensor:
    """Mean over rows of the weighted negative log-likelihood of their targets.

    Loss and gradients are made together, a block of rows at a time: the logits of a block never
    leave the cache, and those of all rows are never held.

    Args:
        hidden: [P, width].
        outputs: [n_items, width]; logits are ``hidden @ outputs.T``.
        targets: Of the P rows.
        bias: Of the logits [n_items].
        known: Items that cannot be drawn, nor the padding 0, P rows.
        added: Gives what is added to logits [b, n_items] from b rows of ``known``, which has no
            gradient.

    Returns:
        A number.
    """
    with torch.autocast(hidden.device.type, enabled=False):  # no sums in half precision
        loss: Tensor = _SoftmaxLoss.apply(
            hidden.to(outputs.dtype), outputs, bias, targets, known, added
        )
        return loss


class _SoftmaxLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        outputs: Tensor,
        bias: Tensor | None,
        targets: Targets,
        known: RowBatch | None,
        added: Callable[[RowBatch], Tensor] | None,
    ) -> Tensor:
        n_rows, n_items = len(hidden), len(outputs)
        numbers = BLOCK_NUMBERS.get(hidden.device.type, BLOCK_NUMBERS["cuda"])
        size = max(LEAST_ROWS, numbers // n_items)
        bounds = torch.tensor([*range(0, n_rows, size), n_rows], device=hidden.device)
        starts = bounds.tolist()
        target_at = torch.searchsorted(targets.prefixes, bounds).tolist()

        shares = targets.weights.to(hidden.dtype) / n_rows
        weight = hidden.new_zeros(n_rows).index_add_(0, targets.prefixes, shares)
        loss = hidden.new_zeros(())
        hidden_grad, outputs_grad = torch.empty_like(hidden), torch.zeros_like(outputs)
        bias_grad = None if bias is None else torch.zeros_like(bias)
        block = hidden.new_empty(min(size, n_rows), n_items)
        for i, (start, stop) in enumerate(zip(starts, starts[1:], strict=False)):
            part = hidden[start:stop]
            logits = block[: stop - start]
            if bias is None:
                torch.mm(part, outputs.T, out=logits)
            else:
                torch.addmm(bias, part, outputs.T, out=logits)
            if known is not None:
                rows = known.take(torch.arange(start, stop, device=hidden.device))
                if added is not None:
                    logits += added(rows)
                masked(logits, rows)
            block_targets = slice(target_at[i], target_at[i + 1])
            at = targets.prefixes[block_targets] - start, targets.items[block_targets]
            found = logits[at]
            greatest = logits.amax(dim=1, keepdim=True)
            total = logits.sub_(greatest).exp_().sum(dim=1, keepdim=True)
            loss += ((greatest + total.log())[at[0], 0] - found) @ shares[block_targets]
            # From here on the gradient of the logits: the softmax less what was asked for.
            logits.mul_(weight[start:stop, None] / total)
            logits.index_put_(at, -shares[block_targets], accumulate=True)
            torch.mm(logits, outputs, out=hidden_grad[start:stop])
            outputs_grad.addmm_(logits.T, part)
            if bias_grad is not None:
                bias_grad += logits.sum(dim=0)
        ctx.save_for_backward(hidden_grad, outputs_grad, bias_grad)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (None if part is None else part * grad for part in ctx.saved_tensors)
        return (*scaled, None, None, None)


def drawn_items(shares: Tensor, n_drawn: int, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Items whose logits stand for all: drawn by their shares, and the targets.

    Args:
        shares: Probability of each item in a draw [n_items].
        n_drawn: Draws, with replacement.
        targets: Ids int64 [m].

    Returns:
        Ids int64 [n], and for how many items each stands, float32 [n]; 0 for one not drawn.
    """
    drawn = shares.multinomial(n_drawn, replacement=True)
    items, place, counts = torch.cat([drawn, targets]).unique(
        return_inverse=True, return_counts=True
    )
    n_times = counts - place[len(drawn) :].bincount(minlength=len(items))
    return items, n_times / (n_drawn * shares[items])


def sampled_likelihood(
    logits: Tensor, targets: Targets, items: Tensor, counts: Tensor, known: RowBatch, n_items: int
) -> Tensor:
    """Logarithms of the targets' probabilities, of which the normaliser is estimated.

    Its mean over draws is the sum over all items: a row's own targets count as they are, the
    others for as many as they stand for (Jean et al. 2015).

    Args:
        logits: Of some items [P, n].
        targets: Of the P rows, among these items.
        items: Ids int64 [n].
        counts: For how many items each stands [n].
        known: Items that cannot be drawn, P rows.
        n_items: Number of all items.

    Returns:
        [m].
    """
    place = logits.new_full((n_items,), -1, dtype=torch.int64)
    place[items] = torch.arange(len(items), device=items.device)
    share = counts.log().repeat(len(logits), 1)
    at = targets.prefixes, place[targets.items]
    share[at] = 0.0
    there = known.columns(place)
    share[there.rows, there.items] = -torch.inf
    return logits[at] - (logits + share).logsumexp(dim=1)[targets.prefixes]
