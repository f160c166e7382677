"""The filter that has the edge exchange an API key for a token, before tokens are verified.

Requests without a key pass it by at the cost of a look at two headers.
"""

from typing import Any

from gateway.edge.authorization import API_KEY, PURPOSE
from gateway.edge.key_exchange import BEARER, HEADER
from gateway.envoy_routes import API_KEYS, EDGE_AUTHZ
from mesh.identity.api_key import PREFIX

Json = dict[str, Any]
_TYPES = "type.googleapis.com"
_SHOWN = ("authorization", "content-type", "x-request-id", HEADER)
"""Headers that the edge sees: to tell a key from a token it needs both."""


def api_keys() -> Json:
    """Give the filter."""
    question = {
        "@type": f"{_TYPES}/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "grpc_service": {
            "envoy_grpc": {"cluster_name": EDGE_AUTHZ},
            "timeout": "5s",
            "initial_metadata": [{"key": PURPOSE, "value": API_KEY}],
        },
        "allowed_headers": {"patterns": [{"exact": name} for name in _SHOWN]},
        "status_on_error": {"code": "ServiceUnavailable"},
        "validate_mutations": True,
    }
    carries_key = [
        _header(HEADER, {"safe_regex": {"google_re2": {}, "regex": "(?s).*"}}),
        _header("authorization", {"contains": f"{BEARER}{PREFIX}", "ignore_case": True}),
    ]
    skip = {
        "name": "skip",
        "typed_config": {
            "@type": f"{_TYPES}/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
        },
    }
    rule = {
        "predicate": {"not_matcher": {"or_matcher": {"predicate": carries_key}}},
        "on_match": {"action": skip},
    }
    return {
        "name": API_KEYS,
        "typed_config": {
            "@type": f"{_TYPES}/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": {"name": API_KEYS, "typed_config": question},
            "xds_matcher": {"matcher_list": {"matchers": [rule]}},
        },
    }


def _header(name: str, value_match: Json) -> Json:
    header = {
        "name": "header",
        "typed_config": {
            "@type": f"{_TYPES}/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
            "header_name": name,
        },
    }
    return {"single_predicate": {"input": header, "value_match": value_match}}
