"""Controls read from an OSCAL component definition, each refusal with its place.

Source: NIST OSCAL, component-definition model, versions 1.0 to 1.2.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf import json_format

from mesh.errors import FieldInvalid
from secmesh.inventory.v1 import check_pb2, control_pb2, control_service_pb2
from services.inventory.compliance.document import Node, at, read_document
from services.inventory.compliance.oscal_parts import NAMESPACE
from services.inventory.controls.component_definition import (
    REMEDY,
    ROOT,
    TEXTS,
    TYPE,
    WORDS,
    words,
)
from services.inventory.errors import SspInvalid

DOCUMENT = "document"
MAX_ISSUES = 1000
_SINGLE = {"control", "Rule_Description", "description", "disabled", REMEDY, *TEXTS, *WORDS}


@dataclass(frozen=True)
class Found:
    """The controls of a document by id, and what in it is none."""

    controls: Mapping[str, tuple[str, control_pb2.Control]]
    """With the place of each, a JSON pointer."""
    issues: list[control_service_pb2.ControlImportIssue]


def read_controls(document: bytes) -> Found:
    """Read a document; FieldInvalid if it is no component definition, or a control is broken."""
    try:
        return _read(read_document(document))
    except SspInvalid as problem:
        place = problem.pointer and f"{problem.pointer}: "
        raise FieldInvalid.of(DOCUMENT, f"{place}{problem.problem}") from None


def _read(document: Node) -> Found:
    root = document.required_child(ROOT)
    resources = dict(_resources(root))
    controls: dict[str, tuple[str, control_pb2.Control]] = {}
    issues: list[control_service_pb2.ControlImportIssue] = []
    for component in root.children("components"):
        props = _props(component)
        control_id = props.get("control", "")
        if not control_id or component.text("type") != TYPE:
            problem = f"{component.text('title') or 'a component'} is no control of ours"
            issues.append(_issue(component.pointer, problem))
            continue
        if control_id in controls:
            component.refuse(f"control {control_id} stands there twice")
        controls[control_id] = component.pointer, _control(component, props, resources)
    return Found(controls, issues[:MAX_ISSUES])


def _issue(pointer: str, problem: str) -> control_service_pb2.ControlImportIssue:
    return control_service_pb2.ControlImportIssue(pointer=pointer[:1024], problem=problem[:1024])


def _resources(root: Node) -> Iterator[tuple[str, Node]]:
    matter = root.child("back-matter")
    for resource in matter.children("resources") if matter else ():
        yield resource.text("uuid"), resource


def _props(component: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in component.children("props"):
        name = each.text("name")
        if each.text("ns") == NAMESPACE and name in _SINGLE:
            if name in found:
                each.refuse(f"{name} stands there twice")
            found[name] = each.text("value", required=True)
    return found


def _control(
    component: Node, props: Mapping[str, str], resources: Mapping[str, Node]
) -> control_pb2.Control:
    check = _check(component, props)
    made = control_pb2.Control(check=check, disabled=props.get("disabled") == "true")
    if "description" in props:
        made.description = _unquoted(component, "description", props["description"])
    for link in component.children("links"):
        if link.text("rel") == "fixtures":
            made.fixtures.extend(_fixtures(link, resources))
    return made


def _check(component: Node, props: Mapping[str, str]) -> check_pb2.Check:
    check = check_pb2.Check(title=props.get("Rule_Description", ""))
    for name in TEXTS:
        if name in props:
            setattr(check, name, _unquoted(component, name, props[name]))
    for name in WORDS:
        if name in props:
            setattr(check, name, _number(component, name, props[name]))
    for each in component.children("props"):
        if each.text("ns") == NAMESPACE and each.text("name") == "parameter":
            written = _json(each, "parameter", _unquoted(each, "parameter", each.text("value")))
            _parse(each, "parameter", written, check.parameters.add())
    if REMEDY in props:
        written = _json(component, REMEDY, _unquoted(component, REMEDY, props[REMEDY]))
        _parse(component, REMEDY, written, check.remedy)
    for mapping in _mappings(component):
        check.controls.add(control_id=mapping)
    return check


def _mappings(component: Node) -> dict[str, None]:
    """Give the controls that a component speaks for, each once, in order."""
    return {
        requirement.text("control-id", required=True): None
        for implementation in component.children("control-implementations")
        for requirement in implementation.children("implemented-requirements")
    }


def _fixtures(link: Node, resources: Mapping[str, Node]) -> Iterator[control_pb2.ControlFixture]:
    resource = resources.get(link.text("href").removeprefix("#"))
    attached = resource.child("base64") if resource else None
    if attached is None:
        link.refuse("leads to no attached resource", "href")
    try:
        data = base64.b64decode(attached.text("value"), validate=True)
    except ValueError:  # binascii.Error is one, what is not ASCII another
        attached.refuse("is no base64", "value")
    listed = _json(attached, "value", data)
    if not isinstance(listed, list):
        attached.refuse("must hold a JSON array of fixtures", "value")
    for each in listed:
        if not isinstance(each, dict):
            attached.refuse("must hold objects, each a fixture", "value")
        fixture = control_pb2.ControlFixture()
        _parse(attached, "value", each, fixture)
        yield fixture


def _number(component: Node, name: str, word: str) -> int:
    numbers = {each: number for number, each in words(name).items() if number}
    if word not in numbers:
        component.refuse(f"{name} must be one of {', '.join(numbers)}, not {word[:64]!r}", "props")
    return numbers[word]


def _unquoted(node: Node, name: str, value: str) -> str:
    text = _json(node, name, value)
    if not isinstance(text, str):
        node.refuse(f"{name} must be a JSON string")
    return text


def _json(node: Node, name: str, text: str | bytes) -> Any:
    try:
        # Strict as the reader of the document is: what it holds may be no text and no number.
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        node.refuse(f"{name} is no JSON")


def _parse(node: Node, name: str, value: Any, into: Any) -> None:
    if not isinstance(value, dict):
        node.refuse(f"{name} must be an object in JSON")
    try:
        json_format.ParseDict(value, into)
    except json_format.ParseError as error:
        raise SspInvalid(at(node.pointer), f"{name}: {error}") from None
