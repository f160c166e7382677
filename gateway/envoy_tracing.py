"""Traces that begin at the gateway, or go on there from the caller's (W3C trace context)."""

from typing import Any

Json = dict[str, Any]
COLLECTOR = "otlp"
_CONFIG = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig"
PATH_BYTES = 1
"""Of a path in a span: paths hold names of resources, and queries hold conditions."""


def tracing() -> Json:
    """Give the connection manager's part: every request that its caller does not except."""
    return {
        "tracing": {
            "random_sampling": {"value": 100},
            "max_path_tag_length": PATH_BYTES,
            "provider": {
                "name": "envoy.tracers.opentelemetry",
                "typed_config": {
                    "@type": _CONFIG,
                    "grpc_service": {
                        "envoy_grpc": {"cluster_name": COLLECTOR},
                        "timeout": "1s",
                    },
                    "service_name": "secmesh-gateway",
                },
            },
        }
    }
