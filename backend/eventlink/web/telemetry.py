"""What operators see of requests: a log line and figures of each, and ``/metrics`` for Prometheus.

What does not live here: whether the process can serve (``web.health``).

A log line holds the route's template and never the path, query, body or headers; a crash is told
by its kind and place and without its message: none of them is free of personal data or tokens.
"""

import hmac
import logging
import os
import re
import secrets
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eventlink.config import settings
from eventlink.db.session import transaction
from eventlink.errors import EventLinkError, NotAuthenticatedError, NotFoundError
from eventlink.logs import configure_logs
from eventlink.services.status import Gauges, gauges
from eventlink.web.errors import answers
from eventlink.web.requests import bearer

disable_created_metrics()  # type: ignore[no-untyped-call] # they double what is scraped, and nothing reads them

router = APIRouter(tags=["health"])

REQUESTS = Histogram(
    "eventlink_http_request_duration_seconds",
    "Requests, by the time from their arrival to the end of the answer.",
    ["method", "route", "status"],
    buckets=(0.0025, 0.005, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)
RECOMMENDATIONS = Counter(
    "eventlink_recommendations", "Lists served, by who made them: cache or heuristic.", ["source"]
)
INTERACTIONS = Counter(
    "eventlink_interactions", "Interactions received: accepted or refused.", ["outcome"]
)

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
NO_ROUTE = "unmatched"
"""All paths that are none of ours: each of its own would fill the memory."""
QUIET = {"/live", "/ready", "/metrics"}
"""Routes that machines ask every few seconds; logged only if they fail."""
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
HEADER = b"x-request-id"


class RequestTelemetry:
    """ASGI middleware: counts, times and logs each request, and gives it an id.

    An ``X-Request-ID`` that came is kept if it is a plain word of up to 64 characters. The route's
    template and the user's id are read from the scope, where routing and ``web.requests`` put
    them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._log = structlog.get_logger().bind()  # once, for each request has a line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        name = _request_id(scope)
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, name)]
            await send(message)

        structlog.contextvars.bind_contextvars(x_request_id=name.decode())
        try:
            await self.app(scope, receive, send_named)
        except Exception as error:
            self._log.error("request crashed", error=type(error).__name__, trace=_places(error))
            if not status:
                problem = {"detail": "an error of ours; the log tells more by x-request-id"}
                await JSONResponse(problem, 500)(scope, receive, send_named)
            raise
        finally:
            self._record(scope, status, time.perf_counter() - began)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = _template(scope)
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        _requests(method, route, status).observe(seconds)
        if route not in QUIET or status >= 400:
            self._log.info(
                "request",
                method=method,
                route=route,
                status=status,
                ms=round(1000 * seconds, 2),
                user_id=scope.get("user_id"),
            )


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == HEADER and REQUEST_ID.fullmatch(value):
            given: bytes = value
            return given
    return secrets.token_hex(8).encode()


@cache
def _requests(method: str, route: str, status: int) -> Histogram:
    return REQUESTS.labels(method, route, status)


def _template(scope: Scope) -> str:
    """Return the template of the route that was taken, with the prefix it is included under.

    FastAPI leaves the prefix out of a route's own path. A prefix has no parameters, so it is what
    the path has in front of as many segments as the route has.
    """
    own: str | None = getattr(scope.get("route"), "path", None)
    if own is None:
        return NO_ROUTE
    path: str = scope["path"]
    before = path.count("/") - own.count("/")
    return "/".join(path.split("/")[: before + 1]) + own


def _places(error: Exception) -> list[str]:
    """Return where an error went through: file, line and function, the innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]]


