"""PrefixDiff's trainer: the closed-form skip first, and an average of weights."""

from typing import Any

from recbole.utils import calculate_valid_score
from torch.optim import Optimizer

from recbole_diffusion.training.rows import RowTrainer


class PrefixDiffTrainer(RowTrainer):
    """Solves the skip before the first epoch, and keeps it where training makes nothing better.

    Attributes:
        start_score: Validation score before training, by the skip alone; None without one.
    """

    progress = (*RowTrainer.progress, "start_score")
    start_score: float | None = None

    def on_fit_start(self, train_data: Any, valid_data: Any) -> None:
        """Solve the skip, and rank the validation part by it."""
        self.model.prepare()
        if self.model.skip is not None and valid_data is not None and self.eval_step > 0:
            result = self.evaluate(valid_data, load_best_model=False)
            self.start_score = calculate_valid_score(result, self.valid_metric)
            metric = self.config["valid_metric"]
            line = f"before training: {metric} {self.start_score:.4f}"
            self._log_epoch(line, line)

    def fit(self, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as the base does; then keep the state before training where it is no worse."""
        super().fit(train_data, valid_data, *args, **kwargs)
        if self.start_score is not None and self.epochs > 0:
            sign = 1 if self.config["valid_metric_bigger"] else -1
            if sign * self.best_valid_score <= sign * self.start_score:
                self._keep_start(valid_data)
        return self.best_valid_score, self.best_valid_result

    def _keep_start(self, valid_data: Any) -> None:
        assert self.start_score is not None
        self.logger.warning(
            f"the closed form alone is better, and is kept: {self.config['valid_metric']} "
            f"{self.start_score:.4f}, after training {self.best_valid_score:.4f} at best; train "
            "longer, or, where the order of histories tells nothing, use --model=LinDiffRec"
        )
        self.model.forget_training()
        self.best_epoch, self.best_valid_score = -1, self.start_score
        self.best_valid_result = dict(self.evaluate(valid_data, load_best_model=False))
        self._write(self.saved_model_file, self._state(-1))

    def _build_optimizer(self, **kwargs: Any) -> Optimizer:
        # RecBole would warn of two penalties; this one is of the closed form.
        settings, self.config = self.config, self.config.derive(reg_weight=0)
        optimizer = super()._build_optimizer(**kwargs)
        self.config = settings
        optimizer.register_step_post_hook(lambda *_: self.model.update_average())
        return optimizer
