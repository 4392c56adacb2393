"""Pictures of items: which file belongs to an item, and which may be sent."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from recbole_diffusion.base.errors import refusals_of
from recbole_diffusion.data.feature_files import check_unique

# By the end of a file's name. None of them can hold a script, as SVG can.
PICTURE_TYPES = {
    ".avif": "image/avif",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}


@dataclass(frozen=True)
class Pictures:
    """Where pictures lie.

    Attributes:
        folder: Of all of them.
        column: Of the item file, which says where an item's lies; where the item file has no such
            column, files are named by item ids.
    """

    folder: Path
    column: str

    def of(self, recommender: Any) -> dict[str, str]:
        """Where the pictures of items should lie, for ``file``; nothing of items that have none.

        Args:
            recommender: What ``load`` gives.

        Raises:
            UserError: Two files are named by one item, or the folder cannot be read.
        """
        items = recommender.items
        if self.is_by_column(recommender):
            named = zip(items, recommender.texts(self.column), strict=True)
            return {item: value for item, value in named if value}
        return self._named_by(items)

    def _named_by(self, ids: Sequence[str]) -> dict[str, str]:
        """Names of files by item id; what cannot be sent is left out."""
        known = {_composed(item): item for item in ids} | {item: item for item in ids}
        found = []
        with refusals_of("key `pictures`", OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                path = Path(entry.name)
                item = known.get(path.stem) or known.get(_composed(path.stem))
                if item is not None and _is_kind(path) and self._is_sent(entry):
                    found.append((item, entry.name))
        check_unique(str(self.folder), np.array([item for item, _ in found], dtype=object))
        return dict(found)

    def _is_sent(self, entry: os.DirEntry[str]) -> bool:
        return entry.is_file(follow_symlinks=False) or self.file(entry.name) is not None

    def is_by_column(self, recommender: Any) -> bool:
        """Whether the item file says where pictures lie, and not the names of the files."""
        return self.column in recommender.columns

    def file(self, value: str) -> Path | None:
        """The file of a picture, if it lies in the folder, is one, and can be read.

        Args:
            value: A path below the folder, or a URL, whose last part is the name of a file there.
        """
        try:
            if "://" in value:
                value = PurePosixPath(unquote(urlsplit(value).path)).name
            root, path = self.folder.resolve(), (self.folder / value).resolve()
            if not (_is_kind(path) and path.is_file() and path.is_relative_to(root)):
                return None
            path.open("rb").close()
        # A name that no file can have, links in a circle, a file that may not be read.
        except (OSError, RuntimeError, ValueError):
            return None
        return path


def _composed(text: str) -> str:
    """With letters and their accents as one, which some file systems take apart."""
    return unicodedata.normalize("NFC", text)


def _is_kind(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_TYPES
