"""What a sync shows of the sample account: for each check something good and something bad."""

from datetime import timedelta

from secmesh.inventory.v1.record_pb2 import Record
from services.inventory.collect.versions import moment
from tests.service.collect_world import World, body_of, by


def having(rows: dict[str, Record], field: str) -> set[str]:
    """Give the keys of the records whose field is true or filled."""
    return {name for name, record in rows.items() if getattr(body_of(record), field)}


async def test_keys_of_the_sample(collecting: World) -> None:
    await collecting.sync("kms_keys")
    listed = await collecting.rows("kms_keys")
    keys = {body_of(each).aliases[0].removeprefix("alias/"): each for each in listed.values()}
    assert having(keys, "rotatable") == {"data", "archive", "shared"}
    assert having(keys, "rotation_enabled") == {"data", "shared"}
    assert having(keys, "policy_public") == {"shared"}
    assert having(keys, "grants") == {"data"}
    assert not having(keys, "policy_cross_account")
    data, retired = body_of(keys["data"]), body_of(keys["retired"])
    assert data.rotation_period_days == 365
    assert data.tags == {"owner": "data"}
    assert keys["data"].arn.endswith(f":key/{data.key_id}")
    assert retired.state == "PendingDeletion"
    assert retired.HasField("deletion_date")
    assert not retired.HasField("rotation_enabled")
    assert by(listed, "usage")["SIGN_VERIFY"].kms_key.spec == "ECC_NIST_P256"


async def test_roles_policies_and_access_keys_of_the_sample(collecting: World) -> None:
    await collecting.sync("iam_roles", "iam_policies", "access_keys")
    roles = by(await collecting.rows("iam_roles"), "role_name")
    assert having(roles, "trusts_everyone") == {"anyone"}
    assert having(roles, "trusts_other_accounts") == {"auditor", "partner"}
    assert having(roles, "external_id_required") == {"auditor"}
    assert having(roles, "trusted_services") == {"etl"}
    etl = body_of(roles["etl"])
    assert not etl.HasField("external_id_required")
    assert etl.max_session_seconds == 7200
    assert etl.inline_policies == ["write-logs"]
    assert etl.tags == {"team": "data"}
    assert body_of(roles["deploy"]).attached_policies == [
        "arn:aws:iam::123456789012:policy/do-anything"
    ]
    policies = by(await collecting.rows("iam_policies"), "policy_name")
    assert having(policies, "permits_everything") == {"do-anything"}
    assert having(policies, "attachment_count") == {"do-anything", "read-reports"}
    keys = await collecting.rows("access_keys")
    told = {
        (body_of(each).username, body_of(each).slot, body_of(each).active) for each in keys.values()
    }
    assert told == {("ci-deploy", 1, True), ("reporting", 1, True), ("reporting", 2, False)}
    old = by(keys, "username")["ci-deploy"]
    age = moment(old.valid_from) - moment(body_of(old).last_rotated)
    assert timedelta(days=399) < age < timedelta(days=401)
    assert old.arn == "arn:aws:iam::123456789012:user/ci-deploy"
