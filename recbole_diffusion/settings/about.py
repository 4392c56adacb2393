"""What a list of models says of each."""

from typing import NamedTuple


class About(NamedTuple):
    """Of a model.

    Attributes:
        kind: Such as "diffusion"; models are listed by it.
        knows: What it learns from: interactions, features of items, order.
        source: Where its paper appeared.
    """

    kind: str
    knows: str
    source: str
