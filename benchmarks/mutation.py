"""How many small faults the tests find: ``python benchmarks/mutation.py --sample=200``.

Needs ``pip install cosmic-ray``, which makes the faults: an operator, a number, a condition that is
another one. They are put into a copy of the repository, one at a time, and the tests nearest to the
folder run until one fails. Prints the share that was found and where the others were.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import parso
import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).resolve().parents[1]
# Tests that are to find the faults of a folder.
TESTS = {
    "diffusion": ["tests/diffusion", "tests/model/test_diffrec.py"],
    "nn": ["tests/model", "tests/data/test_graph.py", "tests/data/test_interactions.py"],
    "evaluation": [
        *("tests/test_ranking.py", "tests/test_evaluation.py", "tests/test_cold_metrics.py"),
        *("tests/compare/test_significance.py", "tests/compare/test_protocol.py"),
        *("tests/compare/test_per_user.py", "tests/test_compat.py"),
    ],
}
# Changes of annotations, and of bits that nothing here has.
LEFT_OUT = ("Variable", "BitOr", "BitAnd", "BitXor", "Shift")
SECONDS = 240


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--folders", default=",".join(TESTS))
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
        sites = [site for name in arguments.folders.split(",") for site in places(copy, name)]
        random.Random(arguments.seed).shuffle(sites)
        sample = sites[: arguments.sample]
        survivors = [site for site in sample if not is_found(copy, *site)]
    for path, operator, number in survivors:
        print(f"not found: {path}, {operator} {number}")
    share = 1 - len(survivors) / len(sample)
    print(f"{len(sample)} of {len(sites)} faults: {share:.1%} found")


def places(copy: Path, folder: str) -> Iterator[tuple[str, str, int]]:
    """File, operator and number of each fault that a folder may have."""
    for path in sorted((copy / "recbole_diffusion" / folder).glob("*.py")):
        nodes = list(ast_nodes(parso.parse(path.read_text())))
        for name in plugins.operator_names():
            if not any(part in name for part in LEFT_OUT):
                operator = plugins.get_operator(name)()
                n_places = sum(len(list(operator.mutation_positions(node))) for node in nodes)
                yield from ((str(path.relative_to(copy)), name, n) for n in range(n_places))


def is_found(copy: Path, name: str, operator: str, number: int) -> bool:
    """Whether a test fails, or hangs, with the fault in place."""
    path = copy / name
    source = path.read_text()
    mutated = mutate_code(source, plugins.get_operator(operator)(), number)
    if mutated is None or mutated == source:
        return True
    path.write_text(mutated)
    try:
        return has_failure(copy, TESTS[path.parent.name])
    finally:
        path.write_text(source)


def has_failure(copy: Path, tests: list[str]) -> bool:
    """Of tests in a process of their own, forked: the heavy packages are imported once."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        sys.dont_write_bytecode = True
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        words = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not data and not browser"]
        os._exit(int(pytest.main([*words, *tests])))
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        process, status = os.waitpid(child, os.WNOHANG)
        if process:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.2)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


if __name__ == "__main__":
    # So that the children have them; none of this package, which they import from the copy.
    import pandas  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn  # noqa: F401
    import torch  # noqa: F401

    main()
