"""The command ``export``: a run as files that ``load`` and other tools read."""

import glob
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
import torch
from safetensors.numpy import save_file
from torch import Tensor

from recbole_diffusion.base.arguments import checked, described_keys
from recbole_diffusion.base.errors import UserError, expect, naming, refusals_of
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.base.version import __version__
from recbole_diffusion.evaluation.ranking import ranked_items
from recbole_diffusion.models.ld4mrec.model import LD4MRec
from recbole_diffusion.nn.rows import RowBatch
from recbole_diffusion.runs.saved import saved_result
from recbole_diffusion.serving import index as indices
from recbole_diffusion.serving.card import write_card
from recbole_diffusion.serving.exported import ExportSource
from recbole_diffusion.serving.graphs import Product, row_module, write_graph
from recbole_diffusion.serving.of_run import RunSource
from recbole_diffusion.serving.source import PARTS
from recbole_diffusion.serving.strangers import (
    history_vectors,
    matrix_scores,
    recency_of_rows,
    spread,
    vector_tables,
)
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE, KEYS_WITHOUT_EFFECT
from recbole_diffusion.settings.values import as_yaml
from recbole_diffusion.settings.words import format_words

KINDS = ("embeddings", "item-item", "onnx")
FORMATS = ("npy", "parquet", "safetensors")
# How folders that are not whole yet are called.
UNFINISHED = ".recbole-diffusion-"
# Users by whom an export is held against the run, and those who search an index.
N_COMPARED, N_SEARCHED = 256, 1000
# Length of the lists that are compared, and how far scores may be apart, as a share of the largest.
K_COMPARED, TOLERANCE = 10, 2e-5


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``export RUN --as=embeddings --out=FOLDER``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: No run, another key, or what ``export`` refuses.
    """
    with run_logger(None, "info") as log:
        log.info(f"export: {export(**checked(keys, export, 'export', KEYS_OF_PLACE))}")


def keys_text() -> str:
    """The command's own keys, for ``export --help``."""
    return described_keys(export, run="RUN", kind="--as=KIND")


def export(
    run: str | Path,
    out: str | Path,
    kind: str | None = None,
    format: str = "npy",
    kept: int = 200,
    index: str | None = None,
    without_users: bool = False,
    **places: Any,
) -> Path:
    """Write what scores into a new folder, which ``load`` reads without the run or its data.

    ``embeddings`` are vectors of users and items whose products are the scores, after all
    convolutions; ``item-item`` a sparse matrix that a user's row of items is multiplied by;
    ``onnx`` a graph that scores all items. ``card.md`` in the folder tells what its files are.
    Scores and lists of some users are compared with the run's before the folder appears.

    Args:
        run: Folder of a run that has a best epoch.
        out: Folder to make.
        kind: embeddings, item-item or onnx; by default embeddings where the model has such, else
            item-item.
        format: Of vectors: npy, parquet or safetensors.
        kept: Of an item-item matrix, the largest weights that each column keeps.
        index: FAISS index of embeddings: flat, hnsw or ivf.
        without_users: Leave out ids, items and vectors of users; only histories can be scored then.
        **places: As ``load`` takes them.

    Returns:
        The folder.

    Raises:
        UserError: The folder exists, or the model's scores are no such products or graph.
    """
    expect(kind in (None, *KINDS), "as", kind, f"one of {', '.join(KINDS)}")
    expect(format in FORMATS, "format", format, f"one of {', '.join(FORMATS)}")
    expect(type(kept) is int and kept >= 1, "kept", kept, "a whole number from 1 on")
    expect(index in (None, *indices.KINDS), "index", index, f"one of {', '.join(indices.KINDS)}")
    expect(
        index is None or kind in (None, "embeddings"),
        "index",
        index,
        "none but with --as=embeddings",
    )
    expect(type(without_users) is bool, "without_users", without_users, "true or false")
    target = Path(out).resolve()
    if target.exists():
        raise UserError(f"key `out`: {target} is there already; expected a new folder")
    if not target.parent.is_dir():
        raise UserError(f"key `out`: no folder {target.parent}")
    _tell_unfinished(target)
    source = RunSource.open(run, {**places, "use_gpu": False} if kind == "onnx" else places)
    unscored = source.catalogue.items.unscored
    if unscored is not None and unscored.any():
        raise UserError(
            f"{run}: found {int(unscored.sum())} cold items that {source.model} cannot score, "
            "expected a run without such: keep_cold_items: false, and another split than CI"
        )
    kind = kind or ("embeddings" if index is not None else _first_kind(source))
    with naming(target):
        prefix = f"{UNFINISHED}{target.name}-"
        with refusals_of(f"key `out`: no folder can be made in {target.parent}", FileNotFoundError):
            folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=".tmp", dir=target.parent))
        try:
            writer = _Writer(folder, source, not without_users)
            writer.write(Path(run).resolve(), kind, format, kept, index)
            folder.chmod(0o755)
            folder.rename(target)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return target


