"""Feed damaged inputs to every converter and feature reader, and print what came of them.

    python benchmarks/fuzz.py --examples=10000

Runs ``tests/data/test_fuzz.py`` with more inputs, drawn anew each time. Exit code 1 if anything but
whole outputs or a ``UserError`` without a trace came of one.
"""

import argparse
import os
import sys
from pathlib import Path

import pytest

TEST = Path(__file__).resolve().parents[1] / "tests" / "data" / "test_fuzz.py"
ROW = "{:<20}{:>8}{:>10}{:>9}{:>8}{:>9}".format


class Table:
    """Collects the outcomes that each format's test records."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, dict[str, int], float]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a format's row."""
        if report.when == "call":
            name = report.nodeid.partition("[")[2].removesuffix("]")
            self.rows.append((name, dict(report.user_properties)["outcomes"], report.duration))

    def __str__(self) -> str:
        """The table, with a row of sums."""
        kinds = ("accepted", "refused", "others")
        counted = [(n, [c.get(kind, 0) for kind in kinds], s) for n, c, s in self.rows]
        sums = [sum(column) for column in zip(*(c for _, c, _ in counted), strict=True)]
        counted.append(("all", sums, sum(seconds for _, _, seconds in counted)))
        lines = [ROW("format", "inputs", *kinds, "seconds")]
        lines += [ROW(name, sum(c), *c, f"{seconds:.1f}") for name, c, seconds in counted]
        return "\n".join(lines)


def main() -> int:
    """Parse arguments, run the tests and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=10000, help="of all formats together")
    os.environ["FUZZ_EXAMPLES"] = str(parser.parse_args().examples)
    table = Table()
    options = ["-q", "--durations=0", "--durations-min=1e9", "-p", "no:cacheprovider"]
    code = pytest.main([str(TEST), *options], plugins=[table])
    print(table)
    return int(code != 0)


if __name__ == "__main__":
    sys.exit(main())
