"""Pictures and sounds of items: which files there are, and how one is opened."""

from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.atomic import item_columns, read_item_texts
from recbole_diffusion.data.encoder_files import local_folder
from recbole_diffusion.data.feature_files import check_unique, examples

SECONDS = 60  # of a sound that are read


@dataclass(frozen=True)
class MediaFiles:
    """Files of items.

    Attributes:
        source: Where they are named, for messages.
        ids: Original ids of items with a file [n].
        paths: Its path, of each.
        missing: Original ids of items whose file is named and is not there.
    """

    source: str
    ids: np.ndarray
    paths: list[Path]
    missing: np.ndarray


def media_files(config: Any, place: str, suffixes: tuple[str, ...]) -> MediaFiles:
    """The files that a column of the ``.item`` file names, or those of a folder.

    Args:
        config: Settings, which name the data set.
        place: A column of paths, from the data set's folder or absolute, where an empty one names
            no file; else a folder, whose files are named by item ids.
        suffixes: Of the files of a folder that are read.

    Raises:
        UserError: Neither a column nor a folder, no file at all, or two files of one item.
    """
    if place in item_columns(config):
        return _of_column(config, place)
    folder = local_folder(config, place)
    if folder is None:
        raise UserError(
            f"key `item_features`: found {place!r}, expected a column of {config['dataset']}.item "
            "that holds paths, or a folder whose files are named by item ids"
        )
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if not paths:
        raise UserError(f"{folder}: found no file that ends in {', '.join(suffixes)}")
    ids = np.array([path.stem for path in paths], dtype=str)
    check_unique(str(folder), ids)
    return MediaFiles(str(folder), ids, paths, ids[:0])


def _of_column(config: Any, column: str) -> MediaFiles:
    path, table = read_item_texts(config, [column])
    source = f"{path}: column {column}"
    named = table[column].str.strip()
    ids = table[config["ITEM_ID_FIELD"]].to_numpy(dtype=str)[(named != "").to_numpy()]
    check_unique(source, ids)
    paths = [Path(config["data_path"], name) for name in named[named != ""]]
    is_there = np.array([path.is_file() for path in paths], dtype=bool)
    if not is_there.any():
        raise UserError(
            f"{source}: found no file for {examples(ids)}, expected paths from "
            f"{Path(config['data_path']).resolve()} or absolute ones"
        )
    found = [path for path, there in zip(paths, is_there, strict=True) if there]
    return MediaFiles(source, ids[is_there], found, ids[~is_there])


def open_picture(path: Path) -> Any:
    """A picture in RGB, upright; of several frames the first.

    Raises:
        Exception: Whatever the decoder raises of a broken file.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode in ("P", "LA", "PA", "RGBA"):  # on white, as pages show it
            white = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(white, upright.convert("RGBA"))
        return upright.convert("RGB")


class Sound(NamedTuple):
    """One channel of a sound.

    Attributes:
        samples: float32 [n].
        rate: Of them, in Hz.
    """

    samples: np.ndarray
    rate: int

    def at(self, rate: int) -> np.ndarray:
        """The samples at another rate, float32."""
        from scipy.signal import resample_poly

        shared = gcd(rate, self.rate)
        if rate == self.rate:
            return self.samples
        resampled = resample_poly(self.samples, rate // shared, self.rate // shared)
        return np.asarray(resampled, dtype=np.float32)


def open_sound(path: Path) -> Sound:
    """A sound's first minute, the mean of its channels.

    Raises:
        Exception: Whatever the decoder raises of a broken file; ValueError: none or no numbers.
    """
    import soundfile

    with soundfile.SoundFile(path) as file:
        samples = file.read(SECONDS * file.samplerate, dtype="float32", always_2d=True).mean(axis=1)
        rate: int = file.samplerate
    if not len(samples) or not np.isfinite(samples).all():
        raise ValueError("found no samples, or some that are no numbers")
    return Sound(samples, rate)
