"""What a control must be before it is stored."""

from collections.abc import Sequence
from datetime import datetime

from google.protobuf.field_mask_pb2 import FieldMask

from mesh.contract.catalogue import NAME
from mesh.errors import FieldInvalid, MaskInvalid
from mesh.records.update import EVERYTHING, MASK
from secmesh.inventory.v1 import control_pb2
from services.inventory.compliance.check_catalogue import BoundCheck, RuleBroken
from services.inventory.controls.fixtures import hold
from services.inventory.controls.tenant_checks import SOURCE, TenantChecks, check_id

EDITABLE = ("check", "fixtures", "description", "disabled")
"""Fields that callers write."""


def edited(
    old: control_pb2.Control, given: control_pb2.Control, paths: Sequence[str]
) -> control_pb2.Control:
    """Give a control as an update leaves it (AIP-134); MaskInvalid names a path that is no field.

    Without paths those fields change that ``given`` has set. Lists are replaced whole.
    """
    if not paths:
        paths = [field.name for field, _ in given.ListFields() if field.name in EDITABLE]
    elif EVERYTHING in paths:
        paths = EDITABLE
    for path in paths:
        mask = FieldMask(paths=[path])
        known = mask.IsValidForDescriptor(control_pb2.Control.DESCRIPTOR)
        if not known or path.partition(".")[0] not in (*EDITABLE, NAME):
            raise MaskInvalid(path, MASK)
    made = control_pb2.Control()
    made.CopyFrom(old)
    FieldMask(paths=paths).MergeMessage(
        given, made, replace_message_field=True, replace_repeated_field=True
    )
    return made


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
