"""Vectors of items' pictures and sounds, made once and kept beside the data set."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from recbole_diffusion.base.errors import UserError, printable, refusals_of, system_limit
from recbole_diffusion.base.files import one_at_a_time, written_whole
from recbole_diffusion.base.randomness import own_randomness
from recbole_diffusion.data.encoder_files import (
    cache_file,
    content_digest,
    file_digest,
    is_kept,
    key_of,
    local_folder,
)
from recbole_diffusion.data.feature_files import examples, read_table, write_features
from recbole_diffusion.data.feature_table import FeatureTable
from recbole_diffusion.data.media import MediaFiles, media_files, open_picture, open_sound
from recbole_diffusion.data.media_models import Encode, load_model
from recbole_diffusion.data.plain_vectors import picture_vector, sound_vector
from recbole_diffusion.settings.item_features import PLAIN_ENCODERS

PART = 256  # files between two savings
BATCH_SIZE = 16
VERSION = 2  # of what is read of a file, and of the vectors without a model


class Kind(NamedTuple):
    """Of files.

    Attributes:
        suffixes: Of the files of a folder.
        open: Reads one.
        plain: Its vector without a model.
        needs: Packages of the extra ``media`` that both import.
    """

    suffixes: tuple[str, ...]
    open: Callable[[Path], Any]
    plain: Callable[[Any], np.ndarray]
    needs: tuple[str, ...]


KINDS = {
    "images": Kind(
        (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
        open_picture,
        picture_vector,
        ("PIL", "skimage"),
    ),
    "sounds": Kind(
        (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"),
        open_sound,
        sound_vector,
        ("soundfile", "transformers"),
    ),
}


@dataclass(frozen=True)
class MediaVectors:
    """What became of items' files.

    Attributes:
        table: Vectors of the files that could be read.
        missing: Original ids of items whose file is not there.
        broken: Original ids of items whose file cannot be read or encoded.
    """

    table: FeatureTable
    missing: np.ndarray
    broken: np.ndarray


def media_vectors(
    config: Any, kind: str, place: str, encoder: str | None = None, batch_size: int = BATCH_SIZE
) -> MediaVectors:
    """Vectors of the items' pictures or sounds, from the cache or made now.

    What a killed process had made is gone on from.

    Args:
        config: Settings, which name the data set and the device.
        kind: "images" or "sounds".
        place: Column of the ``.item`` file or folder; see ``media_files``.
        encoder: Folder of a model, or None for the vectors without one.
        batch_size: Files that a model reads at a time.

    Raises:
        UserError: No such place, model or package, or no file that can be read.
    """
    _require(kind)
    encoder = encoder or PLAIN_ENCODERS[kind]
    files = media_files(config, place, KINDS[kind].suffixes)
    cached = cache_file(config, kind, _key(config, kind, files, encoder))
    if not is_kept(cached):
        with refusals_of(f"{cached}: cannot be written", OSError):
            cached.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(cached.with_suffix(".lock")):
            if not is_kept(cached):  # another process may have made them meanwhile
                told = f"{files.source}: {len(files.ids)} {kind} by {encoder} into {cached}"
                getLogger().info(told)
                with own_randomness(config["seed"], config["device"]):
                    encode = _encode_by(config, kind, encoder)
                    at_once = 1 if encoder == PLAIN_ENCODERS[kind] else batch_size
                    _make(cached, files, kind, encode, at_once, config)
    table = read_table(cached)
    broken = np.setdiff1d(files.ids, table.ids)
    lists = (("missing", files.missing), ("broken", broken))
    remark = "".join(f"; {kind} {why} of {examples(ids)}" for why, ids in lists if len(ids))
    return MediaVectors(dataclasses.replace(table, remark=remark), files.missing, broken)


def _require(kind: str) -> None:
    """Refuse a kind whose packages are not installed, before any file is read."""
    from importlib.util import find_spec

    absent = [name for name in KINDS[kind].needs if find_spec(name) is None]
    if absent:
        raise UserError(
            f"item_features: {kind} need {' and '.join(absent)}, found none: "
            'pip install "recbole_diffusion[media]"'
        )


def _key(config: Any, kind: str, files: MediaFiles, encoder: str) -> str:
    """What the vectors hang on: the files' contents, and the encoder's."""
    is_plain = encoder == PLAIN_ENCODERS[kind]
    model = encoder if is_plain else content_digest(_model_folder(config, encoder))
    digests = [_digest(path) for path in files.paths]
    return key_of([VERSION, model, files.ids.tolist(), digests])


def _digest(path: Path) -> str | None:
    """None where the file may not be read, which is told when it is opened."""
    try:
        return file_digest(path)
    except OSError:
        return None


def _model_folder(config: Any, encoder: str) -> Path:
    folder = local_folder(config, encoder)
    if folder is None:
        raise UserError(
            f"key `item_features`: encoder: found {encoder!r}, expected the folder of a model of "
            f"transformers, or one of {', '.join(sorted(PLAIN_ENCODERS.values()))}"
        )
    return folder


def _encode_by(config: Any, kind: str, encoder: str) -> Encode:
    if encoder == PLAIN_ENCODERS[kind]:
        plain = KINDS[kind].plain
        return lambda opened: np.stack([plain(one) for one in opened])
    return load_model(_model_folder(config, encoder), kind, config["device"])


def _make(
    cached: Path, files: MediaFiles, kind: str, encode: Encode, batch_size: int, config: Any
) -> None:
    """Write the vectors, by way of parts that outlive the process."""
    parts = cached.with_suffix(".parts")
    parts.mkdir(exist_ok=True)
    starts = range(0, len(files.ids), PART)
    n_files, is_quiet = len(files.ids), not config["show_progress"]
    with tqdm(total=n_files, desc=kind, disable=is_quiet) as bar:
        for start in starts:
            path = parts / f"{start}.npz"
            if not is_kept(path):
                _write_part(path, files, slice(start, start + PART), kind, encode, batch_size)
            bar.update(min(PART, n_files - start))
    found = [np.load(parts / f"{start}.npz", allow_pickle=False) for start in starts]
    kept = [part for part in found if len(part["ids"])]
    if not kept:
        shutil.rmtree(parts)
        raise UserError(f"{files.source}: none of {len(files.ids)} {kind} can be read")
    ids, matrix = (np.concatenate([part[name] for part in kept]) for name in ("ids", "matrix"))
    write_features(cached, ids, matrix)
    for part in found:
        part.close()
    shutil.rmtree(parts)


def _write_part(
    path: Path, files: MediaFiles, rows: slice, kind: str, encode: Encode, batch_size: int
) -> None:
    """Vectors of some of the files; those without one are told and left out."""
    vectors: dict[str, np.ndarray] = {}
    opened: dict[str, Any] = {}
    paths = dict(zip(files.ids[rows].tolist(), files.paths[rows], strict=True))
    for one, file in paths.items():
        try:
            opened[one] = KINDS[kind].open(file)
        except Exception as error:  # whatever a decoder raises
            _tell(file, f"cannot be read ({error or type(error).__name__})")
        if len(opened) == batch_size:
            vectors |= _encoded(opened, encode, paths)
            opened = {}
    if opened:
        vectors |= _encoded(opened, encode, paths)
    matrix = np.stack([*vectors.values()]) if vectors else np.zeros((0, 1), np.float32)
    with written_whole(path) as stream:
        np.savez(stream, ids=np.array([*vectors], dtype=str), matrix=matrix)


def _encoded(
    opened: Mapping[str, Any], encode: Encode, paths: Mapping[str, Path]
) -> dict[str, np.ndarray]:
    """The vector of each; where some stop the encoder, it reads one at a time to tell which."""
    try:
        matrix = encode([*opened.values()]).astype(np.float32)
    except Exception as error:  # whatever an encoder raises of a file
        if system_limit(error) is not None:
            raise
        if len(opened) > 1:
            alone = (_encoded({one: file}, encode, paths) for one, file in opened.items())
            return {one: vector for found in alone for one, vector in found.items()}
        _tell(paths[next(iter(opened))], f"cannot be encoded ({error or type(error).__name__})")
        return {}
    vectors = dict(zip(opened, matrix, strict=True))
    broken = [one for one, vector in vectors.items() if not np.isfinite(vector).all()]
    for one in broken:
        _tell(paths[one], "cannot be encoded (found NaN or infinite values)")
        del vectors[one]
    return vectors


def _tell(file: Path, what: str) -> None:
    getLogger().warning(printable(f"{file}: {what}"))
