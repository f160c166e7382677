"""The HTTP filters a request passes, in order, and the connection manager around them."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from gateway.contracts import PLAIN_BODY_BYTES, Deployable
from gateway.envoy_api_keys import api_keys
from gateway.envoy_cors import CORS
from gateway.envoy_limits import RATE_LIMIT, rate_limit
from gateway.envoy_routes import EDGE_AUTHZ, EDGE_HTTP, EXT_AUTHZ, JWT_AUTHN, virtual_host
from gateway.envoy_tracing import tracing
from gateway.envoy_transcoder import TRANSCODER, transcoder
from gateway.local_replies import local_reply_config
from gateway.policy import Policy
from mesh.identity.token import LEEWAY_SECONDS, service_audience

Json = dict[str, Any]
KEYS_PATH = "/jwks.json"
"""Where the edge serves the issuer's public keys, to Envoy alone."""
KEYS_ISSUER = "issuer"
"""Query parameter that names whose they are; without it they are the first one's."""
KEYS_SECONDS = 1
"""How old the keys may be that Envoy believes."""
FETCH_AHEAD_SECONDS = 5
"""Envoy fetches keys so long before it would forget them."""
MEBIBYTE = 1024 * 1024
IDENTITY_HEADERS = ("x-tenant", "x-subject")
"""Names that a service could take for the caller's; who that is says the token alone."""
CLAIMS = "claims"
"""Where the verified claims are kept for the log. As headers, a claim with a line break in it
would break the call on its way."""
_EXTENSIONS = "type.googleapis.com/envoy.extensions"


def _filter(name: str, type_url: str, **config: Any) -> Json:
    return {
        "name": name,
        "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.{type_url}", **config},
    }


def _strip_identity() -> Json:
    """Remove what only the gateway may say, before anything reads it."""
    mutations: list[Json] = [{"remove": name} for name in IDENTITY_HEADERS]
    # Orders to Envoy itself (retries, timeouts), and the transcoder's marks.
    mutations.append({"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}})
    # No method reads binary metadata, and gRPC fails a call over any that is not base64.
    mutations.append({"remove_on_match": {"key_matcher": {"suffix": "-bin"}}})
    return _filter(
        "envoy.filters.http.header_mutation",
        "header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": mutations},
    )


def _verify_token(services: tuple[Deployable, ...], policy: Policy) -> Json:
    # Whom a token of one service names is that service's to judge.
    audiences = [
        policy.audience,
        *(service_audience(policy.audience, each.name) for each in services),
    ]
    first, *further = policy.issuer, *policy.further_issuers
    providers = {"issuer": _provider(first, audiences, "")}
    for number, issuer in enumerate(further, 2):
        query = urlencode({KEYS_ISSUER: issuer})
        providers[f"issuer-{number}"] = _provider(issuer, audiences, f"?{query}")
    needed: list[Json] = [{"provider_name": name} for name in providers]
    requires = {"requires_any": {"requirements": needed}} if further else needed[0]
    return _filter(
        JWT_AUTHN,
        "jwt_authn.v3.JwtAuthentication",
        providers=providers,
        rules=[*_without_token(services), {"match": {"prefix": "/"}, "requires": requires}],
    )


def _provider(issuer: str, audiences: list[str], query: str) -> Json:
    uri = f"http://edge{KEYS_PATH}{query}"
    return {
        "issuer": issuer,
        "audiences": audiences,
        "require_expiration": True,
        "remote_jwks": {
            # Envoy reads a file of keys once; from the edge it fetches them again and again.
            "http_uri": {"uri": uri, "cluster": EDGE_HTTP, "timeout": "2s"},
            "cache_duration": f"{KEYS_SECONDS + FETCH_AHEAD_SECONDS}s",
            "async_fetch": {"failed_refetch_duration": f"{KEYS_SECONDS}s"},
        },
        "forward": True,
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "clock_skew_seconds": LEEWAY_SECONDS,
        "payload_in_metadata": CLAIMS,
    }


def _without_token(services: tuple[Deployable, ...]) -> Iterator[Json]:
    """Let calls of methods that need no token pass; a rule without requirement asks nothing."""
    for method in (each for service in services for each in service.methods):
        if method.without_token:
            for path in (method.path, *(route.template for route in method.routes)):
                yield {"match": {"path": path}}


def _ask_edge() -> Json:
    exact = [{"exact": name} for name in ("content-type", "x-request-id")]
    return _filter(
        EXT_AUTHZ,
        "ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        grpc_service={"envoy_grpc": {"cluster_name": EDGE_AUTHZ}, "timeout": "5s"},
        with_request_body={"max_request_bytes": PLAIN_BODY_BYTES, "pack_as_bytes": True},
        allowed_headers={"patterns": exact},  # the token stays here
        status_on_error={"code": "ServiceUnavailable"},
        validate_mutations=True,
    )


def _access_log() -> Json:
    """Log one JSON line a request on standard error; queries may hold personal data."""
    line = {
        "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%9fZ)%",
        "message": "request",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "tenant": f"%DYNAMIC_METADATA({JWT_AUTHN}:{CLAIMS}:tenant)%",
        "connection": "%CONNECTION_ID%",
        "verb": "%REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH)%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "service": "%UPSTREAM_CLUSTER%",
        "milliseconds": "%DURATION%",
    }
    return {
        "name": "envoy.access_loggers.stderr",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.access_loggers.stream.v3.StderrAccessLog",
            "log_format": {"json_format": line},
        },
    }


