"""Jobs on the machines of a Ray cluster, which says when and where each runs."""

import math
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from types import ModuleType
from typing import Any

from recbole_diffusion.base.arguments import needed_package
from recbole_diffusion.base.errors import PACKAGE, UserError, expect
from recbole_diffusion.base.version import source_digest
from recbole_diffusion.studies.jobs.limits import Limits
from recbole_diffusion.studies.jobs.process import (
    OUTPUT,
    TASK,
    Job,
    Outcome,
    environment,
    error_of,
    failed,
    prepare,
    start,
)

# How often Ray starts a job again whose worker or machine is lost.
MAX_RETRIES = 3
ADDRESS = re.compile(r"auto|(?P<host>[\w.-]+):(?P<port>\d{1,5})")
SECONDS_TO_CONNECT = 10.0
# RFC 9113: a client's first bytes, with settings that leave all as it is; the other side's are
# settings too, whose kind stands behind three bytes of length.
HTTP2_SETTINGS = b"\4"
FRAME_HEADER = 9  # bytes
HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + HTTP2_SETTINGS + bytes(5)
MIB = 2**20
# Ray counts shares of a GPU in ten-thousandths.
GPU_UNITS = 10_000


class Cluster:
    """A Ray cluster that this process is connected to.

    Args:
        ray: The module.
        address: For messages.

    Raises:
        UserError: It has no machine with CPUs.
    """

    is_elsewhere = True
    # What becomes of a job first.
    word = "handed to the cluster"

    def __init__(self, ray: ModuleType, address: str) -> None:
        self._ray = ray
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._nodes = [node for node in nodes if node.get("CPU", 0) >= 1]
        expect(bool(self._nodes), "cluster", address, "a cluster that has a machine with CPUs")

    def limits(self, processes: int, memory_mb: float | None = None) -> Limits:
        """Limits of each machine.

        Args:
            processes: On a machine at the same time.
            memory_mb: MiB for all of them; None: what the machine with the least gives to Ray.
        """
        return Limits(processes, memory_mb or min(_of(self._nodes, "memory")) / MIB)

    def run_jobs(
        self,
        jobs: Sequence[Job],
        limits: Limits,
        on_start: Callable[[Job], None],
        on_end: Callable[[Outcome], None],
    ) -> None:
        """Run all jobs; one that fails does not keep the others from running.

        When the connection ends, as with this process, Ray ends what runs.

        Args:
            jobs: In the order in which they are handed to Ray.
            limits: Of each machine; learns the peaks of memory.
            on_start: Told of each job that is handed to Ray.
            on_end: Told of each job that ends.

        Raises:
            UserError: A machine cannot do a job: it has other code, or does not see its folder.
        """
        ray, running = self._ray, {}

        def submit(new: Sequence[Job]) -> None:
            for job in new:
                on_start(job)
                running[self._submit(job, limits)] = job

        submit(jobs)
        while running:
            (ended,), _ = ray.wait(list(running), num_returns=1)
            outcome = self._outcome(running.pop(ended), ended)
            limits.measured(outcome.job)
            on_end(outcome)
            submit(outcome.job.then())

    def _submit(self, job: Job, limits: Limits) -> Any:
        prepare(job)
        asked = self.share(job, limits)
        task = self._ray.remote(run_on_machine).options(
            name=job.name, max_retries=MAX_RETRIES, **asked
        )
        arguments = (job.folder, Path.cwd(), source_digest(PACKAGE), asked["num_cpus"])
        return task.remote(*arguments, dict(job.variables))

    def share(self, job: Job, limits: Limits) -> dict[str, Any]:
        """What a job asks Ray for: its part of a machine, such that any machine can give it.

        Args:
            job: Takes a GPU, or its part of one, where machines have some.
            limits: Say how many share a machine, and how much memory it needs.
        """
        with_gpus = [node for node in self._nodes if node.get("GPU", 0) > 0]
        is_on_gpu = job.may_use_gpu and bool(with_gpus)
        nodes = with_gpus if is_on_gpu else self._nodes
        memory = min(limits.estimate(job) * MIB, max(_of(nodes, "memory")))
        return {
            "num_cpus": max(int(min(_of(nodes, "CPU"))) // limits.processes, 1),
            "num_gpus": _gpu_share(limits.processes, min(_of(nodes, "GPU"))) if is_on_gpu else 0.0,
            "memory": int(memory),
        }

    def _outcome(self, job: Job, ended: Any) -> Outcome:
        errors = self._ray.exceptions
        try:
            code, seconds = self._ray.get(ended)
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise UserError(
                f"key `cluster`: {job.name} cannot be run there: {_first_line(error.cause)}; "
                "expected this package on each machine, as it is on this one"
            ) from error
        except errors.RayError as error:
            reason = (
                f"its machine or Ray's worker was lost {MAX_RETRIES + 1} times: "
                f"{_first_line(error)}"
            )
            return Outcome(job, 0.0, failed(job.folder, reason))
        return Outcome(job, seconds, error_of(job.folder, code))


def run_on_machine(
    folder: Path, working: Path, digest: str, threads: int, variables: Mapping[str, str]
) -> tuple[int, float]:
    """Run the process of a prepared job on the machine that Ray has chosen, to its end.

    Args:
        folder: Of the job.
        working: Where the command was started: relative paths are meant from there.
        digest: Of this package's sources there.
        threads: Of the process.
        variables: Of its environment.

    Returns:
        The process's exit code, and its seconds.

    Raises:
        UserError: This machine has other sources, or no such folder.
    """
    here = socket.gethostname()
    if source_digest(PACKAGE) != digest:
        raise UserError(
            f"key `cluster`: found other code of recbole_diffusion on {here} than where the "
            "command runs, expected the same on all machines"
        )
    for needed in (folder / TASK, working):
        if not needed.exists():
            raise UserError(
                f"key `cluster`: {needed}: not found on {here}; expected the working directory "
                "and the folder of results on a file system that all machines see"
            )
    with (folder / OUTPUT).open("a", encoding="utf-8") as output:
        output.write(f"on {here}\n")
    began = time.monotonic()
    with start(folder, {**environment(threads), **variables}, working) as process:
        code = process.wait()
    return code, time.monotonic() - began


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to a Ray cluster.

    Args:
        address: ``HOST:PORT`` of its head; ``auto``: as ``RAY_ADDRESS`` or this machine says.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    parts = ADDRESS.fullmatch(address)
    if parts is None:
        raise UserError(f"key `cluster`: found {address!r}, expected auto or HOST:PORT")
    getLogger().info(f"connecting to the Ray cluster at {address}")
    ray = needed_package("ray", "cluster", "key `cluster`")
    try:
        if parts["host"]:  # Ray itself would try for minutes
            _greet(parts["host"], int(parts["port"]))
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        raise UserError(
            f"key `cluster`: found no Ray cluster at {address!r}: {_first_line(error)}; "
            "`ray start --head` starts one"
        ) from error
    try:
        yield Cluster(ray, address)
    finally:
        ray.shutdown()


def _greet(host: str, port: int) -> None:
    """Ask for HTTP/2, which a cluster's head speaks, and its dashboard does not.

    Raises:
        OSError: Nobody is there, or who is there does not answer so.
    """
    with socket.create_connection((host, port), SECONDS_TO_CONNECT) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return  # only who has the certificate is answered
        connection.sendall(HTTP2_GREETING)
        with connection.makefile("rb") as answer:
            if answer.read(FRAME_HEADER)[3:4] != HTTP2_SETTINGS:
                raise OSError("another service is there")


def _gpu_share(processes: int, gpus: float) -> float:
    """Of one GPU, such that so many processes fit on a machine's."""
    return GPU_UNITS // math.ceil(processes / gpus) / GPU_UNITS


def _of(nodes: Sequence[Mapping[str, float]], resource: str) -> list[float]:
    return [node.get(resource, 0.0) for node in nodes]


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0]
