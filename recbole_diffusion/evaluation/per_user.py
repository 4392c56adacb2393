"""What each user got: a ranking's metrics user by user, and the ranking itself, as files."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recbole_diffusion.base.errors import DamagedFile
from recbole_diffusion.base.files import DIGEST, written_whole
from recbole_diffusion.evaluation.metrics import user_metrics

PER_USER = "per_user.parquet"
TRAIN_MASKED = "per_user.train_masked.parquet"
# The ranking, the test part and the items.
RANKING_TABLES = ("topk.parquet", "relevant.parquet", "items.parquet")
# What PyArrow raises at a damaged file; some of it only when values are taken out.
NO_TABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException)


def per_user_frame(config: Any, split: Any, ranking: Any, loader: Any) -> pd.DataFrame:
    """One row a user: original id, interactions in train, metrics."""
    train = split.train._dataset
    users = np.asarray(loader.uid_list)
    counts = _counts(train, train.uid_field, train.user_num)
    return pd.DataFrame(
        {
            "user_id": _tokens(train, train.uid_field, users),
            "n_train": counts[users],
            **user_metrics(config, ranking),
        }
    )


@contextmanager
def recorded_rankings(run: Any, trainer: Any) -> Iterator[None]:
    """Around the final evaluation of a run: what each user got on test goes to the run's folder.

    ``per_user.parquet`` holds the metrics, ``topk.parquet`` the ranked items, ``relevant.parquet``
    the test part and ``items.parquet`` all items with their train interactions.
    """
    with trainer.eval_collector.keeping_rankings() as kept:
        yield
    folder, split, ranking = Path(run.config["checkpoint_dir"]), run.split, kept[-1]
    train, loader = split.train._dataset, split.test
    items = ranking.get("rec.items").numpy()
    n_users, k = items.shape
    test = loader._dataset
    users = _tokens(train, train.uid_field, np.asarray(loader.uid_list))
    everything = np.arange(1, train.item_num)
    frames = {
        "topk": {
            "user_id": np.repeat(users, k),
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), n_users),
            "item_id": _tokens(train, train.iid_field, items.ravel()),
        },
        "relevant": {
            "user_id": _tokens(train, train.uid_field, test.inter_feat[test.uid_field].numpy()),
            "item_id": _tokens(train, train.iid_field, test.inter_feat[test.iid_field].numpy()),
        },
        "items": {
            "item_id": _tokens(train, train.iid_field, everything),
            "n_train": _counts(train, train.iid_field, train.item_num)[everything],
        },
    }
    for name, columns in frames.items():
        write_frame(folder / f"{name}.parquet", pd.DataFrame(columns))
    write_frame(folder / PER_USER, per_user_frame(run.config, split, ranking, loader))


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as Parquet with a digest of its values, whole or not at all."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, DIGEST: _digest(frame)})
    with written_whole(path) as stream:
        pq.write_table(table, stream)


def read_frame(path: Path, *columns: str) -> pd.DataFrame:
    """Read a table that ``write_frame`` wrote; one without a digest is taken as it is.

    Args:
        path: The file.
        *columns: That it must have.

    Raises:
        DamagedFile: No such file, no table, other values than were written, or no such column.
    """
    try:
        table = pq.read_table(path)
        frame, digest = table.to_pandas(), (table.schema.metadata or {}).get(DIGEST.encode())
        is_same = digest is None or digest.decode("ascii", "replace") == _digest(frame)
    except FileNotFoundError as error:
        raise DamagedFile(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise DamagedFile(f"{path}: found a folder, expected a file") from error
    except PermissionError as error:
        raise DamagedFile(f"{path}: may not be read") from error
    except NO_TABLE as error:
        if getattr(error, "errno", None) is not None:
            raise
        reason = " ".join(str(error).split())
        raise DamagedFile(f"{path}: no table in Parquet: {reason}") from error
    if not is_same:
        raise DamagedFile(f"{path}: found changed or damaged values, expected what was written")
    missing = [column for column in columns if column not in frame]
    if missing:
        raise DamagedFile(f"{path}: found no column {missing[0]}, which this version writes")
    return frame


def _digest(frame: pd.DataFrame) -> str:
    """Of names and values, texts as such and numbers by their bytes."""
    total = hashlib.sha256()
    for name, column in frame.items():
        is_number = pd.api.types.is_numeric_dtype(column)
        values = column.to_numpy() if is_number else np.array(column, dtype=object)
        content = values.tobytes() if is_number else "\0".join(map(str, values)).encode()
        total.update(f"{name}\0{len(column)}\0".encode() + content)
    return total.hexdigest()


def _tokens(dataset: Any, field: str, ids: np.ndarray) -> np.ndarray:
    return np.asarray(dataset.field2id_token[field]).astype(str)[ids].astype(object)


def _counts(dataset: Any, field: str, size: int) -> np.ndarray:
    return np.bincount(dataset.inter_feat[field].numpy(), minlength=size)
