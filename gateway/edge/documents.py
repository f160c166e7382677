"""What the edge serves over HTTP: the OpenAPI document and the gateway's health."""

import asyncio
from collections.abc import Callable

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.edge.health import SERVING, HealthProbe
from gateway.edge.key_set import KeySets
from gateway.edge.pages import page_routes
from gateway.envoy_filters import KEYS_ISSUER, KEYS_PATH
from gateway.refusals import JSON, body_of, http_status
from mesh.errors import DependencyUnavailable, InternalError, PathUnknown, Refusal

DOCUMENT_SECONDS = 300


def application(openapi: Callable[[], bytes], probe: HealthProbe, keys: KeySets) -> Starlette:
    """Give the ASGI application.

    Args:
        openapi: Writes the OpenAPI document of the services served, which takes seconds; it is
            asked once, when somebody wants it.
        probe: Asked for ``/healthz``.
        keys: Served for Envoy, which has no route to them for others.
    """

    one_at_a_time = asyncio.Lock()
    written: list[bytes] = []

    async def get_openapi(_: Request) -> Response:
        async with one_at_a_time:
            if not written:
                written.append(await asyncio.to_thread(openapi))
        headers = {"cache-control": f"public, max-age={DOCUMENT_SECONDS}"}
        return Response(written[0], media_type=JSON, headers=headers)

    async def get_health(request: Request) -> Response:
        statuses = await probe.statuses()
        failed = sorted(name for name, status in statuses.items() if status != SERVING)
        if failed:
            return _refused(DependencyUnavailable(", ".join(failed)), request)
        content = orjson.dumps({"status": SERVING, "services": dict(statuses)})
        return Response(content, media_type=JSON, headers={"cache-control": "no-store"})

    async def get_keys(request: Request) -> Response:
        key_set = keys.of(request.query_params.get(KEYS_ISSUER, ""))
        if key_set is None:
            return _refused(PathUnknown(request.url.path), request)
        try:
            content = await key_set.content()
        except DependencyUnavailable as refusal:
            return _refused(refusal, request)
        return Response(content, media_type=JSON, headers={"cache-control": "no-store"})

    return Starlette(
        routes=[
            Route("/openapi.json", get_openapi),
            Route("/healthz", get_health),
            Route(KEYS_PATH, get_keys),
            *page_routes(),
        ],
        exception_handlers={HTTPException: _unknown, Exception: _failed},
    )


def _refused(refusal: Refusal, request: Request) -> Response:
    request_id = request.headers.get("x-request-id", "")
    status = http_status(refusal.reason.code)
    return Response(body_of(refusal, request_id), status, media_type=JSON)


async def _unknown(request: Request, _: Exception) -> Response:
    return _refused(PathUnknown(request.url.path), request)


async def _failed(request: Request, _: Exception) -> Response:
    return _refused(InternalError(), request)
