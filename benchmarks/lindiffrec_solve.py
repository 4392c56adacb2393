"""LinDiffRec's dense solution beside RecBole's EASE and beside a bare product.

    python benchmarks/lindiffrec_solve.py --items=2421,6711 --threads=1

Made data, 20 interactions an item. Each line gives the seconds of the second moment and of the
chain, the operations counted for the chain (n^3 for the first denoiser, 2 n^3 for a further step),
their speed as a share of that of a float32 product of the same size measured before and after, and
the ratio to RecBole's EASE on the same data, which solves one step in float64.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_diffusion.models.lindiffrec.linear import second_moment, solve_chain
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.registry import find_model


def main() -> None:
    """Measure every size, with one and with two steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", default="2421,6711")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        "items | steps | moment, s | chain, s | TFLOP | share of a product's speed | of EASE's time"
    )
    for n in map(int, arguments.items.split(",")):
        for steps in (1, 2):
            measure(n, steps, arguments.rounds)


def measure(n: int, steps: int, rounds: int) -> None:
    """Medians of some rounds, a line of the table."""
    rows = made(n)
    penalties = [np.full(n, 60.0, np.float32)] * steps
    moments, chains, speeds, eases = [], [], [], []
    for _ in range(rounds):
        speeds.append(product_speed(n))
        moment, seconds = timed(lambda: second_moment(rows))
        moments.append(seconds)
        job = (moment, penalties, [0.2] * (steps - 1), torch.device("cpu"))
        chains.append(timed(lambda job=job: solve_chain(*job))[1])
        eases.append(timed(lambda: ease(rows))[1])
        speeds.append(product_speed(n))
    flop = n**3 * (1 + 2 * (steps - 1))
    moment_s, chain_s, ease_s = map(statistics.median, (moments, chains, eases))
    share = flop / chain_s / statistics.median(speeds)
    print(
        f"{n} | {steps} | {moment_s:.2f} | {chain_s:.2f} | {flop / 1e12:.3f} | {share:.0%} | "
        f"{(moment_s + chain_s) / ease_s:.2f}",
        flush=True,
    )


def made(n: int) -> sp.csr_matrix:
    """Rows of n users, 20 interactions each, some items popular."""
    draw = np.random.default_rng(0)
    items = (n * draw.random(20 * n) ** 2).astype(np.int64)
    pairs = np.unique(np.repeat(np.arange(n), 20) * n + items)
    ones = np.ones(len(pairs), np.float32)
    return sp.csr_matrix((ones, (pairs // n, pairs % n)), shape=(n, n))


def product_speed(n: int) -> float:
    """Operations a second of a float32 product, 2 n^3 of them."""
    left, right = torch.randn(n, n), torch.randn(n, n)
    return 2 * n**3 / timed(lambda: left @ right)[1]


def ease(rows: sp.csr_matrix) -> Any:
    """RecBole's EASE, which is solved when it is made."""
    n = rows.shape[0]
    dataset = SimpleNamespace(
        inter_matrix=lambda form: rows.asformat(form), num=lambda field: n, dataset_name="made"
    )
    config = Config("EASE", "ml-100k", (), {"reg_weight": 60.0, "use_gpu": False})
    return find_model("EASE").model_class(config, dataset)


def timed(job: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What a job gives, and its seconds."""
    start = time.perf_counter()
    result = job(*arguments)
    return result, time.perf_counter() - start


if __name__ == "__main__":
    main()
