"""The check of one REST request against the method it leads to."""

from collections.abc import Iterable

from google.protobuf.descriptor import Descriptor

from gateway.contracts import field_named
from gateway.edge.strict_json import check_message, read_json
from gateway.edge.strict_query import check_query
from gateway.refusals import JsonInvalid
from gateway.routes import EscapeInvalid, Match, RouteTable
from mesh.errors import PathUnknown


def check_request(table: RouteTable, verb: str, target: str, body: bytes) -> Match:
    """Find the method of a request and check that every part of it fits.

    Args:
        table: The routes served.
        verb: HTTP method.
        target: Path and query as they were sent.
        body: The whole body.

    Raises PathUnknown or JsonInvalid.
    """
    path, _, query = target.partition("?")
    try:
        match = table.match(verb, path)
    except EscapeInvalid as error:
        raise JsonInvalid(f"path: {error}") from None
    if match is None:
        raise PathUnknown(path)
    check_query(query, match)
    _check_body(body, match)
    return match


def _check_body(body: bytes, match: Match) -> None:
    if match.method.upload is not None:
        return  # a file, which only the service reads
    place = match.route.body
    if not place:
        if body:
            raise JsonInvalid(f"{match.route.verb} takes no body here")
        return
    value = read_json(body) if body else {}
    request = match.method.descriptor.input_type
    if place == "*":
        for where, message in _messages(value, match):
            check_message(message, request, where)
            for bound in match.variables:
                _refuse_bound(message, request, bound)
        return
    field = field_named(request, place)
    if field is None or field.message_type is None or field.is_repeated:
        raise JsonInvalid(f"the body fills {place}, which takes no JSON object")
    check_message(value, field.message_type, place)
    for bound in match.variables:
        if bound.startswith(f"{place}."):
            _refuse_bound(value, field.message_type, bound.removeprefix(f"{place}."))


def _messages(value: object, match: Match) -> Iterable[tuple[str, object]]:
    """Give the messages of a body, each with its place: a stream's stand in a list."""
    if not match.method.descriptor.client_streaming:
        return [("", value)]
    if not isinstance(value, list) or not value:
        raise JsonInvalid("the body takes the stream as a JSON array of its messages")
    return [(f"[{place}]", each) for place, each in enumerate(value)]


def _refuse_bound(value: object, message: Descriptor, path: str) -> None:
    """Refuse a body that says again, perhaps otherwise, what the path says."""
    holder: Descriptor | None = message
    for name in path.split("."):
        field = field_named(holder, name) if holder is not None else None
        if field is None or not isinstance(value, dict):
            return
        value = value.get(field.name, value.get(field.json_name))
        holder = field.message_type
    if value is not None:
        raise JsonInvalid.of(path, "stands in the path already", "FIELD_MISPLACED")
