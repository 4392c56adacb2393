"""Runs on a small data set with odd ids and hostile texts, and a service of them."""

import base64
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.serving.service.app import make_app
from recbole_diffusion.serving.service.models import Models
from recbole_diffusion.serving.service.server import pictures_of
from recbole_diffusion.serving.service.settings import ServeSettings

HOSTILE = "<img src=x onerror=alert(1)> & 'co'"
USERS = ["007", "=1+1", "a b", "ü", "東", "'q'", *(f"u{n}" for n in range(24))]
ITEMS = [HOSTILE, "../etc", "é", *(f"i{n}" for n in range(22))]
GENRES = ["Drama", "Comedy", "Comedy Drama", "Science Fiction"]
# What a picture column may hold: paths below the folder, URLs, and what must never be served.
PICTURES = {
    "i0": "a.png",
    "i1": "sub/b.png",
    "i2": "https://example.org/x/a.png?size=2",
    "i3": "../secret.png",
    "i4": "/etc/passwd",
    "i5": "link.png",
    "i6": "note.txt",
    "i7": "none.png",
    "i8": "x" * 5000 + ".png",
    "i9": "https://example.org/..%2Fsecret.png",
}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


def write_data(home: Path) -> Path:
    """The data set ``small``; gives the folder of data sets."""
    draw = np.random.default_rng(4)
    folder = home / "data" / "small"
    folder.mkdir(parents=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in USERS:
        chosen = draw.permutation(len(ITEMS))[: draw.integers(8, 14)]
        lines += [f"{user}\t{ITEMS[i]}\t{draw.integers(10**9)}" for i in chosen]
    (folder / "small.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [
        f"{item}\t{HOSTILE} {n}\t{GENRES[n % 4]}\t{PICTURES.get(item, '')}\t{n}"
        for n, item in enumerate(ITEMS)
    ]
    head = "item_id:token\ttitle:token_seq\tgenre:token_seq\timage:token\tscore:token"
    (folder / "small.item").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return folder.parent


def write_pictures(home: Path) -> Path:
    """A folder of pictures, with a secret beside it and a link to that."""
    folder = home / "pictures"
    (folder / "sub").mkdir(parents=True)
    for path in ("a.png", "sub/b.png", "../secret.png"):
        (folder / path).write_bytes(PIXEL)
    (folder / "note.txt").write_text("no picture")
    (folder / "link.png").symlink_to(home / "secret.png")
    return folder


def train(data: Path, model: str, **keys: Any) -> Path:
    """The folder of a run."""
    settings = {
        "data_path": str(data), "output_dir": str(data.parent / "runs"), "topk": [5],
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "valid_metric": "Recall@5",
        "metrics": ["Recall"], "show_progress": False, "epochs": 1, "state": "WARNING", **keys,
    }  # fmt: skip
    return Path(run_recbole_diffusion(model, "small", (), settings)["run_folder"])


def settings_with(**values: Any) -> ServeSettings:
    defaults = {name: key.default for name, key in ServeSettings.keys().items()}
    return ServeSettings({**defaults, "reload_seconds": 0, **values})


def service(runs: Sequence[Path], pictures: Path | None = None, **values: Any) -> FastAPI:
    """The service of some runs; keys beside those by default."""
    settings = settings_with(**values, pictures=None if pictures is None else str(pictures))
    return make_app(Models(runs, {}, pictures_of(settings)), settings)


@contextmanager
def live(app: FastAPI) -> Iterator[tuple[str, int]]:
    """Serve on a free port of this machine; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(30)
