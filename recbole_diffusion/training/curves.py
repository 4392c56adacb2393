"""Curves of a run for TensorBoard, written as they come: nothing waits, and no disk stops a run."""

import itertools
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from recbole.trainer import trainer as host
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import FileWriter, SummaryWriter
from torch.utils.tensorboard.summary import hparams

FILE_VERSION = "brain.Event:2"
_NUMBERS = itertools.count()


@contextmanager
def curves_beside_the_log() -> Iterator[None]:
    """While a trainer of RecBole's is made: its curves go to the run's folder, or nowhere.

    RecBole's go to the working directory, under names that collide.
    """
    host_function = host.get_tensorboard
    host.get_tensorboard = _writer_beside
    try:
        yield
    finally:
        host.get_tensorboard = host_function


def _writer_beside(logger: logging.Logger) -> Any:
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler) and handler.get_name() == "recbole_diffusion":
            return Curves(Path(handler.baseFilename).parent / "tensorboard")
    return _NoCurves()


class _NoCurves:
    """In place of a writer where no run writes."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


class Curves(SummaryWriter):
    """PyTorch's writer without its thread.

    That thread takes events from a queue, and closing waits for it: for ever, where it was
    interrupted. Here each event is written at once. A file that cannot be written, as on a full
    disk, ends the curves with a warning, and the run goes on.

    Args:
        folder: Of the event files; made with the first event.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(str(folder))

    def _get_file_writer(self) -> Any:
        attributes: Any = self  # PyTorch declares them None
        if self.file_writer is None:
            attributes.file_writer = _FileWriter(self.log_dir)
            attributes.all_writers = {self.log_dir: self.file_writer}
        return self.file_writer

    def add_hparams(self, hparam_dict: dict[str, Any], metric_dict: dict[str, float]) -> None:  # type: ignore[override]
        """Write settings and what they gave, in a folder of their own as TensorBoard asks.

        Args:
            hparam_dict: Plain values by key.
            metric_dict: Numbers by name.
        """
        with Curves(Path(self.log_dir) / str(time.time())) as table:
            for summary in hparams(hparam_dict, metric_dict):
                table._get_file_writer().add_summary(summary)
            for name, value in metric_dict.items():
                table.add_scalar(name, value)


class _FileWriter(FileWriter):
    """PyTorch's, with the events of this module."""

    def __init__(self, folder: str) -> None:
        self.event_writer = _Events(Path(folder))


class _Events:
    """An event file, opened with its first event; closed, a later event opens another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._is_broken = False

    def get_logdir(self) -> str:
        return str(self._folder)

    def add_event(self, event: Event) -> None:
        if self._is_broken:
            return
        try:
            RecordWriter(self._opened()).write(event.SerializeToString())
        except OSError as error:
            self._is_broken = True
            logging.getLogger().warning(f"{self._folder}: no more curves: {error.strerror}")

    def _opened(self) -> BinaryIO:
        """The file, which begins with its version; unbuffered, so that a kill loses nothing."""
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            parts = (f"{int(time.time()):010d}", socket.gethostname(), os.getpid(), next(_NUMBERS))
            path = self._folder / f"events.out.tfevents.{'.'.join(map(str, parts))}"
            self._file = path.open("xb", buffering=0)
            version = Event(wall_time=time.time(), file_version=FILE_VERSION)
            RecordWriter(self._file).write(version.SerializeToString())
        return self._file

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def reopen(self) -> None:
        """A later event opens a file."""
