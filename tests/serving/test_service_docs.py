"""The requests of docs/serve.md, as they stand there, against a service of such a run."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
from service_tools import live, service

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.serving.service.app import PATHS
from recbole_diffusion.serving.service.settings import ServeSettings

TEXT = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
FENCES = re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)
COMMANDS = [
    line
    for fence in FENCES
    for line in fence.replace("\\\n", " ").splitlines()
    if line.startswith("curl")
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    keys = {
        "output_dir": str(tmp_path_factory.mktemp("docs")),
        "show_progress": False,
        "state": "WARNING",
    }
    run = run_recbole_diffusion("LinDiffRec", "ml-100k", (), keys)["run_folder"]
    with live(service([Path(run)])) as (host, port):
        yield f"{host}:{port}"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_requests_are_answered_as_the_page_says(address: str) -> None:
    answers = [asked(command, address) for command in COMMANDS]
    assert len(answers) == 5
    (shown,) = re.findall(r"```json\n(.*?)```", TEXT, flags=re.DOTALL)
    expected, found = json.loads(shown), answers[0]
    assert found.pop("model").startswith(expected.pop("model").removesuffix("..."))
    assert len(found.pop("digest")) == 64
    del expected["digest"]
    for entry in expected["lists"][0]["items"]:
        entry["score"] = pytest.approx(entry["score"], abs=6e-5)
    assert found == expected
    assert len(answers[1]["lists"][0]["items"]) == 3
    assert len(answers[2]["lists"][0]["items"]) == 3
    assert answers[3]["kind"] == "contribution"
    assert answers[4]["status"] == "ok"


def asked(command: str, address: str) -> dict[str, Any]:
    """What a command prints, which is an answer and no refusal."""
    here = command.replace("127.0.0.1:8000", address).replace("curl -s", "curl -sS --fail")
    done = subprocess.run(["bash", "-c", here], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_tables_tell_all_keys_and_paths() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S*) ?\|", TEXT, flags=re.MULTILINE))
    shown = {name: str(key.default) for name, key in ServeSettings.keys().items()}
    assert rows == {**shown, "pictures": "", "reload_seconds": "10"}
    told = set(re.findall(r"`(?:GET|POST) (/\w+)`", TEXT))
    assert told == set(PATHS) - {"/", "/docs", "/openapi.json"}
