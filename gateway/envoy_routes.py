"""Envoy's routes, one for each method of the contracts."""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.contracts import PLAIN_BODY_BYTES, Deployable, body_bytes
from gateway.edge.introspection import HEALTH_CHECK, REFLECTION
from gateway.edge.key_exchange import HEADER as KEY_HEADER
from gateway.edge.pages import PAGES
from gateway.envoy_cors import cors_policy
from gateway.envoy_limits import RATE_LIMIT
from gateway.envoy_transcoder import TRANSCODER, transcoder
from gateway.policy import Policy
from gateway.routes import PathTemplate
from mesh.contract.catalogue import HttpRoute, Method, Upload

Json = dict[str, Any]
EDGE_AUTHZ = "edge-authz"
EDGE_HTTP = "edge-http"
NOWHERE = "nowhere"
"""A cluster that does not exist."""
OPEN_PATHS = ("/healthz", "/openapi.json", *PAGES)
"""Served by the edge without a token."""
JWT_AUTHN = "envoy.filters.http.jwt_authn"
EXT_AUTHZ = "envoy.filters.http.ext_authz"
API_KEYS = "secmesh.api_keys"
"""The filter that has API keys exchanged for tokens."""
OPEN_FILTERS = (API_KEYS, JWT_AUTHN, RATE_LIMIT, EXT_AUTHZ, TRANSCODER)
"""Filters that open paths do not pass."""
REQUEST_ID = r"[A-Za-z0-9._-]{1,128}"
GRPC_WEB = r"application/grpc-web(-text)?(\+proto)?"
"""Content types that the grpc_web filter makes gRPC of; no other may pass by the edge."""
EVENT_STREAM = "text/event-stream"
GRPC_TYPES = rf"application/grpc(\+.*)?|{GRPC_WEB}"
EDGE_SECONDS = "60s"
MARGIN_SECONDS = 2
"""The service ends a call at its deadline, with a typed error; Envoy only if it does not."""
_OFF = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}


def virtual_host(services: Sequence[Deployable], image: str, policy: Policy) -> Json:
    """Give the one virtual host: open paths, methods by gRPC path, events, big bodies, 404."""
    methods = [(service, method) for service in services for method in service.methods]
    return {
        "name": "secmesh",
        "domains": ["*"],
        "routes": [
            _malformed_request_id(),
            *(_open_route(path) for path in OPEN_PATHS),
            _edge_grpc_route(HEALTH_CHECK, (API_KEYS, JWT_AUTHN, RATE_LIMIT, EXT_AUTHZ)),
            _edge_grpc_route(REFLECTION, (EXT_AUTHZ,)),
            *(_method_route(service, method) for service, method in methods),
            *(
                _events_route(service, method, route, image)
                for service, method in methods
                for route in method.routes
                if method.descriptor.server_streaming
            ),
            *(
                _big_body_route(method, route)
                for _, method in methods
                for route in method.routes
                if body_bytes(method, route) > PLAIN_BODY_BYTES
            ),
            *_grpc_to_nowhere(),
            *(
                upload_route
                for _, method in methods
                for route in method.routes
                if method.upload is not None
                for upload_route in _upload_routes(route, method.upload)
            ),
            _rest_route(),
        ],
        "request_headers_to_remove": [KEY_HEADER],  # on open paths, too, it goes nowhere
        **cors_policy(services, policy),
    }


def _malformed_request_id() -> Json:
    header = {
        "name": "x-request-id",
        "string_match": {"safe_regex": {"regex": REQUEST_ID}},
        "invert_match": True,
        "treat_missing_header_as_empty": False,
    }
    return {
        "name": "malformed request id",
        "match": {"prefix": "/", "headers": [header]},
        "direct_response": {"status": 400},
        "typed_per_filter_config": {EXT_AUTHZ: _OFF},
    }


def _open_route(path: str) -> Json:
    return {
        "name": path,
        "match": {"path": path, "headers": [_header_is(":method", "GET|HEAD")]},
        # Who asks for the document first waits until it is written.
        "route": {"cluster": EDGE_HTTP, "timeout": "60s"},
        "typed_per_filter_config": dict.fromkeys(OPEN_FILTERS, _OFF),
    }


def _edge_grpc_route(path: str, off: tuple[str, ...]) -> Json:
    """Route what the edge answers over gRPC for all services; not for REST callers."""
    return {
        "name": path,
        "match": {"path": path, "headers": [_header_is("content-type", GRPC_TYPES)]},
        "route": {
            "cluster": EDGE_AUTHZ,
            "timeout": "0s",
            "max_stream_duration": {
                "max_stream_duration": EDGE_SECONDS,
                "grpc_timeout_header_max": EDGE_SECONDS,
            },
        },
        "typed_per_filter_config": dict.fromkeys(off, _OFF),
    }


