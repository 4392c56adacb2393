"""SimDiff's generation of all items against the number of steps, composed and step by step.

    python benchmarks/simdiff_generation.py --items=200000 --threads=1

The sides take turns, so that other load on the machine meets all of them. Composing the steps
(O(T d^3), no items) is printed apart from the whole, with the multiplications and additions counted
from the sizes. The loop is measured on a share of the items and scaled up.
"""

import argparse
import statistics
import time
from types import SimpleNamespace

import scipy.sparse as sp
import torch

from recbole_diffusion.diffusion.inference import compose_affine_chain
from recbole_diffusion.models.simdiff.model import SimDiff
from recbole_diffusion.settings.property_files import properties_folder, read_properties

STEPS = (10, 500)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--loop_items", type=int, default=5_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    share = arguments.loop_items / arguments.items
    calls = {}
    for steps in STEPS:
        network = make_network(arguments.items, arguments.size, steps)
        few = make_network(arguments.loop_items, arguments.size, steps)
        calls[steps, "generation"] = network.generate
        calls[steps, "of it, composing"] = lambda network=network: compose_affine_chain(
            *network.denoiser.affine_parts(), network._coefficients()
        )
        calls[steps, "step by step"] = lambda few=few: few._generate_step_by_step(
            *few.latent_variable()
        )
    seconds = {name: [] for name in calls}
    with torch.no_grad():
        for round_number in range(arguments.rounds + 1):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if round_number > 0:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for steps in STEPS:
        medians[steps, "step by step"] /= share
    print_table(arguments, medians)


def make_network(n_items: int, size: int, steps: int) -> SimDiff:
    """A model with random base embeddings; one user, who has met one item."""
    counts = {"user_id": 2, "item_id": n_items + 1}
    dataset = SimpleNamespace(
        num=counts.get,
        inter_matrix=lambda form: sp.coo_matrix(
            ([1.0], ([1], [1])), shape=tuple(counts.values())
        ).asformat(form),
    )
    config = read_properties(properties_folder() / "model" / "SimDiff.yaml") | {
        "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "NEG_PREFIX": "neg_",
        "device": torch.device("cpu"), "embedding_size": size, "steps": steps,
        "channels": ["knowledge"],
    }  # fmt: skip
    network = SimDiff(config, dataset).eval()
    network.get_buffer("metadata_knowledge").copy_(torch.randn(n_items + 1, size))
    network.has_metadata.fill_(True)
    return network


def operations(n_items: int, size: int, steps: int, n_hidden: int = 64) -> dict[str, float]:
    """Multiplications and additions; the guide's MLP is in both ways of generation."""
    guide = 2 * n_items * size * n_hidden * 2
    composing = 2 * steps * size**2 * (2 * size + 1)
    return {
        "generation": guide + 2 * 2 * n_items * size**2 + composing,
        "of it, composing": composing,
        "step by step": guide + 2 * 2 * steps * n_items * size**2,
    }


def print_table(arguments: argparse.Namespace, medians: dict) -> None:
    """One line a part, with the ratio of the many steps to the few."""
    few, many = STEPS
    print(
        f"{arguments.items} items, d = {arguments.size}, {arguments.threads} thread(s), "
        f"median of {arguments.rounds} rounds"
    )
    print(f"{'':<20}{f's, T = {few}':>14}{f's, T = {many}':>14}{'ratio':>8}{'ratio of GFLOP':>26}")
    counts = {steps: operations(arguments.items, arguments.size, steps) for steps in STEPS}
    for part in counts[few]:
        values = [medians[steps, part] for steps in STEPS]
        flops = [counts[steps][part] / 1e9 for steps in STEPS]
        print(
            f"{part:<20}{values[0]:>14.4f}{values[1]:>14.4f}{values[1] / values[0]:>8.2f}"
            f"{f'{flops[1]:.2f} / {flops[0]:.2f} = {flops[1] / flops[0]:.2f}':>26}"
        )


if __name__ == "__main__":
    main()
