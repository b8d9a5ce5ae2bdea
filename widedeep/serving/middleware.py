"""What stands between the network and the application: limits, measured time, typed errors.

A limit on how often each client may ask (token bucket).
"""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from widedeep.serving.schemas import ErrorType, problem
from widedeep.serving.telemetry import Telemetry

_MOST_CLIENTS = 10_000


class TokenBuckets:
    """Each client has a bucket of `burst` tokens that fills by `per_second`; asking takes one."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> float:
        """Seconds until the client may ask again; 0 if it may now.

        Args:
            client: Whoever asks.
            now: Seconds of a clock that never goes back.
        """
        tokens, then = self._held.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        self._held[client] = (tokens - 1 if wait == 0.0 else tokens, now)
        if len(self._held) > _MOST_CLIENTS:
            self._held.popitem(last=False)
        return wait


_LOGGER = logging.getLogger("widedeep.serving")
_NOT_FOUND = "unmatched"


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a request may cost.

    Attributes:
        body: Bytes.
        seconds: Until it is given up.
        per_second: Requests of one client (by address) in the long run.
        burst: Requests of one client at once.
    """

    body: int = 64 * 1024
    seconds: float = 10.0
    per_second: float = 1000.0
    burst: float = 2000.0


class _TooLargeError(Exception):
    pass


class RequestGuard:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, limits: RequestLimits, telemetry: Telemetry) -> None:
        self._app = app
        self._limits = limits
        self._telemetry = telemetry
        self._buckets = TokenBuckets(limits.per_second, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other scopes go through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, answer = time.perf_counter(), _Answer(send)
        try:
            await self._answer(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", _NOT_FOUND)
            seconds = time.perf_counter() - begun
            self._telemetry.answered(route, scope["method"], answer.status, seconds)

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        client = scope["client"][0] if scope.get("client") else "unknown"
        wait = self._buckets.take(client, time.monotonic())
        if wait:
            headers = {"retry-after": str(math.ceil(wait))}
            message = f"more than {self._limits.per_second:g} requests a second"
            await answer.fail(429, ErrorType.TOO_MANY_REQUESTS, message, headers)
            return
        try:
            async with asyncio.timeout(self._limits.seconds):
                body = await self._body(scope, receive)
                await self._app(scope, _replayed(body, receive), answer.send)
        except _TooLargeError:
            message = f"the body has more than {self._limits.body} bytes"
            await answer.fail(413, ErrorType.TOO_LARGE, message, {"connection": "close"})
        except TimeoutError:
            message = f"no answer within {self._limits.seconds:g} s"
            await answer.fail(504, ErrorType.TIMEOUT, message, {"connection": "close"})
        except Exception:
            _LOGGER.exception("%s %s failed", scope["method"], scope["path"])
            await answer.fail(500, ErrorType.INTERNAL, "the server failed; its log says why")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """All of it, so that the application never waits for a slow client."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        said = headers.get(b"content-length", b"0")
        if said.isdigit() and int(said) > self._limits.body:
            raise _TooLargeError
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._limits.body:
                raise _TooLargeError
            more = message.get("more_body", False)
        return b"".join(parts)


class _Answer:
    """Passes an answer on and remembers its status (0: none was begun)."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def fail(
        self, status: int, kind: ErrorType, message: str, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with an error, unless an answer has begun."""
        if self.status:
            return
        body = orjson.dumps(problem(kind, message))
        given = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **(headers or {}),
        }
        raw = [(name.encode(), value.encode()) for name, value in given.items()]
        start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": raw}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read, then whatever comes."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again
