"""The command ``serve`` as a process: its start, its refusals, its end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
from forked import Served
from service_tools import train, write_data

from recbole_diffusion import load
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands import cli
from recbole_diffusion.serving.service import command

SCRIPT = Path(__file__).resolve().parents[2] / "run_recbole_diffusion.py"
BODY = b'{"users": ["u1"], "k": 3}'
HEAD = (
    b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(write_data(tmp_path_factory.mktemp("served")), "LinDiffRec")


@contextmanager
def serving(*words: str) -> Iterator[tuple[Served, tuple[str, int]]]:
    """A process of the command, and the address that it tells."""
    process = Served(SCRIPT, ("serve", *words, "--port=0"))
    try:
        end = time.monotonic() + 60
        while (found := re.search(r"serving on http://(.+):(\d+)", process.said())) is None:
            assert process.poll() is None, process.said()
            assert time.monotonic() < end, process.said()
            time.sleep(0.02)
        yield process, (found[1], int(found[2]))
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("word", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_answered_before_the_end(run: Path, word: signal.Signals) -> None:
    with serving(str(run)) as (process, address):
        with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/health") as health:
            assert json.load(health)["models"][0]["name"] == run.name
        with (
            socket.create_connection(address, timeout=60) as idle,
            socket.create_connection(address, timeout=60) as asking,
        ):
            asking.sendall(HEAD + BODY[:5])
            idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(4096).startswith(b"HTTP/1.1 200 ")  # after the other's head
            process.send_signal(word)
            while idle.recv(4096):  # closed: no other request is taken
                pass
            asking.sendall(BODY[5:])
            answer = b""
            while part := asking.recv(4096):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200 ")
        found = json.loads(answer.partition(b"\r\n\r\n")[2])["lists"][0]["items"]
        assert process.wait(60) == 0
        assert "Traceback" not in process.said()
    expected = load(run).recommend(["u1"], k=3)["item"]
    assert [entry["item"] for entry in found] == expected.tolist()


def test_help_needs_neither_pytorch_nor_the_extra() -> None:
    program = (
        "import sys; from recbole_diffusion.commands.cli import main; main(['serve', '--help']); "
        "print({'torch', 'fastapi', 'uvicorn', 'pydantic'} & {*sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("usage: recbole-diffusion serve RUN...")
    for name in command.ServeSettings.keys():
        assert f"\n{name}: " in done.stdout
    assert done.stderr == "set()\n"


@pytest.mark.parametrize("name", command.NEEDED)
def test_a_missing_package_is_told(
    run: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert cli.main(["serve", str(run)]) == 2
    told = capsys.readouterr().err
    assert told == (
        f"error: serve needs `{name}`, which is not installed: "
        'pip install "recbole_diffusion[serve]"\n'
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "serve: found no RUN, expected folders"),
        (["--port=8000"], "serve: found no RUN, expected folders"),
        (["a", "--top=3"], "serve: found top, expected folders"),
        (["a", "--port=65536"], "key `port`: found 65536"),
        (["a", "--port=http"], "key `port`: found 'http'"),
        (["a", "--max_k=0"], "key `max_k`: found 0"),
        (["a", "--reload_seconds=-1"], "key `reload_seconds`: found -1"),
        (["a", "--pictures=nowhere"], "key `pictures`: found 'nowhere', expected a folder"),
        (["a", "--port=1", "b"], "left-over argument 'b'"),
        (["a", "--host=no.such.host.invalid"], "keys `host`, `port`: found 'no.such.host.invalid'"),
        (["nowhere", "--port=0"], "found '{}nowhere', expected the folder of a run"),
    ],
    ids=str,
)
def test_bad_words_are_refused_on_one_line(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["serve", *words]) == 2
    error = capsys.readouterr().err
    assert told.format(f"{tmp_path}{os.sep}") in error
    assert error.count("\n") == 1


def test_a_taken_port_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", str(run), f"--port={port}"]) == 2
    assert f"keys `host`, `port`: found '127.0.0.1', {port}: " in capsys.readouterr().err


def test_words_name_runs_and_keys() -> None:
    keys = {"runs": ["a", "b c"], "max_k": 7, "use_gpu": False, "host": "::1"}
    settings, folders, places = command.read_keys(keys)
    assert folders == ["a", "b c"]
    assert (settings.max_k, settings.host, settings.port) == (7, "::1", 8000)
    assert places == {"use_gpu": False}
    with pytest.raises(UserError, match="found epochs, expected folders"):
        command.read_keys({**keys, "epochs": 3})
