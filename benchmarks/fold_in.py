"""What a vector by ridge regression is worth beside the one that training gave the same user.

    python benchmarks/fold_in.py RUN [RUN ...]

For runs of models whose scores are products of vectors (InfoDCL, LightGCN, BPR and the like).
Printed is Recall@20 on the validation part by users' trained vectors, by vectors that are solved
from their train items, and by the mean of the vectors of these items.
"""

import argparse

import torch

from recbole_diffusion import load
from recbole_diffusion.serving.strangers import history_scorer, item_vectors

K = 20


def main() -> None:
    """Print the three figures of each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    print(f"{'run':<50}  trained   solved     mean")
    for folder in parser.parse_args().runs:
        recommender = load(folder)
        vectors = item_vectors(recommender.model).detach().cpu()
        wanted = recommender._parts["validation"].inter_feat
        users = wanted["user_id"].unique()
        rows = recommender._rows_of(("train",)).batch(users)
        users, rows = users[rows.lengths > 0], rows.take((rows.lengths > 0).nonzero()[:, 0])
        histories = [part.tolist() for part in rows.items.split(rows.lengths.tolist())]
        mean = torch.stack([vectors[history].mean(dim=0) for history in histories]) @ vectors.T
        scores = recommender._score(users), history_scorer(recommender.model)(histories), mean
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
