"""The parts of a split, kept in a file so that further runs need not read and split the data."""

import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType

from recbole_diffusion.base.errors import DamagedFile
from recbole_diffusion.base.files import archive_fault, make_folder, one_at_a_time, written_whole
from recbole_diffusion.base.version import __version__
from recbole_diffusion.data.columns import data_files
from recbole_diffusion.data.dataset import AtomicDataset

# Settings by which files become parts; those of the second line are refused with this.
SETTINGS = (
    *("dataset", "benchmark_filename", "encoding", "field_separator", "seq_separator", "seq_len"),
    *("USER_ID_FIELD", "ITEM_ID_FIELD", "LABEL_FIELD", "TIME_FIELD", "NEG_PREFIX"),
    *("alias_of_user_id", "alias_of_item_id", "load_col", "unload_col", "unused_col"),
    *("filter_inter_by_user_or_item", "rm_dup_inter", "val_interval", "threshold"),
    *("user_inter_num_interval", "item_inter_num_interval", "keep_cold_items"),
    *("normalize_field", "normalize_all", "numerical_features", "discretization"),
    *("eval_args", "split_seed", "train_noise_ratio"),
)
# What these read is not kept.
NOT_KEPT_WITH = ("additional_feat_suffix", "preload_weight")
# What tells how a dataset was read, of plain values.
FACTS = ("feat_name_list", "field2bucketnum", "field2seqlen")


@dataclass(frozen=True)
class Parts:
    """What files and settings of a data set give.

    Attributes:
        datasets: RecBole's of train, validation and test.
        n_added: Random interactions among train's.
        digest: Hash of the ids and of the three parts.
    """

    datasets: list[Any]
    n_added: int
    digest: str


def kept_parts(config: Any, make: Callable[[Any], Parts], may_write: bool) -> Parts:
    """The parts from the file of an earlier run, else made and, if it is allowed, kept.

    Large data alone are kept (key ``data_cache_mb``), below ``<output_dir>/cache``, by a hash of
    the files' contents, the settings and this package. Processes that need the same at once wait
    for the one that makes it.

    Args:
        config: Settings, their columns checked.
        make: Reads and splits.
        may_write: Whether what is not there is kept.
    """
    files = data_files(config)
    least, size = config["data_cache_mb"], sum(path.stat().st_size for path in files)
    if least is None or size < least * 2**20 or any(config[key] for key in NOT_KEPT_WITH):
        return make(config)
    path = Path(config["output_dir"]) / "cache" / f"data-{_key(config, files)}.npz"
    if not may_write:
        return _read(path, config) or make(config)
    make_folder(path.parent)
    with one_at_a_time(path.with_suffix(".lock")):
        found = _read(path, config)
        if found is None:
            with _messages() as messages:
                found = make(config)
            _write(path, found, messages)
    return found


