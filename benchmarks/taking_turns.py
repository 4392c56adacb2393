"""CPU seconds of two sides that take turns."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def tell(words: str, ours: Callable[[], Any], other: Callable[[], Any], pairs: int) -> None:
    """Medians of sides that take turns, and how many times the other's CPU seconds ours are."""
    seconds = [(cpu_seconds(ours), cpu_seconds(other)) for _ in range(pairs)]
    mine, its = (statistics.median(side) for side in zip(*seconds, strict=True))
    print(f"  {words}: {its:.3f} s; ours {mine:.3f} s, a ratio of {its / mine:.2f}")


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Of the process."""
    start = time.process_time()
    work()
    return time.process_time() - start
