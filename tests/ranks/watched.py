"""A rank of a group that does nothing but watch: ``watched.py STORE RANK SIZE WHAT``.

It imports no PyTorch: a folder is the store.
"""

import os
import signal
import sys
import time
from pathlib import Path

from recbole_diffusion.base.watch import Watch


class FolderStore:
    """As much of PyTorch's store as the watch asks for."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def set(self, key: str, value: str) -> None:
        unfinished = self.folder / f"{key}.new"
        unfinished.write_text(value)
        unfinished.rename(self.folder / key)

    def get(self, key: str) -> bytes:
        while not (self.folder / key).is_file():
            time.sleep(0.01)
        return (self.folder / key).read_bytes()


def main() -> None:
    folder, rank, size, what = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    watch = Watch(FolderStore(folder), rank, size, "127.0.0.1")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "fail":
        watch.fail(ValueError("data set x: no such folder"))
        sys.exit(2)
    elif what == "break":
        watch.fail(KeyError("users"))
        sys.exit(1)
    elif what == "interrupt":
        watch.fail(KeyboardInterrupt())
        sys.exit(130)
    elif what == "leave":
        watch.leave()
    else:
        time.sleep(60)  # as in an exchange that never ends


main()
