"""Which events a trail records, read off its classic or advanced selectors.

Source: AWS CloudTrail User Guide, "Logging management events" and "Logging data events".
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mesh.aws.reader import Response

S3 = "AWS::S3::Object"
LAMBDA = "AWS::Lambda::Function"
_READ, _WRITE = "read", "write"
_BOTH = frozenset({_READ, _WRITE})
_CLASSIC = {
    "All": _BOTH,
    "ReadOnly": frozenset({_READ}),
    "WriteOnly": frozenset({_WRITE}),
}
_NAMES = {
    _BOTH: "All",
    frozenset({_READ}): "ReadOnly",
    frozenset({_WRITE}): "WriteOnly",
    frozenset[str](): "None",
}
# Selectors on other fields, such as eventName, leave some events out.
_DATA_FIELDS = {"eventCategory", "resources.type", "resources.ARN", "readOnly"}
_WHOLE_SERVICE = {S3: "s3", LAMBDA: "lambda"}

Directions = frozenset[str]


def management_events(response: Response) -> str:
    """Give `All`, `ReadOnly`, `WriteOnly` or `None`."""
    recorded: Directions = frozenset()
    for selector in response.get("EventSelectors") or ():
        # A selector of the classic form includes them unless it says not to.
        if selector.get("IncludeManagementEvents", True):
            recorded |= _CLASSIC.get(selector.get("ReadWriteType", "All"), _BOTH)
    for selector in response.get("AdvancedEventSelectors") or ():
        fields = _fields(selector)
        if _equals(fields, "eventCategory") == {"Management"}:
            recorded |= _directions(fields)
    return _NAMES[recorded]


def data_events(response: Response, resource_type: str, partition: str = "aws") -> list[str]:
    """Give the ARN prefixes of one resource type whose events are recorded, read and write."""
    recorded: dict[str, Directions] = {}
    for prefix, directions in (
        *_classic(response, resource_type),
        *_advanced(response, resource_type, partition),
    ):
        recorded[prefix] = recorded.get(prefix, frozenset()) | directions
    return sorted(prefix for prefix, directions in recorded.items() if directions == _BOTH)


def _classic(response: Response, resource_type: str) -> Iterator[tuple[str, Directions]]:
    for selector in response.get("EventSelectors") or ():
        directions = _CLASSIC.get(selector.get("ReadWriteType", "All"), _BOTH)
        for resource in selector.get("DataResources", ()):
            if resource.get("Type") == resource_type:
                for value in resource.get("Values", ()):
                    yield value, directions


def _advanced(
    response: Response, resource_type: str, partition: str
) -> Iterator[tuple[str, Directions]]:
    for selector in response.get("AdvancedEventSelectors") or ():
        fields = _fields(selector)
        if _equals(fields, "resources.type") != {resource_type} or set(fields) - _DATA_FIELDS:
            continue
        arns = fields.get("resources.ARN")
        if arns is None:
            prefixes: Iterable[str] = (f"arn:{partition}:{_WHOLE_SERVICE[resource_type]}",)
        elif set(arns) <= {"Field", "Equals", "StartsWith"}:
            prefixes = (*arns.get("Equals", ()), *arns.get("StartsWith", ()))
        else:
            # Exclusions leave a hole somewhere; nothing is claimed for such a selector.
            prefixes = ()
        for prefix in prefixes:
            yield prefix, _directions(fields)


def _fields(selector: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["Field"]: dict(each) for each in selector.get("FieldSelectors", ())}


def _equals(fields: Mapping[str, Mapping[str, Any]], name: str) -> set[str]:
    return set(fields.get(name, {}).get("Equals", ()))


def _directions(fields: Mapping[str, Mapping[str, Any]]) -> Directions:
    if "readOnly" not in fields:
        return _BOTH
    return frozenset(
        _READ if value == "true" else _WRITE for value in fields["readOnly"].get("Equals", ())
    )
