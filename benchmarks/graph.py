"""The graph matrices of RecBole's baselines, made at once, beside RecBole's own functions.

    python benchmarks/graph.py --interactions=1000000 --rounds=3

Made data. Each line gives the processor seconds of both sides in turns, medians, and their ratio;
the matrices are checked to have the same bits.
"""

import argparse
import statistics
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_diffusion.models import host_models

FUNCTIONS = {"LightGCN": "get_norm_adj_mat", "SpectralCF": "get_laplacian_matrix"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    holder = made(arguments.interactions)
    for model, name in FUNCTIONS.items():
        sides = [
            getattr(getattr(module, model), name) for module in (host_models.host, host_models)
        ]
        seconds: list[list[float]] = [[], []]
        for _ in range(arguments.rounds):
            matrices = []
            for side, function in enumerate(sides):
                start = time.process_time()
                matrices.append(function(holder))
                seconds[side].append(time.process_time() - start)
        theirs, ours = (matrix.coalesce() for matrix in matrices)
        assert torch.equal(theirs.indices(), ours.indices())
        assert torch.equal(theirs.values(), ours.values())
        of_theirs, of_ours = map(statistics.median, seconds)
        ratio = of_theirs / of_ours
        print(f"RecBole's {model}: {of_theirs:.2f} s; ours {of_ours:.3f} s, a ratio of {ratio:.2f}")


def made(n_interactions: int) -> Any:
    """What the functions read of a model: distinct pairs, some items popular."""
    rng = np.random.default_rng(0)
    n_users, n_items = n_interactions // 50, n_interactions // 100
    users = rng.integers(1, n_users, 2 * n_interactions)
    items = 1 + ((n_items - 1) * rng.random(2 * n_interactions) ** 2).astype(np.int64)
    pairs = rng.permutation(np.unique(users * n_items + items))[:n_interactions]
    ends = pairs // n_items, pairs % n_items
    ones = np.ones(len(pairs), np.float32)
    matrix = sp.coo_matrix((ones, ends), shape=(n_users, n_items))
    eye = torch.arange(n_users + n_items).expand(2, -1)
    identity = torch.sparse_coo_tensor(eye, torch.ones(n_users + n_items))
    return SimpleNamespace(
        interaction_matrix=matrix,
        n_users=n_users,
        n_items=n_items,
        device=torch.device("cpu"),
        get_eye_mat=lambda n: identity,
    )


if __name__ == "__main__":
    main()
