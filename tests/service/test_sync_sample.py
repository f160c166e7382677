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
    assert told == {
        ("ci-deploy", 1, True),
        ("ci-deploy", 2, True),
        ("reporting", 1, True),
        ("reporting", 2, False),
    }
    named = {(body_of(each).username, body_of(each).slot): each for each in keys.values()}
    old = named["ci-deploy", 1]
    age = moment(old.valid_from) - moment(body_of(old).last_rotated)
    assert timedelta(days=399) < age < timedelta(days=401)
    assert old.arn == "arn:aws:iam::123456789012:user/ci-deploy"


async def test_tables_of_the_sample(collecting: World) -> None:
    await collecting.sync("dynamodb_tables")
    tables = by(await collecting.rows("dynamodb_tables"), "table_name")
    assert having(tables, "pitr_enabled") == {"orders"}
    assert having(tables, "autoscaling") == {"orders"}
    orders, sessions = body_of(tables["orders"]), body_of(tables["sessions"])
    assert (orders.encryption, sessions.encryption) == ("KMS", "DEFAULT")
    assert not sessions.HasField("kms_key_id")
    assert (orders.retention_days, orders.deletion_protection) == (14, True)
    assert (orders.stream_view_type, orders.ttl_attribute) == ("NEW_IMAGE", "expires")
    assert orders.tags == {"owner": "sales"}
    assert not orders.policy_public
    assert tables["orders"].arn == "arn:aws:dynamodb:us-east-1:123456789012:table/orders"


async def test_networks_of_the_sample(collecting: World) -> None:
    await collecting.sync("vpc", "subnets")
    found = by(await collecting.rows("vpc"), "vpc_id")
    networks = {body_of(each).cidrs[0]: each for each in found.values()}
    assert having(networks, "flow_logs_active") == {"10.30.0.0/16"}
    assert having(networks, "default_group_closed") == {"10.30.0.0/16"}
    assert having(networks, "open_network_acls") == {"10.20.0.0/16", "172.31.0.0/16"}
    assert having(networks, "is_default") == {"172.31.0.0/16"}
    kept = body_of(networks["10.30.0.0/16"])
    assert kept.flow_logs[0].destination == "arn:aws:s3:::acme-access-logs"
    assert kept.endpoint_services == ["com.amazonaws.us-east-1.s3"]
    assert len(kept.internet_gateways) == len(kept.nat_gateways) == 1
    assert kept.routed_to_internet
    assert kept.dns_hostnames
    assert kept.tags == {"Name": "kept"}
    subnets = by(await collecting.rows("subnets"), "cidr")
    assert {"10.20.1.0/24", "10.30.1.0/24"} == subnets.keys() - having(subnets, "map_public_ip")
    assert {body_of(each).vpc_id for each in subnets.values()} == found.keys()


async def test_functions_of_the_sample(collecting: World) -> None:
    await collecting.sync("lambda")
    functions = by(await collecting.rows("lambda"), "function_name")
    assert having(functions, "public") == {"open-policy", "open-url"}
    assert having(functions, "policy_public") == {"open-policy"}
    etl = body_of(functions["etl"])
    assert etl.environment_names == ["API_TOKEN", "TABLE"]
    assert "not-a-real-token" not in str(functions["etl"])
    assert (etl.reserved_concurrency, etl.tracing) == (5, "Active")
    assert etl.tags == {"team": "data"}
    read = moment(functions["legacy"].valid_from)
    old = {
        name
        for name, each in functions.items()
        if moment(body_of(each).runtime_deprecation_date) < read
    }
    assert old == {"legacy"}


async def test_behavior_graphs_of_the_sample(collecting: World) -> None:
    await collecting.sync("detective")
    rows = by(await collecting.rows("detective"), "status")
    own = body_of(rows["ENABLED"])
    assert own.administered
    assert own.administrator_account == "123456789012"
    assert {(each.account_id, each.status) for each in own.members} == {
        ("210987654321", "ENABLED"),
        ("111122223333", "ACCEPTED_BUT_DISABLED"),
    }
    assert own.started_packages == ["DETECTIVE_CORE"]
    assert not own.HasField("auto_enable_organization")
    assert rows["ENABLED"].region == "us-east-1"
    invited = body_of(rows["INVITED"])
    assert not invited.administered
    assert invited.administrator_account == "999999999999"
