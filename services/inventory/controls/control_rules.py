"""What a control must be before it is stored."""

from datetime import datetime

from mesh.errors import FieldInvalid
from secmesh.inventory.v1 import control_pb2
from services.inventory.compliance.check_catalogue import BoundCheck, RuleBroken
from services.inventory.controls.fixtures import hold
from services.inventory.controls.tenant_checks import SOURCE, TenantChecks, check_id


def settled(control: control_pb2.Control, name: str) -> control_pb2.Control:
    """Give a control with what the service says of it, whatever a caller says."""
    made = control_pb2.Control()
    made.CopyFrom(control)
    made.name = name
    made.check.id = check_id(name.rpartition("/")[2])
    for mapping in made.check.controls:
        mapping.source = SOURCE
    return made


def require_fit(checks: TenantChecks, control: control_pb2.Control, now: datetime) -> BoundCheck:
    """Give the bound check of a control that may be stored; FieldInvalid says what is wrong."""
    bound = bound_of(checks, control)
    hold(bound, control.fixtures, now)
    return bound


def bound_of(checks: TenantChecks, control: control_pb2.Control) -> BoundCheck:
    """Give the bound check of a control; FieldInvalid names the field."""
    try:
        return checks.bind(control.check, control.version)
    except RuleBroken as broken:
        raise FieldInvalid.of(f"control.check.{broken.field}", str(broken)) from None
