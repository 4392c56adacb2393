"""How papers evaluate, so that their numbers and ours can stand side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from recbole_diffusion.base.errors import UserError, expect

TEST_SELECTION = "+test-selection"


@dataclass(frozen=True)
class Protocol:
    """The evaluation choices of a paper's code.

    Attributes:
        name: As the key ``protocol`` has it.
        masks_train_only: Whether items of the validation part stay candidates on test.
        average: "users", the mean over users with test items; "all users", which counts the others
            as zeros; "rounded batches", the mean of batch means rounded to 4 digits, each batch of
            the same weight.
        batch_users: Users of a batch in the last case.
        selects_on_test: Whether the best epoch is picked on the test part.
    """

    name: str
    masks_train_only: bool
    average: str = "users"
    batch_users: int = 0
    selects_on_test: bool = False

    def means(self, frame: pd.DataFrame, metrics: Sequence[str], n_users: int) -> dict[str, float]:
        """The protocol's averages.

        Args:
            frame: One row for each user with test items, in the data's order.
            metrics: Its columns to average.
            n_users: Number of users, those without test items included.
        """
        frame = _in_order_of_ids(frame)
        return {metric: self._mean(frame[metric].to_numpy(), n_users) for metric in metrics}

    def _mean(self, values: np.ndarray, n_users: int) -> float:
        if self.average == "all users":
            return float(values.sum() / n_users)
        if self.average == "users":
            return float(values.mean())
        starts = np.arange(0, len(values), self.batch_users)
        sizes = np.diff(np.append(starts, len(values)))
        return float(np.round(np.add.reduceat(values, starts) / sizes, 4).mean())


def _in_order_of_ids(frame: pd.DataFrame) -> pd.DataFrame:
    """By number where all ids are numbers, as the papers' code batches users; else as they are."""
    numbers = pd.to_numeric(frame["user_id"], errors="coerce")
    if numbers.isna().any():
        return frame
    return frame.iloc[np.argsort(numbers.to_numpy(), kind="stable")]


# The released code of each paper; LD4MRec's experiments ran in the framework MMRec.
PROTOCOLS = {
    "paper:diffmm": Protocol("paper:diffmm", masks_train_only=True),
    "paper:diffrec": Protocol("paper:diffrec", masks_train_only=False, average="all users"),
    "paper:infodcl": Protocol("paper:infodcl", True, "rounded batches", batch_users=2000),
    "paper:ld4mrec": Protocol("paper:ld4mrec", masks_train_only=True),
    "paper:simdiff": Protocol("paper:simdiff", True, "rounded batches", batch_users=2000),
}
# Whose code picks the best epoch on the test part.
SELECTING_ON_TEST = ("paper:diffmm", "paper:infodcl", "paper:simdiff")


def find_protocols(names: Sequence[str]) -> tuple[Protocol, ...]:
    """Protocols by name.

    Raises:
        UserError: An unknown one, or a selection on test that the paper's code does not make.
    """
    return tuple(_find_protocol(name) for name in dict.fromkeys(names))


def _find_protocol(name: str) -> Protocol:
    base = name.removesuffix(TEST_SELECTION)
    if base not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise UserError(
            f"key `protocol`: found {name!r}, expected one of {known}, each with or without "
            f"{TEST_SELECTION} behind"
        )
    if name == base:
        return PROTOCOLS[base]
    if base not in SELECTING_ON_TEST:
        raise UserError(
            f"key `protocol`: found {name!r}, but the code of {base} selects on validation; "
            f"expected {base}"
        )
    return replace(PROTOCOLS[base], name=name, selects_on_test=True)


def check_modes(protocols: Sequence[Protocol], eval_args: Mapping[str, Any]) -> None:
    """Refuse protocols of papers, which rank all items, beside sampled candidates.

    Raises:
        UserError: They are sampled.
    """
    mode = eval_args["mode"]
    is_full = all(part == "full" for part in (mode.values() if isinstance(mode, dict) else [mode]))
    expect(is_full or not protocols, "eval_args", eval_args, "mode full beside key `protocol`")
