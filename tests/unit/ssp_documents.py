"""System Security Plans as OSCAL documents, and what is drawn from them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.ssp import Plan, read_plan
from services.inventory.errors import SspInvalid

NOW = datetime(2030, 1, 1, tzinfo=UTC)


IAM = "10000000-0000-4000-8000-000000000001"


AWS = "10000000-0000-4000-8000-000000000002"


FEDRAMP = "https://fedramp.gov/ns/oscal"


def uuid(number: int) -> str:
    return f"20000000-0000-4000-8000-{number:012d}"


def prop(name: str, value: str, ns: str = FEDRAMP) -> dict[str, str]:
    return {"name": name, "ns": ns, "value": value}


def part(number: int, component: str = IAM, **more: Any) -> dict[str, Any]:
    return {"component-uuid": component, "uuid": uuid(number), "description": "We do it.", **more}


def plan(*requirements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "system-security-plan": {
            "uuid": uuid(1),
            "metadata": {"title": "Plan", "version": "3", "oscal-version": "1.1.2"},
            "import-profile": {"href": "x/FedRAMP_rev5_MODERATE-baseline_profile.json"},
            "system-implementation": {
                "components": [
                    {"uuid": IAM, "type": "service", "title": "IAM"},
                    {"uuid": AWS, "type": "leveraged-system", "title": "AWS"},
                ]
            },
            "control-implementation": {"implemented-requirements": list(requirements), **more},
        }
    }


def requirement(control: str, **more: Any) -> dict[str, Any]:
    return {"uuid": uuid(100), "control-id": control, **more}


def read(document: Any, **options: Any) -> Plan:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_plan("tenants/acme/ssps/main", content, import_time=NOW, **options)


def only(document: dict[str, Any]) -> ssp_pb2.Claim:
    claims = read(document).claims
    assert len(claims) == 1
    return claims[0]


def refused(document: Any) -> SspInvalid:
    with pytest.raises(SspInvalid) as caught:
        read(document)
    assert caught.value.metadata == {"pointer": caught.value.pointer}
    return caught.value
