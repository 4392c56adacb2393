"""Seeds of a run, and stages whose draws leave those of the run alone."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from recbole.utils import init_seed


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and PyTorch's generators, and ask cuDNN for repeatable results."""
    init_seed(seed, reproducibility=True)


@contextmanager
def own_randomness(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Run a stage from its own seed; afterwards every generator is where it was before.

    Args:
        seed: Of the stage.
        device: Where the stage computes; a GPU's generator is kept apart too.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        seed_everything(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
