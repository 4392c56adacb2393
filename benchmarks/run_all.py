"""One table of ratios: what a run's parts take beside RecBole's own classes and beside the floor.

    python benchmarks/run_all.py
    python benchmarks/run_all.py --write   # keep the ratios in benchmarks/ratios.json
    python benchmarks/run_all.py --host_python=host/bin/python   # beside plain RecBole

Runs the scripts of loading, negatives, evaluation and graphs one after the other, each of which
measures its sides in turns, prints what they print, and then each ratio beside the kept one. The
exit code is 1 if a ratio to RecBole has fallen by more than a third. With ``--host_python``
RecBole's side is measured in that Python, which has RecBole without this package's repairs; these
ratios are kept in benchmarks/ratios_plain.json.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

SCRIPTS = {
    "loading a million interactions": ("loading.py", "--rounds"),
    "negatives": ("negatives.py", "--pairs"),
    "full-sort evaluation": ("evaluation.py", "--pairs"),
    "graphs of a million interactions": ("graph.py", "--rounds"),
}
KEPT = Path(__file__).with_name("ratios.json")
# The same beside plain RecBole in a Python of its own.
KEPT_PLAIN = Path(__file__).with_name("ratios_plain.json")
RATIO = re.compile(r"(?P<words>.+?): .*a ratio of (?P<ratio>[\d.]+)$")
ALLOWED = 2 / 3


def main() -> int:
    """Run each script, and compare its ratios with the kept ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the ratios")
    parser.add_argument("--rounds", type=int, default=5, help="of sides that take turns")
    parser.add_argument("--host_python", help="with RecBole alone, for its side")
    arguments = parser.parse_args()
    host = [f"--host_python={arguments.host_python}"] if arguments.host_python else []
    path = KEPT_PLAIN if arguments.host_python else KEPT
    kept = None if arguments.write else json.loads(path.read_text())
    found: dict[str, float] = {}
    for title, (script, rounds) in SCRIPTS.items():
        words = [f"{rounds}={arguments.rounds}", *host]
        print(f"{title} ({script} {' '.join(words)})", flush=True)
        command = [sys.executable, str(Path(__file__).with_name(script)), *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            found |= {f"{title}: {name}": value for name, value in ratios(echoed(process.stdout))}
        if process.returncode:
            return process.returncode
    if kept is None:
        path.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    return compared(found, kept)


def echoed(lines: Iterable[str]) -> Iterator[str]:
    """The same, printed."""
    for line in lines:
        print(line, end="", flush=True)
        yield line


def ratios(lines: Iterable[str]) -> Iterator[tuple[str, float]]:
    """Names and values; a line without a ratio is the heading of those that follow."""
    heading = ""
    for line in lines:
        found = RATIO.match(line.strip())
        if found is None:
            heading = line.partition("(")[0].strip() + ", "
        else:
            yield heading + found["words"], float(found["ratio"])


def compared(found: dict[str, float], kept: dict[str, float]) -> int:
    """Print each ratio beside the kept one; 1 if one to RecBole has fallen."""
    has_fallen = False
    for name, value in found.items():
        before = kept.get(name)
        is_worse = "RecBole" in name and before is not None and value < ALLOWED * before
        has_fallen |= is_worse
        mark = "  FALLEN" if is_worse else ""
        print(f"{name}: {value:.2f}, kept {before if before is not None else 'none'}{mark}")
    return int(has_fallen)


if __name__ == "__main__":
    sys.exit(main())
