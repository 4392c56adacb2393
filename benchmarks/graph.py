"""The graph matrices of RecBole's baselines, made at once, beside RecBole's own functions.

    python benchmarks/graph.py --interactions=1000000 --rounds=3

Made data. Each line gives the processor seconds of both sides in turns, medians, and their ratio;
the matrices are checked to have the same bits. With ``--host_python`` RecBole's side runs in that
Python, which has RecBole alone.
"""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from host_python import HostPython, digest, expect_same
from taking_turns import cpu_seconds, tell_seconds

from recbole_diffusion.models import host_models

FUNCTIONS = {"LightGCN": "get_norm_adj_mat", "SpectralCF": "get_laplacian_matrix"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--host_python", help="with RecBole alone, for its side")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    holder = made(arguments.interactions)
    with ExitStack() as stack:
        host = (
            host_elsewhere(stack, arguments.host_python, holder)
            if arguments.host_python
            else host_here(holder)
        )
        for model, name in FUNCTIONS.items():
            function = partial(getattr(getattr(host_models, model), name), holder)
            bits, theirs = host[model]
            expect_same(f"the matrix of {model}", digest(function()), bits)
            tell_seconds(f"RecBole's {model}", function, theirs, arguments.rounds)


# A side: hash of each model's matrix, and what gives the CPU seconds of making it.
Side = dict[str, tuple[str, Callable[[], float]]]


def host_here(holder: Any) -> Side:
    """RecBole's functions in this process."""
    sides: Side = {}
    for model, name in FUNCTIONS.items():
        function = partial(getattr(getattr(host_models.host, model), name), holder)
        sides[model] = digest(function()), partial(cpu_seconds, function)
    return sides


def host_elsewhere(stack: ExitStack, python: str, holder: Any) -> Side:
    """The same in another Python, of the same pairs."""
    folder = Path(stack.enter_context(TemporaryDirectory()))
    matrix = holder.interaction_matrix
    np.save(folder / "pairs.npy", np.stack([matrix.row, matrix.col]))
    sizes = {"n_users": holder.n_users, "n_items": holder.n_items}
    request = {"pairs": str(folder / "pairs.npy"), **sizes}
    host = stack.enter_context(HostPython(python, folder, "graphs", **request))
    return {model: (host.made[model], host.seconds_of(model)) for model in FUNCTIONS}


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