def _header_is(name: str, regex: str) -> Json:
    return {"name": name, "string_match": {"safe_regex": {"regex": regex}}}


def _method_route(service: Deployable, method: Method) -> Json:
    """Route a gRPC path: native calls, and REST calls once the transcoder has rewritten them."""
    seconds = f"{method.timeout.total_seconds() + MARGIN_SECONDS:g}s"
    route: Json = {
        "cluster": service.name,
        "timeout": "0s",  # the stream's duration is bounded instead, by the caller's deadline too
        "idle_timeout": seconds,
        "max_stream_duration": {"max_stream_duration": seconds, "grpc_timeout_header_max": seconds},
    }
    if method.upload is None:  # Envoy keeps no file to send it again
        route["retry_policy"] = _retries(method)
    return {
        "name": method.path,
        "match": {"path": method.path},
        "route": route,
        # A native call's body is Protobuf, which the service itself checks.
        "typed_per_filter_config": {EXT_AUTHZ: _OFF},
    }


def _retries(method: Method) -> Json:
    """Try again what no service has seen; what one may have seen only if that does no harm."""
    unseen = "connect-failure,refused-stream"  # RFC 9113, 8.7: a refused stream was not processed
    predicate = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {
        "retry_on": f"{unseen},unavailable" if method.idempotent else unseen,
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.05s", "max_interval": "1s"},
        # A replica that has just failed is asked again only if there is no other.
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"type.googleapis.com/{predicate}"},
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }


def _events_route(service: Deployable, method: Method, route: HttpRoute, image: str) -> Json:
    """Route REST callers of a stream who ask for server-sent events."""
    accept = {"name": "accept", "string_match": {"contains": EVENT_STREAM, "ignore_case": True}}
    match = _rest_match(route)
    # Elsewhere Envoy sends the limit on, but not on a route that is found before transcoding.
    seconds = f"{int(method.timeout.total_seconds() + MARGIN_SECONDS)}S"
    limit = {"header": {"key": "grpc-timeout", "value": seconds}, "append_action": "ADD_IF_ABSENT"}
    return {
        **_method_route(service, method),
        "request_headers_to_add": [limit],
        "name": f"{route.verb} {route.template} as events",
        "match": {**match, "headers": [*match["headers"], accept]},
        "typed_per_filter_config": {TRANSCODER: transcoder(image, [service], events=True)},
    }


def _rest_match(route: HttpRoute) -> Json:
    return {
        "safe_regex": {"regex": PathTemplate.parse(route.template).regex()},
        "headers": [{"name": ":method", "string_match": {"exact": route.verb}}],
    }


def _big_body_route(method: Method, route: HttpRoute) -> Json:
    limit = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "check_settings": {
            "with_request_body": {
                "max_request_bytes": body_bytes(method, route),
                "pack_as_bytes": True,
            }
        },
    }
    return {
        **_rest_route(),
        "name": f"{route.verb} {route.template}",
        "match": _rest_match(route),
        "typed_per_filter_config": {EXT_AUTHZ: limit},
    }


def _upload_routes(route: HttpRoute, upload: Upload) -> Iterator[Json]:
    """Route a file of any size past the edge's look at bodies, but not of paths and queries.

    A file that says beforehand that it is too large is not taken at all; the service stops one
    that turns out so.
    """
    match = _rest_match(route)
    too_large = {
        "name": "content-length",
        "range_match": {"start": upload.max_bytes + 1, "end": 2**63 - 1},
    }
    yield {
        "name": f"{route.verb} {route.template} too large",
        "match": {**match, "headers": [*match["headers"], too_large]},
        "direct_response": {"status": 413},
        "typed_per_filter_config": dict.fromkeys((EXT_AUTHZ, TRANSCODER), _OFF),
    }
    unread = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "check_settings": {"disable_request_body_buffering": True},
    }
    yield {
        **_rest_route(),
        "name": f"{route.verb} {route.template}",
        "match": match,
        "typed_per_filter_config": {EXT_AUTHZ: unread},
    }


def _grpc_to_nowhere() -> Iterator[Json]:
    """Route gRPC callers without method past the edge: its refusals are written for REST."""
    web = _header_is("content-type", GRPC_WEB)
    for name, match in (("gRPC", {"grpc": {}}), ("gRPC-Web", {"headers": [web]})):
        yield {
            **_rest_route(),
            "name": f"no {name} method",
            "match": {"prefix": "/", **match},
            "typed_per_filter_config": {EXT_AUTHZ: _OFF},
        }


def _rest_route() -> Json:
    """Route what the transcoder has not rewritten: to nothing.

    A direct response would do the same, but tells pages of allowed origins nothing.
    """
    return {
        "name": "no method",
        "match": {"prefix": "/"},
        "route": {"cluster": NOWHERE, "cluster_not_found_response_code": "NOT_FOUND"},
    }
