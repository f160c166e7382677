"""Published OSCAL documents: every plan is read, every other model is refused by its name."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.ssp import read_plan
from services.inventory.errors import SspInvalid

SAMPLES = Path(__file__).parents[2].parent / "shared" / "samples" / "oscal"
FOUND = sorted(SAMPLES.rglob("*.json"))

pytestmark = pytest.mark.skipif(not FOUND, reason="the sample documents are not here")


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_samples_are_read_or_refused_by_name(path: Path) -> None:
    content = path.read_bytes()
    document = json.loads(content)
    (root,) = document
    name = "tenants/acme/ssps/sample"
    if root != "system-security-plan":
        with pytest.raises(SspInvalid, match=rf"OSCAL model is {root}, not system-security-plan"):
            read_plan(name, content, import_time=datetime.now(UTC))
        return
    plan = read_plan(name, content, import_time=datetime.now(UTC))
    requirements = document[root]["control-implementation"]["implemented-requirements"]
    parts = [
        part
        for requirement in requirements
        for holder in (requirement, *requirement.get("statements", ()))
        for part in holder.get("by-components", ())
    ]
    assert len(plan.claims) >= len(parts) > 0
    assert not any(claim.invalid_reason for claim in plan.claims)


def test_the_fedramp_template() -> None:
    content = (SAMPLES / "FedRAMP-SSP-OSCAL-Template.json").read_bytes()
    plan = read_plan("tenants/acme/ssps/sample", content, import_time=datetime.now(UTC))
    assert plan.ssp.baseline == ssp_pb2.BASELINE_FEDRAMP_MODERATE
    assert (plan.ssp.controls, len(plan.claims)) == (20, 112)
    states = [claim.state for claim in plan.claims]
    assert states.count(ssp_pb2.CLAIM_STATE_PLANNED) == 111
    planned = next(claim for claim in plan.claims if claim.state == ssp_pb2.CLAIM_STATE_PLANNED)
    assert planned.planned_completion_time.ToDatetime().date().isoformat() == "2024-01-31"
    assert any(claim.inherited for claim in plan.claims)
