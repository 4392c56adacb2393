"""Stages with a seed of their own, beside others of the same process."""

import threading

import numpy as np
import torch

from recbole_diffusion.base.randomness import own_randomness


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
