"""Keys of GF-CF, BSPM and Turbo-CF; symbols are those of the papers."""

from typing import Literal

from recbole_diffusion.settings.schema import Settings, key


class Solved(Settings):
    """Of models without training."""

    train_batch_size: int = key(100000, "nothing is trained in batches", within="> 0")


class LowPass(Solved):
    """Of models with an ideal low-pass filter."""

    svd_rank: int = key(
        256,
        "k, singular vectors that the ideal low-pass filter keeps",
        within="1..2^20",
        section="Filters",
    )
    ideal_weight: float = key(
        0.3, "of the ideal low-pass filter beside the others; 0: none", within=">= 0"
    )


class GFCFSettings(LowPass):
    """Keys of GF-CF."""


class BSPMSettings(LowPass, defaults={"ideal_weight": 0.2}):
    """Keys of BSPM."""

    blur_time: float = key(1.0, "T_b, for how long a row is blurred", within=">= 0")
    blur_steps: int = key(1, "of the solver; 0: no blurring", within="0..1000")
    blur_solver: Literal["euler", "runge-kutta"] = key("euler")
    sharpen_time: float = key(2.5, "T_s, for how long it is sharpened", within=">= 0")
    sharpen_steps: int = key(1, "of the solver; 0: no sharpening", within="0..1000")
    sharpen_solver: Literal["euler", "runge-kutta"] = key("runge-kutta")
    merge: Literal["early", "late"] = key(
        "early", "whether the ideal low-pass filter is added before or after sharpening"
    )


class TurboCFSettings(Solved):
    """Keys of Turbo-CF."""

    normalization: float = key(
        0.5,
        "alpha: an entry is divided by its user's number of items to alpha, and by its item's "
        "number of users to 1 - alpha",
        within="[0, 1]",
        section="Filters",
    )
    power: float = key(1.0, "s, of each entry of the graph of items", within="> 0")
    polynomial: int = key(
        1,
        "degree of the filter: P; 2 P - P^2; or P + .01 (-P^3 + 10 P^2 - 29 P)",
        within="1..3",
    )
