"""A saved run as a source of lists."""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_diffusion.base.randomness import own_randomness
from recbole_diffusion.data.atomic import item_columns, read_item_texts
from recbole_diffusion.data.full_sort import users_per_batch
from recbole_diffusion.models.diffmm.model import DiffMM
from recbole_diffusion.models.lindiffrec.model import LinDiffRec
from recbole_diffusion.nn.rows import InteractionRows, history_rows
from recbole_diffusion.runs.quick_start import saved_run
from recbole_diffusion.serving.catalogue import Catalogue, Ids
from recbole_diffusion.serving.source import PARTS, Histories
from recbole_diffusion.serving.strangers import (
    MatrixScores,
    history_scorer,
    matrix_scores,
    vector_tables,
)

# Behind ids of items that are not in the data.
NOT_KEPT = " (a run with keep_cold_items: true has items that nobody has met)"


class RunSource:
    """Scores by the code of evaluations, one call at a time; see ``Source``.

    Args:
        run: A saved run.
        trainer: Its trainer.

    Attributes:
        network: The model of the best epoch.
        parts: RecBole's dataset of each part.
    """

    def __init__(self, run: Any, trainer: Any) -> None:
        self.config, self.network = run.config, run.network.eval()
        self.model: str = self.config["model"]
        self._trainer, self._lock = trainer, threading.Lock()
        loaders = (run.split.train, run.split.valid, run.split.test)
        self.parts = dict(zip(PARTS, (loader._dataset for loader in loaders), strict=True))
        self._data = data = self.parts["train"]
        trainer.tot_item_num = data.item_num
        tokens = data.field2id_token
        users = Ids(tokens[data.uid_field])
        absent = "" if run.config["keep_cold_items"] else NOT_KEPT
        items = Ids(tokens[data.iid_field], unscored=run.unranked_items, absent=absent)
        self.catalogue = Catalogue(
            users, items, lambda name: self.item_texts([name])[name], self.config["seq_separator"]
        )
        self.block_size = users_per_batch(self.config, data.item_num)
        self.rows = cache(self._make_rows)

    @classmethod
    def open(cls, folder: str | Path, places: Mapping[str, Any]) -> "RunSource":
        """Of the run in a folder; as ``saved_run``."""
        return cls(*saved_run(folder, places))

    @cached_property
    def digest(self) -> str:
        """Equal for the same weights on the same data."""
        digest = hashlib.sha256(self.config["data_hash"].encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def item_columns(self) -> list[str]:
        """Columns of the ``.item`` file beside the ids; none without the file."""
        return list(item_columns(self.config))

    def item_texts(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Texts of columns of the ``.item`` file by internal id, "" where there is none.

        Raises:
            UserError: There is no such column.
        """
        _, table = read_item_texts(self.config, names)
        ids, *columns = (table[column].to_numpy(dtype=object) for column in table.columns)
        numbers = self.catalogue.items.numbers(ids)
        found = {name: np.full(self._data.item_num, "", dtype=object) for name in names}
        for values, texts in zip(found.values(), columns, strict=True):
            values[numbers[numbers > 0]] = texts[numbers > 0]
        return found

    def _make_rows(self, parts: tuple[str, ...]) -> InteractionRows:
        """Items of each user in some parts of the data."""
        fields = self._data.uid_field, self._data.iid_field
        found = [self.parts[part].inter_feat for part in parts]
        nothing = np.empty(0, np.int64)
        users, items = (
            np.concatenate([nothing, *(feat[field].numpy() for feat in found)]) for field in fields
        )
        return InteractionRows(users, items, self._data.user_num)

    def read_rows(self) -> InteractionRows:
        """Train items of each user in the order that the model reads."""
        rows = getattr(self.network, "rows", None)
        return rows if isinstance(rows, InteractionRows) else self.rows(("train",))

    @torch.no_grad()
    def score(self, users: Tensor) -> Tensor:
        """Scores [b, n_items] of users [b], by the code that evaluations use."""
        batch = Interaction({self._data.uid_field: users}).to(self.config["device"])
        with self._lock, own_randomness(self.config["seed"], self.config["device"]):
            scores = self._trainer._score_all_items(batch).view(len(users), -1)
        return scores.float().cpu().clone()

    @cached_property
    def _history_scorer(self) -> Callable[[Histories], Tensor]:
        return history_scorer(self.network, self.read_rows())

    @torch.no_grad()
    def score_histories(self, histories: Histories) -> Tensor:
        """Scores [b, n_items] of users outside the data.

        Raises:
            UserError: The model cannot.
        """
        with self._lock, own_randomness(self.config["seed"], self.config["device"]):
            return self._history_scorer(histories).float().cpu().clone()

    @cached_property
    def item_vectors(self) -> Tensor | None:
        """Vectors of items [n_items, d], where the scores are products with such."""
        with self._lock, torch.no_grad():
            tables = vector_tables(self.network)
            return None if tables is None else tables[1].float().cpu()

    def contributions(self, history: Sequence[int], item: int) -> Tensor | None:
        """Of models with a matrix of items [n]; None for others."""
        if isinstance(self.network, LinDiffRec):  # needs one column of its matrix
            with self._lock:
                return self.network.explain(history, item).float().cpu()
        if self._linear is None:
            return None
        rows = history_rows([history], self._data.item_num, self._linear.recency)
        return self._linear.contributions(rows, item)

    @cached_property
    def _linear(self) -> MatrixScores | None:
        with self._lock:
            return matrix_scores(self.network, self.read_rows())

    def generated_edges(self, user: int) -> dict[str, list[int]]:
        """Of DiffMM; none for other models, and before the first epoch."""
        if not isinstance(self.network, DiffMM):
            return {}
        tops = {
            name: self.network.get_buffer(f"generated_{name}") for name in self.network.modalities
        }
        return {name: [item for item in top[user].tolist() if item] for name, top in tops.items()}
