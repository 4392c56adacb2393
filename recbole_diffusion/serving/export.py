"""The command ``export``: a run's vectors or its matrix of items as files that other tools read."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from safetensors.numpy import save_file

from recbole_diffusion.base.arguments import described_keys
from recbole_diffusion.base.errors import UserError, expect, naming
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.base.version import __version__
from recbole_diffusion.models.lindiffrec.model import LinDiffRec
from recbole_diffusion.runs.saved import saved_result
from recbole_diffusion.serving.recommend import checked
from recbole_diffusion.serving.recommender import Recommender, load
from recbole_diffusion.serving.strangers import item_matrix, vector_tables

KINDS = ("embeddings", "item-item")
FORMATS = ("npy", "parquet", "safetensors")


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``export RUN --as=embeddings --out=FOLDER``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: No run, another key, or what ``export`` refuses.
    """
    with run_logger(None, "info") as log:
        log.info(f"export: {export(**checked(keys, export, 'export'))}")


def keys_text() -> str:
    """The command's own keys, for ``export --help``."""
    return described_keys(export, run="RUN", kind="--as=embeddings")


def export(
    run: str | Path,
    out: str | Path,
    kind: str = "embeddings",
    format: str = "npy",
    kept: int = 200,
    **places: Any,
) -> Path:
    """Write what scores into a new folder, with ids and a card that says where it comes from.

    ``embeddings`` gives vectors of users and items whose products are the scores, after all
    convolutions: users.npy and items.npy, float32, a row for each line of user_ids.txt and
    item_ids.txt; or users.parquet and items.parquet with columns id and vector; or
    vectors.safetensors.
    ``item-item`` gives item_item.npz, a sparse matrix of scipy's, float32, which a user's row of
    items is multiplied by.

    Args:
        run: Folder of a run that has a best epoch.
        out: Folder to make.
        kind: embeddings or item-item.
        format: Of vectors: npy, parquet or safetensors.
        kept: Of an item-item matrix, the largest weights that each column keeps.
        **places: As ``load`` takes them.

    Returns:
        The folder.

    Raises:
        UserError: The folder exists, or the model's scores are no such products.
    """
    expect(kind in KINDS, "as", kind, f"one of {', '.join(KINDS)}")
    expect(format in FORMATS, "format", format, f"one of {', '.join(FORMATS)}")
    expect(type(kept) is int and kept >= 1, "kept", kept, "a whole number from 1 on")
    target = Path(out).resolve()
    if target.exists():
        raise UserError(f"key `out`: {target} is there already; expected a new folder")
    if not target.parent.is_dir():
        raise UserError(f"key `out`: no folder {target.parent}")
    recommender = load(run, **places)
    with naming(target):
        folder = Path(tempfile.mkdtemp(prefix=".recbole-diffusion-", dir=target.parent))
        try:
            if kind == "embeddings":
                _write_vectors(folder, format, recommender)
            else:
                _write_matrix(folder, kept, recommender)
            (folder / "card.md").write_text(_card(Path(run), kind, recommender), encoding="utf-8")
            folder.chmod(0o755)
            folder.rename(target)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return target


def _write_vectors(folder: Path, form: str, recommender: Recommender) -> None:
    tables = vector_tables(recommender.model)
    if tables is None:
        raise UserError(
            f"model {recommender.config['model']}: its scores are no products of vectors of users "
            "and items, expected such a model for --as=embeddings"
        )
    names = {"users": recommender.users, "items": recommender.items}
    vectors = {
        name: np.ascontiguousarray(table[1:].float().cpu().numpy())
        for name, table in zip(names, tables, strict=True)
    }
    if form == "safetensors":
        save_file(vectors, folder / "vectors.safetensors")
    for name, ids in names.items():
        if form == "parquet":
            column = pa.FixedSizeListArray.from_arrays(
                pa.array(vectors[name].ravel()), vectors[name].shape[1]
            )
            pq.write_table(pa.table({"id": ids, "vector": column}), folder / f"{name}.parquet")
            continue
        if form == "npy":
            np.save(folder / f"{name}.npy", vectors[name])
        _write_ids(folder / f"{name[:-1]}_ids.txt", ids)


def _write_matrix(folder: Path, kept: int, recommender: Recommender) -> None:
    model = recommender.model
    matrix = model.matrix() if isinstance(model, LinDiffRec) else item_matrix(model)
    if matrix is None:
        raise UserError(
            f"model {recommender.config['model']}: its scores are no rows of items times a matrix, "
            "expected such a model (LinDiffRec, EASE, ItemKNN, SLIMElastic) for --as=item-item"
        )
    sp.save_npz(folder / "item_item.npz", _largest_of_columns(matrix, kept))
    _write_ids(folder / "item_ids.txt", recommender.items)


def _largest_of_columns(matrix: Any, kept: int) -> sp.csr_matrix:
    """The entries of largest size in each column, without the padding."""
    is_sparse = sp.issparse(matrix)
    columns: Any = sp.csc_matrix(matrix) if is_sparse else np.asarray(matrix)
    columns = columns[1:, 1:]
    blocks = []
    for start in range(0, columns.shape[1], 1024):
        block = columns[:, start : start + 1024]
        dense = np.array(block.toarray() if is_sparse else block, dtype=np.float32)
        if kept < len(dense):
            least = np.argpartition(-np.abs(dense), kept, axis=0)[kept:]
            np.put_along_axis(dense, least, 0.0, axis=0)
        blocks.append(sp.csc_matrix(dense))
    return sp.hstack(blocks, format="csr")


def _write_ids(path: Path, ids: list[str]) -> None:
    path.write_text("".join(f"{token}\n" for token in ids), encoding="utf-8")


def _card(run: Path, kind: str, recommender: Recommender) -> str:
    """What the files are, and of which run, in Markdown."""
    result = saved_result(run.resolve())
    rows = [f"| {name} | {result['valid'][name]:.4f} | {value:.4f} |" for name, value in
            result["test"].items()]  # fmt: skip
    return "\n".join(
        [
            f"# {result['model']} on {result['dataset']}: {kind}",
            "",
            f"Exported by recbole_diffusion {__version__} from the best epoch "
            f"({result['best_epoch']}) of the run {run.resolve().name}, seed {result['seed']}, "
            f"split {result['split_hash']}; {len(recommender.users)} users and "
            f"{len(recommender.items)} items.",
            "The licence of the data applies to what is made of them.",
            "",
            "| Metric | Validation | Test |",
            "| --- | ---: | ---: |",
            *rows,
            "",
        ]
    )
