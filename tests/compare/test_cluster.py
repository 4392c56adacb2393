"""Comparisons and searches on a Ray cluster of two nodes give what processes of one machine do."""

import _thread
import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from compare_tools import folder_of, row, run_in_process

from recbole_diffusion import compare, tune
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import read_json, sole_writer
from recbole_diffusion.studies.jobs import cluster as cluster_module
from recbole_diffusion.studies.jobs.cluster import Cluster, connected
from recbole_diffusion.studies.jobs.limits import Limits
from recbole_diffusion.studies.jobs.process import Job, Outcome

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "benchmarks" / "kill_comparison.py"
SECONDS = 120.0  # more than any wait here needs
OBJECT_STORE = 80 * 2**20  # bytes; Ray takes hardly less
GIB = 2**30
# Behind its first epoch it waits for a file, so that a node can be killed in the middle of it.
WAITING = """\
import time
from pathlib import Path
from recbole.model.general_recommender import BPR
from recbole_diffusion import register

class Waiting(BPR):
    steps = 0

    def calculate_loss(self, interaction):
        self.steps += 1
        while self.steps > 20 and not Path("go").exists():
            time.sleep(0.05)
        return super().calculate_loss(interaction)

register(Waiting, properties="waiting.yaml")
"""
# In place of the first thing that a process of a job imports: it holds a lock, and takes long.
SLOW_IMPORT = """\
import fcntl, time
from pathlib import Path
here = Path(__file__).parent
lock = (here / "lock").open("w")
fcntl.flock(lock, fcntl.LOCK_EX)
(here / "importing").touch()
time.sleep(120)
"""


class TwoNodes:
    """A Ray cluster of two nodes on this machine, one processor each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as Nodes

        size = {"num_cpus": 1, "object_store_memory": OBJECT_STORE}
        head = {**size, "include_dashboard": False}
        self._nodes = Nodes(initialize_head=True, head_node_args=head)
        self._second = self._nodes.add_node(**size)
        self.address: str = self._nodes.address

    def kill_second(self) -> None:
        self._nodes.remove_node(self._second, allow_graceful=False)

    def end(self) -> None:
        self._nodes.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        started = TwoNodes()
        try:
            yield started
        finally:
            started.end()


@pytest.fixture
def keys(planted: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    quick = {k: v for k, v in planted.items() if k != "show_progress"}
    return {**quick, "output_dir": str(tmp_path / "comparisons"), "train_batch_size": 256}


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPT.is_file(), reason="the script is in the repository only")
def test_comparison_whose_node_is_killed_ends_as_one_of_local_processes(
    nodes: TwoNodes,
    keys: dict[str, Any],
    own_registry: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    (tmp_path / "waiting.yaml").write_text("embedding_size: 16\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(SCRIPT.parent)
    keys |= {"models": "Waiting", "dataset": "planted", "modules": "waiting", "seeds": 2}
    keys |= {"epochs": 4, "learning_rate": 1e-2}

    def killed() -> None:
        histories = [tmp_path / "comparisons" / "*" / "runs" / "*" / "history.jsonl"]
        pattern = str(histories[0].relative_to(tmp_path))
        # Both cells wait in their second epoch: one of them on the node that is killed.
        wait_for(lambda: len(list(tmp_path.glob(pattern))) == 2)
        nodes.kill_second()
        (tmp_path / "go").touch()

    killer = threading.Thread(target=killed)
    killer.start()
    results = compare(config_dict={**keys, "cluster": nodes.address})
    killer.join()
    assert [cell["status"] for cell in row(results, "Waiting")["cells"]] == ["finished"] * 2
    outputs = [path.read_text() for path in tmp_path.glob("comparisons/*/runs/*/output.txt")]
    assert sorted(text.count("\non ") + text.startswith("on ") for text in outputs) == [1, 2]

    alone = {**keys, "output_dir": str(tmp_path / "alone")}
    run_in_process(monkeypatch)
    compare(config_dict=alone)
    script = importlib.import_module("kill_comparison")
    assert script.equal(folder_of(keys), folder_of(alone))


@pytest.mark.slow
def test_search_that_goes_on_on_a_cluster_ends_as_one_of_this_process(
    nodes: TwoNodes, keys: dict[str, Any], tmp_path: Path
) -> None:
    own = {"data_path": keys["data_path"]}
    for name, trials, address in (("one", 2, None), ("two", 1, None), ("two", 2, nodes.address)):
        folder = tmp_path / name
        tune("EASE", "planted", (), own, trials=trials, folder=folder, cluster=address)
    assert (tmp_path / "two" / "jobs" / "0" / "output.txt").is_file()
    one, two = (trials_of(tmp_path / name) for name in ("one", "two"))
    assert [trial["outcome"] for trial in one] == ["complete"] * 2
    assert one == two


def trials_of(folder: Path) -> list[dict[str, Any]]:
    """The trials of a study, less the seconds that they took."""
    trials = read_json(folder / "study.json")["trials"]
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in trials]


def test_interrupt_ends_the_processes(nodes: TwoNodes, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(SLOW_IMPORT)
    variables = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}
    job = Job("job", "job", tmp_path / "job", {"kind": "cell", "modules": []}, variables)

    def interrupt() -> None:
        wait_for((tmp_path / "importing").exists)
        _thread.interrupt_main()

    # A shell lets what it starts in the background ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt).start()
    try:
        with connected(nodes.address) as cluster, pytest.raises(KeyboardInterrupt):
            cluster.run_jobs([job], cluster.limits(1), lambda job: None, lambda outcome: None)
    finally:
        signal.signal(signal.SIGINT, before)
    # The lock is free once the process is gone, long before its import would end.
    with sole_writer(tmp_path / "lock", 30.0):
        pass


def test_job_whose_worker_is_lost_each_time_has_failed(
    nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = tmp_path / "tries"

    def lost(*arguments: Any) -> None:
        with tries.open("a") as stream:
            stream.write("x")
        os._exit(1)

    monkeypatch.setattr(cluster_module, "MAX_RETRIES", 1)
    monkeypatch.setattr(cluster_module, "run_on_machine", lost)
    ended: list[Outcome] = []
    job = Job("job", "job", tmp_path / "job", {})
    with connected(nodes.address) as cluster:
        cluster.run_jobs([job], cluster.limits(1), lambda job: None, ended.append)
    assert tries.read_text() == "xx"
    (outcome,) = ended
    assert "worker was lost 2 times" in str(outcome.error)
    assert read_json(tmp_path / "job" / "failure.json")["error"] == outcome.error


def test_machine_that_cannot_do_the_job_is_refused(
    nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job("job", "job", tmp_path / "job", {})

    def refused(message: str) -> None:
        with connected(nodes.address) as cluster, pytest.raises(UserError, match=message):
            cluster.run_jobs([job], cluster.limits(1), lambda job: None, lambda outcome: None)

    with monkeypatch.context() as patch:
        patch.setattr(cluster_module, "source_digest", lambda folder: "0123456789abcdef")
        refused("found other code of recbole_diffusion on .*expected the same on all machines")
    (tmp_path / "job" / "job.json").unlink()
    monkeypatch.setattr(cluster_module, "prepare", lambda job: None)
    refused("job.json: not found on .*on a file system that all machines see")


def test_no_cluster_there(nodes: TwoNodes) -> None:
    with pytest.raises(UserError, match="found no Ray cluster at '127.0.0.1:1'.*ray start --head"):
        connected("127.0.0.1:1").__enter__()


@pytest.mark.parametrize(
    ("said", "told"), [(b"HTTP/1.0 400 Bad\r\n\r\n", "another service"), (b"", "timed out")]
)
def test_another_service_is_refused(
    said: bytes, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the dashboard, whose port is taken for the head's: Ray would try for minutes."""
    ray = SimpleNamespace(init=lambda **_: pytest.fail("tried"))
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(cluster_module, "SECONDS_TO_CONNECT", 0.5)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.sendall(said)
                over.wait(SECONDS)

        threading.Thread(target=answer, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        try:
            with pytest.raises(UserError, match=f"found no Ray cluster at '{address}': {told}"):
                connected(address).__enter__()
        finally:
            over.set()


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "", "head:port"])
def test_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"`cluster`: found .*expected auto or HOST:PORT"):
        connected(address).__enter__()


