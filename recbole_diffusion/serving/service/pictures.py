"""Pictures of items: which file belongs to an item, and which may be sent."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

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
            UserError: Two files are named by one item.
        """
        items = recommender.items
        if self.is_by_column(recommender):
            named = zip(items, recommender.texts(self.column), strict=True)
            return {item: value for item, value in named if value}
        known = set(items)
        paths = [path for path in self.folder.iterdir() if _is_kind(path) and path.stem in known]
        check_unique(str(self.folder), np.array([path.stem for path in paths], dtype=str))
        return {path.stem: path.name for path in paths}

    def is_by_column(self, recommender: Any) -> bool:
        """Whether the item file says where pictures lie, and not the names of the files."""
        return self.column in recommender.columns

    def file(self, value: str) -> Path | None:
        """The file of a picture, if it lies in the folder and is one.

        Args:
            value: A path below the folder, or a URL, whose last part is the name of a file there.
        """
        name = PurePosixPath(unquote(urlsplit(value).path)).name if "://" in value else value
        try:
            root, path = self.folder.resolve(), (self.folder / name).resolve()
            is_picture = _is_kind(path) and path.is_file()
        except (OSError, ValueError):  # a name that no file can have
            return None
        return path if is_picture and path.is_relative_to(root) else None


def _is_kind(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_TYPES
