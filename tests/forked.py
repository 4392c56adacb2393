"""Processes that need not import for seconds what a fresh interpreter would.

``Fork`` is one of the test process. That may have threads of PyTorch's, so that it trains no model.
``Served`` is a fork of a server that has imported other people's packages, and done nothing else.
"""

import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkProcess, ForkServerProcess
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

# Nothing of ours: the server finds what is installed, which may be another version.
IMPORTED = (
    *("torch._dynamo", "torch._inductor", "torch.utils.tensorboard", "pandas", "pyarrow.parquet"),
    *("scipy.stats", "sklearn.linear_model", "sklearn.metrics", "torch.distributed.rpc"),
    "torch.distributed.run",  # torchrun
)
get_context("forkserver").set_forkserver_preload(list(IMPORTED))


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
        write_to(self._stdout, self._stderr)
        self._run()

    @property
    def returncode(self) -> int | None:
        return self.exitcode

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self.join(timeout)
        return self.exitcode


def write_to(stdout: int, stderr: int) -> None:
    """Have this process write to these file descriptors."""
    for number, target in ((1, stdout), (2, stderr)):
        os.dup2(target, number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))


class Served:
    """``python SCRIPT WORDS``, with the methods of ``subprocess.Popen`` that tests need.

    Args:
        script: Path of the script.
        words: Behind it.
        environment: Of the process.
    """

    def __init__(
        self, script: Path, words: Sequence[object], environment: Mapping[str, str] = os.environ
    ) -> None:
        self._said = tempfile.NamedTemporaryFile()
        arguments = (self._said.name, str(script), list(map(str, words)), dict(environment))
        self._process = ForkServerProcess(target=_run_script, args=arguments)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid or 0, number)

    def said(self) -> str:
        """What it has written to either stream so far."""
        return Path(self._said.name).read_text()

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        if self.returncode is None:
            raise TimeoutExpired(self._said.name, timeout or 0.0, self.said())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it wrote to either stream."""
        self.wait(timeout)
        return self.said(), None


def _run_script(said: str, script: str, words: list[str], environment: dict[str, str]) -> None:
    with open(said, "w") as stream:
        write_to(stream.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [script, *words]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")


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
