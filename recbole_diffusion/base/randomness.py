"""Seeds of a run, and stages whose draws leave those of the run alone."""

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

# The generators are the process's: of several threads one draws at a time.
_TURN = threading.RLock()


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and PyTorch's generators, and ask cuDNN for repeatable results."""
    random.seed(seed)
    np.random.seed(seed)
    if torch.cuda.is_available():
        torch.manual_seed(seed)
    else:  # the call above would keep a list of all its callers for a GPU to come
        torch.default_generator.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextmanager
def repeatable_operations(device: torch.device) -> Iterator[None]:
    """On the CPU, add up the gradients of a row that a batch holds several times in a fixed order.

    PyTorch's threads race for it otherwise, and the sum's last bits follow. On a GPU, and
    afterwards, the user's own setting stands.
    """
    if device.type != "cpu":
        yield
        return
    before = torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    # Not use_deterministic_algorithms, which imports PyTorch's compiler for a second and more.
    torch.set_deterministic_debug_mode("warn")
    # A debugging aid of that mode, and slow.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def generator_states(device: torch.device | None = None) -> dict[str, Any]:
    """Where the global generators of Python, numpy and PyTorch stand, the GPU's included."""
    common = {"python": random.getstate(), "numpy": np.random.get_state()}
    return {**common, **torch_states(device)}


def torch_states(device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """Where PyTorch's global generators stand, the GPU's included."""
    states = {"torch": torch.get_rng_state()}
    if device is not None and device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generator_states(states: Mapping[str, Any], device: torch.device | None = None) -> None:
    """Put the global generators where ``generator_states`` found them."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    set_torch_states(states, device)


def set_torch_states(states: Mapping[str, Any], device: torch.device | None = None) -> None:
    """Put PyTorch's global generators where ``torch_states`` found them."""
    torch.set_rng_state(states["torch"].cpu())
    if device is not None and "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)


@contextmanager
def own_randomness(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Run a stage from its own seed; afterwards every generator is where it was before.

    Of several threads one is in such a stage at a time.

    Args:
        seed: Of the stage.
        device: Where the stage computes; a GPU's generator is kept apart too.
    """
    with _TURN:
        states = generator_states(device)
        seed_everything(seed)
        try:
            yield
        finally:
            set_generator_states(states, device)


def fresh_generator() -> np.random.Generator:
    """A generator of numpy's that the global one seeds, whose state a resumed run goes on from."""
    return np.random.default_rng(np.random.randint(2**32, size=4, dtype=np.uint32))
