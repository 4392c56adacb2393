"""The service: which path is answered by what."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse

from recbole_diffusion.base.errors import LONGEST, UserError
from recbole_diffusion.base.version import __version__
from recbole_diffusion.serving.service import answers, page
from recbole_diffusion.serving.service.limits import Limited, Measured
from recbole_diffusion.serving.service.messages import (
    ExplainAnswer,
    ExplainRequest,
    Health,
    ModelState,
    Problem,
    RecommendAnswer,
    RecommendRequest,
    SimilarAnswer,
    SimilarRequest,
    check_limits,
    put_limits,
)
from recbole_diffusion.serving.service.metrics import CONTENT_TYPE, Metrics
from recbole_diffusion.serving.service.models import Models, Served
from recbole_diffusion.serving.service.pictures import PICTURE_TYPES, Pictures
from recbole_diffusion.serving.service.settings import ServeSettings

PATHS = (
    *("/", "/docs", "/explain", "/health", "/metrics", "/openapi.json", "/picture"),
    *("/recommend", "/similar"),
)
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is no JSON"},
    408: {"model": Problem, "description": "The body did not arrive in time"},
    413: {"model": Problem, "description": "The body is too long"},
    422: {"model": Problem, "description": "The request asks for what cannot be"},
    503: {"model": Problem, "description": "Too many requests are under way; try again"},
}
PICTURE_REFUSALS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "The item has no picture"},
    422: REFUSALS[422],
}
PAGE_HEADERS = {
    "Content-Security-Policy": page.POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Faults of a request that an answer names.
N_TOLD = 3


def make_app(models: Models, settings: ServeSettings) -> FastAPI:
    """The service.

    Args:
        models: What it serves.
        settings: Its keys.

    Raises:
        UserError: Pictures are asked for, and no item of a model has one.
    """
    metrics = Metrics()
    for served in models.all():
        metrics.loaded.labels(served.name).set(served.loaded)
    pictures = models.pictures
    if pictures is not None and not any(served.pictures for served in models.all()):
        raise UserError(
            f"keys `pictures`, `picture_column`: found no column {pictures.column!r} of paths in "
            f"an item file, and no file in {pictures.folder} that an item's id names, expected "
            "one of them"
        )
    app = FastAPI(
        title="recbole_diffusion",
        version=__version__,
        description="Recommendations by trained models; ids are those of the data's files.",
        docs_url=None,
        redoc_url=None,
        lifespan=_watching(models, metrics, settings.reload_seconds),
    )
    app.add_middleware(
        Limited,
        metrics=metrics,
        most_requests=settings.max_requests,
        most_bytes=settings.max_bytes,
    )
    app.add_middleware(Measured, metrics=metrics, paths=PATHS)
    app.add_exception_handler(UserError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_fields)
    _add_scoring(app, models, metrics, settings)
    _add_telling(app, models, metrics)
    _add_pages(app)
    if pictures is not None:
        _add_pictures(app, models, pictures)
    put_limits(app.openapi(), settings)  # which is made once
    return app


def _add_scoring(app: FastAPI, models: Models, metrics: Metrics, settings: ServeSettings) -> None:
    # Functions that are not async run in a pool of threads, beside those that are.

    @app.post("/recommend", responses=REFUSALS)
    def recommend(request: RecommendRequest) -> RecommendAnswer:
        """The best items of users, or for histories."""
        check_limits(request, settings)
        answer = answers.recommended(models.get(request.model), request)
        metrics.lists.labels(answer.model).inc(len(answer.lists))
        metrics.unknown.labels(answer.model, "user").inc(answer.unknown_users.count)
        metrics.unknown.labels(answer.model, "item").inc(answer.unknown_items.count)
        return answer

    @app.post("/similar", responses=REFUSALS)
    def similar(request: SimilarRequest) -> SimilarAnswer:
        """The nearest items of items."""
        check_limits(request, settings)
        answer = answers.similar(models.get(request.model), request)
        metrics.lists.labels(answer.model).inc(len(answer.lists))
        metrics.unknown.labels(answer.model, "item").inc(answer.unknown_items.count)
        return answer

    @app.post("/explain", responses=REFUSALS)
    def explain(request: ExplainRequest) -> ExplainAnswer:
        """What a user's items have to do with the score of another item."""
        return answers.explained(models.get(request.model), request)


def _add_telling(app: FastAPI, models: Models, metrics: Metrics) -> None:
    @app.get("/health")
    async def health() -> Health:
        """What is served."""
        states = [_told(served, models.has_failed(served.name)) for served in models.all()]
        return Health(status="ok", version=__version__, models=states)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """Counters and times for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)


def _told(served: Served, has_failed: bool) -> ModelState:
    return ModelState(
        name=served.name,
        digest=served.digest,
        users=len(served.users),
        items=len(served.items),
        columns=list(served.columns),
        has_pictures=bool(served.pictures),
        loaded=served.loaded,
        reload_failed=has_failed,
    )


def _add_pages(app: FastAPI) -> None:
    front = page.front_page()

    @app.get("/", include_in_schema=False)
    async def front_page() -> HTMLResponse:
        return HTMLResponse(front, headers=PAGE_HEADERS)

    @app.get("/docs", include_in_schema=False)
    async def interface_page() -> HTMLResponse:
        return HTMLResponse(page.interface_page(app.openapi()), headers=PAGE_HEADERS)


def _add_pictures(app: FastAPI, models: Models, pictures: Pictures) -> None:
    @app.get("/picture", response_class=FileResponse, responses=PICTURE_REFUSALS)
    def picture(item: str, model: str | None = None) -> Response:
        """The picture of an item, which the request names by the item's id alone."""
        value = models.get(model).pictures.get(item)
        path = value and pictures.file(value)
        if not path:
            return JSONResponse({"detail": f"item {item!r:.200}: no picture"}, 404)
        kind = PICTURE_TYPES[path.suffix.lower()]
        return FileResponse(path, media_type=kind, headers={"X-Content-Type-Options": "nosniff"})


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)[:LONGEST]}, 422)


async def _refuse_fields(request: Request, error: Exception) -> JSONResponse:
    """Tell what is wrong and where, without what was found, which may be as long as a body."""
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    texts = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults]
    if "json" not in request.headers.get("content-type", ""):
        texts.insert(0, "header Content-Type: expected application/json")
    more = [f"and {len(texts) - N_TOLD} more"] if len(texts) > N_TOLD else []
    return await _refuse(request, UserError("; ".join([*texts[:N_TOLD], *more])))


def _watching(models: Models, metrics: Metrics, seconds: float) -> Any:
    """What looks for newer folders as long as the service runs."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(seconds):
            for name, is_loaded in models.reload().items():
                metrics.reloads.labels(name, "loaded" if is_loaded else "failed").inc()
                metrics.loaded.labels(name).set(models.get(name).loaded)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # A model scores for one at a time: more threads would only take turns at the interpreter.
        current_default_thread_limiter().total_tokens = len(models.all())
        if seconds:
            threading.Thread(target=look, name="newer folders", daemon=True).start()
        yield
        stop.set()

    return lifespan
