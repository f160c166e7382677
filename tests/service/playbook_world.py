"""A served database with incidents and playbooks that tests write as words."""

from typing import Any

from mesh.identifiers import new_uuid
from secmesh.security.v1 import incident_service_pb2 as pb
from secmesh.security.v1.incident_service_pb2_grpc import IncidentServiceStub
from secmesh_client import CallRefused
from tests.service.security_world import refused
from tests.service.workflow_world import Shop


def written_steps(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the steps of a playbook, whose ids and types are words."""
    return [
        {"title": each["step_id"], **each, "step_type": f"STEP_TYPE_{each['step_type']}"}
        for each in steps
    ]


def playbook(*steps: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Give the fields of a playbook."""
    return {
        "name": new_uuid(),
        "playbook_type": "PLAYBOOK_TYPE_MITIGATION",
        "steps": written_steps(*steps),
        "version": "1.0",
        "status": "DEFINITION_STATUS_ACTIVE",
        **values,
    }


def incident(**values: Any) -> dict[str, Any]:
    """Give the fields of an incident."""
    return {
        "title": "Odd sign-in",
        "source": "phone",
        "severity": "SEVERITY_HIGH",
        "status": "INCIDENT_STATUS_NEW",
        "detect_time": "2026-01-01T00:00:00Z",
        **values,
    }


def action(step_id: str, then: str = "", **rest: Any) -> dict[str, Any]:
    return {"step_id": step_id, "step_type": "ACTION", "on_success": then, **rest}


class Desk(Shop):
    """A served database with playbooks."""

    def incidents(self, role: str = "admin", tenant: str = "acme") -> Any:
        return self.stub_of(tenant, IncidentServiceStub, role)

    def book(self, *steps: dict[str, Any], **values: Any) -> str:
        """Write a playbook; its steps have ids and types as words."""
        return self.create("response_playbooks", "response_playbook", **playbook(*steps, **values))

    def incident(self, **values: Any) -> str:
        return self.create("incidents", "incident", **incident(**values))

    def follow(self, incident: str, playbook: str, **fields: Any) -> Any:
        request = pb.StartPlaybookRequest(name=incident, playbook=playbook, **fields)
        return self.incidents().StartPlaybook(request)

    def why(self, incident: str, playbook: str) -> CallRefused:
        request = pb.StartPlaybookRequest(name=incident, playbook=playbook)
        return refused(self.incidents().StartPlaybook, request)

    def tasks(self, incident: str) -> list[Any]:
        found = self.found("incident_responses", f'incident_id == "{incident}"')
        bodies = [each.incident_response for each in found]
        return sorted(bodies, key=lambda each: (each.sort_order, each.title))
