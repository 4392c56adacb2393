"""Checkpoints of a trainer, and exact resume from the last one."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.base.randomness import (
    generator_states,
    own_randomness,
    set_generator_states,
)
from recbole_diffusion.base.ranks import Ranks
from recbole_diffusion.training.checkpoint import check_origin, read_checkpoint, save_checkpoint
from recbole_diffusion.training.host_attributes import HostAttributes
from recbole_diffusion.training.shared import SharedTraining
from recbole_diffusion.training.state import (
    ModelAttributes,
    check_learners,
    check_other_parameter,
    learners,
)

# Of the time since ``last.pth`` was written, what the next write may take, as long as that one.
SHARE_OF_TIME = 0.05


class CheckpointMixin(HostAttributes):
    """Writes ``best.pth`` and ``last.pth``, and goes on from there.

    Attributes:
        progress: Attributes that change from epoch to epoch; a resumed run goes on with them.
    """

    progress: tuple[str, ...]
    saved_model_file: str
    last_model_file: str
    best_epoch: int
    fit_seconds: float
    ranks: Ranks
    shared: SharedTraining
    _attributes: ModelAttributes
    _began: float
    _saved: bool
    _train_data: Any
    # Of the write of ``last.pth`` before: when it ended, and what it took.
    _last_written = float("-inf")
    _write_seconds = 0.0
    # The last finished epoch, if ``last.pth`` does not hold it.
    _unsaved_epoch: int | None = None
    # Best epoch that ``last.pth`` names; -1 for none.
    _named_best = -1

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        """Called by RecBole at each new best epoch, and with -1 when it has no epoch to train."""
        is_resumed_at_its_end = epoch < 0 and self.start_epoch > 0
        if is_resumed_at_its_end or 0 <= epoch == self.best_epoch:
            return  # it stands already
        if 0 <= self._named_best == self.best_epoch and self.ranks.is_first:
            self._keep_named_best()
        self.best_epoch = epoch
        self._write(kwargs.get("saved_model_file", self.saved_model_file), self._state(epoch))

    @property
    def _kept_file(self) -> Path:
        """The best epoch that ``last.pth`` names, where ``best.pth`` holds a later one."""
        return Path(self.saved_model_file).with_name(".best-of-last.pth")

    def _keep_named_best(self) -> None:
        self._kept_file.unlink(missing_ok=True)
        try:
            os.link(self.saved_model_file, self._kept_file)
        except OSError:  # a file system without links
            shutil.copyfile(self.saved_model_file, self._kept_file)

    def _save_last(self, epoch: int) -> None:
        """Write ``last.pth``, unless that would take more than its share of the time."""
        self._unsaved_epoch = epoch
        seconds = time.perf_counter() - self._last_written
        # Clocks differ: the first rank decides for all.
        is_due = self.ranks.is_first and self._write_seconds <= SHARE_OF_TIME * seconds
        if self.ranks.any(is_due):
            self._write_last(epoch)

    def _write_last(self, epoch: int) -> None:
        start = time.perf_counter()
        self.fit_seconds = start - self._began
        if self._saved:
            content = {**self._state(epoch), "training": self._training_state()}
            self.shared.check_alike(content["attributes"])
            self._write(self.last_model_file, content)
            self._named_best = self.best_epoch
            if self.ranks.is_first:
                self._kept_file.unlink(missing_ok=True)
        self._last_written, self._unsaved_epoch = time.perf_counter(), None
        self._write_seconds = self._last_written - start

    def _write(self, path: str | Path, content: dict[str, Any]) -> None:
        """Rank 0 writes a checkpoint before any other goes on."""
        if self.ranks.is_first:
            save_checkpoint(path, content)
        self.ranks.wait()

    def _save_end(self) -> None:
        """Write the end of training, which is never left out."""
        if self._unsaved_epoch is not None:
            self._write_last(self._unsaved_epoch)

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
            # Layers that the checkpoint asks for are drawn before they get its values.
            with own_randomness(self.config["seed"], self.device):
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
        best_epoch = training.get("best_epoch", -1)
        self._named_best = best_epoch
        if best_epoch >= 0:
            self._take_best(best_epoch)
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
                learner = getattr(self, name)
                if learner is not None:  # solved models had an optimiser once
                    learner.load_state_dict(state)
            check_learners(self.last_model_file, learners(self))
            self.start_epoch = content["epoch"] + 1
            train_data.generator.set_state(training["batch_order"])
            set_generator_states(training["generators"], self.device)

    def _take_best(self, epoch: int) -> None:
        """See that ``best.pth`` holds the best epoch of ``last.pth``, which may have been kept.

        Raises:
            UserError: It does not, so that a run whose best epoch comes no more could not end.
        """
        is_kept = self._kept_file.is_file() and self._epoch_of(self._kept_file) == epoch
        self.ranks.wait()
        if is_kept and self.ranks.is_first:
            os.replace(self._kept_file, self.saved_model_file)
        self.ranks.wait()
        found = self._epoch_of(Path(self.saved_model_file))
        if found != epoch:
            raise UserError(
                f"checkpoint {self.saved_model_file}: found epoch {found}, expected {epoch}, the "
                "best one of last.pth; without it the run cannot end: start it anew"
            )

    def _epoch_of(self, path: Path) -> int:
        """Of a checkpoint with a best epoch; one that cannot be read is refused before training."""
        try:
            content = read_checkpoint(path)
            check_origin(path, content, **self._origin())
            return int(content["epoch"])
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


def _on_device(values: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in values.items()}
