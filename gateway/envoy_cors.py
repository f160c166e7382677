"""Cross-origin requests of web pages (Fetch standard): refused, unless an origin is named."""

from collections.abc import Iterable
from typing import Any

from gateway.contracts import Deployable
from gateway.policy import Policy

Json = dict[str, Any]
CORS = "envoy.filters.http.cors"
SENT = (
    *("accept", "authorization", "content-type", "x-api-key", "x-request-id"),
    *("grpc-timeout", "x-grpc-web", "x-user-agent"),
)
"""Headers that a page may send: ours, and those that gRPC-Web clients add."""
SHOWN = (
    *("x-request-id", "grpc-status", "grpc-message", "grpc-status-details-bin"),
    *("retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
)
"""Headers of an answer that a page may read."""
PREFLIGHT_SECONDS = 600


def cors_policy(services: Iterable[Deployable], policy: Policy) -> Json:
    """Give the settings of the virtual host; empty where no origin is allowed."""
    if not policy.cors_origins:
        return {}
    verbs = {route.verb for each in services for method in each.methods for route in method.routes}
    settings = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in policy.cors_origins],
        "allow_methods": ", ".join(sorted(verbs | {"GET", "POST"})),
        "allow_headers": ", ".join(SENT),
        "expose_headers": ", ".join(SHOWN),
        "max_age": str(PREFLIGHT_SECONDS),
        # Tokens travel in a header that a page must hold; cookies mean nothing here.
        "allow_credentials": False,
    }
    # What a cache keeps for one origin is not for another.
    vary = {"header": {"key": "vary", "value": "origin"}}
    return {"typed_per_filter_config": {CORS: settings}, "response_headers_to_add": [vary]}
