"""PrefixDiff's trainer: the closed-form skip first, and an average of weights."""

from typing import Any

from recbole.utils import calculate_valid_score
from torch.optim import Optimizer

from recbole_diffusion.trainer.rows import RowTrainer


class PrefixDiffTrainer(RowTrainer):
    """Solves the skip before the first epoch, and says whether the network adds to it.

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

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train as the base does; then tell where training was in vain."""
        result = super().fit(*args, **kwargs)
        if self.start_score is not None and self.epochs > 0:
            sign = 1 if self.config["valid_metric_bigger"] else -1
            if sign * self.best_valid_score <= sign * self.start_score:
                self.logger.warning(
                    f"the network adds nothing to the closed form: {self.config['valid_metric']} "
                    f"{self.best_valid_score:.4f} at best, {self.start_score:.4f} before training; "
                    "expected more only where the order of histories tells: use --model=LinDiffRec"
                )
        return result

    def _build_optimizer(self, **kwargs: Any) -> Optimizer:
        optimizer = super()._build_optimizer(**kwargs)
        optimizer.register_step_post_hook(lambda *_: self.model.update_average())
        return optimizer
