"""What lists are made of: ids, the items of users, and scores."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from recbole_diffusion.nn.rows import InteractionRows
from recbole_diffusion.serving.catalogue import Catalogue

PARTS = ("train", "validation", "test")
Histories = Sequence[Sequence[int]]


class Source(Protocol):
    """A trained model with its data, by internal ids, of which 0 is the padding.

    Scores are float32 on the CPU, of all items, and the caller's own memory. Calls may come from
    several threads.

    Attributes:
        model: Its name.
        catalogue: Ids of users and items.
        block_size: Users that are scored at a time.
    """

    model: str
    catalogue: Catalogue
    block_size: int

    @property
    def digest(self) -> str:
        """Equal for the same weights on the same data."""

    @property
    def item_columns(self) -> list[str]:
        """Columns of the ``.item`` file beside the ids; none without the file."""

    @property
    def item_vectors(self) -> Tensor | None:
        """Vectors of items [n_items, d] on the CPU, where the model has such."""

    def rows(self, parts: tuple[str, ...]) -> InteractionRows:
        """Items of each user in some parts of the data."""

    def read_rows(self) -> InteractionRows:
        """Train items of each user in the order that the model reads."""

    def score(self, users: Tensor) -> Tensor:
        """Scores [b, n_items] of users of the data, int64 [b]."""

    def score_histories(self, histories: Histories) -> Tensor:
        """Scores [b, n_items] of users outside the data, by their items in the order of time."""

    def contributions(self, history: Sequence[int], item: int) -> Tensor | None:
        """What each item of a history adds to the score of an item [n], if it is their sum."""

    def generated_edges(self, user: int) -> dict[str, list[int]]:
        """Items that each modality's generated graph gives a user, the likeliest first (DiffMM)."""
