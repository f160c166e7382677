"""Accounts over the wire to where they may be entered: texts of roles, and the proof."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from secmesh.tenancy.v1 import account_pb2
from secmesh.tenancy.v1 import onboarding_service_pb2 as pb
from secmesh.tenancy.v1.account_service_pb2 import DeleteAccountRequest, SuspendAccountRequest
from secmesh_client.refusal import CallRefused
from services.tenancy.onboarding.probes import PROBES
from services.tenancy.reverify_command import reverify
from tests.service.credential_story import Story, key_story, role_story
from tests.service.tenancy_world import World, tenancy_world
from tests.unit.fake_sts import PLATFORM, Role

PASSED, FAILED = pb.CHECK_OUTCOME_PASSED, pb.CHECK_OUTCOME_FAILED
UNKNOWN = pb.CHECK_OUTCOME_UNKNOWN
ENTRY = ["entry", "external_id_wrong_refused", "external_id_missing_refused", "identity"]
DAY = 24 * 3600


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path, principal_arn=PLATFORM) as made:
        yield made


def outcomes(report: Any) -> dict[str, int]:
    return {each.check: each.outcome for each in report.checks}


def refusal_reasons(report: Any) -> dict[str, str]:
    return {each.check: each.reason for each in report.checks if each.reason}


async def onboarding(story: Story, form: "pb.OnboardingFormat.ValueType", **more: Any) -> Any:
    return await story.world.onboarding(story.tenant).GetOnboarding(
        pb.GetOnboardingRequest(name=story.account.name, format=form, **more)
    )


async def test_an_account_that_lets_us_in_alone_becomes_active(world: World) -> None:
    story = await role_story(world)
    report = await story.verify()
    assert report.entered
    assert report.account.status == account_pb2.ACCOUNT_STATUS_ACTIVE
    assert report.verify_time.ToMicroseconds() == world.clock.now()
    assert list(outcomes(report)) == [*ENTRY, *(each.action for each in PROBES)]
    assert set(outcomes(report).values()) == {PASSED}
    wrong = [each.external_id for each in world.tokens.made]
    assert wrong == [story.account.external_id]
    assert [each.granted for each in await story.accesses()] == [True]


async def test_a_role_that_takes_any_external_id_is_refused(world: World) -> None:
    story = await role_story(world, external_id=None)
    report = await story.verify()
    assert not report.entered
    found = outcomes(report)
    assert (found["entry"], found["external_id_wrong_refused"]) == (PASSED, FAILED)
    assert found["external_id_missing_refused"] == FAILED
    assert not world.prober.asked
    assert report.account.status == account_pb2.ACCOUNT_STATUS_FAILED
    assert report.account.status_reason == "external_id_wrong_refused: accepted"


@pytest.mark.parametrize(
    "role", [{"external_id": "of-another"}, {"trusts": "somebody"}, {"tagged": False}]
)
async def test_a_role_that_does_not_let_us_in_is_told(world: World, role: Any) -> None:
    story = await role_story(world, **role)
    report = await story.verify()
    assert not report.entered
    assert report.account.status == account_pb2.ACCOUNT_STATUS_FAILED
    assert report.account.status_reason == "entry: assumption_denied"
    others = {check: each for check, each in outcomes(report).items() if check != "entry"}
    assert set(others.values()) == {UNKNOWN}
    assert [each.granted for each in await story.accesses()] == [False]


async def test_a_key_of_another_account_is_refused(world: World) -> None:
    story = await key_story(world)
    await story.store(story.new_key("999999999999"))
    report = await story.verify()
    assert outcomes(report)["identity"] == FAILED
    assert report.account.status_reason == "identity: other_account"


async def test_an_account_without_its_key_is_told(world: World) -> None:
    story = await key_story(world)
    report = await story.verify()
    assert refusal_reasons(report)["entry"] == "no_credential"
    key = story.new_key()
    await story.store(key)
    world.tokens.disable(key.access_key_id)
    report = await story.verify()
    assert refusal_reasons(report)["entry"] == "keys_refused"
    assert report.account.status == account_pb2.ACCOUNT_STATUS_FAILED


async def test_reads_that_are_not_permitted_are_named(world: World) -> None:
    story = await role_story(world)
    world.prober.denied.add("kms:ListKeys")
    world.prober.unknown.add("rds:DescribeDBInstances")
    report = await story.verify()
    assert report.entered
    assert report.account.status == account_pb2.ACCOUNT_STATUS_VERIFIED
    assert outcomes(report)["kms:ListKeys"] == FAILED
    assert refusal_reasons(report) == {
        "kms:ListKeys": "AccessDenied",
        "rds:DescribeDBInstances": "Throttling",
    }


async def test_an_sts_that_does_not_answer_says_nothing_of_the_account(world: World) -> None:
    story = await role_story(world)
    await story.verify()
    world.tokens.down = True
    with pytest.raises(CallRefused) as refused:
        await story.verify()
    assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"
    world.tokens.down = False
    assert (await story.verify()).account.status == account_pb2.ACCOUNT_STATUS_ACTIVE


async def test_what_somebody_stopped_is_not_verified(world: World) -> None:
    story = await role_story(world)
    accounts = world.accounts(story.tenant)
    await accounts.SuspendAccount(SuspendAccountRequest(name=story.account.name))
    with pytest.raises(CallRefused) as refused:
        await story.verify()
    assert refused.value.reason == "ACCOUNT_STATUS_UNFIT"
    await accounts.DeleteAccount(DeleteAccountRequest(name=story.account.name))
    with pytest.raises(CallRefused) as refused:
        await onboarding(story, pb.ONBOARDING_FORMAT_TERRAFORM)
    assert refused.value.reason == "RESOURCE_DELETED"


async def test_accounts_are_verified_again_each_day(world: World) -> None:
    story = await role_story(world)
    never = await world.account(story.tenant, 2)
    await story.verify()
    world.clock.turn(DAY - 1)
    assert await reverify(world.parts, 24) == again(0)
    world.clock.turn(1)
    world.tokens.roles[story.account.role_arn] = Role(story.account.role_arn)
    assert await reverify(world.parts, 24) == again(1)
    accounts = world.parts.accounts
    found = await accounts.get(story.tenant, story.account_id)
    assert found.status == account_pb2.ACCOUNT_STATUS_FAILED
    other = await accounts.get(story.tenant, never.name.rpartition("/")[2])
    assert other.status == account_pb2.ACCOUNT_STATUS_PENDING


async def test_one_pass_verifies_what_is_due_in_every_tenant(world: World) -> None:
    stories = [await role_story(world) for _ in range(2)]
    for story in stories:
        await story.verify()
    world.clock.turn(DAY)
    assert await reverify(world.parts, 24) == again(2)
    assert await reverify(world.parts, 24) == again(0)
    world.clock.turn(1)
    assert await reverify(world.parts, 0) == again(2)


async def test_one_account_that_cannot_be_verified_holds_no_other_up(world: World) -> None:
    story = await role_story(world)
    await story.verify()
    world.clock.turn(DAY)
    world.tokens.down = True
    assert await reverify(world.parts, 24) == again(0, failed=1)


def again(number: int, failed: int = 0) -> str:
    return f"{number} accounts were verified again, {failed} could not be\n"


async def test_the_text_makes_the_role_that_was_named(world: World) -> None:
    story = await role_story(world)
    made = await onboarding(story, pb.ONBOARDING_FORMAT_CLOUDFORMATION)
    assert (made.role_name, made.file_name) == ("audit", "audit.yaml")
    assert made.external_id == story.account.external_id
    role = yaml.safe_load(made.text)["Resources"]["ScanRole"]["Properties"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"AWS": PLATFORM}
    assert trust["Condition"] == {"StringEquals": {"sts:ExternalId": story.account.external_id}}
    made = await onboarding(story, pb.ONBOARDING_FORMAT_TERRAFORM)
    assert story.account.external_id in made.text
    assert made.file_name == "audit.tf"


async def test_a_stack_set_knows_the_external_id_of_each_account(world: World) -> None:
    story = await role_story(world)
    other = await world.account(story.tenant, 2)
    gone = await world.account(story.tenant, 3)
    await world.accounts(story.tenant).DeleteAccount(DeleteAccountRequest(name=gone.name))
    units = ["ou-ab12-cd34ef56"]
    form = pb.ONBOARDING_FORMAT_STACK_SET
    made = await onboarding(story, form, organizational_units=units)
    properties = yaml.safe_load(made.text)["Resources"]["ScanRoles"]["Properties"]
    (group,) = properties["StackInstancesGroup"]
    ids = [story.account.cloud_account_id, other.cloud_account_id]
    assert group["DeploymentTargets"]["Accounts"] == ids
    inner = yaml.safe_load(properties["TemplateBody"])
    assert inner["Mappings"]["ExternalIds"] == {
        story.account.cloud_account_id: {"ExternalId": story.account.external_id},
        other.cloud_account_id: {"ExternalId": other.external_id},
    }
    with pytest.raises(CallRefused) as refused:
        await onboarding(story, form)
    assert refused.value.reason == "FIELD_INVALID"


async def test_an_account_of_a_key_needs_no_role(world: World) -> None:
    story = await key_story(world)
    with pytest.raises(CallRefused) as refused:
        await onboarding(story, pb.ONBOARDING_FORMAT_TERRAFORM)
    assert refused.value.reason == "CREDENTIAL_TYPE_UNFIT"


async def test_without_a_principal_there_is_no_text(tmp_path: Path) -> None:
    async with tenancy_world(tmp_path) as world:
        story = await role_story(world)
        with pytest.raises(CallRefused) as refused:
            await onboarding(story, pb.ONBOARDING_FORMAT_TERRAFORM)
        assert refused.value.reason == "PRINCIPAL_UNKNOWN"