def _key(config: Any, files: Sequence[Path]) -> str:
    """Equal for equal files, settings and code."""
    digest = hashlib.sha256(f"{__version__} {np.__version__} {torch.__version__}".encode())
    settings = {key: config[key] for key in SETTINGS}
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in [*files, *sorted(Path(__file__).parent.glob("*.py"))]:
        with path.open("rb") as stream:
            digest.update(path.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


@contextmanager
def _messages() -> Iterator[list[tuple[int, str]]]:
    """What is logged meanwhile, with its levels."""
    kept: list[tuple[int, str]] = []
    handler = logging.Handler()
    handler.emit = lambda record: kept.append(  # type: ignore[method-assign]
        (record.levelno, record.getMessage())
    )
    getLogger().addHandler(handler)
    try:
        yield kept
    finally:
        getLogger().removeHandler(handler)


# Writing


def _write(path: Path, parts: Parts, messages: list[tuple[int, str]]) -> None:
    arrays: list[np.ndarray] = []

    def place(array: Any) -> int:
        arrays.append(np.asarray(array))
        return len(arrays) - 1

    first = parts.datasets[0]
    content = {
        "name": path.name,
        "messages": messages,
        "n_added": parts.n_added,
        "digest": parts.digest,
        "facts": {name: getattr(first, name) for name in FACTS},
        "types": {str(field): kind.value for field, kind in first.field2type.items()},
        "sources": {str(field): source.value for field, source in first.field2source.items()},
        "tokens": {
            str(field): [place(array) for array in _packed(tokens)]
            for field, tokens in first.field2id_token.items()
        },
        "features": {
            name: {field: place(table[field]) for field in table}
            for name in first.feat_name_list
            if name != "inter_feat"
            for table in [getattr(first, name)]
        },
        "parts": [
            {field: place(part.inter_feat[field]) for field in part.inter_feat}
            for part in parts.datasets
        ],
    }
    encoded = json.dumps(content).encode()
    with written_whole(path) as stream:
        np.savez(stream, np.frombuffer(encoded, np.uint8), *arrays)
    getLogger().info(f"data: kept as read and split in {path}")


def _packed(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Texts one after the other in UTF-8, and their lengths in bytes."""
    encoded = [str(token).encode() for token in tokens]
    return np.frombuffer(b"".join(encoded), np.uint8), np.array(list(map(len, encoded)))


# Reading


def _read(path: Path, config: Any) -> Parts | None:
    """What an earlier run kept; None if there is none, or it is damaged, which is told."""
    if not path.is_file():
        return None
    try:
        content, arrays = _read_archive(path)
    except DamagedFile as error:
        getLogger().warning(f"{path}: {error}; the data are read anew")
        return None
    for level, text in content["messages"]:
        getLogger().log(level, text)
    getLogger().info(f"data: as read and split before, in {path}")
    dataset = _dataset(config, content, arrays)
    parts = [dataset.copy(_interaction(fields, arrays)) for fields in content["parts"]]
    return Parts(parts, content["n_added"], content["digest"])


def _read_archive(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What ``_write`` wrote under this name.

    Raises:
        DamagedFile: The file holds something else, or is damaged.
    """
    fault = archive_fault(path)
    if fault is not None:
        raise DamagedFile(fault)
    try:
        with np.load(path, allow_pickle=False) as archive:
            packed, *arrays = (archive[name] for name in archive.files)
        content = json.loads(packed.tobytes())
        name = content["name"]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFile("found something else than kept data") from error
    if name != path.name:
        raise DamagedFile("found what is kept for other data or settings")
    return content, arrays


def _dataset(config: Any, content: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> Any:
    """A dataset as it was before it was split, without interactions."""
    dataset = AtomicDataset.__new__(AtomicDataset)
    dataset.config, dataset.logger = config, getLogger()
    dataset.dataset_name = config["dataset"]
    dataset._get_preset()
    dataset._get_field_from_config()
    for name, value in content["facts"].items():
        setattr(dataset, name, value)
    dataset.field2type = {field: FeatureType(kind) for field, kind in content["types"].items()}
    sources = content["sources"].items()
    dataset.field2source = {field: FeatureSource(source) for field, source in sources}
    dataset._init_alias()
    for field, (texts, lengths) in content["tokens"].items():
        tokens = _unpacked(arrays[texts], arrays[lengths])
        dataset.field2id_token[field] = tokens
        dataset.field2token_id[field] = {token: number for number, token in enumerate(tokens)}
    dataset.user_feat = dataset.item_feat = None
    for name, fields in content["features"].items():
        setattr(dataset, name, _interaction(fields, arrays))
    return dataset


def _unpacked(texts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    stream = io.BytesIO(texts.tobytes())
    return np.array([stream.read(length).decode() for length in lengths.tolist()])


def _interaction(fields: Mapping[str, int], arrays: Sequence[np.ndarray]) -> Interaction:
    return Interaction({field: torch.from_numpy(arrays[n]) for field, n in fields.items()})
