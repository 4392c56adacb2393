"""RecBole's side of the benchmarks, in a Python of its own; imports RecBole, and nothing of ours.

Started by ``host_python.py``. Reads a JSON object a line: the first names the job and what it
needs, each further one a part to be run once. Answers each with a JSON line: what was made, so that
both sides can be held against each other, and the CPU seconds of the part.
"""

import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from host_python import digest
from recbole.config import Config
from recbole.data.dataloader import (
    FullSortEvalDataLoader,
    NegSampleEvalDataLoader,
    TrainDataLoader,
)
from recbole.data.dataset import Dataset
from recbole.data.utils import data_preparation
from recbole.model.general_recommender import BPR, LightGCN, SpectralCF
from recbole.sampler import Sampler
from recbole.trainer import Trainer

PHASES = ["train", "valid", "test"]
Parts = dict[str, Callable[[], Any]]


def main() -> None:
    """Answer until the input ends; what RecBole prints goes elsewhere."""
    torch.set_num_threads(1)
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        request = json.loads(sys.stdin.readline())
        made, parts = JOBS[request.pop("job")](**request)
        tell(answers, **made)
        for line in sys.stdin:
            seconds, made = timed(parts[json.loads(line)["part"]])
            tell(answers, seconds=seconds, made=made)


def tell(stream: Any, **facts: Any) -> None:
    """One answer."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**facts, "peak_mib": peak}), file=stream, flush=True)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what the work gives if that can be written."""
    start = time.process_time()
    result = work()
    seconds = time.process_time() - start
    return seconds, result if isinstance(result, (int, list)) else None


def loading(name: str, keys: dict[str, Any]) -> tuple[dict[str, Any], Parts]:
    """From the file to the three loaders."""
    config = Config("BPR", name, config_dict=keys)

    def load() -> list[int]:
        loaders = data_preparation(config, Dataset(config))
        return [loader._dataset.inter_num for loader in loaders]

    return {}, {"load": load}


def negatives(
    name: str, keys: dict[str, Any], num: int, batch: int
) -> tuple[dict[str, Any], Parts]:
    """An epoch's draws, an epoch of the training loader, and candidates of an evaluation."""
    config = Config("BPR", name, config_dict=keys)
    parts = Dataset(config).build()
    distribution = keys["train_neg_sample_args"]["distribution"]
    host = Sampler(PHASES, parts, distribution, 1.0)
    sampler = host.set_phase("train")
    users = parts[0].inter_feat[parts[0].uid_field].numpy()
    users = users[np.random.default_rng(0).permutation(len(users))]
    blocks = np.split(users, range(batch, len(users), batch))
    train = TrainDataLoader(config, parts[0], sampler, shuffle=True)
    test = NegSampleEvalDataLoader(config, parts[2], host.set_phase("test"))
    return {"sizes": [part.inter_num for part in parts]}, {
        "sampler": lambda: [sampler.sample_by_key_ids(block, num) for block in blocks] and None,
        "loader": lambda: sum(1 for _ in train),
        "candidates": lambda: sum(1 for _ in test),
    }


def evaluation(name: str, keys: dict[str, Any], batches: list[int]) -> tuple[dict[str, Any], Parts]:
    """Full-sort evaluations of BPR, with the best of some batches and with one user a batch."""
    config = Config("BPR", name, config_dict=keys)
    parts = Dataset(config).build()
    trainer = Trainer(config, BPR(config, parts[0]).eval())
    sampler = Sampler(PHASES, parts).set_phase("test")
    loaders = {size: eval_loader(config, parts[2], sampler, size) for size in (1, *batches)}

    def evaluated(size: int) -> Callable[[], None]:
        return lambda: trainer.evaluate(loaders[size], load_best_model=False) and None

    best = min(batches, key=lambda size: timed(evaluated(size))[0])
    made = {
        "sizes": [part.inter_num for part in parts],
        "items": parts[0].item_num,
        "users": len(loaders[1].uid_list),
        "best": best,
    }
    return made, {
        "best": evaluated(best),
        "one": evaluated(1),
        "making": lambda: (
            eval_loader(config, parts[2], Sampler(PHASES, parts).set_phase("test"), best) and None
        ),
    }


def eval_loader(config: Config, part: Any, sampler: Any, users: int) -> FullSortEvalDataLoader:
    """RecBole's loader of so many users a batch."""
    config["eval_batch_size"] = users * part.item_num
    return FullSortEvalDataLoader(config, part, sampler)


def graphs(pairs: str, n_users: int, n_items: int) -> tuple[dict[str, Any], Parts]:
    """Matrices of LightGCN and SpectralCF; each gives its entries and the hash of its bits."""
    ends = np.load(Path(pairs), allow_pickle=False)
    shape = (n_users, n_items)
    matrix = sp.coo_matrix((np.ones(ends.shape[1], np.float32), tuple(ends)), shape=shape)
    eye = torch.arange(n_users + n_items).expand(2, -1)
    identity = torch.sparse_coo_tensor(eye, torch.ones(n_users + n_items))
    holder = SimpleNamespace(
        interaction_matrix=matrix,
        n_users=n_users,
        n_items=n_items,
        device=torch.device("cpu"),
        get_eye_mat=lambda n: identity,
    )
    functions = {
        "LightGCN": LightGCN.get_norm_adj_mat,
        "SpectralCF": SpectralCF.get_laplacian_matrix,
    }
    made: dict[str, Any] = {}
    for name, function in functions.items():
        made[name] = digest(function(holder))
    return made, {name: lambda f=function: f(holder) for name, function in functions.items()}


JOBS = {"loading": loading, "negatives": negatives, "evaluation": evaluation, "graphs": graphs}


if __name__ == "__main__":
    main()
