"""The filter that makes gRPC of REST, and JSON of its answers."""

from collections.abc import Iterable
from typing import Any

from gateway.contracts import Deployable

Json = dict[str, Any]
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
MEBIBYTE = 1024 * 1024
REQUEST_BYTES = 32 * MEBIBYTE
RESPONSE_BYTES = 64 * MEBIBYTE
"""Largest message the transcoder turns into JSON."""


def transcoder(image: str, services: Iterable[Deployable], *, events: bool = False) -> Json:
    """Give the settings of the filter.

    Args:
        image: Path of the descriptor image, as Envoy will see it.
        services: Those it serves.
        events: Write streams as server-sent events (HTML standard, 9.2) instead of a line for
            each message; only for a route of its own, which then is the last one found.
    """
    form = "stream_sse_style_delimited" if events else "stream_newline_delimited"
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3"
        ".GrpcJsonTranscoder",
        "proto_descriptor": image,
        "services": [name for service in services for name in service.catalogue.services],
        "print_options": {form: True},
        "match_incoming_request_route": events,
        "convert_grpc_status": True,
        "query_param_unescape_plus": True,
        "url_unescape_spec": "ALL_CHARACTERS_EXCEPT_SLASH",
        "request_validation_options": {
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
        "max_request_body_size": REQUEST_BYTES,
        "max_response_body_size": RESPONSE_BYTES,
    }
