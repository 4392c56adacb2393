"""What a trainer tells of an epoch: the bar, the losses, and which scores are sampled."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from tqdm import tqdm

# Of the scores whose change key `log_diagnostics` logs.
N_SAMPLED_USERS, N_SAMPLED_ITEMS = 64, 4096


class BatchBar:
    """A data loader under a progress bar that shows the trainer's latest loss."""

    def __init__(self, loader: Any, epoch: int, trainer: Any) -> None:
        self._loader, self._epoch, self._trainer = loader, epoch, trainer

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        bar = tqdm(
            self._loader,
            desc=f"{self._trainer.epoch_label} {self._epoch}",
            leave=False,
            ncols=80,
            disable=None,
        )
        for batch in bar:
            yield batch
            if not self._trainer.is_solved:
                bar.set_postfix(loss=f"{self._trainer.last_loss.item():.4f}", refresh=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def evaluation_bar(loader: Any) -> Any:
    """A data loader under a progress bar."""
    return tqdm(loader, desc="evaluation", leave=False, ncols=80, disable=None)


def format_losses(means: Mapping[str, Any]) -> str:
    """What ``mean_losses`` gives: the sum, then its terms by name where there are several."""
    terms = " + ".join(f"{name} {term:.4g}" for name, term in means["terms"].items())
    return f"{means['loss']:.4f}" + (f" ({terms})" if terms else "")


def mean_losses(model: Any, losses: Any, n_batches: int) -> dict[str, Any]:
    """Mean over batches: ``loss``, and its ``terms`` by name when the model gives several.

    Args:
        model: Its ``loss_names``, if it has them, name the terms.
        losses: Sums over the batches of an epoch.
        n_batches: Of the epoch.
    """
    if not isinstance(losses, tuple):
        return {"loss": float(losses / n_batches), "terms": {}}
    known = getattr(model, "loss_names", ())
    names = [*known, *(f"term {n + 1}" for n in range(len(known), len(losses)))]
    terms = {name: float(term / n_batches) for name, term in zip(names, losses, strict=False)}
    return {"loss": sum(terms.values()), "terms": terms}


def sampled_ids(n_users: int, n_items: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Some ids of users and of items, evenly spaced, without the padding; int64.

    Args:
        n_users: With the padding.
        n_items: With the padding.
    """
    sizes = ((n_users, N_SAMPLED_USERS), (n_items, N_SAMPLED_ITEMS))
    users, items = (torch.linspace(1, n - 1, min(most, n - 1)).long() for n, most in sizes)
    return users, items
