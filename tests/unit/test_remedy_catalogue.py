"""Every check that comes with the service says what mends it, in calls that AWS has."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.loaders
import pytest
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import load_catalogue
from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.check_catalogue import BoundCheck, load_checks
from services.inventory.compliance.remedy_command import Command, command_line
from services.inventory.compliance.remedy_declared import cloudformation, terraform
from services.inventory.compliance.remedy_template import EACH, asked, filled, template

CHECKS = load_checks(load_catalogue("secmesh.inventory.v1")).checks
FROM_A_FILE = "file://"
SOMETHING = "as-long-as-any-id-must-be"


@cache
def service(name: str) -> ServiceModel:
    return ServiceModel(botocore.loaders.Loader().load_service_model(name, "service-2"), name)


def sample(field: FieldDescriptor | None) -> Any:
    """Give a value as a record might hold it."""
    if field is None:
        return SOMETHING
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    if field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64):
        return 365
    return SOMETHING


def facts(check: BoundCheck) -> dict[str, Any]:
    known = {
        field.name: [sample(field)] if field.is_repeated else sample(field)
        for field in check.kind.descriptor.fields
        if field.message_type is None
    }
    inputs = {each.name: asked(each.name) for each in check.message.remedy.inputs}
    place = {"account": "111122223333", "region": "eu-west-1", "arn": f"arn:aws:x:::{SOMETHING}"}
    return {**known, **check.defaults(), **inputs, **place, EACH: SOMETHING}


def calls(check: BoundCheck, **more: Any) -> Iterator[Command]:
    known = {**facts(check), **more}
    for each in check.message.remedy.commands:
        keeps, parameters = template(each.keeps), template(each.parameters)
        yield Command(
            each.service,
            each.operation,
            filled(parameters, known),
            filled(keeps, known),
            known["region"],
        )


@pytest.mark.parametrize("check_id", sorted(CHECKS))
def test_a_check_says_what_mends_it_and_how_much_work_it_is(check_id: str) -> None:
    remedy = CHECKS[check_id].message.remedy
    assert remedy.effort != check_pb2.EFFORT_UNSPECIFIED
    assert remedy.commands or remedy.manual_step


@pytest.mark.parametrize("check_id", sorted(CHECKS))
def test_its_calls_are_those_of_aws(check_id: str) -> None:
    """Service, operation, parameters and their types are as botocore has them."""
    given = {each.name: SOMETHING for each in CHECKS[check_id].message.remedy.inputs}
    for call in calls(CHECKS[check_id], **given):
        shape = service(call.service).operation_model(call.operation).input_shape
        whole = call.whole
        members = shape.members if shape else {}
        assert set(whole) <= set(members), (call.operation, whole)
        if shape is None:
            continue
        # A document of the reader's has the form that they give it; tokens are made by the CLI.
        filed = {key for key, value in whole.items() if str(value).startswith(FROM_A_FILE)}
        made = {name for name, member in members.items() if member.metadata.get("idempotencyToken")}
        left = {key: value for key, value in whole.items() if key not in filed}
        report = ParamValidator().validate(left, shape).generate_report()
        problems = [
            line
            for line in report.splitlines()
            if not any(f'"{name}"' in line for name in filed | made)
        ]
        assert problems == []


@pytest.mark.parametrize("check_id", sorted(CHECKS))
def test_its_commands_and_resources_are_written(check_id: str) -> None:
    check = CHECKS[check_id]
    remedy = check.message.remedy
    inputs = {each.name: each.description for each in remedy.inputs}
    for call in calls(check):
        line = command_line(call, inputs)
        assert line.startswith("aws ")
        assert "\n" not in line
    assert bool(terraform(check_id, remedy, facts(check))) == bool(remedy.terraform)
    assert bool(cloudformation(check_id, remedy, facts(check))) == bool(remedy.cloudformation)


@pytest.mark.parametrize("check_id", sorted(CHECKS))
def test_it_asks_for_nothing_that_it_does_not_use(check_id: str) -> None:
    check = CHECKS[check_id]
    remedy = check.message.remedy
    inputs = {each.name: each.description for each in remedy.inputs}
    lines = [command_line(call, inputs) for call in calls(check)]
    unused = [name for name in inputs if not any(f"{{{name.upper()}:" in line for line in lines)]
    assert unused == []
