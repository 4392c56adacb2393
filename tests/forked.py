"""Commands in a fork of the test process, which has imported what takes a fresh one seconds."""

import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from typing import Any


@dataclass(frozen=True)
class Ended:
    """What became of a process."""

    returncode: int | None
    stdout: str
    stderr: str


class Fork(ForkProcess):
    """A process that calls a function, with the methods of ``subprocess.Popen`` that tests need.

    Args:
        action: May end by ``sys.exit``.
        stdout: File descriptor.
        stderr: File descriptor.
    """

    def __init__(self, action: Callable[[], Any], stdout: int, stderr: int) -> None:
        super().__init__()
        self._run, self._stdout, self._stderr = action, stdout, stderr

    def run(self) -> None:
        for number, target in ((1, self._stdout), (2, self._stderr)):
            os.dup2(target, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        self._run()

    @property
    def returncode(self) -> int | None:
        return self.exitcode

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self.join(timeout)
        return self.exitcode


def run_forked(action: Callable[[], Any]) -> Ended:
    """Call a function in a process of its own, to its end."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = Fork(action, stdout.fileno(), stderr.fileno())
        process.start()
        process.wait()
        for stream in (stdout, stderr):
            stream.seek(0)
        return Ended(process.exitcode, stdout.read(), stderr.read())


def run_module(name: str, words: Sequence[str]) -> Ended:
    """``python -m NAME WORDS``."""

    def action() -> None:
        sys.modules.pop(name, None)  # else Python warns that it is there
        sys.argv = [name, *words]
        runpy.run_module(name, run_name="__main__", alter_sys=True)

    return run_forked(action)