def _http_filters(services: tuple[Deployable, ...], image: str, policy: Policy) -> Iterator[Json]:
    yield _strip_identity()
    yield _filter(CORS, "cors.v3.Cors")  # answers preflights, which carry no token
    yield _filter("envoy.filters.http.grpc_web", "grpc_web.v3.GrpcWeb")
    yield api_keys()
    yield _verify_token(services, policy)
    if policy.requests_per_second:
        settings = rate_limit(policy, (JWT_AUTHN, CLAIMS))
        yield _filter(RATE_LIMIT, "local_ratelimit.v3.LocalRateLimit", **settings)
    yield _ask_edge()
    yield {"name": TRANSCODER, "typed_config": transcoder(image, services)}
    yield _filter("envoy.filters.http.router", "router.v3.Router", suppress_envoy_headers=True)


def connection_manager(
    services: tuple[Deployable, ...], image: str, policy: Policy, *, traced: bool = False
) -> Json:
    """Give the network filter that serves HTTP/1.1 and HTTP/2 on one port."""
    config = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "codec_type": "AUTO",
        "server_name": "secmesh",
        **_edge_of_trust(),
        **_timeouts(),
        **(tracing() if traced else {}),
        "access_log": [_access_log()],
        "local_reply_config": local_reply_config(),
        "route_config": {
            "name": "contracts",
            "virtual_hosts": [virtual_host(services, image, policy)],
            "validate_clusters": False,  # one is not there on purpose
        },
        "http_filters": list(_http_filters(services, image, policy)),
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def _edge_of_trust() -> Json:
    """Treat every caller as a stranger, one on the same machine too."""
    request_id = {
        "@type": f"{_EXTENSIONS}.request_id.uuid.v3.UuidRequestIdConfig",
        "pack_trace_reason": False,
        "use_request_id_for_trace_sampling": False,
    }
    return {
        "use_remote_address": True,
        "internal_address_config": {"unix_sockets": False},
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "strip_any_host_port": True,
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {"typed_config": request_id},
        # A stream's end travels in trailers over HTTP/1.1 as well.
        "http_protocol_options": {"enable_trailers": True},
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": MEBIBYTE,
            "initial_connection_window_size": MEBIBYTE,
        },
    }


def _timeouts() -> Json:
    return {
        "request_headers_timeout": "10s",
        "stream_idle_timeout": "60s",
        "drain_timeout": "10s",
        "common_http_protocol_options": {
            "idle_timeout": "300s",
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
    }
