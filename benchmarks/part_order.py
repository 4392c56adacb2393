"""Which part of a given split follows which in time: by how alike the items at their ends are.

The mean weight of EASE between the last three items of a user in one part and the first three in
another. Parts that follow each other have the greatest.
"""

import argparse
import sys
from itertools import permutations
from typing import Any

import numpy as np
import torch

from recbole_diffusion.base.errors import exit_code
from recbole_diffusion.data.recency import times_of
from recbole_diffusion.data.split import load_split
from recbole_diffusion.models.lindiffrec.linear import second_moment, solve_chain
from recbole_diffusion.nn.rows import InteractionRows
from recbole_diffusion.settings.config import Config

N_ENDS = 3
USERS_AT_A_TIME = 4096


def histories(loader: Any, time_field: str) -> InteractionRows:
    """Items of each user in one part, in the order of time."""
    dataset = loader._dataset
    users, items = (dataset.inter_feat[f].numpy() for f in (dataset.uid_field, dataset.iid_field))
    return InteractionRows(users, items, dataset.user_num, times_of(dataset, time_field))


def mean_weight(weights: torch.Tensor, before: InteractionRows, after: InteractionRows) -> float:
    """Mean over users with items in both parts, of the weights between the ends."""
    total, n_users = 0.0, 0
    for users in torch.arange(len(before.offsets) - 1).split(USERS_AT_A_TIME):
        last, first = before.batch(users), after.batch(users)
        last = last.keep(last.ages < N_ENDS)
        first = first.keep(first.places < N_ENDS)
        pairs = last.lengths * first.lengths
        sums = last.product(weights)[first.rows, first.items].double()
        each = torch.zeros(len(users), dtype=torch.float64).index_add_(0, first.rows, sums)
        total += float((each / pairs.clamp_min(1)).sum())
        n_users += int((pairs > 0).sum())
    return total / n_users


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path")
    parser.add_argument("--reg_weight", type=float, default=3.0, help="in units of tau")
    arguments = parser.parse_args()
    keys = {"state": "WARNING", "show_progress": False}
    if arguments.data_path:
        keys["data_path"] = arguments.data_path
    config = Config("Pop", arguments.dataset, (), keys)
    split = load_split(config)
    loaders = {"train": split.train, "validation": split.valid, "test": split.test}
    rows = {name: histories(part, config["TIME_FIELD"]) for name, part in loaders.items()}
    train = rows["train"]
    n_items, users = split.train._dataset.item_num, torch.arange(len(train.offsets) - 1)
    moment = second_moment(train.batch(users).matrix(n_items))
    penalty = np.full(n_items, arguments.reg_weight * moment.trace() / (n_items - 1), np.float32)
    weights = solve_chain(moment, [penalty], [], torch.device("cpu"))
    print("| from the end of | to the start of | mean weight |\n| --- | --- | ---: |")
    for before, after in permutations(rows, 2):
        print(f"| {before} | {after} | {mean_weight(weights, rows[before], rows[after]):.4f} |")


if __name__ == "__main__":
    sys.exit(exit_code(main))
