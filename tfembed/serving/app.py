"""The HTTP application: the API, the metrics and the page, behind the limits."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from tfembed.serving.json_text import error_body
from tfembed.serving.limits import Budget, Limits, MemoryQueue, RefusedError, json_memory, read_body
from tfembed.serving.metrics import PROMETHEUS_PATH
from tfembed.serving.page import page
from tfembed.serving.rest import Answer, Call, answer, is_api_path
from tfembed.serving.service import Service
from tfembed.serving.status import Code, ServingError

_ONLY_OURSELVES = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src blob: data:"
)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How REST is served.

    Attributes:
        timeout_in_ms: For a request; it is answered with 504 then.
        num_threads: Requests that are answered at the same time.
        metrics_path: Where Prometheus looks; None for nowhere.
        cors: Whether pages of other origins may call.
        limits: What is taken.
    """

    timeout_in_ms: int = 30_000
    num_threads: int = 32
    metrics_path: str | None = PROMETHEUS_PATH
    cors: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Check the values."""
        if self.num_threads < 1:
            raise ValueError(f"rest_api_num_threads must be 1 or more; was {self.num_threads}.")
        if self.metrics_path is not None and not self.metrics_path.startswith("/"):
            raise ValueError(f"The path of the metrics must begin with /; was {self.metrics_path!r}.")


def make_app(service: Service, options: HttpOptions) -> Starlette:
    """The ASGI application of a server."""
    api = _Api(service, options)

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(service.metrics.text())

    async def index(request: Request) -> Response:
        return HTMLResponse(page(service.thresholds()), headers={"Content-Security-Policy": _ONLY_OURSELVES})

    routes = [Route("/", index)]
    if options.metrics_path is not None:
        routes.append(Route(options.metrics_path, metrics))
    routes.append(Route("/{path:path}", api))
    return Starlette(routes=routes, middleware=[Middleware(GZipMiddleware, minimum_size=1024, compresslevel=1)])


class _Api:
    """Answers requests to the API in threads, as many at a time as the options say."""

    def __init__(self, service: Service, options: HttpOptions) -> None:
        self._service, self._options = service, options
        self._threads = ThreadPoolExecutor(options.num_threads, thread_name_prefix="rest")
        self._pending = 0
        self._budget = Budget(options.limits.max_pending_bytes)
        self._memory = MemoryQueue(options.limits.max_pending_bytes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            found = await self._answer(scope, receive)
        except RefusedError as error:
            body = error_body(ServingError(Code.INVALID_ARGUMENT, error.message))
            # What is left of the request is not worth reading.
            shown = _CORS if self._options.cors else {}  # pages shall read why
            refusal = Response(body, error.status, {"Connection": "close"} | shown, "application/json")
            await refusal(scope, receive, send)
            return
        if found is not None:
            headers = _CORS if self._options.cors else None
            await Response(found.body, found.status, headers, "application/json")(scope, receive, send)

    async def _answer(self, scope: Any, receive: Any) -> Answer | None:
        path = scope["raw_path"].decode("ascii")
        if not is_api_path(path):
            raise RefusedError(404, f"There is nothing at {path}. Models are under /v1/models/.")
        if scope["method"] == "OPTIONS" and self._options.cors:
            return Answer(status=200, body=b"")
        limits = self._options.limits
        if self._pending >= limits.max_pending_requests:
            raise RefusedError(429, f"More than {limits.max_pending_requests} requests are waiting. Try again later.")
        self._pending += 1
        try:
            with self._budget.share() as take:
                timeout = self._options.timeout_in_ms
                deadline = time.monotonic() + timeout / 1000 if timeout > 0 else None
                body = await read_body(Headers(scope=scope), receive, limits, take)
                if body is None:
                    return None
                call = Call(method=scope["method"], path=path, body=body, deadline=deadline)
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                async with self._memory.reserve(await json_memory(body, limits), left):
                    return await asyncio.get_running_loop().run_in_executor(self._threads, answer, self._service, call)
        finally:
            self._pending -= 1
