"""Kill a comparison at random moments, go on, and compare with one that was left alone.

    python benchmarks/kill_comparison.py --models=InfoDCL,LightGCN --dataset=ml-100k --kills=3

The comparison runs once undisturbed. Then, in a folder of its own, it is started and killed
(SIGKILL, the command's process alone) as often as ``--kills`` says, at random moments after its
plan that together leave some of the work to do; each time no process of it may go on. At last it
runs to its end. Exit code 1 if ``results.json`` differs in anything but times and memory, or any
user's metric by a bit.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from recbole_diffusion.base.files import LOCK, read_json, sole_writer

SCRIPT = Path(__file__).resolve().parents[1] / "run_recbole_diffusion.py"
TIMES = ("_seconds", "_seconds_per_epoch", "peak_memory_mb")
SECONDS_TO_END = 10


def main() -> int:
    """Parse arguments, run both comparisons and tell whether they are equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--draw", type=int, default=0, help="seed of the moments")
    parser.add_argument("--output", help="folder for both; default: a temporary one")
    arguments, keys = parser.parse_known_args()
    output = Path(arguments.output or tempfile.mkdtemp())

    began = time.monotonic()
    finish(start(keys, output / "whole"))
    seconds = time.monotonic() - began
    print(f"undisturbed: {seconds:.1f} s", flush=True)
    generator = random.Random(arguments.draw)
    for number in range(arguments.kills):
        moment = generator.uniform(0, seconds / (arguments.kills + 1))
        done = killed(start(keys, output / "killed"), output / "killed", moment)
        print(f"kill {number} after {moment:.1f} s: {done} runs finished", flush=True)
    finish(start(keys, output / "killed"))
    is_same = equal(only_comparison(output / "whole"), only_comparison(output / "killed"))
    print("equal" if is_same else "DIFFERS")
    return int(not is_same)


def start(keys: list[str], output: Path) -> subprocess.Popen:
    """Start the comparison in an output folder."""
    words = [sys.executable, SCRIPT, "compare", *keys, f"--output_dir={output}"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL)


def finish(process: subprocess.Popen) -> None:
    """Wait for a comparison that must succeed."""
    if process.wait():
        raise SystemExit(f"a comparison ended with code {process.returncode}")


def killed(process: subprocess.Popen, output: Path, moment: float) -> int:
    """Kill a comparison so many seconds after its plan; gives the number of its finished runs."""
    while not any(output.glob("*/plan.json")) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(moment)
    process.kill()
    process.wait()
    folder = only_comparison(output)
    end = time.monotonic() + SECONDS_TO_END
    for place in [folder, *folder.glob("runs/*")]:
        with sole_writer(place / LOCK, max(end - time.monotonic(), 0)):
            pass  # or an error: a process went on after the kill
    return len(list(folder.glob("runs/*/result.json")))


def only_comparison(output: Path) -> Path:
    """The one comparison's folder, beside the cache."""
    (folder,) = (path for path in output.iterdir() if path.name != "cache")
    return folder


def equal(one: Path, other: Path) -> bool:
    """Whether two comparisons found the same, to the bit."""
    results = [without_times(read_json(folder / "results.json")) for folder in (one, other)]
    users = [pd.read_parquet(folder / "per_user.parquet") for folder in (one, other)]
    return results[0] == results[1] and users[0].equals(users[1])


def without_times(value: object) -> object:
    """A copy of plain values less what no two runs have the same."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not k.endswith(TIMES)}
    return [without_times(part) for part in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
