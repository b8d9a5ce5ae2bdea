"""Every error as JSON with a type, a message and a status that says the same."""

from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from widedeep.serving.messages import ErrorAnswer, ErrorType, problem
from widedeep.serving.service import NoChampionError

Responses = dict[int | str, dict[str, Any]]

ANY_TIME: Responses = {
    status: {"model": ErrorAnswer, "description": about}
    for status, about in {
        413: "The body is too large",
        422: "The request is not as described",
        429: "Too many requests; Retry-After says when",
        500: "The server failed",
        503: "No champion yet",
        504: "No answer in time",
    }.items()
}
NO_SUCH_MOVIE: Responses = {404: {"model": ErrorAnswer, "description": "No such movie"}}
STORAGE: Responses = {507: {"model": ErrorAnswer, "description": "The disk does not take it"}}

_TYPES = {
    404: ErrorType.NOT_FOUND,
    405: ErrorType.METHOD_NOT_ALLOWED,
    422: ErrorType.INVALID,
    507: ErrorType.STORAGE,
}
_MOST_FAULTS = 5


def answer_failures(app: FastAPI) -> None:
    """Have an application answer errors so."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(NoChampionError, _no_champion)
    app.add_exception_handler(Exception, _failed)


async def _invalid(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)  # noqa: S101  it is registered for these
    told = [f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors()[:_MOST_FAULTS]]
    return _answer(422, ErrorType.INVALID, "; ".join(told))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  likewise
    # FastAPI says 400 of a body that is no text, and 422 of one that is no JSON.
    status = 422 if error.status_code == 400 else error.status_code  # noqa: PLR2004
    message = f"{request.method} {request.url.path}: {error.detail}"
    return _answer(status, _TYPES[status], message, dict(error.headers or {}))


async def _no_champion(request: Request, error: Exception) -> Response:
    del request
    return _answer(503, ErrorType.NO_CHAMPION, str(error))


async def _failed(request: Request, error: Exception) -> Response:
    """What is raised again afterwards, and logged by the guard."""
    del request, error
    return _answer(500, ErrorType.INTERNAL, "the server failed; its log says why")


def _answer(
    status: int, kind: ErrorType, message: str, headers: dict[str, str] | None = None
) -> Response:
    body = orjson.dumps(problem(kind, message))
    return Response(body, status, headers, media_type="application/json")


def _place(location: tuple[int | str, ...]) -> str:
    """`candidates.3` of ("body", "candidates", 3)."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])
