"""Pictures and sounds of items: which files there are, and how one is opened."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.atomic import item_columns, read_item_texts
from recbole_diffusion.data.encoder_files import local_folder
from recbole_diffusion.data.feature_files import check_unique, examples

SECONDS = 60  # of a sound that are read
HIGHEST_RATE = 2**20  # Hz
LARGEST_FACTOR = 1000  # of a change of rate, whose filter is as long
# Pillow asks the content, not the name, and knows of formats that run a program, such as EPS.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


@dataclass(frozen=True)
class MediaFiles:
    """Files of items.

    Attributes:
        source: Where they are named, for messages.
        ids: Original ids of items with a file [n].
        paths: Its path, of each.
        missing: Original ids of items whose file is named and is not there, or is no plain file.
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
    return _those_there(str(folder), ids, paths, "links that lead somewhere")


def _of_column(config: Any, column: str) -> MediaFiles:
    path, table = read_item_texts(config, [column])
    source = f"{path}: column {column}"
    named = table[column].str.strip()
    ids = table[config["ITEM_ID_FIELD"]].to_numpy(dtype=str)[(named != "").to_numpy()]
    paths = [Path(config["data_path"], name) for name in named[named != ""]]
    base = Path(config["data_path"]).resolve()
    return _those_there(source, ids, paths, f"paths from {base} or absolute ones")


def _those_there(source: str, ids: np.ndarray, paths: list[Path], expected: str) -> MediaFiles:
    """What is a plain file; a pipe would be waited for without end."""
    check_unique(source, ids)
    is_there = np.array([path.is_file() for path in paths], dtype=bool)
    if not is_there.any():
        raise UserError(f"{source}: found no file for {examples(ids)}, expected {expected}")
    found = [path for path, there in zip(paths, is_there, strict=True) if there]
    return MediaFiles(source, ids[is_there], found, ids[~is_there])


def open_picture(path: Path) -> Any:
    """A picture in RGB, upright; of several frames the first.

    Raises:
        Exception: Whatever the decoder raises of a broken file; ValueError: more than 16 bits.
    """
    from PIL import Image, ImageOps

    with Image.open(path, formats=FORMATS) as picture:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode in ("I", "F"):
            raise ValueError("found values of 32 bits, expected 8 or 16")
        if upright.mode.startswith("I;16"):
            eight = (np.asarray(upright) // 257).astype(np.uint8)
            return Image.fromarray(eight).convert("RGB")
        is_clear = upright.mode in ("P", "LA", "PA", "RGBA") or "transparency" in upright.info
        if is_clear:  # on white, as pages show it
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
        """The samples at another rate, which is met to a thousandth; float32."""
        from scipy.signal import resample_poly

        if rate == self.rate:
            return self.samples
        up, down = Fraction(rate, self.rate).limit_denominator(LARGEST_FACTOR).as_integer_ratio()
        resampled = resample_poly(self.samples, up, down)
        return np.asarray(resampled, dtype=np.float32)


def open_sound(path: Path) -> Sound:
    """A sound's first minute, the mean of its channels.

    Raises:
        Exception: Whatever the decoder raises of a broken file; ValueError: none, no numbers, or a
            rate that no recorder has.
    """
    import soundfile

    with soundfile.SoundFile(path) as file:
        if file.samplerate > HIGHEST_RATE:
            raise ValueError(f"found a rate of {file.samplerate} Hz")
        samples = file.read(SECONDS * file.samplerate, dtype="float32", always_2d=True).mean(axis=1)
        rate: int = file.samplerate
    if not len(samples) or not np.isfinite(samples).all():
        raise ValueError("found no samples, or some that are no numbers")
    return Sound(samples, rate)
