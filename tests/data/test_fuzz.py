"""Damaged inputs: a ``UserError`` without a trace, or whole outputs. See ``benchmarks/fuzz.py``."""

import math
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fuzz_tools import FORMS, Case, outcome
from hypothesis import HealthCheck, Phase, given, settings

resource = pytest.importorskip("resource")  # Windows has none

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", 520))  # of all formats together
ADDRESSES = 4 * 2**30  # bytes; pyarrow alone sets one GiB aside
TOUCHED = 2**28  # bytes
SECONDS = 60  # a hang, at which the whole process ends


@contextmanager
def bounded() -> Iterator[None]:
    """Limits on time, on what is allocated, and on the memory that is really touched."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ADDRESSES, old[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, old)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 2**10 < TOUCHED, "a quarter of a GiB was touched"


@pytest.mark.parametrize("name", FORMS)
def test_damaged_inputs_are_refused_or_converted_whole(
    name: str, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    counts: Counter[str] = Counter()

    @settings(
        max_examples=math.ceil(EXAMPLES / len(FORMS)),
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        phases=[Phase.generate],  # a small file need not be made smaller, which takes minutes
    )
    @given(FORMS[name].cases())
    def check(case: Case) -> None:
        found = "others"
        try:
            with tempfile.TemporaryDirectory(dir=tmp_path) as folder, bounded():
                came = outcome(FORMS[name], case, Path(folder))
            found = came  # only now: the bounds are checked at their end
        finally:
            counts[found] += 1

    try:
        check()
    finally:
        record_property("outcomes", dict(counts))
