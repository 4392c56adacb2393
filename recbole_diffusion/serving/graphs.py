"""Models as ONNX graphs, without the padding: column n of a row is the n-th item, from 0."""

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.base.arguments import needed_package
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models.diffrec.model import DiffRec
from recbole_diffusion.models.ld4mrec.model import LD4MRec
from recbole_diffusion.models.prefixdiff.model import PrefixDiff
from recbole_diffusion.models.sequential.model import NextItemRecommender
from recbole_diffusion.nn.rows import DenseRows
from recbole_diffusion.serving.strangers import MatrixScores

OPSET = 17
# What a file of protobuf can hold.
MOST_BYTES = 2**31 - 2**20
# Shape of what is traced; in the graph both sizes are free.
TRACED_USERS, TRACED_LENGTH = 3, 5


class GraphModule(nn.Module):
    """What becomes a graph: from its ``inputs`` to scores [B, n_items - 1]."""

    inputs: tuple[str, ...]


class RowScores(GraphModule):
    """DiffRec and its kinds on rows [B, n_items - 1]."""

    inputs = ("row",)

    def __init__(self, model: DiffRec) -> None:
        super().__init__()
        self.model = model

    def forward(self, row: Tensor) -> Tensor:
        """Scores [B, n_items - 1]."""
        return self.model._scores(_with_padding(row))[:, 1:]


class ConditionalScores(GraphModule):
    """LD4MRec on rows [B, n_items - 1] and the initial step embeddings of their users [B, d]."""

    inputs = ("row", "vector")

    def __init__(self, model: LD4MRec) -> None:
        super().__init__()
        self.model = model

    def forward(self, row: Tensor, vector: Tensor) -> Tensor:
        """Scores [B, n_items - 1]."""
        return self.model.scores_of_strangers(_with_padding(row), vector)[:, 1:]


class Product(GraphModule):
    """Inputs [B, n] times a matrix [n, n_items - 1]: rows with weights, or vectors of users.

    Args:
        matrix: The matrix.
        input: Name of the input.
    """

    def __init__(self, matrix: Tensor, input: str) -> None:
        super().__init__()
        self.inputs = (input,)
        self.register_buffer("matrix", matrix)

    def forward(self, values: Tensor) -> Tensor:
        """Scores [B, n_items - 1]."""
        return values @ self.get_buffer("matrix")


class NextItemScores(GraphModule):
    """SASRec and GRU4Rec on items [B, L] in the order of time, 0 behind the last."""

    inputs = ("items",)

    def __init__(self, model: NextItemRecommender) -> None:
        super().__init__()
        self.encoder, self.max_length = model.encoder, model.max_length

    def forward(self, items: Tensor) -> Tensor:
        """Scores [B, n_items - 1]."""
        last = last_output(self.encoder, items, self.max_length)
        return functional.linear(last, self.encoder.items.weight)[:, 1:]


class PrefixScores(GraphModule):
    """PrefixDiff with one reverse step, on items as ``NextItemScores`` reads them."""

    inputs = ("items",)

    def __init__(self, model: PrefixDiff) -> None:
        super().__init__()
        self.network, self.skip = model.averaged, model.skip
        self.has_network = model.skip is None or model.n_updates > 0
        self.is_attention = hasattr(model.averaged.denoiser, "encoder")
        if self.skip is not None:
            matrix = self.skip.matrix()
            dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
            self.register_buffer("weights", torch.from_numpy(dense) * self.skip.popularity)

    def forward(self, items: Tensor) -> Tensor:
        """Scores [B, n_items - 1]."""
        logits = torch.zeros(1, len(self.network.bias))
        if self.has_network:
            denoiser = self.network.denoiser
            hidden = self._attended(items) if self.is_attention else self._viewed(items)
            logits = functional.linear(hidden, denoiser.outputs, self.network.bias)
        if self.skip is not None:
            weights = _unit_weights(items, self.skip.recency)
            rows = weights.new_zeros(items.shape[0], len(self.network.bias))
            closed = rows.scatter_add(1, items, weights) @ self.get_buffer("weights")
            logits = logits + closed * self.network.gain
        known = functional.pad(items, (1, 0))  # the padding is masked in each row
        logits = logits.scatter(1, known, torch.full_like(known, -torch.inf, dtype=torch.float32))
        total = logits.logsumexp(dim=1, keepdim=True)
        return (logits - total)[:, 1:]

    def _attended(self, items: Tensor) -> Tensor:
        encoder = self.network.denoiser.encoder
        return last_output(encoder, items, encoder.max_length)

    def _viewed(self, items: Tensor) -> Tensor:
        denoiser = self.network.denoiser
        views = [
            (denoiser.view_length * _unit_weights(items, view)[:, None, :] @ table[items])[:, 0]
            for view, table in zip(denoiser.views, denoiser.tables, strict=True)
        ]
        level = torch.zeros(items.shape[0])
        hidden: Tensor = denoiser.behind(views, level)
        return hidden


