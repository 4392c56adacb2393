"""The service of a run under load: how long requests take, and what malformed ones cost.

    python benchmarks/service.py RUN [--requests=1000] [--connections=20] [--malformed=10000]

Starts ``serve RUN`` on a free port of this machine. Each connection is a thread of this process
that asks again as soon as it is answered, first for a user of the data, then for a history. CPU
time is that of the service a request; beside it stand the same lists by ``load(RUN)``, without
HTTP. Then come requests that are cut, changed or none; the service's resident memory is read
before and after, following a first tenth of them.
"""

import argparse
import http.client
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from recbole_diffusion import load

K = 10
HEAD = {"Content-Type": "application/json"}
PATHS = ("/recommend", "/similar", "/explain")


def main() -> None:
    """Print the figures of one run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--malformed", type=int, default=10_000)
    options = parser.parse_args()
    recommender = load(options.run)
    draw = random.Random(0)
    users = draw.choices(recommender.users, k=options.requests)
    histories = [draw.sample(recommender.items, 20) for _ in users]
    asked = {
        "a user": [{"users": [user], "k": K} for user in users],
        "a history of 20 items": [{"histories": {"x": row}, "k": K} for row in histories],
    }
    program = [sys.executable, "-m", "recbole_diffusion", "serve", options.run, "--port=0"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    try:
        address = told_address(process)
        print(f"{options.requests} requests, {options.connections} connections, k={K}")
        names = f"{'p50 ms':>9}{'p99 ms':>9}{'a second':>10}{'errors':>8}{'CPU ms':>9}{'bare':>9}"
        print(f"{'':<24}{names}")
        for name, bodies in asked.items():
            start = cpu_seconds(process.pid)
            seconds, statuses, whole = under_load(address, bodies, options.connections)
            cpu = (cpu_seconds(process.pid) - start) / len(bodies)
            bare = bare_cpu_seconds(recommender, bodies)
            p50, p99 = np.percentile(np.array(seconds) * 1000, [50, 99])
            errors = sum(n for status, n in statuses.items() if status != 200)
            rate = len(bodies) / whole
            print(
                f"{name:<24}{p50:>9.1f}{p99:>9.1f}{rate:>10.0f}{errors:>8}{cpu * 1000:>9.1f}"
                f"{bare * 1000:>9.1f}"
            )
        bodies = [malformed(draw, users, recommender.items) for _ in range(options.malformed)]
        under_attack(address, bodies[: len(bodies) // 10])
        before = resident_mib(process.pid)
        statuses = under_attack(address, bodies)
        after = resident_mib(process.pid)
        told = ", ".join(f"{status}: {n}" for status, n in sorted(statuses.items()))
        print(f"{len(bodies)} malformed: {told}; {before:.0f} MiB before, {after:.0f} MiB after")
    finally:
        process.terminate()
        process.wait()


def told_address(process: subprocess.Popen[str]) -> str:
    """Where a service says that it listens."""
    for line in process.stdout:
        if found := re.search(r"serving on http://(\S+)", line):
            return found[1]
    raise SystemExit("the service did not start")


def under_load(
    address: str, bodies: Sequence[dict[str, Any]], n_connections: int
) -> tuple[list[float], Counter[int], float]:
    """Seconds of each request, how many had which status, and seconds of all."""

    def ask_all(own: Sequence[dict[str, Any]]) -> list[tuple[float, int]]:
        connection = http.client.HTTPConnection(address)
        found = []
        for body in own:
            start = time.perf_counter()
            connection.request("POST", "/recommend", json.dumps(body), HEAD)
            answer = connection.getresponse()
            answer.read()
            found.append((time.perf_counter() - start, answer.status))
        connection.close()
        return found

    start = time.perf_counter()
    with ThreadPoolExecutor(n_connections) as pool:
        parts = pool.map(ask_all, [bodies[i::n_connections] for i in range(n_connections)])
        seconds, statuses = zip(*(pair for part in parts for pair in part), strict=True)
    return list(seconds), Counter(statuses), time.perf_counter() - start


def bare_cpu_seconds(recommender: Any, bodies: Sequence[dict[str, Any]]) -> float:
    """CPU time of a request's lists without HTTP."""
    start = time.process_time()
    for body in bodies:
        recommender.recommend(**body)
    return (time.process_time() - start) / len(bodies)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def malformed(draw: random.Random, users: Sequence[str], items: Sequence[str]) -> bytes:
    """A body that is cut, has bytes changed, or holds another value somewhere."""
    sound: dict[str, Any] = {
        "users": draw.sample(users, 3), "k": 5, "items": draw.sample(items, 5),
        "where": {"x": ["y"]}, "columns": [], "exclude": ["train"],
    }  # fmt: skip
    kind = draw.randrange(4)
    if kind == 0:  # another value
        wrong = draw.choice(
            [None, True, -1, 2**80, 1.5, "x", [[]], {"a": {}}, ["\ud800"], ["x"] * 20_000]
        )
        return json.dumps({**sound, draw.choice([*sound, "path"]): wrong}).encode()
    body = json.dumps(sound).encode()
    if kind == 1:
        return body[: draw.randrange(len(body))]
    if kind == 2:
        changed = bytearray(body)
        for _ in range(3):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        return bytes(changed)
    return draw.choice([b"[" * 100_000, b'{"k": ' * 50_000, b"9" * 5000, b"\x00" * 2**21, b""])


def under_attack(address: str, bodies: Sequence[bytes]) -> Counter[int]:
    """How many malformed requests had which status; a closed connection is opened again."""
    statuses: Counter[int] = Counter()
    connection = http.client.HTTPConnection(address)
    for number, body in enumerate(bodies):
        try:
            connection.request("POST", PATHS[number % len(PATHS)], body, HEAD)
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
        except (ConnectionError, http.client.HTTPException):  # refused before all was sent
            statuses[0] += 1
            connection.close()
    connection.close()
    return statuses


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


if __name__ == "__main__":
    main()
