"""What a vector from a user's items is worth beside the one that training gave the same user.

    python benchmarks/fold_in.py RUN [RUN ...]

For runs of models whose scores are products of vectors (InfoDCL, LightGCN, BPR and the like).
Printed is Recall@20 on the validation part by users' trained vectors; by vectors that a linear map
makes of the mean of their train items' vectors, a map that is fitted on the other half of the
users; and by that mean itself.
"""

import argparse

import torch

from recbole_diffusion import load
from recbole_diffusion.serving.strangers import HistoryVectors, vector_tables

K = 20


def main() -> None:
    """Print the three figures of each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    print(f"{'run':<50}  trained   mapped     mean")
    for folder in parser.parse_args().runs:
        recommender = load(folder)
        vectors, items = (table.cpu() for table in vector_tables(recommender.source.network))
        wanted = recommender.source.parts["validation"].inter_feat
        train = recommender.source.rows(("train",))
        users = train.non_empty(wanted["user_id"].unique())
        users = users[torch.randperm(len(users), generator=torch.Generator().manual_seed(0))]
        rows = train.batch(users)
        mapped = torch.empty(len(users), len(items))
        for part in (0, 1):
            fitted, tested = (
                torch.arange(part, len(users), 2),
                torch.arange(1 - part, len(users), 2),
            )
            scorer = HistoryVectors.fitted(items, vectors[users[fitted]], rows.take(fitted))
            mapped[tested] = scorer.scores(rows.take(tested))
        means = rows.product(items) / rows.lengths[:, None]
        scores = vectors[users] @ items.T, mapped, means @ items.T
        recalls = [f"{recall(each, rows, users, wanted):9.4f}" for each in scores]
        print(f"{str(folder)[-50:]:<50}{''.join(recalls)}")


def recall(scores: torch.Tensor, known: object, users: torch.Tensor, wanted: object) -> float:
    """Mean over users of the share of wanted items among the K best that are not known."""
    scores = scores.clone()
    scores[:, 0], scores[known.rows, known.items] = -torch.inf, -torch.inf
    is_wanted = torch.zeros_like(scores, dtype=torch.bool)
    row = torch.full((int(wanted["user_id"].max()) + 1,), -1)
    row[users] = torch.arange(len(users))
    at = row[wanted["user_id"]]
    is_wanted[at[at >= 0], wanted["item_id"][at >= 0]] = True
    hits = is_wanted.gather(1, scores.topk(K, dim=1).indices).sum(dim=1)
    return float((hits / is_wanted.sum(dim=1)).mean())


if __name__ == "__main__":
    main()
