"""Envoy's whole configuration, rendered from the contracts.

Written for Envoy 1.40. Nothing here names a service, a route or a method: they come
from the contracts, the addresses from the caller.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from gateway.contracts import select
from gateway.envoy_clusters import (
    collector_cluster,
    edge_authz_cluster,
    edge_http_cluster,
    service_cluster,
    socket_address,
)
from gateway.envoy_filters import connection_manager
from gateway.envoy_routes import EDGE_AUTHZ, EDGE_HTTP
from gateway.envoy_tls import Tls, listener_tls
from gateway.envoy_tracing import COLLECTOR
from gateway.policy import Policy

Json = dict[str, Any]
BUFFER_BYTES = 1024 * 1024
CONNECTIONS = 10_000
REGEX_PROGRAM_SIZE = 4_000
PLAINTEXT = Tls()


@dataclass(frozen=True)
class Addresses:
    """Where everything is, each as ``host:port``."""

    listen: str
    edge_authz: str
    edge_http: str
    otlp: str = ""
    """Of the collector of traces (OTLP over gRPC); empty for none."""
    admin: str = ""
    """Envoy's admin port; empty for none. It obeys anyone, so keep it on loopback."""


class AdminExposed(ValueError):
    """The admin port would listen beyond this machine."""


def render(
    services: Mapping[str, str],
    addresses: Addresses,
    policy: Policy,
    *,
    image: str,
    tls: Tls = PLAINTEXT,
) -> Json:
    """Give the bootstrap configuration.

    Args:
        services: Address by service name, such as ``{"inventory": "127.0.0.1:5000"}``;
            addresses of replicas are joined by ``+``.
        addresses: Of the listener, the edge and the admin port.
        policy: Whose tokens are believed, and what is allowed.
        image: Path of the descriptor image, as Envoy will see it.
        tls: Towards callers and towards services.

    Raises ServiceUnknown, AddressInvalid, AdminExposed.
    """
    chosen = select(services)
    manager = connection_manager(chosen, image, policy, traced=bool(addresses.otlp))
    bootstrap: Json = {
        "node": {"id": "gateway", "cluster": "secmesh"},
        "static_resources": {
            "listeners": [_listener(addresses.listen, manager, tls)],
            "clusters": [
                *(
                    service_cluster(each.name, services[each.name], policy.concurrent_requests, tls)
                    for each in chosen
                ),
                edge_authz_cluster(EDGE_AUTHZ, addresses.edge_authz),
                edge_http_cluster(EDGE_HTTP, addresses.edge_http),
                *([collector_cluster(COLLECTOR, addresses.otlp)] if addresses.otlp else ()),
            ],
        },
        "overload_manager": _overload(),
        # Our expressions come from the contracts; Envoy's own limit of 100 is too small for them.
        "layered_runtime": {
            "layers": [
                {
                    "name": "static",
                    "static_layer": {"re2.max_program_size.error_level": REGEX_PROGRAM_SIZE},
                }
            ]
        },
    }
    if addresses.admin:
        bootstrap["admin"] = _admin(addresses.admin)
    return bootstrap


def to_yaml(bootstrap: Json) -> str:
    """Write a configuration as Envoy reads it."""
    return yaml.dump(bootstrap, Dumper=_Plain, sort_keys=False, width=120)


class _Plain(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (the reader sees no anchors)
        return True


def _listener(address: str, manager: Json, tls: Tls) -> Json:
    return {
        "name": "gateway",
        "address": socket_address(address),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        # A second gateway on the same port must fail, not share it silently.
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [manager], **listener_tls(tls)}],
    }


def _admin(address: str) -> Json:
    bound = socket_address(address)
    if bound["socket_address"]["address"] not in ("127.0.0.1", "::1"):
        raise AdminExposed(f"the admin port obeys anyone: {address} is not on loopback")
    return {"address": bound}


def _overload() -> Json:
    limit = {
        "@type": "type.googleapis.com/envoy.extensions.resource_monitors"
        ".downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": CONNECTIONS,
    }
    name = "envoy.resource_monitors.global_downstream_max_connections"
    return {"resource_monitors": [{"name": name, "typed_config": limit}]}
