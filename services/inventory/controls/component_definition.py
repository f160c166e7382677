"""A tenant's controls as an OSCAL component definition.

Each control is one component of type ``validation``: what it checks stands in properties, whose
names begin as OSCAL tools write rules, the controls it speaks for in its control implementation,
and its fixtures in an attached resource. Exporting twice gives the same bytes.
Source: NIST OSCAL 1.1.2, component-definition model.
"""

import base64
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf import json_format

from secmesh.inventory.v1 import check_pb2, control_pb2
from services.inventory.compliance.controls import load_controls
from services.inventory.compliance.oscal_parts import (
    OSCAL_VERSION,
    Part,
    identifier,
    line,
    markup,
    moment,
    prop,
    without_empty,
)

ROOT = "component-definition"
TYPE = "validation"
CATALOGUE = (
    "https://raw.githubusercontent.com/usnistgov/oscal-content/main/nist.gov/SP800-53/rev5/json/"
    "NIST_SP-800-53_rev5_catalog.json"
)
"""Where the controls are defined that ours speak for."""
FIXTURES_TYPE = "application/json"
WORDS = {
    "scope": check_pb2.CheckScope,
    "quantifier": check_pb2.Quantifier,
    "severity": check_pb2.Severity,
    "grade": check_pb2.EvidenceGrade,
}
"""Properties of a check that are words of an enum."""
TEXTS = ("collection", "applies", "condition", "remediation")
"""Properties of a check that stand as they are."""
REMEDY = "remedy"
"""Property with the templates of what mends a failure, as JSON."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def component_definition(tenant: str, controls: Iterable[control_pb2.Control]) -> bytes:
    """Write controls as one document."""
    listed = sorted(controls, key=lambda each: each.name)
    changed = max((each.update_time.ToDatetime(UTC) for each in listed), default=_EPOCH)
    versions = ",".join(str(each.version) for each in listed)
    document = without_empty(
        {
            "uuid": identifier(ROOT, tenant, moment(changed), versions),
            "metadata": {
                "title": f"Controls of {tenant}",
                "last-modified": moment(changed),
                "version": f"{len(listed)} controls at {moment(changed)}",
                "oscal-version": OSCAL_VERSION,
            },
            "components": [_component(each) for each in listed],
            "back-matter": without_empty(
                {"resources": [_resource(each) for each in listed if each.fixtures]}
            ),
        }
    )
    return json.dumps({ROOT: document}, ensure_ascii=False, indent=2).encode() + b"\n"


def words(name: str) -> dict[int, str]:
    """Give the words of a property by their enum's numbers."""
    values = {int(number): str(value) for value, number in WORDS[name].items()}
    prefix = values[0].removesuffix("UNSPECIFIED")
    return {number: value.removeprefix(prefix).lower() for number, value in values.items()}


def _component(control: control_pb2.Control) -> Part:
    check, control_id = control.check, control.name.rpartition("/")[2]
    component = identifier("component", control.name)
    implementation = {
        "uuid": identifier("implementation", control.name),
        "source": CATALOGUE,
        "description": markup(check.title),
        "implemented-requirements": [
            {
                "uuid": identifier("requirement", control.name, mapping.control_id),
                "control-id": mapping.control_id,
                "description": markup(_title(mapping.control_id)),
                "props": [prop("Rule_Id", check.id)],
            }
            for mapping in check.controls
        ],
    }
    links = [{"href": f"#{_fixtures_id(control)}", "rel": "fixtures"}] if control.fixtures else []
    return without_empty(
        {
            "uuid": component,
            "type": TYPE,
            "title": markup(check.title),
            "description": markup(control.description or check.title),
            "props": [
                prop("control", control_id),
                prop("control-version", control.version),
                prop("Rule_Id", check.id),
                prop("Rule_Description", check.title),
                *_check_props(control),
            ],
            "links": links,
            "control-implementations": [implementation],
        }
    )


def _title(control_id: str) -> str:
    """Title of a catalogue control; the id itself where this release knows none of it."""
    known = load_controls().get(control_id)
    return known.title if known else control_id


def _check_props(control: control_pb2.Control) -> list[Part]:
    check = control.check
    props = [prop(name, quoted(getattr(check, name))) for name in TEXTS if getattr(check, name)]
    for name in WORDS:
        number = getattr(check, name)
        if number:
            props.append(prop(name, words(name)[number]))
    for parameter in check.parameters:
        written = json_format.MessageToDict(parameter, preserving_proto_field_name=True)
        props.append(prop("parameter", quoted(json.dumps(written, sort_keys=True))))
    if check.HasField("remedy"):
        written = json_format.MessageToDict(check.remedy, preserving_proto_field_name=True)
        props.append(prop(REMEDY, quoted(json.dumps(written, sort_keys=True))))
    if control.description:
        props.append(prop("description", quoted(control.description)))
    if control.disabled:
        props.append(prop("disabled", "true"))
    return props


def _resource(control: control_pb2.Control) -> Part:
    fixtures = [
        json_format.MessageToDict(each, preserving_proto_field_name=True)
        for each in control.fixtures
    ]
    data = json.dumps(fixtures, sort_keys=True).encode()
    control_id = control.name.rpartition("/")[2]
    return {
        "uuid": _fixtures_id(control),
        "title": f"Fixtures of {line(control_id)}",
        "base64": {
            "filename": f"{control_id}.json",
            "media-type": FIXTURES_TYPE,
            "value": base64.b64encode(data).decode(),
        },
    }


def _fixtures_id(control: control_pb2.Control) -> str:
    return identifier("fixtures", control.name)


def quoted(text: str) -> str:
    """Write a text as a JSON string that OSCAL's rule of single blanks leaves as it is."""
    return json.dumps(text).replace("  ", " \\u0020")
