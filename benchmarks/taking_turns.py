"""CPU seconds of two sides that take turns."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def tell(words: str, ours: Callable[[], Any], other: Callable[[], Any], pairs: int) -> None:
    """Medians of sides that take turns, and how many times ours the other's CPU seconds are."""
    tell_seconds(words, ours, lambda: cpu_seconds(other), pairs)


def tell_seconds(
    words: str, ours: Callable[[], Any], other: Callable[[], float], pairs: int
) -> None:
    """The same where the other side runs elsewhere, and gives its CPU seconds."""
    seconds = [(cpu_seconds(ours), other()) for _ in range(pairs)]
    mine, its = (statistics.median(side) for side in zip(*seconds, strict=True))
    print(f"  {words}: {its:.3f} s; ours {mine:.3f} s, a ratio of {its / mine:.2f}")


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Of the process."""
    start = time.process_time()
    work()
    return time.process_time() - start
