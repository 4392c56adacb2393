"""What every run adds to RecBole's trainers: checkpoints, exact resume, one line an epoch."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.utils import ModelType, calculate_valid_score

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.log import AS_DETAIL, AS_SUMMARY
from recbole_diffusion.base.randomness import own_randomness
from recbole_diffusion.base.ranks import current_ranks
from recbole_diffusion.evaluation.collector import RankingCollector
from recbole_diffusion.evaluation.metrics import ExactEvaluator
from recbole_diffusion.nn.diagnostics import relative_change
from recbole_diffusion.training.callbacks import StopRun
from recbole_diffusion.training.curves import curves_beside_the_log
from recbole_diffusion.training.energy import energy_of
from recbole_diffusion.training.evaluating import EvaluationMixin
from recbole_diffusion.training.history import append_epoch, keep_epochs
from recbole_diffusion.training.progress import (
    BatchBar,
    format_losses,
    mean_losses,
    sampled_ids,
)
from recbole_diffusion.training.saving import CheckpointMixin
from recbole_diffusion.training.shared import SharedTraining
from recbole_diffusion.training.state import ModelAttributes

# A mean loss of an epoch beyond this, or this many times that of the first batch, has diverged.
ABSURD_LOSS = 1e15
ABSURD_GROWTH = 1e6


class RunTrainer(CheckpointMixin, EvaluationMixin):
    """Mixed in before one of RecBole's trainers, whose epochs it runs, reports and saves.

    ``best.pth`` holds the epoch with the best validation score; ``last.pth`` one of the last
    finished ones, at the end the last, with all that the next epoch hangs on.
    """

    # What an epoch is called in the log and on the bar.
    epoch_label = "epoch"
    # Attributes that change from epoch to epoch; a resumed run goes on with them.
    progress: tuple[str, ...] = (
        "best_epoch",
        "best_valid_result",
        "best_valid_score",
        "cur_step",
        "epochs_trained",
        "fit_seconds",
        "pretrain_seconds",
        "train_seconds",
        "_is_prepared",
        "_scores_before",
    )
    # For the warning of a loss that grows; a resumed run counts from its own first batch.
    _first_loss: float | None = None
    _has_diverged = False
    # Sampled scores of the validation before, with key `log_diagnostics`.
    _scores_before: torch.Tensor | None = None
    # Gives the prepared model what an older run learned; validation then comes before training.
    warm_start: Callable[[], None] | None = None
    # Is told each epoch's line of the history; may raise ``StopRun``.
    tell: Callable[[Mapping[str, Any]], None] = staticmethod(lambda record: None)

    def __init__(self, config: Any, model: Any) -> None:
        with curves_beside_the_log():
            super().__init__(config, model)  # type: ignore[call-arg]
        self.eval_collector, self.evaluator = RankingCollector(config), ExactEvaluator(config)
        # RecBole's trainers of memory-based models lower `epochs` after taking this minimum.
        self.eval_step = min(self.eval_step, self.epochs)
        self.saved_model_file = str(Path(config["checkpoint_dir"]) / "best.pth")
        self.last_model_file = str(Path(config["checkpoint_dir"]) / "last.pth")
        self.best_epoch = -1
        self.epochs_trained = 0
        self.train_seconds = 0.0
        self.fit_seconds = 0.0  # in `fit`, before each interruption too
        self._began = time.perf_counter()
        self.last_loss = torch.zeros(())
        self.pretrain_seconds = 0.0
        self._attributes = ModelAttributes(model)
        self.ranks = current_ranks()
        self.shared = SharedTraining(self.ranks, model, config)
        self._train_data: Any = None
        self._is_prepared = False
        self._has_validation, self._verbose, self._saved = False, False, False
        self._epoch_report = self._epoch_summary = ""
        self._record: dict[str, Any] = {}

    @property
    def is_solved(self) -> bool:
        """Whether one pass over the data solves the model, without gradients."""
        return bool(self.model.type == ModelType.TRADITIONAL) and self.epochs == 1

    def on_fit_start(self, train_data: Any, valid_data: Any) -> None:
        """Hook for what must exist before the first epoch, such as pre-trained embeddings.

        What it gives the model belongs into buffers or parameters: a resumed run takes it from
        its checkpoint and does not call this again. Its time is added to ``pretrain_seconds``,
        which it sets to the time that parts of it before an interruption took.
        """

    def on_epoch_start(self, epoch: int) -> None:
        """Hook for what an epoch does before its batches; its time counts as the epoch's.

        Ranks draw the same here, as from ``self.shared.common()``.
        """

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Train, and keep the epoch that is best on validation; arguments and result are RecBole's.

        A checkpoint ``last.pth`` exists from before the first epoch on, so that an interrupted
        run always leaves one.
        """
        self._has_validation, self._train_data = valid_data is not None, train_data
        self._began = time.perf_counter() - self.fit_seconds
        self._verbose, self._saved = verbose, saved
        if saved and self.ranks.is_first:
            keep_epochs(self.config["checkpoint_dir"], self.start_epoch)
        if not self._is_prepared:
            self._write_last(-1)
            start = time.perf_counter()
            self.on_fit_start(train_data, valid_data)
            self.pretrain_seconds += time.perf_counter() - start
            if self.warm_start is not None:
                self.warm_start()
                self._validate_start(valid_data)
            self._is_prepared = True
            self._write_last(-1)
        if saved and self.start_epoch >= self.epochs:
            self._save_checkpoint(-1)
        self.eval_collector.data_collect(train_data)
        if self.config["train_neg_sample_args"].get("dynamic", False):
            train_data.get_model(self.model)
        try:
            for epoch in range(self.start_epoch, self.epochs):
                if self.cur_step > self.stopping_step:
                    break
                losses = self._train_epoch(train_data, epoch, show_progress=show_progress)
                self._add_train_loss_to_tensorboard(epoch, losses)
                if self._is_validated(epoch):
                    score = self._validate(valid_data, epoch, show_progress)
                    if callback_fn is not None:
                        callback_fn(epoch, score)
                self._tell_epoch(epoch)
            self._save_end()
            self._add_hparam_to_tensorboard(self.best_valid_score)
        finally:
            self.tensorboard.close()
        return self.best_valid_score, self.best_valid_result

    def _tell_epoch(self, epoch: int) -> None:
        try:
            self.tell(self._record)
        except StopRun:
            if self._saved and not Path(self.saved_model_file).is_file():
                self._save_checkpoint(epoch)  # none was validated, and one is to be evaluated
            raise

    def _validate_start(self, valid_data: Any) -> None:
        """Keep what an older run learned, as the epoch -1, unless a later one is better."""
        if self.is_solved:  # it starts from nothing
            return
        if not self._chooses_by_validation() or self.start_epoch >= self.epochs:
            return
        result = self.evaluate(valid_data, load_best_model=False)
        score = calculate_valid_score(result, self.valid_metric)
        self.best_valid_score, self.best_valid_result = score, result
        if self._saved:
            self._save_checkpoint(-1)
        line = f"before training: {self.config['valid_metric']} {score:.4f}"
        self._log_epoch(line, line)

    def _validate(self, valid_data: Any, epoch: int, show_progress: bool) -> float:
        """Score an epoch, and keep it if it is better than all before; a tie keeps the earlier."""
        score, result = self._valid_epoch(valid_data, show_progress)
        best = self.best_valid_score
        if score > best if self.valid_metric_bigger else score < best:
            self.best_valid_score, self.best_valid_result, self.cur_step = score, result, 0
            if self._saved:
                self._save_checkpoint(epoch)
        else:
            self.cur_step += 1
        self.tensorboard.add_scalar("Vaild_score", score, epoch)  # RecBole's name
        self._write_record()
        self._save_last(epoch)
        return score

    def _train_epoch(
        self,
        train_data: Any,
        epoch_idx: int,
        loss_func: Callable[..., Any] | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Time one epoch of RecBole's loop under a bar that shows the loss."""
        batches = BatchBar(train_data, epoch_idx, self) if show_progress else train_data
        start = time.perf_counter()
        with energy_of(self.config) as energy:
            self.shared.start_epoch(epoch_idx)
            with self.shared.common():
                self.on_epoch_start(epoch_idx)
            losses = self._train_shared(batches, epoch_idx, loss_func)
        seconds = time.perf_counter() - start
        self.train_seconds += seconds
        self.epochs_trained += 1
        means = mean_losses(self.model, losses, len(train_data))
        self._tell_divergence(means["loss"])
        self._epoch_report = f"{self._told(epoch_idx, format_losses(means))} [{seconds:.2f} s]"
        self._epoch_summary = self._told(epoch_idx, f"{means['loss']:.4f}")
        self._record = {
            "epoch": epoch_idx,
            **means,
            "train_seconds": seconds,
            "valid": None,
            "valid_seconds": None,
            "diagnostics": {},
            **energy,
        }
        if not self._is_validated(epoch_idx):
            self._log_epoch(self._epoch_report, f"{self._epoch_summary} [{seconds:.2f} s]")
            self._write_record()
            if not self._chooses_by_validation() and self._saved:
                self._save_checkpoint(epoch_idx)  # before `last.pth`, which names it
            self._save_last(epoch_idx)
        return losses

    def _train_shared(self, batches: Any, epoch: int, loss_func: Any) -> Any:
        """RecBole's loop, over this rank's shares of batches; the losses are those of all ranks."""
        if self.is_solved:
            return super()._train_epoch(batches, epoch, loss_func=loss_func)  # type: ignore[misc]
        times = getattr(batches, "times", 1)
        with self.shared.sharing_loss(times, lambda: self.optimizer):
            losses = super()._train_epoch(batches, epoch, loss_func=loss_func)  # type: ignore[misc]
        return self.shared.total(losses)

    def _told(self, epoch: int, losses: str) -> str:
        """What is told of an epoch; the loss of one that solves the model means nothing."""
        return "solved" if self.is_solved else f"{self.epoch_label} {epoch}: loss {losses}"

    def _valid_epoch(
        self, valid_data: Any, show_progress: bool = False
    ) -> tuple[float, dict[str, float]]:
        start = time.perf_counter()
        score, result = super()._valid_epoch(valid_data, show_progress)  # type: ignore[misc]
        seconds = time.perf_counter() - start
        places = self.config["metric_decimal_place"]
        metrics = ", ".join(f"{name} {value:.{places}f}" for name, value in result.items())
        best = max if self.config["valid_metric_bigger"] else min
        spent = self._record.get("train_seconds", 0.0) + seconds
        self._log_epoch(
            f"{self._epoch_report}, validation {metrics} [{seconds:.2f} s]",
            f"{self._epoch_summary}, {self.config['valid_metric']} {score:.{places}f} "
            f"(best {best(score, self.best_valid_score):.{places}f}) [{spent:.2f} s]",
        )
        self._record |= {"valid": dict(result), "valid_seconds": seconds}
        if self.config["log_diagnostics"]:
            self._log_change_of_scores()
        return score, result

    @torch.no_grad()
    def _log_change_of_scores(self) -> None:
        """SimDiff's Eq. 1 on the scores of a few users and items, the same in all epochs."""
        users, items = sampled_ids(self.model.n_users, self.tot_item_num)
        batch = Interaction({self.config["USER_ID_FIELD"]: users}).to(self.device)
        with own_randomness(self.config["seed"], self.device):
            scores = self._score_all_items(batch).view(len(users), -1).cpu()[:, items]
        if self._scores_before is not None:
            change = relative_change(scores, self._scores_before).item()
            self.diagnose({"change_of_scores": change})
        self._scores_before = scores

    def diagnose(self, figures: dict[str, float]) -> None:
        """Put figures of the epoch that was just validated into the run's history, by name."""
        self._record["diagnostics"] |= figures

    def _write_record(self) -> None:
        """Before ``last.pth``: an epoch that is resumed from there has its line already."""
        if self._saved and self.ranks.is_first:
            append_epoch(self.config["checkpoint_dir"], self._record)

    def _chooses_by_validation(self) -> bool:
        return self._has_validation and self.eval_step > 0

    def _is_validated(self, epoch: int) -> bool:
        return self._chooses_by_validation() and (epoch + 1) % self.eval_step == 0

    def _log(self, line: str) -> None:
        """Tell what the log and a verbose console show."""
        if self._verbose:
            self.logger.info(line, extra=AS_DETAIL)

    def _log_epoch(self, line: str, summary: str) -> None:
        """Tell of an epoch: the line, or on the console its summary."""
        self._log(line)
        if self._verbose:
            self.logger.info(summary, extra=AS_SUMMARY)

    def _check_nan(self, loss: torch.Tensor) -> None:
        """Called by RecBole with every batch's loss; keeps it for the progress bar."""
        self.last_loss = loss.detach()
        if self._first_loss is None:
            self._first_loss = abs(self.last_loss.sum().item())
        if not torch.isfinite(loss).all():
            found = "NaN" if torch.isnan(loss).any() else "infinite"
            raise UserError(
                f"training loss is {found} in epoch {self.epochs_trained}: "
                f"{self._cure_of_nan()}, or the loss weights"
            )

    def _tell_divergence(self, loss: float) -> None:
        """Warn once of a loss that is finite, and no result of learning."""
        first = self._first_loss or 0.0
        is_absurd = abs(loss) > min(ABSURD_LOSS, ABSURD_GROWTH * max(first, 1.0))
        if is_absurd and not self._has_diverged:
            self._has_diverged = True
            self.logger.warning(
                f"training diverges: found loss {loss:.3g} in epoch {self.epochs_trained - 1}, "
                f"{first:.3g} in the first batch; {self._cure_of_nan()}"
            )


class DiffusionTrainer(RunTrainer, Trainer):
    """Trainer of this package's models, and of registered ones."""
