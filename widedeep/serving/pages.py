"""The page: three files that are sent as they are."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import APIRouter, Response

_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "texts.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def page_router() -> APIRouter:
    """`/` and the files it names; nothing else is to be had, whatever the path."""
    router = APIRouter(include_in_schema=False)
    folder = files("widedeep.serving") / "page"
    for name, media_type in _TYPES.items():
        path = "/" if name == "index.html" else f"/{name}"
        sent = _sender((folder / name).read_bytes(), media_type)
        router.add_api_route(path, sent, methods=["GET", "HEAD"])
    return router


def _sender(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(content, headers=_HEADERS, media_type=media_type)

    return send
