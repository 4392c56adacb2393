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
def own_randomness(seed: int) -> Iterator[None]:
    """Run a stage from its own seed; afterwards every generator is where it was before."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng():
        seed_everything(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