class DatabaseFigures(Collector):
    """Gauges read from the database when Prometheus asks, at most once in ``KEPT`` seconds.

    They are read in a thread that nobody waits for longer than ``PATIENCE``: a database that hangs
    must not take the figures of the process with it.
    """

    KEPT = 5.0
    PATIENCE = 2.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._read_at = -self.KEPT
        self._found: Gauges | None = None

    def describe(self) -> list[Metric]:
        """Return nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; without the database, only that it is down."""
        found = self._latest()
        yield GaugeMetricFamily(
            "eventlink_database_up", "Whether the database answers.", float(found is not None)
        )
        if found is not None:
            yield from _families(found, datetime.now(UTC))

    def _latest(self) -> Gauges | None:
        with self._lock:
            if time.monotonic() - self._read_at < self.KEPT:
                return self._found
            if self._reader is None or not self._reader.is_alive():
                self._reader = threading.Thread(target=self._read, daemon=True)
                self._reader.start()
            reader = self._reader
        reader.join(self.PATIENCE)
        return None if reader.is_alive() else self._found

    def _read(self) -> None:
        try:
            with transaction() as conn:
                self._found = gauges(conn)
        except EventLinkError:
            self._found = None
        self._read_at = time.monotonic()


def _families(found: Gauges, now: datetime) -> Iterator[Metric]:
    active = InfoMetricFamily(
        "eventlink_active_model", "The model that refreshes and recomputes use."
    )
    active.add_metric([], {"model_version": found.model_version or ""})
    yield active
    plain = {
        "eventlink_cache_lists": ("Users ranked by the serving generation.", found.cache.lists),
        "eventlink_cache_refreshed_lists": (
            "Users whose ranking was refreshed since.",
            found.cache.refreshed_lists,
        ),
        "eventlink_refreshes_waiting": ("Users who wait for a refresh.", found.marks.waiting),
        "eventlink_refresh_lag_seconds": (
            "How late the oldest refresh that is due is.",
            found.marks.lag_seconds,
        ),
    }
    if found.cache.generated_at is not None:
        age = (now - found.cache.generated_at).total_seconds()
        plain["eventlink_cache_age_seconds"] = ("Age of the serving generation.", age)
    if found.queue.workers:
        silent = min(worker.seconds_ago for worker in found.queue.workers)
        plain["eventlink_worker_silent_seconds"] = ("Since any worker was heard.", silent)
    for name, (meaning, value) in plain.items():
        yield GaugeMetricFamily(name, meaning, value)
    jobs = GaugeMetricFamily("eventlink_jobs", "Jobs in the queue.", labels=["queue", "state"])
    oldest = GaugeMetricFamily(
        "eventlink_job_oldest_waiting_seconds",
        "Age of the oldest job that could start now.",
        labels=["queue"],
    )
    for queue in found.queue.queues:
        for state in ("waiting", "later", "running"):
            jobs.add_metric([queue.queue, state], getattr(queue, state))
        oldest.add_metric([queue.queue], queue.oldest_waiting_seconds or 0)
    yield from (jobs, oldest)


def _may_read(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> None:
    """Let in who knows ``METRICS_TOKEN``, and on a developer's machine everybody."""
    wanted = settings().metrics_token
    if not wanted:
        if settings().environment == "development":
            return
        raise NotFoundError("the metrics are closed; set METRICS_TOKEN to read them with it")
    given = credentials.credentials if credentials else ""
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise NotAuthenticatedError("send METRICS_TOKEN as Authorization: Bearer …")


@router.get(
    "/metrics",
    response_class=Response,
    dependencies=[Depends(_may_read)],
    responses={200: {"content": {"text/plain": {}}}, **answers(401, 404)},
)
def metrics() -> Response:
    """Give Prometheus the figures of all processes of this server, and of the database."""
    of_processes = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        of_processes = CollectorRegistry()
        MultiProcessCollector(of_processes)  # type: ignore[no-untyped-call]
    figures = generate_latest(of_processes) + generate_latest(of_database)
    return Response(figures, media_type=CONTENT_TYPE_LATEST)


of_database = CollectorRegistry()
of_database.register(DatabaseFigures())


def _told_already(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Exception in ASGI application")


def install(app: FastAPI) -> None:
    """Count, time and log an application's requests, and serve the figures.

    Every process of a server comes through here, so this is where its logs are configured.
    """
    configure_logs(settings().log_format, settings().log_level, service=True)
    logging.getLogger("uvicorn.error").addFilter(_told_already)
    app.add_middleware(RequestTelemetry)
    app.include_router(router)
