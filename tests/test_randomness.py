"""Stages with a seed of their own, beside others of the same process."""

import random
import threading

import numpy as np
import torch
from recbole.utils import init_seed

from recbole_diffusion.base.randomness import own_randomness, seed_everything


def draws(seed: int) -> tuple[list[float], list[float]]:
    with own_randomness(seed):
        return np.random.rand(4).tolist(), torch.rand(4).tolist()


def test_a_stage_waits_for_that_of_another_thread() -> None:
    alone = draws(1)
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with own_randomness(2):
            entered.set()
            leave.wait(30)

    with own_randomness(1):
        first = np.random.rand(4).tolist()
        thread = threading.Thread(target=other)
        thread.start()
        assert not entered.wait(0.2)
        second = torch.rand(4).tolist()
    assert entered.wait(30)
    leave.set()
    thread.join(30)
    assert (first, second) == alone


def test_a_stage_may_hold_another() -> None:
    with own_randomness(1):
        before = np.random.rand(2).tolist()
        inner = draws(2)
        after = np.random.rand(2).tolist()
    assert inner == draws(2)
    assert before + after == draws(1)[0]


def test_a_seed_is_that_of_recbole_and_leaves_nothing_behind() -> None:
    init_seed(5, reproducibility=True)
    expected = random.random(), np.random.rand(2).tolist(), torch.rand(2).tolist()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = True, False
    n_waiting = len(torch.cuda._queued_calls)
    seed_everything(5)
    assert (random.random(), np.random.rand(2).tolist(), torch.rand(2).tolist()) == expected
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (False, True)
    assert torch.cuda.is_available() or len(torch.cuda._queued_calls) == n_waiting
