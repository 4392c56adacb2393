"""The process that serves: its address, its signals, its end."""

import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.serving.service.app import make_app
from recbole_diffusion.serving.service.models import Models
from recbole_diffusion.serving.service.pictures import Pictures
from recbole_diffusion.serving.service.settings import ServeSettings

# For requests under way when the service is told to stop.
STOP_SECONDS = 30


def serve(
    settings: ServeSettings, folders: Sequence[str | Path], places: Mapping[str, Any]
) -> None:
    """Serve until SIGTERM or SIGINT; what is under way then is answered.

    Args:
        settings: Of the service.
        folders: Of runs or exports.
        places: As ``load`` takes them.

    Raises:
        UserError: A folder that ``load`` refuses, or an address that is taken.
    """
    # Uvicorn raises a signal again after the last answer; before it runs there is none.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with run_logger(None, "info") as log, listening(settings) as listener:
            log.info(f"loading {', '.join(map(str, folders))}")
            app = make_app(Models(folders, places, pictures_of(settings)), settings)
            listener.listen()
            host, port = listener.getsockname()[:2]
            log.info(f"serving on http://{f'[{host}]' if ':' in host else host}:{port}")
            with suppress(KeyboardInterrupt):
                _server(app).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)


def pictures_of(settings: ServeSettings) -> Pictures | None:
    """Where pictures lie, if the keys ask for them."""
    if settings.pictures is None:
        return None
    return Pictures(Path(settings.pictures), settings.picture_column)


def _server(app: FastAPI) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )


def listening(settings: ServeSettings) -> socket.socket:
    """A socket that has the address, and does not listen yet.

    Raises:
        UserError: The address is taken, or none of this machine's.
    """
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"keys `host`, `port`: found {settings.host!r}, {settings.port}: {error}"
        ) from error
    return listener