def _first_kind(source: RunSource) -> str:
    """What a model is exported as unless it is said: vectors where it has such, else a matrix."""
    if vector_tables(source.network) is not None:
        return "embeddings"
    if matrix_scores(source.network, source.read_rows()) is None:
        return "embeddings"  # which is refused, with what the model can be exported as
    getLogger().info(f"export: as item-item: model {source.model} has no vectors of users")
    return "item-item"


def _tell_unfinished(target: Path) -> None:
    """Of folders that killed exports of this name left."""
    for folder in target.parent.glob(f"{UNFINISHED}{glob.escape(target.name)}-*.tmp"):
        getLogger().warning(
            f"{folder}: an export that is at work or was killed; remove it if none is at work"
        )


class _Writer:
    """Writes the files of one export.

    Args:
        folder: Exists, and is empty.
        source: The run.
        with_users: Whether people's data go with it.
    """

    def __init__(self, folder: Path, source: RunSource, with_users: bool) -> None:
        self.folder, self.source, self.with_users = folder, source, with_users
        self.network, self.rows = source.network, source.read_rows()

    def write(self, run: Path, kind: str, form: str, kept: int, index: str | None) -> None:
        """All files; see ``export``."""
        self._write_ids_and_items()
        forms = {"length_power": 0.0, "inputs": [], "array_format": form}
        if kind == "item-item":
            forms |= self._write_matrix(kept)
        elif kind == "embeddings" or vector_tables(self.network) is not None:
            forms |= self._write_vectors(form, kind, index)
        else:
            forms |= self._write_rows_graph()
        card = {"kind": kind, **self._of_run(run), **forms}
        exported = ExportSource(self.folder, card)
        card |= self._compared(exported, card.get("pruning"))
        write_card(self.folder, card)

    def _of_run(self, run: Path) -> dict[str, Any]:
        """What the card tells of the run; its settings become a file."""
        config, result = self.source.config, saved_result(run)
        kept = {k: v for k, v in config.settable().items() if k not in KEYS_WITHOUT_EFFECT}
        (self.folder / "config.yaml").write_text(as_yaml(kept, sort_keys=True), encoding="utf-8")
        words = {"model": config.registration.key, "dataset": config["dataset"]}
        words["config_files"] = "config.yaml"
        told = ("model", "dataset", "seed", "split_hash", "best_epoch", "valid", "test")
        return {
            **{key: result[key] for key in told},
            "command": " ".join(["python -m recbole_diffusion", *format_words(words)]),
            "package_version": __version__,
            "n_users": len(self.source.catalogue.users) - 1 if self.with_users else 0,
            "n_items": len(self.source.catalogue.items) - 1,
            "with_users": self.with_users,
            "example_item": self.source.catalogue.items.all[0],
            "seq_separator": config["seq_separator"],
            "evaluation": {key: config[key] for key in ("eval_batch_users", "eval_memory_mb")},
            "recency": asdict(recency_of_rows(self.network)),
        }

    def _write_ids_and_items(self) -> None:
        catalogue, source = self.source.catalogue, self.source
        _write_ids(self.folder / "item_ids.txt", catalogue.items.all)
        columns = source.item_columns
        if columns:
            found = {name: texts[1:] for name, texts in source.item_texts(columns).items()}
            ids = {source.parts["train"].iid_field: catalogue.items.all}
            pq.write_table(pa.table({**ids, **found}), self.folder / "item_columns.parquet")
        if not self.with_users:
            return
        _write_ids(self.folder / "user_ids.txt", catalogue.users.all)
        everybody = torch.arange(1, len(catalogue.users))
        arrays: dict[str, Any] = {}
        for part in PARTS:
            rows = self.rows if part == "train" else source.rows((part,))
            batch = rows.batch(everybody.to(rows.items.device))
            arrays[f"{part}_offsets"] = batch.offsets.cpu().numpy()
            arrays[f"{part}_items"] = (batch.items.cpu().numpy() - 1).astype(np.int32)
        np.savez(self.folder / "interactions.npz", **arrays)

    # What scores

    def _write_vectors(self, form: str, kind: str, index: str | None) -> dict[str, Any]:
        tables = vector_tables(self.network)
        history = history_vectors(self.network, self.rows)
        if tables is None or history is None:
            raise self._refused("products of vectors of users and items", "embeddings")
        users, items = (
            np.ascontiguousarray(table[1:].detach().float().cpu().numpy()) for table in tables
        )
        vectors = {"items": items, **({"users": users} if self.with_users else {})}
        catalogue = self.source.catalogue
        ids = {"items": catalogue.items.all, "users": catalogue.users.all}
        if form == "safetensors":
            save_file(vectors, self.folder / "vectors.safetensors")
        for name, table in vectors.items():
            if form == "npy":
                np.save(self.folder / f"{name}.npy", table)
            elif form == "parquet":
                column = pa.FixedSizeListArray.from_arrays(pa.array(table.ravel()), table.shape[1])
                content = pa.table({"id": ids[name], "vector": column})
                pq.write_table(content, self.folder / f"{name}.parquet")
        np.save(self.folder / "history_map.npy", history.map.cpu().numpy())
        if kind == "onnx":
            graph = Product(torch.from_numpy(items.T.copy()), "vector")
            write_graph(self.folder / "model.onnx", graph, len(items), items.shape[1])
            return {"inputs": ["vector"]}
        if index is None:
            return {}
        searching = users[spread(len(users) + 1, N_SEARCHED).numpy() - 1]
        path = self.folder / "items.faiss"
        return {"index": indices.write_index(path, index, items, searching)}

    def _write_matrix(self, kept: int) -> dict[str, Any]:
        linear = matrix_scores(self.network, self.rows)
        if linear is None:
            raise self._refused("rows of items times a matrix", "item-item")
        matrix, share = _largest_of_columns(linear.matrix, kept)
        sp.save_npz(self.folder / "item_item.npz", matrix)
        self._write_empty(linear.empty)
        found: dict[str, Any] = {"length_power": linear.length_power}
        return found | ({"pruning": {"kept": kept, "share": share}} if share < 1 else {})

    def _write_empty(self, empty: np.ndarray | None) -> None:
        if empty is not None:
            np.save(self.folder / "empty_history.npy", empty[1:])

    def _write_rows_graph(self) -> dict[str, Any]:
        linear = matrix_scores(self.network, self.rows)
        module = row_module(self.network, linear)
        if module is None:
            raise self._refused("made of vectors or of a row of items", "onnx")
        width = None
        if isinstance(self.network, LD4MRec):
            steps = self.network.initial_step_embedding.weight.detach()
            width = steps.shape[1]
            np.save(self.folder / "stranger.npy", self.network.mean_step().detach().numpy())
            if self.with_users:
                np.save(self.folder / "users.npy", steps[1:].numpy())
        n_items = len(self.source.catalogue.items) - 1
        write_graph(self.folder / "model.onnx", module, n_items, width)
        if linear is not None:
            self._write_empty(linear.empty)
        power = 0.0 if linear is None else linear.length_power
        return {"length_power": power, "inputs": list(module.inputs)}

    def _refused(self, form: str, kind: str) -> UserError:
        linear = matrix_scores(self.network, self.rows)
        has_vectors = vector_tables(self.network) is not None
        fits = {
            "embeddings": has_vectors,
            "item-item": linear is not None,
            "onnx": has_vectors or row_module(self.network, linear) is not None,
        }
        others = " or ".join(f"--as={name}" for name, does in fits.items() if does)
        advice = f"; this model can be exported by {others}" if others else ""
        return UserError(
            f"model {self.source.model}: its scores are not {form}, expected such a model for "
            f"--as={kind}{advice}"
        )

    # Whether it scores as the run does

    def _compared(self, exported: ExportSource, pruning: dict[str, Any] | None) -> dict[str, Any]:
        """Hold scores of some users, and of their items as histories, against the run's.

        Args:
            exported: What was written.
            pruning: What was left out; None: nothing.

        Returns:
            What pruning changed, for the card.

        Raises:
            UserError: Scores differ though nothing was left out.
        """
        shares: list[Tensor] = []
        for ours, theirs, rows in self._scored_by_both(exported):
            if pruning is not None:
                shares.append(_shared_of_lists(ours, theirs, rows))
            elif not _are_alike(ours, theirs):
                raise UserError(
                    f"model {self.source.model}: the scores of the export differ from the run's, "
                    "expected equal ones; nothing was written"
                )
        if pruning is None:
            return {}
        overlap = torch.cat(shares)
        told = {"overlap": overlap.mean().item(), "n_lists": len(overlap), "k": K_COMPARED}
        return {"pruning": {**pruning, **told}}

    def _scored_by_both(self, exported: ExportSource) -> Iterator[tuple[Tensor, Tensor, RowBatch]]:
        """Scores [b, n_items] of histories and users by the run and the export, and their items."""
        users = spread(len(self.source.catalogue.users), N_COMPARED)
        users = self.rows.non_empty(users.to(self.rows.items.device))
        for block in users.split(exported.block_size):
            rows = self.rows.batch(block).to(torch.device("cpu"))
            histories = [part.tolist() for part in rows.items.split(rows.lengths.tolist())]
            score = self.source.score_histories, exported.score_histories
            yield score[0](histories), score[1](histories), rows
            if self.with_users:
                yield self.source.score(block), exported.score(block.cpu()), rows


