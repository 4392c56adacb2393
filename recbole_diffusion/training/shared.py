"""One training by several ranks: shares of batches, sums of gradients, streams of random numbers.

All ranks iterate over the same batches. Each takes its rows of a batch, and weighs its loss by its
share of them: the sum over ranks is the loss of the batch, that of gradients its gradient.
"""

import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from recbole.model.loss import EmbLoss
from torch import Tensor, nn
from torch.autograd import Variable

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.randomness import set_torch_states, torch_states
from recbole_diffusion.base.ranks import Ranks
from recbole_diffusion.training.loss_forms import loss_form


class SharedTraining:
    """A rank's part of a training.

    Args:
        ranks: That share it.
        model: What is trained, alike on all ranks.
        config: Settings of the run.
    """

    def __init__(self, ranks: Ranks, model: Any, config: Any) -> None:
        self.ranks, self.model = ranks, model
        self.seed, self.device = config["seed"], config["device"]
        self._form = loss_form(model, config)
        # Whether this rank's share of the present batch holds a row, and what the share weighs.
        self._has_rows, self._weight = True, 1.0
        # Where PyTorch's generators stand in the stream that is not drawn from.
        self._other: Mapping[str, Tensor] = {}
        for module in model.modules() if ranks.is_shared else ():
            if hasattr(module, "of_all_processes"):  # it learns from the losses of rows
                module.of_all_processes = self.rows_of_all
            elif type(module) is EmbLoss:
                module.forward = self._norms_of_all(module.norm)

    # Random numbers

    def start_epoch(self, epoch: int) -> None:
        """Begin the streams of an epoch, whatever was drawn before: a resumed run draws the same.

        Python's and numpy's, which make batches, are common to all ranks; PyTorch's, which models
        draw from, is a rank's own, beside one that is common.
        """
        if not self.ranks.is_shared:
            return
        common, own = ([self.seed, epoch, n] for n in (0, 1 + self.ranks.rank))
        words = np.random.SeedSequence(common).generate_state(4)
        random.seed(words.tobytes())
        np.random.seed(words)
        torch.manual_seed(_seed(common))
        self._other = torch_states(self.device)
        torch.manual_seed(_seed(own))

    def common(self) -> AbstractContextManager[None]:
        """For draws of PyTorch that are the same on all ranks."""
        return self._other_stream()

    def own(self) -> AbstractContextManager[None]:
        """Inside ``common``, for draws that are a rank's own."""
        return self._other_stream()

    @contextmanager
    def _other_stream(self) -> Iterator[None]:
        if not self.ranks.is_shared:
            yield
            return
        self._swap_streams()
        try:
            yield
        finally:
            self._swap_streams()

    def _swap_streams(self) -> None:
        present = torch_states(self.device)
        set_torch_states(self._other, self.device)
        self._other = present

    # Losses and gradients

    @contextmanager
    def sharing_loss(self, times: int, optimizer: Callable[[], Any]) -> Iterator[None]:
        """Inside, the model's ``calculate_loss`` is that of this rank's share of a batch.

        Args:
            times: How often a batch repeats its interactions, each time with other negatives.
            optimizer: Gives the one that makes the next step.
        """
        if not self.ranks.is_shared:
            yield
            return
        whole = self.model.calculate_loss

        def shared(interaction: Any, **kwargs: Any) -> Any:
            rows = self.share_of(self._counts(interaction, times))
            firsts = len(interaction) // times * torch.arange(times)
            rows = (rows + firsts[:, None]).flatten().to(self.device)
            part = {name: values[rows] for name, values in interaction.interaction.items()}
            losses = whole(Interaction(part), **kwargs)
            return self.weighed(losses, _parameters(optimizer()))

        self.model.calculate_loss = shared
        try:
            yield
        finally:
            del self.model.calculate_loss

    def _counts(self, interaction: Any, times: int) -> Tensor:
        """What each row of a batch counts in the mean that is its loss."""
        if hasattr(self.model, "loss_counts"):
            counts: Tensor = self.model.loss_counts(interaction).cpu()
            return counts
        return torch.ones(len(interaction) // times)

    def share_of(self, counts: Tensor) -> Tensor:
        """This rank's rows of a batch; those that count nothing are nobody's.

        They weigh their share of the counts. A rank without a row takes one that weighs nothing,
        so that all compute alike.

        Args:
            counts: Of each row in the loss of the batch [B].

        Returns:
            int64 [b], at least one.
        """
        rows = counts.nonzero().flatten()
        if not len(rows):  # the model has no loss here
            self._has_rows, self._weight = False, 1 / self.ranks.size
            return torch.arange(len(counts))
        own = rows[self.ranks.share(len(rows))]
        self._has_rows = len(own) > 0
        self._weight = float(counts[own].sum() / counts.sum())
        return own if self._has_rows else rows[:1]

    def weighed(self, losses: Any, parameters: list[nn.Parameter]) -> Any:
        """Losses of a share, after whose backward pass the gradients are summed over ranks.

        Args:
            losses: Of what ``share_of`` gave: a number, or the terms of one.
            parameters: Whose gradients are summed.
        """
        if not self.ranks.is_shared:
            return losses
        terms = losses if isinstance(losses, tuple) else (losses,)
        weighed = tuple(self._weighed_term(term, place) for place, term in enumerate(terms))
        learned = next((term for term in weighed if term.requires_grad), None)
        if learned is not None:
            self._sum_after_backward(learned, parameters)
        return weighed if isinstance(losses, tuple) else weighed[0]

    def _weighed_term(self, term: Tensor, place: int) -> Tensor:
        """A mean by its share; a sum as it is, less what is the same on all ranks."""
        if place not in self._form.summed:
            return term * self._weight
        has_rows = float(self._has_rows)
        if self._form.penalty is None:
            return term * has_rows
        return term * has_rows + self._form.penalty(self.model) * (self._weight - has_rows)

    def _sum_after_backward(self, loss: Tensor, parameters: list[nn.Parameter]) -> None:
        """Before gradients are clipped, which RecBole's loop does right after the pass."""
        engine: Any = Variable._execution_engine

        def queue(_: Tensor) -> None:
            engine.queue_callback(lambda: sum_gradients(parameters, self.ranks))

        loss.register_hook(queue)

    def total(self, losses: Any) -> Any:
        """Sums of an epoch over the ranks' shares, a number or a tuple of them."""
        if not self.ranks.is_shared or losses is None:
            return losses
        sums = self.ranks.sum_(torch.tensor(losses, dtype=torch.float64).reshape(-1)).tolist()
        return tuple(sums) if isinstance(losses, tuple) else sums[0]

    def rows_of_all(self, rows: Tensor) -> Tensor:
        """What all ranks have for their rows of a batch [b, ...], one after the other."""
        own = rows.detach()[: None if self._has_rows else 0]
        return torch.cat(self.ranks.gathered(own)) if self.ranks.is_shared else rows

    def _norms_of_all(self, order: int) -> Callable[..., Tensor]:
        """RecBole's penalty of a batch's embeddings, of whose norm each rank has a share.

        A norm over the rows of all ranks is no sum of norms: its square is one of squares.
        """

        def penalty(*embeddings: Tensor, require_pow: bool = False) -> Tensor:
            own = torch.stack([e.abs().pow(order).sum() for e in embeddings])
            own = own * float(self._has_rows)
            # A mean over rows, in a sum too.
            share = (self._weight if 0 in self._form.summed else 1.0) / embeddings[-1].shape[0]
            if require_pow:
                return (own.sum() * share / order).reshape(1)
            norms = self.ranks.sum_(own.detach().clone()).pow(1 / order)
            scale = norms.pow(1 - order).nan_to_num(posinf=0.0)
            # The value own / norm^(p-1), whose sum is the norm, with the norm's gradient.
            learned = own * scale / order
            value = learned + (own * scale).detach() - learned.detach()
            return (value.sum() * share).reshape(1)

        return penalty

    # What must be alike

    def check_alike(self, attributes: Mapping[str, Any]) -> None:
        """Compare what training changes, parameters and other state, over the ranks.

        Args:
            attributes: Beside what ``state_dict`` holds.

        Raises:
            UserError: The first that differs.
        """
        if not self.ranks.is_shared:
            return
        state = {**self.model.state_dict(), **attributes}
        names = sorted(state)
        digests = torch.tensor(
            [[zlib.crc32(name.encode()), _digest(state[name])] for name in names]
        ).reshape(-1, 2)
        found = self.ranks.gathered(digests)
        for rank, other in enumerate(found[1:], start=1):
            if torch.equal(found[0], other):
                continue
            name = "which attributes it has"
            if torch.equal(found[0][:, 0], other[:, 0]):
                name = names[int((found[0] != other).any(dim=1).nonzero()[0])]
            raise UserError(
                f"model {type(self.model).__name__} on several processes: {name} differs between "
                f"ranks 0 and {rank} after training: it cannot be shared; expected one process"
            )


def sum_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Put the sum over all ranks into each parameter's gradient.

    One that has a gradient on no rank stays without: optimisers leave it alone.

    Args:
        parameters: The same on all ranks.
        ranks: That share the training.
    """
    kinds: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for of_kind in kinds.values():
        _sum_of_kind(of_kind, ranks)


def _sum_of_kind(parameters: list[nn.Parameter], ranks: Ranks) -> None:
    """In one exchange, behind which it is counted how many ranks have which gradient."""
    has = parameters[0].new_tensor([float(p.grad is not None) for p in parameters])
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    together = ranks.sum_(torch.cat([*(g.detach().flatten() for g in gradients), has]))
    *parts, has = together.split([*(p.numel() for p in parameters), len(parameters)])
    for parameter, part, n in zip(parameters, parts, has.tolist(), strict=True):
        if n:
            parameter.grad = part.view_as(parameter)


def _parameters(optimizer: Any) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _seed(numbers: list[int]) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _digest(value: Any) -> int:
    """Of a value's bits, on the CPU."""
    if isinstance(value, Tensor):
        value = value.detach()
        if value.layout != torch.strided:
            value = (value.coalesce() if value.is_sparse else value).values()
        return zlib.crc32(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
    if sp.issparse(value):
        value = value.tocsr().data
    return zlib.crc32(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