def last_output(encoder: Any, items: Tensor, max_length: int) -> Tensor:
    """Output [B, width] of a causal encoder at the last of items [B, L]; 0 for a row without."""
    lengths = (items > 0).sum(dim=1, keepdim=True)
    cut = (lengths - max_length).clamp_min(0)
    place = torch.arange(items.shape[1])[:max_length] + cut  # [B, at most max_length]
    latest = items.gather(1, place.clamp_max(items.shape[1] - 1))
    encoded = encoder.encode(encoder.items(latest))
    last = (lengths - cut - 1).clamp_min(0)[:, :, None].expand(-1, -1, encoded.shape[2])
    return encoded.gather(1, last)[:, 0] * (lengths > 0)


def _unit_weights(items: Tensor, recency: Any) -> Tensor:
    """Weights by age of items [B, L], of Euclidean length 1 in each row; 0 behind the last."""
    is_item = items > 0
    lengths = is_item.sum(dim=1, keepdim=True)
    age = (lengths - 1 - torch.arange(items.shape[1])).clamp_min(0)
    weights = recency.weights(age, lengths.expand_as(age)) * is_item
    square = weights.square().sum(dim=1, keepdim=True)
    return weights * square.clamp_min(torch.finfo(square.dtype).tiny).rsqrt()


def _with_padding(row: Tensor) -> DenseRows:
    return DenseRows(functional.pad(row, (1, 0)))


def row_module(model: Any, linear: MatrixScores | None) -> GraphModule | None:
    """What of a model that reads rows becomes a graph; None for others.

    Args:
        model: In evaluation mode, on the CPU.
        linear: Its scores as products with a matrix, where they are such.

    Raises:
        UserError: Settings that cannot become one.
    """
    if linear is not None:
        n = linear.matrix.shape[0]
        _check_size(4 * n * n)
        matrix = linear.matrix[1:, 1:]
        dense = matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.todense())
        return Product(torch.from_numpy(np.ascontiguousarray(dense, np.float32)), "row")
    if isinstance(model, (DiffRec, LD4MRec)):
        steps = model.sampling_steps
        if steps or getattr(model, "sampling_noise", False):
            raise UserError(
                f"key `sampling_steps`: found {steps}, expected 0 and no `sampling_noise` for "
                "--as=onnx: what is drawn differs from call to call"
            )
        return RowScores(model) if isinstance(model, DiffRec) else ConditionalScores(model)
    if isinstance(model, NextItemRecommender):
        return NextItemScores(model)
    if isinstance(model, PrefixDiff):
        if model.reverse_steps > 1:
            found = model.reverse_steps
            raise UserError(f"key `reverse_steps`: found {found}, expected 1 for --as=onnx")
        if model.clock_unit is not None:
            raise UserError("key `age`: found time, expected rank for --as=onnx")
        if model.has_cold_items:
            raise UserError("--as=onnx: found cold items, expected a run of PrefixDiff without")
        return PrefixScores(model)
    return None


def _check_size(n_bytes: int) -> None:
    if n_bytes > MOST_BYTES:
        raise UserError(
            f"as: found onnx for a model of {n_bytes / 2**30:.1f} GiB, expected less than 2 GiB, "
            "which is what an ONNX file can hold"
        )


def write_graph(path: Path, module: GraphModule, n_items: int, width: int | None) -> None:
    """Write a module as a graph whose first axes are free.

    Args:
        path: The file.
        module: On the CPU.
        n_items: Without the padding.
        width: Of the input ``vector``.

    Raises:
        UserError: onnx is not installed, or the graph is too large.
    """
    needed_package("onnx", "onnx", "--as=onnx")
    tensors = [*module.parameters(), *module.buffers()]
    _check_size(sum(t.numel() * t.element_size() for t in tensors))
    examples = {
        "row": torch.eye(TRACED_USERS, n_items),
        "items": torch.ones(TRACED_USERS, TRACED_LENGTH, dtype=torch.int64),
        "vector": torch.zeros(TRACED_USERS, width or 0),
    }
    free = {name: {0: "users"} for name in (*module.inputs, "scores")}
    if "items" in module.inputs:
        free["items"][1] = "length"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, which needs no onnxscript; it is checked
        torch.onnx.export(
            module.eval(),
            tuple(examples[name] for name in module.inputs),
            str(path),
            input_names=list(module.inputs),
            output_names=["scores"],
            dynamic_axes=free,
            opset_version=OPSET,
            dynamo=False,
        )


class Graph:
    """A graph that onnxruntime runs on the CPU.

    Args:
        path: Of the file.

    Attributes:
        inputs: Names of its inputs.

    Raises:
        UserError: onnxruntime is not installed.
    """

    def __init__(self, path: Path) -> None:
        runtime: ModuleType = needed_package("onnxruntime", "onnx", f"{path}")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = tuple(value.name for value in self._session.get_inputs())

    def __call__(self, **inputs: Tensor) -> Tensor:
        """Scores [B, n_items], those of the padding 0."""
        arrays = {name: inputs[name].contiguous().numpy() for name in self.inputs}
        scores = torch.from_numpy(self._session.run(["scores"], arrays)[0])
        return functional.pad(scores, (1, 0))
