"""What rivals cost beside LightGCN: counted operations, seconds and memory of an epoch.

    python benchmarks/operations.py --folder=runs/growth

On the smallest of growth.py's made data, each model in a process of its own, at its defaults, on
one thread. Operations are counted as PyTorch is asked for them: a product of matrices counts
2 m n k, one with a sparse matrix 2 nnz n, a sum of embeddings 2 for each number that goes in, any
other operation one for each number that comes out. What NumPy and SciPy do (solved models, graphs)
is not seen, so that these models have seconds alone. Prints a Markdown table.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from diffrec_inference import make_trainer, peak_mib
from growth import FORK, SIZES, config_of, epoch_of, make_data
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recbole_diffusion.base.log import run_logger
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.registry import find_model, list_models

SIZE = SIZES[0]
BESIDE = "LightGCN"
DENSE_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "_addmm_activation")
SPARSE_PRODUCTS = ("_sparse_mm", "_sparse_addmm", "_spmm")
SUMS_OF_EMBEDDINGS = ("_embedding_bag", "_embedding_bag_forward_only", "_embedding_bag_backward")
SECONDS = 8.0


class CountedOperations(TorchDispatchMode):
    """Counts floating-point operations.

    Attributes:
        products: Within products of matrices and sums of embeddings.
        others: All else.
    """

    def __init__(self) -> None:
        super().__init__()
        self.products, self.others = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        inputs = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        operations = product_operations(name, inputs, outputs)
        if operations is not None:
            self.products += operations
        elif not func.is_view and any(x.is_floating_point() for x in outputs):
            self.others += sum(entries(x) for x in outputs if x.is_floating_point())
        return found


def entries(x: Tensor) -> int:
    """Of a tensor, as many as it keeps."""
    return x._nnz() if x.layout != torch.strided else x.numel()


def product_operations(name: str, inputs: list[Tensor], outputs: list[Tensor]) -> int | None:
    """Operations of a product or a sum of embeddings; None for all else."""
    if name in SUMS_OF_EMBEDDINGS:
        # Weights and places come first, in either order of the two passes.
        places = next(x for x in inputs if not x.is_floating_point())
        width = next(x for x in inputs if x.is_floating_point() and x.dim() == 2).shape[1]
        return 2 * places.numel() * width
    sparse = [x for x in inputs if x.layout != torch.strided]
    if name in SPARSE_PRODUCTS or (name in DENSE_PRODUCTS and sparse):
        return 2 * sparse[0]._nnz() * outputs[0].shape[-1]
    if name in DENSE_PRODUCTS:
        left = next(x for x in inputs[-2:] if x.dim() >= 2)
        return 2 * outputs[0].numel() * left.shape[-1]
    return None


def measure(label: str, folder: Path, sender: Any) -> None:
    """Tell operations of an epoch, its seconds and the peak memory."""
    torch.set_num_threads(1)
    with run_logger(None, "ERROR"):
        config = config_of(label, SIZE, folder)
        split = load_split(config)
        trainer = make_trainer(config, split, folder)
        trainer.on_fit_start(split.train, None)
        seconds, _ = epoch_of(trainer, split.train, SECONDS)
        peak = peak_mib()
        counted = CountedOperations()
        share = 0.0
        if not trainer.is_solved:
            with counted:
                _, share = epoch_of(trainer, split.train, 0.0)
    sender.send(
        {
            "seconds": seconds,
            "peak": peak,
            "products": counted.products / share if share else math.nan,
            "others": counted.others / share if share else math.nan,
        }
    )


def measured(label: str, folder: Path) -> dict[str, float]:
    """What a process of its own tells.

    Raises:
        RuntimeError: It told nothing.
    """
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=measure, args=(label, folder, sender))
    process.start()
    sender.close()
    try:
        found: dict[str, float] = receiver.recv()
    except EOFError:
        raise RuntimeError(f"{label}: no measurement") from None
    process.join()
    return found


def row(label: str, found: dict[str, float], beside: dict[str, float]) -> str:
    """Of the table."""

    def ratio(value: float, other: float) -> str:
        return "" if math.isnan(value) else f"{value / other:.2f}"

    total, other = (x["products"] + x["others"] for x in (found, beside))
    shown = "" if math.isnan(total) else f"{total / 1e9:.1f}"
    return (
        f"| {label} | {shown} | {ratio(total, other)} | {found['seconds']:.1f} | "
        f"{ratio(found['seconds'], beside['seconds'])} | {found['peak']:.0f} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/growth"))
    arguments = parser.parse_args()
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # imports what the first optimiser does
    make_data(arguments.folder, SIZE)
    names = list_models()["recbole_diffusion"]
    rivals = [name for name in names if find_model(name).is_baseline]
    beside = measured(BESIDE, arguments.folder)
    print("| Model | G operations | of LightGCN's | seconds | of LightGCN's | peak MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    print(row(BESIDE, beside, beside))
    for label in rivals:
        print(row(label, measured(label, arguments.folder), beside), flush=True)


if __name__ == "__main__":
    main()
