"""Kill runs at random moments, resume them, and compare with a run that was left alone.

    python benchmarks/kill_and_resume.py --model=InfoDCL --dataset=ml-100k --rounds=10

Every round starts a run in a process of its own, kills it (SIGKILL) at a random moment between its
first checkpoint and its end, checks that each file left can be read, and resumes it. Exit code 1 if
a file is broken, or if metrics or parameters differ by a bit from the run that was left alone.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml

from recbole_diffusion.training.checkpoint import read_checkpoint

SCRIPT = Path(__file__).resolve().parents[1] / "run_recbole_diffusion.py"
COMPARED = ("valid", "test", "best_epoch", "epochs_trained", "split_hash")


def main() -> int:
    """Parse arguments, run all rounds and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="InfoDCL")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="draws the moments")
    parser.add_argument("--output", help="folder for the runs; default: a temporary one")
    arguments, keys = parser.parse_known_args()
    output = Path(arguments.output or tempfile.mkdtemp())
    command = [f"--model={arguments.model}", f"--dataset={arguments.dataset}", *keys]

    command.append("--show_progress=false")
    whole = start([*command, f"--output_dir={output / 'whole'}"])
    seconds = wait_for_checkpoint(whole, output / "whole")
    began = time.monotonic()
    if whole.wait():
        raise SystemExit("the run that was left alone failed")
    duration = time.monotonic() - began
    expected = outcome(only_run(output / "whole"))
    print(f"{arguments.model}: first checkpoint after {seconds:.1f} s, {duration:.1f} s more")

    generator, differ = random.Random(arguments.seed), 0
    for number in range(arguments.rounds):
        moment = generator.uniform(0, duration)
        run = killed_run(command, output / f"round{number}", moment)
        epoch = read_checkpoint(run / "last.pth")["epoch"]
        if start([f"--resume={run}"]).wait():
            raise SystemExit("a run that was killed could not be resumed")
        is_same = equal(outcome(run), expected)
        differ += not is_same
        told = "equal" if is_same else "DIFFERS"
        print(f"round {number}: killed at {moment:.1f} s, last epoch {epoch}: {told}", flush=True)
    return int(differ > 0)


def start(words: list[str]) -> subprocess.Popen:
    """Start the command line."""
    return subprocess.Popen([sys.executable, SCRIPT, *words], stdout=subprocess.DEVNULL)


def wait_for_checkpoint(process: subprocess.Popen, output: Path) -> float:
    """Wait for the first ``last.pth``; gives the seconds that it took."""
    began = time.monotonic()
    while not any(output.glob("*/last.pth")):
        if process.poll() is not None:
            raise SystemExit(f"a run ended with code {process.returncode} before its checkpoint")
        time.sleep(0.01)
    return time.monotonic() - began


def killed_run(command: list[str], output: Path, moment: float) -> Path:
    """A run's folder after the run was killed ``moment`` seconds after its first checkpoint."""
    process = start([*command, f"--output_dir={output}"])
    wait_for_checkpoint(process, output)
    time.sleep(moment)
    process.kill()
    process.wait()
    run = only_run(output)
    check_readable(run)
    return run


def only_run(output: Path) -> Path:
    """The one run's folder under ``output``, beside the cache."""
    (run,) = (path for path in output.iterdir() if path.name != "cache")
    return run


def check_readable(run: Path) -> None:
    """Read every checkpoint, result and property file of a run."""
    for path in [*run.rglob("*.pth"), *run.parent.glob("cache/*.pth")]:
        read_checkpoint(path)
    for path in run.rglob("*.json"):
        json.loads(path.read_text())
    for path in run.rglob("*.yaml"):
        yaml.safe_load(path.read_text())


def outcome(run: Path) -> tuple[dict, dict[str, dict]]:
    """What is compared: the metrics, and the parameters of the best and of the last epoch."""
    result = json.loads((run / "result.json").read_text())
    parameters = {f: read_checkpoint(run / f"{f}.pth")["state_dict"] for f in ("best", "last")}
    return {key: result[key] for key in COMPARED}, parameters


def equal(one: tuple, other: tuple) -> bool:
    """Whether two outcomes are equal to the bit."""
    (metrics, parameters), (other_metrics, other_parameters) = one, other
    return metrics == other_metrics and all(
        torch.equal(value, other_parameters[file][name])
        for file, values in parameters.items()
        for name, value in values.items()
    )


if __name__ == "__main__":
    sys.exit(main())
