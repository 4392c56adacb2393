"""Users and items of a data set by their original ids, and what its files say of items."""

from collections.abc import Mapping, Sequence
from functools import cache
from logging import getLogger
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.atomic import read_item_texts

# Unknown ids that a message names.
N_SHOWN = 5
Where = Mapping[str, str | Sequence[str]]


class Catalogue:
    """Original ids, columns of the ``.item`` file, and candidates that are chosen by them.

    Args:
        data: RecBole's dataset.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self.column = cache(self._read_column)

    def tokens(self, field: str) -> np.ndarray:
        """Original id of each internal one, the padding included."""
        tokens: np.ndarray = self._data.field2id_token[field]
        return tokens

    def ids(self, what: str, field: str, tokens: Sequence[Any], unknown: str) -> list[int]:
        """Internal ids of the tokens that the data have.

        Args:
            what: The tokens are, for messages.
            field: Theirs.
            tokens: Original ids.
            unknown: "skip" tells of the others, "error" refuses them.

        Raises:
            UserError: There are others, with "error".
        """
        known: Mapping[str, int] = self._data.field2token_id[field]
        found = [known.get(str(token), 0) for token in tokens]
        missing = [token for token, number in zip(tokens, found, strict=True) if not number]
        if missing:
            shown = ", ".join(repr(str(token)) for token in missing[:N_SHOWN])
            text = f"{what}: {len(missing)} of {len(tokens)} are not in the data, such as {shown}"
            if unknown == "error":
                raise UserError(text)
            getLogger().warning(f"{text}; they are left out")
        return [number for number in found if number]

    def _read_column(self, name: str) -> np.ndarray:
        """Texts of a column of the ``.item`` file by internal id, "" where there is none."""
        _, table = read_item_texts(self._data.config, [name])
        ids, texts = (table[column].to_numpy(dtype=object) for column in table.columns)
        known = self._data.field2token_id[self._data.iid_field]
        values = np.full(self._data.item_num, "", dtype=object)
        numbers = np.array([known.get(token, 0) for token in ids])
        values[numbers[numbers > 0]] = texts[numbers > 0]
        return values

    def candidates(
        self, items: Sequence[str] | None, where: Where | None, unknown: str
    ) -> Tensor | None:
        """Which items may be recommended, bool [n_items]; None for all.

        Args:
            items: Original ids; None for all.
            where: Values that columns must have, one of a list; of a sequence one is enough.
            unknown: As ``ids`` takes it.

        Raises:
            UserError: Nothing is left, or there is no such column.
        """
        if items is None and not where:
            return None
        n_items = self._data.item_num
        is_kept = np.full(n_items, items is None)
        if items is not None:
            is_kept[self.ids("items", self._data.iid_field, items, unknown)] = True
        separator = self._data.config["seq_separator"]
        for name, wanted in (where or {}).items():
            values = {wanted} if isinstance(wanted, str) else set(wanted)
            parts = (({text} | set(text.split(separator))) & values for text in self.column(name))
            is_kept &= np.fromiter((bool(part) for part in parts), bool, n_items)
        is_kept[0] = False
        if not is_kept.any():
            raise UserError(f"where, items: found {where}, expected at least one item that is left")
        return torch.from_numpy(is_kept)
