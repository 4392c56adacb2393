"""Formats of released interactions without a split."""

from collections.abc import Callable
from dataclasses import dataclass

from recbole_diffusion.convert.amazon import read_amazon
from recbole_diffusion.convert.microlens import read_microlens
from recbole_diffusion.convert.movielens import read_movielens
from recbole_diffusion.convert.unsplit import Interactions


@dataclass(frozen=True)
class InteractionsFormat:
    """How released interactions are stored.

    Attributes:
        read: Gives the interactions from the source.
        source: What the source is, for the command line.
        help: What it is, likewise.
    """

    read: Callable[..., Interactions]
    source: str
    help: str


FORMATS = {
    "microlens": InteractionsFormat(
        read_microlens,
        "folder with MicroLens-50k's pairs and titles",
        "MicroLens-50k: each user's items in order of time, and titles",
    ),
    "movielens-1m": InteractionsFormat(
        read_movielens,
        "folder with ratings.dat, movies.dat and users.dat",
        "MovieLens-1M: ratings with times, titles and genres, and users",
    ),
    "amazon": InteractionsFormat(
        read_amazon,
        "reviews, one JSON object a line; .gz or plain",
        "Amazon reviews of 2014 or 2018, with titles, categories, brands and descriptions",
    ),
}
