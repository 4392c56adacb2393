"""RecBole's trainers of RecBole's models, with this package's loop, reports and checkpoints."""

from typing import Any

from recbole_diffusion.training.trainer import RunTrainer


class _Stages(RunTrainer):
    """RaCT's stages, of which the first two train a number of epochs without validation."""

    pretrain_epochs: int

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self._is_finetuned = model.train_stage == "finetune"
        if not self._is_finetuned:
            self.epochs = self.pretrain_epochs

    def _chooses_by_validation(self) -> bool:
        return self._is_finetuned and super()._chooses_by_validation()


class _Clustering(RunTrainer):
    """NCL's clusters, found anew every few epochs."""

    num_m_step: int

    def on_epoch_start(self, epoch: int) -> None:
        """Cluster users and items."""
        if epoch % self.num_m_step == 0:
            self.model.e_step()


HOST_LOOPS = {"RaCTTrainer": _Stages, "NCLTrainer": _Clustering}


def trainer_on(host_trainer: type) -> type:
    """RecBole's trainer of a RecBole model, with this package's loop, reports and checkpoints."""
    name = host_trainer.__name__
    return type(name, (HOST_LOOPS.get(name, RunTrainer), host_trainer), {})
