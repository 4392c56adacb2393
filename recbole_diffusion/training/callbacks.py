"""What a caller is told of a run while it trains."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recbole_diffusion.base.ranks import current_ranks


class StopRun(Exception):
    """Raised by a callback to end training there; its text says why, in the result."""


class Callback:
    """Told of a run as it goes; a subclass overrides what it wants to know.

    Of several ranks the first calls. ``on_epoch`` and ``on_validation`` may raise ``StopRun``: the
    best epoch up to there is then evaluated, and the result says why.

    ``epoch`` is a line of ``history.jsonl``: ``epoch`` from 0, ``loss`` and its ``terms``,
    ``train_seconds``; ``valid`` metrics by name and ``valid_seconds``, both None without a
    validation; ``diagnostics``; and ``folder``, that of the run.
    """

    def on_start(self, folder: str, settings: Mapping[str, Any], is_resumed: bool) -> None:
        """Called once, before the first epoch of a run or of the rest of one that goes on."""

    def on_epoch(self, epoch: Mapping[str, Any]) -> None:
        """Called after each epoch, and after its validation if it has one."""

    def on_validation(self, epoch: Mapping[str, Any]) -> None:
        """Called after each validation, before ``on_epoch`` of the same epoch."""

    def on_end(self, result: Mapping[str, Any] | None) -> None:
        """Called once, with what ``result.json`` holds; with None where the run failed."""


class OnValidation(Callback):
    """A function of epoch and score, as a callback.

    Args:
        function: Called after each validation.
        metric: Name of the score.
    """

    def __init__(self, function: Callable[[int, float], None], metric: str) -> None:
        self._function, self._metric = function, metric

    def on_validation(self, epoch: Mapping[str, Any]) -> None:
        """Call the function."""
        self._function(epoch["epoch"], epoch["valid"][self._metric])


def teller(callbacks: Sequence[Callback], folder: str) -> Callable[[Mapping[str, Any]], None]:
    """A function that tells callbacks of an epoch, on rank 0, and stops all ranks if they stop it.

    Args:
        callbacks: In the order in which they are told.
        folder: Of the run.
    """

    def tell(record: Mapping[str, Any]) -> str:
        epoch = {**record, "folder": folder}
        try:
            for callback in callbacks if epoch["valid"] is not None else ():
                callback.on_validation(epoch)
            for callback in callbacks:
                callback.on_epoch(epoch)
        except StopRun as reason:
            return f"stopped {reason}"
        return ""

    def tell_all(record: Mapping[str, Any]) -> None:
        reason = current_ranks().of_first(lambda: tell(record)) if callbacks else ""
        if reason:
            raise StopRun(reason.removeprefix("stopped "))

    return tell_all
