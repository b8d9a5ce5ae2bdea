"""Limits on requests (a rate for each client, a body size, a time), typed errors, measured times.

`RequestGuard` wraps the whole ASGI application, so that a request which is refused costs neither
routing nor parsing. Starlette and FastAPI limit neither body size nor time; slowapi (on `limits`)
counts requests in windows and has no token bucket, so no burst beside a long-run rate.
"""

import asyncio
import logging
import math
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from widedeep.inputs import InputError
from widedeep.serving.schemas import ERROR_STATUS, ErrorAnswer, ErrorType, Problem
from widedeep.serving.service import ChampionLoadingError, NoChampionError
from widedeep.serving.telemetry import Telemetry

_LOGGER = logging.getLogger("widedeep.serving")
_UNMATCHED = "unmatched"
"""The route label of requests for unknown paths, so that these add one label and not many."""
_MAX_CLIENTS = 10_000
_INTERNAL_MESSAGE = "the server failed; its log says why"
_CLOSE = {"connection": "close"}


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one request may cost, and how many a client may send.

    Attributes:
        body: Bytes of a request's body.
        seconds: Time until a request is answered with 504.
        per_second: Requests per second of one client (by address) in the long run.
        burst: Requests of one client at once.
    """

    body: int = 64 * 1024
    seconds: float = 10.0
    per_second: float = 1000.0
    burst: float = 2000.0


def error_response(
    kind: ErrorType, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer of an error: its status, and `{"error": {"type", "message"}}`."""
    body = orjson.dumps(ErrorAnswer(Problem(kind, message)))
    return Response(body, ERROR_STATUS[kind], headers, media_type="application/json")


class RequestGuard:
    """An ASGI application that enforces `limits` around another one and measures its answers."""

    def __init__(self, app: ASGIApp, limits: RequestLimits, telemetry: Telemetry) -> None:
        self._app = app
        self._limits = limits
        self._telemetry = telemetry
        self._buckets = TokenBuckets(limits.per_second, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; pass other scopes (lifespan) through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, answer = time.perf_counter(), _Answer(send)
        try:
            await self._answer(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", _UNMATCHED)
            seconds = time.perf_counter() - start
            self._telemetry.count_request(route, scope["method"], answer.status, seconds)

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        error = await self._error(scope, receive, answer)
        # Once an answer has begun, its status cannot be taken back.
        if error is not None and not answer.status:
            await error(scope, receive, answer.send)

    async def _error(self, scope: Scope, receive: Receive, answer: "_Answer") -> Response | None:
        """Let the application answer; return what is to be answered instead if it cannot."""
        try:
            self._check_rate(scope)
            async with asyncio.timeout(self._limits.seconds):
                body = await self._read_body(scope, receive)
                await self._app(scope, _replay(body, receive), answer.send)
        except _RefusedError as refusal:
            return error_response(*refusal.args)
        except TimeoutError:
            message = f"no answer within {self._limits.seconds:g} s"
            return error_response(ErrorType.TIMEOUT, message, _CLOSE)
        except Exception:
            _LOGGER.exception("%s %s failed", scope["method"], scope["path"])
            return error_response(ErrorType.INTERNAL, _INTERNAL_MESSAGE)
        return None

    def _check_rate(self, scope: Scope) -> None:
        client = scope["client"][0] if scope.get("client") else "unknown"
        wait = self._buckets.take(client, time.monotonic())
        if wait:
            message = f"more than {self._limits.per_second:g} requests a second"
            headers = {"retry-after": str(math.ceil(wait))}
            raise _RefusedError(ErrorType.TOO_MANY_REQUESTS, message, headers)

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        """Read the whole body, so that the application never waits for a slow client."""
        length = dict(scope["headers"]).get(b"content-length", b"0")
        self._check_size(int(length) if length.isdigit() else 0)
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            self._check_size(size)
            more = message.get("more_body", False)
        return b"".join(parts)

    def _check_size(self, size: int) -> None:
        if size > self._limits.body:
            message = f"the body has more than {self._limits.body} bytes"
            raise _RefusedError(ErrorType.TOO_LARGE, message, _CLOSE)


class _RefusedError(Exception):
    """A request over a limit; its arguments are those of `error_response`."""


class _Answer:
    """Passes an answer on and remembers its status (0: none has begun)."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that first delivers the body already read, then what the client sends."""
    unread = [body]

    async def receive_again() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return receive_again


_MAX_FAULTS = 5
_BAD_REQUEST = 400
_ERROR_TYPE = {status: kind for kind, status in ERROR_STATUS.items()}


def add_error_handlers(app: FastAPI) -> None:
    """Let an application answer its own errors with `error_response`, too."""
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(AnyHTTPException, _answer_http_error)
    app.add_exception_handler(NoChampionError, _answer_no_champion)
    app.add_exception_handler(InputError, _answer_input_error)
    app.add_exception_handler(Exception, _answer_failure)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)  # noqa: S101  it is registered for these
    faults = [
        f"{_field_path(fault['loc'])}: {fault['msg']}" for fault in error.errors()[:_MAX_FAULTS]
    ]
    return error_response(ErrorType.INVALID, "; ".join(faults))


def _field_path(location: tuple[int | str, ...]) -> str:
    """Return `candidates.3` for ("body", "candidates", 3)."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)  # noqa: S101  it is registered for these
    # FastAPI answers 400 if a body is not text, and 422 if it is not JSON: 422 for both here.
    invalid = error.status_code == _BAD_REQUEST
    kind = ErrorType.INVALID if invalid else _ERROR_TYPE[error.status_code]
    message = f"{request.method} {request.url.path}: {error.detail}"
    headers = error.headers
    if kind is ErrorType.METHOD_NOT_ALLOWED:
        allowed = _allowed_methods(request)
        headers = {"allow": ", ".join(allowed)} if allowed else headers
    return error_response(kind, message, headers)


def _allowed_methods(request: Request) -> list[str]:
    """Return the methods of all routes of the request's path; Starlette names those of one."""
    paths: dict[str, Mapping[str, object]] = request.app.openapi()["paths"]
    for path, methods in paths.items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", ".+", path), request.url.path):
            return sorted(method.upper() for method in methods)
    return []


async def _answer_input_error(request: Request, error: Exception) -> Response:
    return error_response(ErrorType.INVALID, f"{request.method} {request.url.path}: {error}")


async def _answer_no_champion(request: Request, error: Exception) -> Response:
    del request
    loading = isinstance(error, ChampionLoadingError)
    return error_response(ErrorType.LOADING if loading else ErrorType.NO_CHAMPION, str(error))


async def _answer_failure(request: Request, error: Exception) -> Response:
    """Answer without details; Starlette raises the error again, and the guard logs it."""
    del request, error
    return error_response(ErrorType.INTERNAL, _INTERNAL_MESSAGE)


class TokenBuckets:
    """A bucket of `burst` tokens for each client that refills by `per_second`; a request takes one.

    The buckets of the 10,000 clients seen last are remembered.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> float:
        """Take a token; return 0, or the seconds until there is one again if the bucket is empty.

        Args:
            client: Address of the client.
            now: Seconds of a monotonic clock.
        """
        tokens, then = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        self._buckets[client] = (tokens - 1 if wait == 0.0 else tokens, now)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return wait
