"""PrefixDiff on large catalogues, on made data: time and memory of steps and of ranking.

    python benchmarks/prefixdiff_scale.py --items=1000000 --steps=200 --threads=1

The data of ``lindiffrec_scale.py`` (ten interactions an item, twenty a user), each history in a
random order. The normaliser is estimated from sampled items. ``--steps`` steps of training, of as
many as an epoch has, then all items are ranked for ``--ranked_users``. A hit is a user whose
held-out item is among the first 20.
"""

import argparse
import time

import numpy as np
import torch
from diffrec_inference import peak_mib
from lindiffrec_scale import dataset_of, hits_and_seconds, made
from order_epoch import VIEWS

from recbole_diffusion.base.randomness import seed_everything
from recbole_diffusion.models.prefixdiff.model import PrefixDiff
from recbole_diffusion.settings.config import Config


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch_size", type=int, default=200, help="users a step")
    parser.add_argument("--denoiser", choices=("attention", "views"), default="attention")
    parser.add_argument("--width", type=int, default=64, help="of the denoiser")
    parser.add_argument("--skip_items", type=int, help="local_items of the closed form; else none")
    parser.add_argument("--ranked_users", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    seed_everything(0)
    users, items, held_out = made(arguments.items)
    model = make_model(users, items, len(held_out), arguments)
    start = time.perf_counter()
    model.prepare()
    solved = time.perf_counter() - start
    n_epoch = -(-(len(held_out) - 1) // arguments.batch_size)
    n_steps = min(arguments.steps, n_epoch)
    start = time.perf_counter()
    losses = train(model, len(held_out), n_steps, arguments.batch_size)
    trained = time.perf_counter() - start
    model.eval()
    share, ranked = hits_and_seconds(
        lambda users: model.full_sort_predict({"user_id": users}), held_out, arguments.ranked_users
    )
    print(f"{arguments.items} items, {len(users)} interactions, closed form {solved:.0f} s")
    print(
        f"{n_steps} of {n_epoch} steps in {trained:.0f} s, loss {losses[0]:.3f} to {losses[1]:.3f}"
    )
    print(f"ranked in {ranked:.0f} s, hits {100 * share:.1f} %; peak {peak_mib():.0f} MiB")


def make_model(
    users: np.ndarray, items: np.ndarray, n_users: int, arguments: argparse.Namespace
) -> PrefixDiff:
    """The model on the made data."""
    overrides = {
        **(VIEWS if arguments.denoiser == "views" else {}),
        "embedding_size": arguments.width,
        "hidden_sizes": [arguments.width],
        "skip": arguments.skip_items is not None,
        "local_items": arguments.skip_items,
        "feature_weights": 0,
        "use_gpu": False,
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "mode": "full"},
    }
    config = Config("PrefixDiff", "ml-100k", (), overrides)
    times = np.random.default_rng(1).random(len(users))
    data = dataset_of(users, items, n_users, arguments.items + 1, timestamp=times)
    return PrefixDiff(config, data)


def train(model: PrefixDiff, n_users: int, n_steps: int, batch_size: int) -> tuple[float, float]:
    """Mean loss of the first and of the last tenth of the steps."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01, fused=True)
    losses = []
    for users in (1 + torch.randperm(n_users - 1)).split(batch_size)[:n_steps]:
        optimizer.zero_grad()
        loss = model.calculate_loss({"user_id": users})
        loss.backward()
        optimizer.step()
        model.update_average()
        losses.append(loss.item())
    tenth = max(1, n_steps // 10)
    return float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))


if __name__ == "__main__":
    main()
