"""Resources that mend a failure in the languages that declare infrastructure.

Sources: HashiCorp HCL native syntax specification (quoted templates, blocks); AWS CloudFormation
template reference (intrinsic functions, dynamic references).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import yaml

from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.remedy_template import (
    CLOSE,
    OPEN,
    Facts,
    Unfilled,
    filled,
    filled_text,
    template,
)

_INPUT = re.compile(f"{OPEN}([a-z0-9_]+){CLOSE}")
_DYNAMIC = "{{"
"""What CloudFormation resolves wherever it stands, so that no value may hold it."""
_ATTRIBUTE = "="


def terraform(check_id: str, remedy: check_pb2.Remedy, facts: Facts) -> str:
    """Write the resources in HCL; empty if there are none, or one cannot be filled."""
    try:
        blocks = [_block(check_id, each, facts) for each in remedy.terraform]
    except Unfilled:
        return ""
    text = "\n\n".join(blocks)
    used = {*re.findall(r"\bvar\.([a-z0-9_]+)", text)}
    variables = [
        f"variable {_hcl(each.name)} {{\n  type        = string\n"
        f"  description = {_hcl(each.description)}\n}}"
        for each in remedy.inputs
        if blocks and each.name in used
    ]
    return "\n\n".join([*variables, text]) if blocks else ""


def cloudformation(check_id: str, remedy: check_pb2.Remedy, facts: Facts) -> str:
    """Write the resources as a template in YAML; empty if there are none, or one is not filled."""
    if not remedy.cloudformation:
        return ""
    resources: dict[str, Any] = {}
    try:
        for each in remedy.cloudformation:
            properties = _properties(filled(template(each.body), facts))
            resources[_logical_id(check_id, each, facts)] = {
                "Type": each.type,
                **({"Properties": properties} if properties else {}),
            }
    except Unfilled:
        return ""
    parameters = {
        _camel(each.name): {"Type": "String", "Description": each.description}
        for each in remedy.inputs
    }
    document = {**({"Parameters": parameters} if parameters else {}), "Resources": resources}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=1000)


def _block(check_id: str, resource: check_pb2.RemedyResource, facts: Facts) -> str:
    body = filled(template(resource.body), facts)
    label = _label(check_id, resource, facts)
    lines = [f"resource {_hcl(resource.type)} {_hcl(label)} {{", *_body(body, 1), "}"]
    if resource.import_id:
        taken = _hcl(filled_text(resource.import_id, facts))
        lines = [
            "import {",
            f"  to = {resource.type}.{label}",
            f"  id = {taken}",
            "}",
            "",
            *lines,
        ]
    return "\n".join(lines)


def _body(body: Mapping[str, Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for key, value in sorted(body.items(), key=lambda pair: (_is_block(*pair), pair[0])):
        if not _is_block(key, value):
            yield f"{indent}{key.removesuffix(_ATTRIBUTE)} = {_hcl(value)}"
            continue
        for each in value if isinstance(value, Sequence) else [value]:
            yield f"{indent}{key} {{"
            yield from _body(each, depth + 1)
            yield f"{indent}}}"


def _is_block(key: str, value: Any) -> bool:
    if key.endswith(_ATTRIBUTE):
        return False
    listed = isinstance(value, list) and bool(value) and all(isinstance(e, Mapping) for e in value)
    return isinstance(value, Mapping) or listed


def _hcl(value: Any) -> str:
    """Write a value as an expression of HCL that nothing in it can leave."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_hcl(str(key))} = {_hcl(each)}" for key, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_hcl, value))}]"
    text = str(value)
    alone = _INPUT.fullmatch(text)
    if alone:
        return f"var.{alone[1]}"
    # JSON's escapes are HCL's; what would begin an interpolation is written by its code point.
    plain = re.sub(rf"\$(?=[{{{OPEN}])", r"\\u0024", json.dumps(text, ensure_ascii=False))
    plain = plain.replace("%{", "\\u0025{")
    return _INPUT.sub(r"${var.\1}", plain)


def _properties(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _properties(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_properties(each) for each in value]
    if not isinstance(value, str):
        return value
    if _DYNAMIC in value:
        raise Unfilled("a dynamic reference")
    alone = _INPUT.fullmatch(value)
    if alone:
        return {"Ref": _camel(alone[1])}
    if not _INPUT.search(value):
        return value
    literal = value.replace("${", "${!")
    return {"Fn::Sub": _INPUT.sub(lambda found: f"${{{_camel(found[1])}}}", literal)}


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _mark(resource: check_pb2.RemedyResource, facts: Facts) -> str:
    """Give a mark of the record, so that resources of several stand in one file."""
    place = "\0".join(str(facts.get(name, "")) for name in ("account", "region", "arn"))
    return sha256(f"{resource.type}\0{place}".encode()).hexdigest()[:8]


def _label(check_id: str, resource: check_pb2.RemedyResource, facts: Facts) -> str:
    return f"{re.sub('[^a-z0-9]', '_', check_id)}_{_mark(resource, facts)}"


def _logical_id(check_id: str, resource: check_pb2.RemedyResource, facts: Facts) -> str:
    words = re.split("[^a-z0-9]+", check_id)
    return "".join(word.capitalize() for word in words) + _mark(resource, facts)
