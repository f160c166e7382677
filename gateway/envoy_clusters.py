"""Upstreams of the gateway: one cluster for each service, and the edge's two."""

from typing import Any

from gateway.envoy_tls import Tls, cluster_tls, is_ip

Json = dict[str, Any]
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HEALTH_SECONDS = 1
"""Between two probes: shorter than a service waits from NOT_SERVING until it refuses calls."""
HEALTH_TIMEOUT_SECONDS = 5
STREAMS_PER_CONNECTION = 100
REQUESTS = 1024
"""Calls of one service at a time; more are refused at once."""


class AddressInvalid(ValueError):
    """An address is not ``host:port``."""


def split_address(address: str, *, any_port: bool = False) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``; port 0 only if any port will do.

    Raises AddressInvalid.
    """
    host, colon, port = address.rpartition(":")
    if (
        not colon
        or not host
        or not port.isdecimal()
        or not (0 if any_port else 1) <= int(port) < 65536
    ):
        raise AddressInvalid(f"{address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def replicas(addresses: str) -> tuple[str, ...]:
    """Split the addresses of one service, joined by ``+``."""
    return tuple(addresses.split("+"))


def socket_address(address: str) -> Json:
    """Give Envoy's form of an address. Raises AddressInvalid."""
    host, port = split_address(address)
    return {"socket_address": {"address": host, "port_value": port}}


def _protocol(kind: str, options: Json) -> Json:
    config = {
        "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
        "explicit_http_config": {kind: options},
    }
    return {_HTTP_OPTIONS: config}


def _http2() -> Json:
    options = {
        # One busy connection would starve all but one worker behind SO_REUSEPORT.
        "max_concurrent_streams": STREAMS_PER_CONNECTION,
        "connection_keepalive": {"interval": "60s", "timeout": "20s"},
    }
    return _protocol("http2_protocol_options", options)


def _cluster(name: str, addresses: str, protocol: Json, requests: int = REQUESTS) -> Json:
    listed = replicas(addresses)
    endpoints = [{"endpoint": {"address": socket_address(each)}} for each in listed]
    fixed = all(is_ip(split_address(each)[0]) for each in listed)
    return {
        "name": name,
        "type": "STATIC" if fixed else "STRICT_DNS",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "typed_extension_protocol_options": protocol,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 256,
                    "max_pending_requests": requests,
                    "max_requests": requests,
                    "max_retries": 16,
                }
            ]
        },
    }


def service_cluster(name: str, addresses: str, requests: int, tls: Tls) -> Json:
    """Give the cluster of a service: HTTP/2, gRPC health checks, ejection of bad replicas."""
    health = {
        # A busy service answers late; one that is gone refuses the connection at once.
        "timeout": f"{HEALTH_TIMEOUT_SECONDS}s",
        "interval": f"{HEALTH_SECONDS}s",
        "no_traffic_interval": f"{HEALTH_SECONDS}s",
        "unhealthy_interval": "1s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    }
    return {
        **_cluster(name, addresses, _http2(), requests),
        **cluster_tls(tls, [split_address(each)[0] for each in replicas(addresses)]),
        "health_checks": [health],
        # Nothing is sent to a service that says it cannot serve, even if it is the last one.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "outlier_detection": {
            "consecutive_gateway_failure": 5,
            "enforcing_consecutive_gateway_failure": 100,
            "enforcing_consecutive_5xx": 0,
            "enforcing_success_rate": 0,
            "max_ejection_percent": 50,
        },
    }


def edge_authz_cluster(name: str, address: str) -> Json:
    """Give the cluster of the edge's checks (gRPC)."""
    return _cluster(name, address, _http2())


def collector_cluster(name: str, address: str) -> Json:
    """Give the cluster of the collector of traces (gRPC)."""
    return _cluster(name, address, _http2())


def edge_http_cluster(name: str, address: str) -> Json:
    """Give the cluster of the edge's documents (HTTP/1.1)."""
    return _cluster(name, address, _protocol("http_protocol_options", {}))
