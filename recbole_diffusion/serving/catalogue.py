"""Users and items by their original ids, and what the item file says of items."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from logging import getLogger
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_diffusion.base.errors import UserError

# Unknown ids that a message names.
N_SHOWN = 5
Where = Mapping[str, str | Sequence[str]]


class Ids:
    """Original ids of users or items.

    Args:
        tokens: Id of each internal number [n], that of the padding first.
        refusal: Why none may be asked for; None: they may.
        unscored: Those that the model cannot score, bool [n]; None: it can score all.
        absent: What else is said of ids that are not in the data.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        refusal: str | None = None,
        unscored: Tensor | None = None,
        absent: str = "",
    ) -> None:
        self._tokens, self._refusal, self.unscored = tokens, refusal, unscored
        self._absent = absent

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def all(self) -> list[str]:
        """All without the padding, in the order of internal numbers."""
        return [str(token) for token in self._tokens[1:]]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {str(token): number for number, token in enumerate(self._tokens)}

    def of(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """Ids of internal numbers [m], Python's texts."""
        return self._tokens[numbers].astype(str).astype(object)

    def numbers(self, tokens: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Internal number of each id [m], int64; 0 for one that is not in the data."""
        known = self._numbers
        return np.array([known.get(str(token), 0) for token in tokens], dtype=np.int64)

    def scorable(self, tokens: Sequence[Any] | np.ndarray) -> np.ndarray:
        """As ``numbers``; 0 also for one that the model cannot score."""
        numbers = self.numbers(tokens)
        if self.unscored is not None:
            numbers[self.unscored.numpy()[numbers]] = 0
        return numbers

    def examples(self) -> str:
        """Two ids of the data, for the end of a message that nobody else reads."""
        return f"; ids of the data look like {', '.join(map(repr, self.all[:2]))}"

    def expect_some(self, what: str, tokens: Sequence[Any]) -> None:
        """Refuse ids of which the data have none, and show how theirs look.

        For commands alone: whom a service answers is not to see ids of others.

        Args:
            what: The ids are, for messages.
            tokens: Original ids.

        Raises:
            UserError: Some are given, and none of them is in the data.
        """
        if self._refusal is None and len(tokens) and not self.numbers(tokens).any():
            more = ", ..." if len(tokens) > N_SHOWN else ""
            raise UserError(
                f"{what}: none of {_shown(tokens)}{more} is in the data{self.examples()}"
            )

    def known(self, what: str, tokens: Sequence[Any], unknown: str) -> list[int]:
        """Internal numbers of the ids that the data have and the model can score.

        Args:
            what: The ids are, for messages.
            tokens: Original ids.
            unknown: "skip" tells of the others, "error" refuses them.

        Raises:
            UserError: There are others, with "error", or none may be asked for.
        """
        if self._refusal is not None:
            raise UserError(self._refusal)
        reason = "not in the data"
        if self.unscored is not None:
            reason += ", or cold, which this model cannot score"
        found = self.scorable(tokens).tolist()
        missing = [token for token, number in zip(tokens, found, strict=True) if not number]
        if missing:
            counts = f"{len(missing)} of {len(tokens)}"
            text = f"{what}: {counts} are {reason}, such as {_shown(missing)}{self._absent}"
            if unknown == "error":
                raise UserError(text)
            getLogger().warning(f"{text}{self.examples()}; they are left out")
        return [number for number in found if number]


def _shown(tokens: Sequence[Any]) -> str:
    return ", ".join(repr(str(token)) for token in tokens[:N_SHOWN])


class Catalogue:
    """Ids of users and items, columns of the ``.item`` file, and candidates chosen by them.

    Args:
        users: Ids of users.
        items: Ids of items.
        read_column: Gives the texts of a column by internal number [n_items], "" where there is
            none.
        separator: Of the parts of a sequence in such a text.
    """

    def __init__(
        self,
        users: Ids,
        items: Ids,
        read_column: Callable[[str], np.ndarray],
        separator: str,
    ) -> None:
        self.users, self.items, self.separator = users, items, separator
        self.column = cache(read_column)

    def candidates(
        self, items: Sequence[str] | None, where: Where | None, unknown: str
    ) -> Tensor | None:
        """Which items may be recommended, bool [n_items]; None for all.

        Args:
            items: Original ids; None for all.
            where: Values that columns must have, one of a list; of a sequence one is enough.
            unknown: As ``Ids.known`` takes it.

        Raises:
            UserError: Nothing is left, or there is no such column.
        """
        unscored = self.items.unscored
        if items is None and not where:
            return None if unscored is None else ~unscored
        n_items = len(self.items)
        is_kept = np.full(n_items, items is None)
        if items is not None:
            is_kept[self.items.known("items", items, unknown)] = True
        for name, wanted in (where or {}).items():
            values = {wanted} if isinstance(wanted, str) else set(wanted)
            texts = self.column(name)
            parts = (({text} | set(text.split(self.separator))) & values for text in texts)
            is_kept &= np.fromiter((bool(part) for part in parts), bool, n_items)
        is_kept[0] = False
        if unscored is not None:
            is_kept &= ~unscored.numpy()
        if not is_kept.any():
            asked = ", ".join(f"{name} {wanted}" for name, wanted in (where or {}).items())
            of = f" with {asked}" if asked else ""
            raise UserError(f"where, items: found no candidate{of}, expected at least one item")
        return torch.from_numpy(is_kept)
