"""Lists of all users by an export: memory, a kill halfway, and speed beside the bare product.

    python benchmarks/lists.py --users=100000 --items=100000

Trains BPR for one epoch on made data, exports its vectors, and recommends to all users from the
export, each in a process of its own whose peak memory is printed. A second ``recommend`` is killed
halfway (kill -9) and goes on; its file is compared with the first. Then lists of some users take
turns with the product of the same vectors and ``torch.topk``, in blocks of the same size.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from taking_turns import tell

from recbole_diffusion import load

K = 10
# Users that are evaluated: two in valid and test each, so that the evaluation costs little.
EVALUATED = 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--items_a_user", type=int, default=10)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--ranked_users", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, Path(folder))


def measure(arguments: argparse.Namespace, home: Path) -> None:
    """All of it, in a folder."""
    write_data(arguments, home / "made")
    keys = [
        "--model=BPR", "--dataset=made", f"--data_path={home}", f"--output_dir={home / 'runs'}",
        f"--embedding_size={arguments.width}", "--train_batch_size=65536", "--epochs=1",
        "--benchmark_filename=[train, valid, test]", "--show_progress=false", "--use_gpu=false",
    ]  # fmt: skip
    call("training one epoch", keys)
    (run,) = (home / "runs").iterdir()
    export = home / "export"
    call("export", ["export", str(run), f"--out={export}"])
    whole, resumed = home / "whole.parquet", home / "resumed.parquet"
    call("lists of all users", ["recommend", str(export), f"--out={whole}"])
    words = ["recommend", str(export), f"--out={resumed}"]
    kill_halfway(words, resumed, arguments.users)
    call("lists of all users, gone on with", words)
    same = whole.read_bytes() == resumed.read_bytes()
    print(f"the file of the killed command is {'the same' if same else 'ANOTHER ONE'}")
    compare(export, arguments)


def write_data(arguments: argparse.Namespace, folder: Path) -> None:
    """Interactions in which each item occurs, in three parts."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    n = arguments.users * arguments.items_a_user
    rounds = -(-n // arguments.items)
    items = np.concatenate([draw.permutation(arguments.items) for _ in range(rounds)])[:n]
    users = np.repeat(np.arange(arguments.users), arguments.items_a_user)
    beside = draw.integers(arguments.items, size=(2, EVALUATED))
    parts = {
        "train": (users, items),
        "valid": (np.arange(EVALUATED), beside[0]),
        "test": (np.arange(EVALUATED), beside[1]),
    }
    for part, pair in parts.items():
        rows = "\n".join(f"u{user}\ti{item}" for user, item in zip(*pair, strict=True))
        path = folder / f"made.{part}.inter"
        path.write_text(f"user_id:token\titem_id:token\n{rows}\n")


def command(words: list[str]) -> list[str]:
    """A command of the package in a process of its own."""
    return [sys.executable, "-m", "recbole_diffusion", *words]


def call(what: str, words: list[str]) -> None:
    """Run a command, and print its seconds and peak memory."""
    start = time.perf_counter()
    process = subprocess.Popen(command(words), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{what}: ended with {os.waitstatus_to_exitcode(status)}")
    cpu = usage.ru_utime + usage.ru_stime
    print(
        f"{what}: {seconds:.0f} s, {cpu:.0f} s of the processor, "
        f"peak {usage.ru_maxrss / 2**20:.2f} GiB",
        flush=True,
    )


def kill_halfway(words: list[str], out: Path, n_users: int) -> None:
    """Start a command, and kill it once half of its parts are there."""
    from recbole_diffusion.serving.recommend import BLOCKS_A_PART

    n_parts = n_users / (BLOCKS_A_PART * load(words[1]).block_size)
    parts = out.with_name(f"{out.name}.parts")
    process = subprocess.Popen(command(words), stdout=subprocess.DEVNULL)
    while len(list(parts.glob("*.parquet"))) < n_parts / 2:
        if process.poll() is not None:
            raise SystemExit("the command ended before it was killed")
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f"killed after {len(list(parts.glob('*.parquet')))} of {n_parts:.0f} parts", flush=True)


def compare(export: Path, arguments: argparse.Namespace) -> None:
    """Lists beside the bare product with top-k."""
    recommender = load(export)
    users, items = (torch.from_numpy(np.load(export / f"{n}.npy")) for n in ("users", "items"))
    chosen = range(0, arguments.users, max(arguments.users // arguments.ranked_users, 1))
    names = [recommender.users[n] for n in chosen]
    vectors = users[list(chosen)]

    def ours() -> None:
        for _ in recommender.blocks(names, K):
            pass

    def bare() -> None:
        for block in vectors.split(recommender.block_size):
            (block @ items.T).topk(K, dim=1)

    tell(f"product and top-{K} of {len(names)} users", ours, bare, arguments.pairs)


if __name__ == "__main__":
    main()
