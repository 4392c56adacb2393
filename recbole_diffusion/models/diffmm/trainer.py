"""DiffMM's trainer: each epoch trains the generators, makes their graphs, then recommends."""

from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from recbole_diffusion.training.rows import RowTrainer


class DiffMMTrainer(RowTrainer):
    """One optimiser for the recommendation task, and one for each modality's generator."""

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        for name, generator in model.generators.items():  # attributes of their own: checkpointed
            optimizer = self._build_optimizer(
                params=generator.parameters(), learning_rate=config["generator_learning_rate"]
            )
            setattr(self, f"optimizer_{name}", optimizer)

    def _build_optimizer(self, **kwargs: Any) -> Optimizer:
        kwargs.setdefault("params", self.model.recommendation_parameters())
        return super()._build_optimizer(**kwargs)

    def on_epoch_start(self, epoch: int) -> None:
        """Train each generator over all users with interactions, and rebuild the graphs.

        Ranks share the users of a batch, and make the same graphs.
        """
        self.model.train()
        for name in self.model.modalities:
            self._train_generator(name, epoch)
        self.model.rebuild_graphs()

    def _train_generator(self, name: str, epoch: int) -> None:
        """One pass in random order; in single precision, whatever ``enable_amp`` says."""
        optimizer, parameters = getattr(self, f"optimizer_{name}"), self._parameters_of(name)
        signal, lengths = self.model.signal(name), self.model.rows.offsets.diff()
        users = lengths.nonzero().flatten()
        users = users[torch.randperm(len(users), device=users.device)]
        batches = users.split(self.config["generator_batch_size"])
        means: torch.Tensor | float = 0.0
        for batch in batches:
            optimizer.zero_grad()
            rows = self.shared.share_of(torch.ones(len(batch)))
            with self.shared.own():
                terms = self.model.generator_losses(name, batch[rows.to(batch.device)], signal)
            losses = torch.stack(self.shared.weighed(terms, parameters))
            self._check_nan(losses.sum())
            losses.sum().backward()
            if self.clip_grad_norm:
                clip_grad_norm_(parameters, **self.clip_grad_norm)
            optimizer.step()
            means = means + losses.detach() / len(batches)
        optimizer.zero_grad()  # the recommendation step clips gradients of all weights together
        self._tell(name, epoch, self.shared.total(tuple(torch.as_tensor(means).tolist())))

    def _parameters_of(self, name: str) -> list[torch.nn.Parameter]:
        return list(self.model.generators[name].parameters())

    def _tell(self, name: str, epoch: int, terms: tuple[float, ...]) -> None:
        shown = " + ".join(f"{term:.4g}" for term in terms)
        self._log(f"epoch {epoch}: generator of {name}: loss {sum(terms):.4f} ({shown})")
        self.tensorboard.add_scalar(f"Generator/{name}", sum(terms), epoch)