def _are_alike(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two tables of scores [b, n_items] differ by rounding alone, and so their lists."""
    ours, theirs = ours[:, 1:], theirs[:, 1:]
    is_number = ours.isfinite()
    sizes = torch.where(is_number, ours, 0.0).abs().amax(dim=1, keepdim=True)
    differs = (ours - theirs).abs() > TOLERANCE * sizes
    return torch.equal(is_number, theirs.isfinite()) and not (differs & is_number).any()


def _shared_of_lists(ours: Tensor, theirs: Tensor, rows: RowBatch) -> Tensor:
    """Share of the items that two lists of each user have in common [b]."""
    lists = []
    for scores in (ours, theirs):
        scores[rows.rows, rows.items] = -torch.inf
        lists.append(ranked_items(scores, min(K_COMPARED, scores.shape[1] - 1))[1])
    return (lists[0][:, :, None] == lists[1][:, None, :]).any(dim=2).float().mean(dim=1)


def _largest_of_columns(matrix: Any, kept: int) -> tuple[sp.csr_matrix, float]:
    """The entries of largest size in each column, without the padding, and their share of all."""
    is_sparse = sp.issparse(matrix)
    columns: Any = sp.csc_matrix(matrix) if is_sparse else np.asarray(matrix)
    columns = columns[1:, 1:]
    blocks, total = [], 0.0
    for start in range(0, columns.shape[1], 1024):
        block = columns[:, start : start + 1024]
        dense = np.array(block.toarray() if is_sparse else block, dtype=np.float32)
        total += float(np.abs(dense).sum(dtype=np.float64))
        if kept < len(dense):
            least = np.argpartition(-np.abs(dense), kept, axis=0)[kept:]
            np.put_along_axis(dense, least, 0.0, axis=0)
        blocks.append(sp.csc_matrix(dense))
    found = sp.hstack(blocks, format="csr")
    size = float(np.abs(found.data).sum(dtype=np.float64))
    return found, 1.0 if kept >= columns.shape[0] or not total else size / total


def _write_ids(path: Path, ids: list[str]) -> None:
    path.write_bytes("".join(f"{token}\n" for token in ids).encode())
