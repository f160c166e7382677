"""The page that shows the OpenAPI document: three files, no other origin."""

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PAGES = {
    "/docs": ("docs.html", "text/html"),
    "/docs.css": ("docs.css", "text/css"),
    "/docs.js": ("docs.js", "text/javascript"),
}
"""File and media type by path."""
_HEADERS = {
    # No script, style or connection but this origin's; nothing may frame the page.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def page_routes() -> list[Route]:
    """Give the routes of the page's files."""
    return [_route(path, name, media_type) for path, (name, media_type) in PAGES.items()]


def _route(path: str, name: str, media_type: str) -> Route:
    content = (files("gateway") / "pages" / name).read_bytes()

    async def get(_: Request) -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return Route(path, get)