def test_without_ray_the_key_is_refused(
    keys: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    advice = r"key `cluster` needs ray .*pip install 'recbole_diffusion\[cluster\]'"
    with pytest.raises(UserError, match=advice):
        compare("EASE", "planted", config_dict={**keys, "cluster": "auto"})
    assert not Path(keys["output_dir"]).exists()
    own = {"data_path": keys["data_path"]}
    with pytest.raises(UserError, match=advice):
        tune("EASE", "planted", (), own, folder=tmp_path / "study", cluster="auto")


def machine(cpus: float, gpus: float = 0.0, gib: float = 8.0, alive: bool = True) -> dict[str, Any]:
    resources = {"CPU": cpus, "memory": gib * GIB, **({"GPU": gpus} if gpus else {})}
    return {"Alive": alive, "Resources": resources}


def cluster_of(*machines: dict[str, Any]) -> Cluster:
    return Cluster(SimpleNamespace(nodes=lambda: list(machines)), "auto")  # type: ignore[arg-type]


def test_jobs_ask_for_what_every_machine_can_give(tmp_path: Path) -> None:
    cluster = cluster_of(
        machine(0), machine(16, 4, 64), machine(12, 2, 32), machine(8), machine(1, alive=False)
    )
    plain = Job("plain", "a", tmp_path, {})
    with_gpu = Job("with GPU", "b", tmp_path, {}, may_use_gpu=True)
    assert cluster.limits(4).memory_mb == 8 * 1024  # of the machine that has the least
    limits = Limits(4, 16 * 1024.0)
    fair = {"memory": 4 * GIB}  # a fourth of a machine's
    assert cluster.share(plain, limits) == {"num_cpus": 2, "num_gpus": 0.0, **fair}
    assert cluster.share(with_gpu, limits) == {"num_cpus": 3, "num_gpus": 0.5, **fair}
    limits.peaks = {"a": 1024.0, "b": 1e9}
    assert cluster.share(plain, limits)["memory"] == GIB  # as measured
    assert cluster.share(with_gpu, limits)["memory"] == 64 * GIB  # one that is alone may run
    assert (
        cluster.share(with_gpu, Limits(3, 1024.0))["num_gpus"] == 0.5
    )  # 2/3 fits twice, not 3 times
    many = cluster.share(with_gpu, Limits(24, 1024.0))
    assert many["num_cpus"] == 1
    assert many["num_gpus"] == pytest.approx(2 / 24, abs=1e-4)
    assert many["num_gpus"] * 24 <= 2
    one = cluster.share(with_gpu, Limits(1, 1024.0))
    assert (one["num_cpus"], one["num_gpus"]) == (12, 1.0)  # a run uses one GPU


def test_without_gpus_none_is_asked_for(tmp_path: Path) -> None:
    job = Job("job", "a", tmp_path, {}, may_use_gpu=True)
    assert cluster_of(machine(4)).share(job, Limits(1, 1024.0))["num_gpus"] == 0.0


def test_cluster_without_processors_is_refused() -> None:
    with pytest.raises(UserError, match="`cluster`.*a machine with CPUs"):
        cluster_of(machine(0), machine(4, alive=False))
