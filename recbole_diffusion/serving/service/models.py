"""The models that are served: loaded, found by name, and loaded again when a folder is newer."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.serving.recommender import OWN_COLUMNS, load
from recbole_diffusion.serving.service.pictures import Pictures

# What tells a folder from a newer one of the same name: of a run, of an export.
WATCHED = ("best.pth", "card.json")
State = tuple[tuple[int, ...], ...] | None


@dataclass(frozen=True)
class Served:
    """A model as requests see it; a newer one is another object.

    Attributes:
        name: Of its folder.
        recommender: What ``load`` gives.
        users: Ids of the data.
        items: Likewise.
        pictures: Where those of items should lie, as ``Pictures.of`` tells.
        columns: Of the item file, without those that lists have of their own.
        digest: Of the weights and the data.
        loaded: When, in seconds since 1970.
    """

    name: str
    recommender: Any
    users: frozenset[str]
    items: frozenset[str]
    pictures: Mapping[str, str]
    columns: tuple[str, ...]
    digest: str
    loaded: float


@dataclass
class _Place:
    """A folder, what is loaded of it, and the state of it that was loaded or refused last."""

    folder: Path
    served: Served
    state: State
    has_failed: bool = False


class Models:
    """What is served, by name.

    Args:
        folders: Of runs or exports; a request names one by the folder's name.
        places: As ``load`` takes them.
        pictures: Where they lie, if they are served; likewise an attribute.

    Raises:
        UserError: Two folders of one name, or one that ``load`` refuses.
    """

    def __init__(
        self,
        folders: Sequence[str | Path],
        places: Mapping[str, Any],
        pictures: Pictures | None = None,
    ) -> None:
        self._options, self.pictures = places, pictures
        self._places: dict[str, _Place] = {}
        for folder in map(Path, map(os.path.abspath, folders)):
            if folder.name in self._places:
                raise UserError(f"serve: found two folders {folder.name}, expected other names")
            state = _state(folder)  # before, so that what changes meanwhile is newer
            self._places[folder.name] = _Place(folder, self._loaded(folder), state)

    def all(self) -> list[Served]:
        """The models in the order of the folders."""
        return [place.served for place in self._places.values()]

    def get(self, name: str | None) -> Served:
        """A model; the first without a name.

        Raises:
            UserError: No such model.
        """
        chosen = next(iter(self._places)) if name is None else name
        if chosen not in self._places:
            known = ", ".join(self._places)
            raise UserError(f"model: found {chosen!r:.200}, expected one of {known}")
        return self._places[chosen].served

    def has_failed(self, name: str) -> bool:
        """Whether the newest folder of a model could not be loaded."""
        return self._places[name].has_failed

    def reload(self) -> dict[str, bool]:
        """Load what has been replaced since it was loaded or refused; the old one serves meanwhile.

        Returns:
            Of each folder that was looked into, whether it serves now.
        """
        newer = {}
        for name, place in self._places.items():
            state = _state(place.folder)
            if state is None or state == place.state:
                continue
            place.state = state
            place.has_failed = not self._is_reloaded(place)
            newer[name] = not place.has_failed
        return newer

    def _is_reloaded(self, place: _Place) -> bool:
        name = place.folder.name
        try:
            place.served = self._loaded(place.folder)
        except Exception as error:  # whatever a broken folder causes
            trace = None if isinstance(error, (UserError, OSError)) else error
            text = f"{name}: not loaded again, the old one goes on: {error}"
            getLogger().error(text, exc_info=trace)
            return False
        getLogger().info(f"{name}: loaded again, digest {place.served.digest[:12]}")
        return True

    def _loaded(self, folder: Path) -> Served:
        found = load(folder, **self._options)
        return Served(
            name=folder.name,
            recommender=found,
            users=frozenset(found.users),
            items=frozenset(found.items),
            pictures=self._pictures_of(folder.name, found),
            columns=tuple(name for name in found.columns if name not in OWN_COLUMNS),
            digest=found.digest,
            loaded=time.time(),
        )

    def _pictures_of(self, name: str, recommender: Any) -> dict[str, str]:
        if self.pictures is None:
            return {}
        found = self.pictures.of(recommender)
        is_column = self.pictures.is_by_column(recommender)
        source = f"column {self.pictures.column}" if is_column else "files named by item ids"
        n_items = len(recommender.items)
        getLogger().info(f"{name}: pictures of {len(found)} of {n_items} items, from {source}")
        return found


def _state(folder: Path) -> State:
    """What changes when another folder, checkpoint or card takes the place; None without one."""
    try:
        stat = folder.stat()
    except OSError:
        return None
    return ((stat.st_dev, stat.st_ino), *(_file_state(folder / name) for name in WATCHED))


def _file_state(path: Path) -> tuple[int, ...]:
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
