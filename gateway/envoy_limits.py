"""Limits of requests: a token bucket for each tenant, in Envoy's memory."""

from typing import Any

from gateway.policy import Policy

Json = dict[str, Any]
RATE_LIMIT = "envoy.filters.http.local_ratelimit"
TENANTS = 10_000
"""Buckets kept at once; the least recently used makes room."""
REFILL_SECONDS = 1
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def rate_limit(policy: Policy, claims: tuple[str, str]) -> Json:
    """Give the settings of the filter, which must stand behind the one that verifies tokens.

    Who has a good token without tenant shares one bucket with all like it.

    Args:
        policy: The limits.
        claims: Namespace and key of the metadata that hold the verified claims.
    """
    bucket = {
        "max_tokens": policy.burst,
        "tokens_per_fill": policy.requests_per_second,
        "fill_interval": f"{REFILL_SECONDS}s",
    }
    namespace, key = claims
    action = {
        "metadata": {
            "descriptor_key": "tenant",
            "metadata_key": {"key": namespace, "path": [{"key": key}, {"key": "tenant"}]},
            "source": "DYNAMIC",
        }
    }
    return {
        "stat_prefix": "tenants",
        "token_bucket": bucket,
        "always_consume_default_token_bucket": False,
        # A descriptor without value stands for every value, each with a bucket of its own.
        "descriptors": [{"entries": [{"key": "tenant"}], "token_bucket": bucket}],
        "max_dynamic_descriptors": TENANTS,
        "rate_limits": [{"actions": [action]}],
        "filter_enabled": _ALWAYS,
        "filter_enforced": _ALWAYS,
        "rate_limited_as_resource_exhausted": True,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    }
