"""Channel settings derived from the contract (gRFC A6: retries in the service config)."""

import json
from collections.abc import Mapping
from typing import Any

from secmesh_client.contract import Rule, rules

MIB = 1 << 20
MAX_ATTEMPTS = 5
"""The pauses between them add up to more than the longest before a new connection is tried."""
LONGEST_RECONNECT_MS = 800
_FIRST_RECONNECT_MS = 200
_RETRY_POLICY = {
    "maxAttempts": MAX_ATTEMPTS,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# A server that fails one call in ten is not helped by retries: they stop below half the tokens.
_RETRY_THROTTLING = {"maxTokens": 100, "tokenRatio": 0.1}


def service_config(methods: Mapping[str, Rule]) -> dict[str, Any]:
    """Write the service config of methods: only what is safe to send again is retried.

    Hedging is left out: gRPC's C core does not have it.
    """
    names = []
    for method in methods.values():
        if method.idempotent:
            service, name = method.path.lstrip("/").split("/")
            names.append({"service": service, "method": name})
    return {
        "methodConfig": [{"name": names, "retryPolicy": _RETRY_POLICY}] if names else [],
        "retryThrottling": _RETRY_THROTTLING,
    }


def channel_options(package: str, max_message_bytes: int) -> list[tuple[str, str | int]]:
    """Give the options of a channel to the services of one package; all if it is empty."""
    return [
        ("grpc.service_config", json.dumps(service_config(rules(package)))),
        # The contract decides about retries, not a DNS record.
        ("grpc.service_config_disable_resolution", 1),
        # 4 MiB by default for what is received, no limit for what is sent.
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # gRPC waits up to 2 minutes, and meanwhile refuses calls to a server that is back.
        ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", LONGEST_RECONNECT_MS),
        # Servers bear a ping each 30 s; without calls none is sent (GOAWAY too_many_pings).
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 0),
        # A quiet stream must go on being pinged, or a dead peer is never noticed.
        ("grpc.http2.max_pings_without_data", 0),
    ]
