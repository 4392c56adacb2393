"""What every run adds to RecBole's trainers: checkpoints, exact resume, one line an epoch."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.trainer import Trainer
from recbole.utils import ModelType

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.base.log import AS_DETAIL, AS_SUMMARY
from recbole_diffusion.base.randomness import generator_states, own_randomness, set_generator_states
from recbole_diffusion.nn.diagnostics import relative_change
from recbole_diffusion.training.checkpoint import check_origin, read_checkpoint, save_checkpoint
from recbole_diffusion.training.history import append_epoch, keep_epochs
from recbole_diffusion.training.progress import BatchBar, format_losses, mean_losses, sampled_ids
from recbole_diffusion.training.state import (
    ModelAttributes,
    check_learners,
    check_other_parameter,
    learners,
)

# A mean loss of an epoch beyond this, or this many times that of the first batch, has diverged.
ABSURD_LOSS = 1e15
ABSURD_GROWTH = 1e6


class RunTrainer:
    """Mixed in before one of RecBole's trainers; changes how it reports and saves, not how it fits.

    ``best.pth`` holds the epoch with the best validation score; ``last.pth`` the last finished one,
    with all that the next epoch hangs on.
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

    # RecBole's trainer, mixed in after this class, sets these.
    model: Any
    config: Any
    logger: Any
    optimizer: Any
    tensorboard: Any
    epochs: int
    eval_step: int
    device: torch.device
    start_epoch: int
    cur_step: int
    stopping_step: int
    valid_metric: str
    best_valid_score: float
    best_valid_result: dict[str, float] | None
    test_batch_size: int
    tot_item_num: int

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)  # type: ignore[call-arg]
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
        """Hook for what an epoch does before its batches; its time counts as the epoch's."""

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
        self._has_validation, self._train_data = valid_data is not None, train_data
        self._began = time.perf_counter() - self.fit_seconds
        self._verbose, self._saved = verbose, saved
        if saved:
            keep_epochs(self.config["checkpoint_dir"], self.start_epoch)
        if not self._is_prepared:
            self._save_last(-1)
            start = time.perf_counter()
            self.on_fit_start(train_data, valid_data)
            self.pretrain_seconds += time.perf_counter() - start
            self._is_prepared = True
            self._save_last(-1)
        if self.cur_step > self.stopping_step:  # resumed after its last epoch
            self.tensorboard.close()
            return self.best_valid_score, self.best_valid_result

        def after_validation(epoch: int, score: float) -> None:
            self._write_record()
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
        batches = BatchBar(train_data, epoch_idx, self) if show_progress else train_data
        start = time.perf_counter()
        self.on_epoch_start(epoch_idx)
        losses = super()._train_epoch(batches, epoch_idx, loss_func=loss_func)  # type: ignore[misc]
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
        }
        if not self._is_validated(epoch_idx):
            self._log_epoch(self._epoch_report, f"{self._epoch_summary} [{seconds:.2f} s]")
            self._write_record()
            if not self._chooses_by_validation() and self._saved:
                self._save_checkpoint(epoch_idx)  # before `last.pth`, which names it
            self._save_last(epoch_idx)
        return losses

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
        if self._saved:
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

    def _cure_of_nan(self) -> str:
        cure = f"lower key `learning_rate` (found {self.config['learning_rate']})"
        return cure + (", scale the `item_features`" if self.config["item_features"] else "")

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        """Called by RecBole at each new best epoch, and with -1 when it has no epoch to train."""
        is_resumed_at_its_end = epoch < 0 and self.start_epoch > 0
        if is_resumed_at_its_end or 0 <= epoch == self.best_epoch:
            return  # it stands already
        self.best_epoch = epoch
        save_checkpoint(kwargs.get("saved_model_file", self.saved_model_file), self._state(epoch))

    def pretrain(self, train_data: Any, verbose: bool = True, show_progress: bool = False) -> Any:
        """Called by RecBole's trainers of several stages, for one that is not validated."""
        self._has_validation = False
        return super().pretrain(train_data, verbose, show_progress)  # type: ignore[misc]

    def save_pretrained_model(self, epoch: int, saved_model_file: str) -> None:
        """Called by RecBole's trainers that pre-train only; kept as the best, under that name."""
        self._save_checkpoint(epoch)

    def _save_last(self, epoch: int) -> None:
        self.fit_seconds = time.perf_counter() - self._began
        if self._saved:
            content = {**self._state(epoch), "training": self._training_state()}
            save_checkpoint(self.last_model_file, content)

    def _state(self, epoch: int) -> dict[str, Any]:
        """Everything that scores, with the origin that loading checks."""
        return {
            **self._origin(),
            "registered_as": self.config.registration.key,
            "epoch": epoch,
            "settings": self.config.plain_settings(),
            "state_dict": self.model.state_dict(),
            "other_parameter": self.model.other_parameter(),
            "attributes": self._attributes.changed(),
        }

    def _training_state(self) -> dict[str, Any]:
        """Everything else that the next epoch, and the choice of the best one, hang on."""
        return {
            **{name: getattr(self, name) for name in self.progress},
            "learners": {name: part.state_dict() for name, part in learners(self).items()},
            "generators": generator_states(self.device),
            "batch_order": self._train_data.generator.get_state(),
        }

    def _origin(self) -> dict[str, Any]:
        return {
            "model": self.config["model"],
            "dataset": self.config["dataset"],
            "split_hash": self.config["split_hash"],
            "data_hash": self.config["data_hash"],
        }

    def load_checkpoint(self, path: str | Path) -> dict[str, Any]:
        """Give the model, fresh or trained, the parameters of a checkpoint.

        Returns:
            The whole content of the checkpoint.

        Raises:
            UserError: Not a checkpoint of this package, or of another model, data set or split.
        """
        content = read_checkpoint(path)
        check_origin(path, content, **self._origin())
        try:
            self.model.load_state_dict(content["state_dict"])
        except RuntimeError as error:
            raise UserError(
                f"checkpoint {path}: its parameters do not fit this run's settings: {error}"
            ) from error
        with refusals_of(f"checkpoint {path}: broken", LookupError, TypeError, AttributeError):
            check_other_parameter(path, self.model, content["other_parameter"])
            self.model.load_other_parameter(_on_device(content["other_parameter"], self.device))
            self._attributes.restore(_on_device(content["attributes"], self.device))
        return content

    def resume(self, train_data: Any) -> None:
        """Go on from ``last.pth`` as if training had not stopped; ``fit`` comes next.

        Args:
            train_data: The loader that ``fit`` is given.

        Raises:
            UserError: No such file, or a checkpoint of another run or version.
        """
        content = self.load_checkpoint(self.last_model_file)
        training = content.get("training", {})
        if training.get("best_epoch", -1) >= 0:
            self._check_best()
        missing = sorted(set(self.progress) - set(training))
        if missing:
            raise UserError(
                f"checkpoint {self.last_model_file}: found no {', '.join(missing)} of its "
                "training, expected what this version keeps; another one wrote it"
            )
        kinds = (LookupError, TypeError, AttributeError, ValueError, RuntimeError)
        with refusals_of(f"checkpoint {self.last_model_file}: broken", *kinds):
            for name in self.progress:
                setattr(self, name, training[name])
            for name, state in training["learners"].items():
                getattr(self, name).load_state_dict(state)
            check_learners(self.last_model_file, learners(self))
            self.start_epoch = content["epoch"] + 1
            train_data.generator.set_state(training["batch_order"])
            set_generator_states(training["generators"], self.device)

    def _check_best(self) -> None:
        """Refuse to train towards an end that needs a file which cannot be read."""
        try:
            check_origin(
                self.saved_model_file, read_checkpoint(self.saved_model_file), **self._origin()
            )
        except UserError as error:
            raise UserError(
                f"{error}; without its best epoch the run cannot end: start it anew"
            ) from error

    def resume_checkpoint(self, resume_file: str | Path) -> None:
        """RecBole's way to go on from a checkpoint, which its own files alone fit.

        Raises:
            UserError: Always; ``resume`` goes on from ``last.pth``.
        """
        raise UserError(f"checkpoint {resume_file}: give the run's folder to --resume instead")

    @torch.no_grad()
    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | Path | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Evaluate as RecBole does, from our checkpoints; arguments and result are RecBole's.

        What a loader or a model draws comes from the run's seed anew each time: every validation
        ranks the same sampled candidates, and none shifts the training that follows.
        """
        if load_best_model:
            self.load_checkpoint(model_file or self.saved_model_file)
        with own_randomness(self.config["seed"], self.device):
            eval_data.generator.manual_seed(self.config["seed"])
            return super().evaluate(  # type: ignore[misc]
                eval_data, load_best_model=False, show_progress=show_progress
            )

    def _full_sort_batch_eval(self, batched_data: Any) -> tuple[Any, torch.Tensor, Any, Any]:
        """Called by RecBole with the users of a batch; an error in scoring stays an error."""
        users, history, positive_u, positive_i = batched_data
        scores = self._score_all_items(users.to(self.device)).view(-1, self.tot_item_num)
        scores[:, 0] = -torch.inf
        scores[history] = -torch.inf
        if torch.isnan(scores).any():
            raise UserError(
                f"model {self.config['model']}: scores are NaN after {self.epochs_trained} "
                f"epochs: {self._cure_of_nan()}"
            )
        return users, scores, positive_u, positive_i

    def _score_all_items(self, users: Any) -> torch.Tensor:
        """Scores [n, n_items]; pair by pair for a model that defines ``predict`` alone."""
        if type(self.model).full_sort_predict is not AbstractRecommender.full_sort_predict:
            scores: torch.Tensor = self.model.full_sort_predict(users)
            return scores
        n_items = self.tot_item_num
        pairs = users.repeat_interleave(n_items)
        items = torch.arange(n_items, device=self.device).repeat(len(users))
        pairs.update(Interaction({self.config["ITEM_ID_FIELD"]: items}))
        size = self.test_batch_size
        blocks = (pairs[start : start + size] for start in range(0, len(pairs), size))
        return torch.cat([self.model.predict(block).reshape(-1) for block in blocks])


def _on_device(values: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in values.items()}


class DiffusionTrainer(RunTrainer, Trainer):
    """Trainer of this package's models, and of registered ones."""


def trainer_on(host_trainer: type) -> type:
    """RecBole's trainer of a RecBole model, with this package's reports and checkpoints."""
    return type(host_trainer.__name__, (RunTrainer, host_trainer), {})
