"""What every run adds to RecBole's trainers: checkpoints, one line an epoch, bars with the loss."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from recbole.trainer import Trainer
from tqdm import tqdm

from recbole_diffusion.checkpoint import check_origin, read_checkpoint, save_checkpoint
from recbole_diffusion.errors import UserError


class RunTrainer:
    """Mixed in before one of RecBole's trainers; changes how it reports and saves, not how it fits.

    ``best.pth`` holds the epoch with the best validation score, ``last.pth`` the last finished one.
    """

    # What an epoch is called in the log and on the bar.
    epoch_label = "epoch"

    # RecBole's trainer, mixed in after this class, sets these.
    model: Any
    config: Any
    logger: Any
    optimizer: Any
    tensorboard: Any
    epochs: int
    eval_step: int
    start_epoch: int
    cur_step: int
    best_valid_score: float

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)  # type: ignore[call-arg]
        # RecBole's trainers of memory-based models lower `epochs` after taking this minimum.
        self.eval_step = min(self.eval_step, self.epochs)
        self.saved_model_file = str(Path(config["checkpoint_dir"]) / "best.pth")
        self.last_model_file = str(Path(config["checkpoint_dir"]) / "last.pth")
        self.best_epoch = -1
        self.epochs_trained = 0
        self.train_seconds = 0.0
        self.last_loss = torch.zeros(())
        self.pretrain_seconds = 0.0
        self._has_validation, self._verbose, self._saved = False, False, False
        self._epoch_report = ""

    def on_fit_start(self, train_data: Any, valid_data: Any) -> None:
        """Hook for what must exist before the first epoch, such as pre-trained embeddings."""

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Train as RecBole does; arguments and result are RecBole's.

        A checkpoint ``last.pth`` exists from before the first epoch on, so that an interrupted
        run always leaves one.
        """
        self._has_validation = valid_data is not None
        self._verbose, self._saved = verbose, saved
        self._save_last(self.start_epoch - 1)
        start = time.perf_counter()
        self.on_fit_start(train_data, valid_data)
        self.pretrain_seconds = time.perf_counter() - start
        self._save_last(self.start_epoch - 1)

        def after_validation(epoch: int, score: float) -> None:
            self._save_last(epoch)
            if callback_fn is not None:
                callback_fn(epoch, score)

        try:
            result: tuple[float, dict[str, float] | None] = super().fit(  # type: ignore[misc]
                train_data,
                valid_data,
                verbose=False,
                saved=saved,
                show_progress=show_progress,
                callback_fn=after_validation,
            )
        finally:
            self.tensorboard.close()
        return result

    def _train_epoch(
        self,
        train_data: Any,
        epoch_idx: int,
        loss_func: Callable[..., Any] | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Time one epoch of RecBole's loop under a bar that shows the loss."""
        batches = _BatchBar(train_data, epoch_idx, self) if show_progress else train_data
        start = time.perf_counter()
        losses = super()._train_epoch(batches, epoch_idx, loss_func=loss_func)  # type: ignore[misc]
        seconds = time.perf_counter() - start
        self.train_seconds += seconds
        self.epochs_trained += 1
        means = _format_losses(losses, len(train_data))
        self._epoch_report = f"{self.epoch_label} {epoch_idx}: loss {means} [{seconds:.2f} s]"
        if not self._is_validated(epoch_idx):
            self._log(self._epoch_report)
            self._save_last(epoch_idx)
        return losses

    def _valid_epoch(
        self, valid_data: Any, show_progress: bool = False
    ) -> tuple[float, dict[str, float]]:
        start = time.perf_counter()
        score, result = super()._valid_epoch(valid_data, show_progress)  # type: ignore[misc]
        seconds = time.perf_counter() - start
        places = self.config["metric_decimal_place"]
        metrics = ", ".join(f"{name} {value:.{places}f}" for name, value in result.items())
        self._log(f"{self._epoch_report}, validation {metrics} [{seconds:.2f} s]")
        return score, result

    def _is_validated(self, epoch: int) -> bool:
        return self._has_validation and self.eval_step > 0 and (epoch + 1) % self.eval_step == 0

    def _log(self, line: str) -> None:
        if self._verbose:
            self.logger.info(line)

    def _check_nan(self, loss: torch.Tensor) -> None:
        """Called by RecBole with every batch's loss; keeps it for the progress bar."""
        self.last_loss = loss.detach()
        if torch.isnan(loss):
            raise UserError(
                f"training loss is NaN in epoch {self.epochs_trained + self.start_epoch}: "
                f"lower key `learning_rate` (found {self.config['learning_rate']}) "
                "or the loss weights"
            )

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        """Called by RecBole at each new best epoch."""
        self.best_epoch = epoch
        save_checkpoint(kwargs.get("saved_model_file", self.saved_model_file), self._state(epoch))

    def save_pretrained_model(self, epoch: int, saved_model_file: str) -> None:
        """Called by RecBole's trainers that pre-train only; kept as the best, under that name."""
        self._save_checkpoint(epoch)

    def _save_last(self, epoch: int) -> None:
        if self._saved:
            save_checkpoint(self.last_model_file, self._state(epoch))

    def _state(self, epoch: int) -> dict[str, Any]:
        """Everything that scores, with the origin that loading checks."""
        return {
            **self._origin(),
            "epoch": epoch,
            "best_epoch": self.best_epoch,
            "cur_step": self.cur_step,
            "best_valid_score": self.best_valid_score,
            "settings": self.config.plain_settings(),
            "state_dict": self.model.state_dict(),
            "other_parameter": self.model.other_parameter(),
            "optimizer": self.optimizer.state_dict(),
        }

    def _origin(self) -> dict[str, Any]:
        return {
            "model": self.config["model"],
            "dataset": self.config["dataset"],
            "split_hash": self.config["split_hash"],
        }

    def load_checkpoint(self, path: str | Path) -> None:
        """Give the model the parameters of a checkpoint.

        Raises:
            UserError: Not a checkpoint of this package, or of another model, data set or split.
        """
        content = read_checkpoint(path, self.config["device"])
        check_origin(path, content, **self._origin())
        try:
            self.model.load_state_dict(content["state_dict"])
        except RuntimeError as error:
            raise UserError(
                f"checkpoint {path}: its parameters do not fit this run's settings: {error}"
            ) from error
        self.model.load_other_parameter(content["other_parameter"])

    def resume_checkpoint(self, resume_file: str | Path) -> None:
        """RecBole's way to go on from a checkpoint, which its own files alone fit.

        Raises:
            UserError: Always; ``load_checkpoint`` gives a model the parameters of ours.
        """
        raise UserError(
            f"checkpoint {resume_file}: training cannot go on from it; load_checkpoint gives the "
            "model its parameters, for evaluation"
        )

    @torch.no_grad()
    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | Path | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Evaluate as RecBole does, from our checkpoints; arguments and result are RecBole's."""
        if load_best_model:
            self.load_checkpoint(model_file or self.saved_model_file)
        return super().evaluate(  # type: ignore[misc]
            eval_data, load_best_model=False, show_progress=show_progress
        )


class _BatchBar:
    """A data loader under a progress bar that shows the trainer's latest loss."""

    def __init__(self, loader: Any, epoch: int, trainer: RunTrainer) -> None:
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
            bar.set_postfix(loss=f"{self._trainer.last_loss.item():.4f}", refresh=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _format_losses(losses: Any, n_batches: int) -> str:
    """Mean over batches: the sum, then its terms when the model gives several."""
    if not isinstance(losses, tuple):
        return f"{losses / n_batches:.4f}"
    terms = [term / n_batches for term in losses]
    return f"{sum(terms):.4f} ({' + '.join(f'{term:.4g}' for term in terms)})"


class DiffusionTrainer(RunTrainer, Trainer):
    """Trainer of this package's models, and of registered ones."""


def trainer_on(host_trainer: type) -> type:
    """RecBole's trainer of a RecBole model, with this package's reports and checkpoints."""
    return type(host_trainer.__name__, (RunTrainer, host_trainer), {})
