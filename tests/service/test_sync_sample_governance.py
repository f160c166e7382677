"""What a sync shows of the services that govern the sample account."""

from tests.service.collect_world import World, body_of, by, gaps

OWN, MEMBER = "123456789012", "210987654321"


async def test_identity_center_of_the_sample(collecting: World) -> None:
    await collecting.sync("iam_users", "sso")
    (record,) = (await collecting.rows("sso")).values()
    found = body_of(record)
    assert (record.region, record.arn) == ("us-east-1", found.instance_arn)
    assert (found.owned, found.owner_account, found.status) == (True, OWN, "ACTIVE")
    assert (found.users, found.groups) == (3, 1)
    assert found.access_control_attributes == ["CostCenter"]
    assert found.regions == ["us-east-1"]
    # Those of alice, bob and carol; the root user's is no way of everyday work.
    assert found.console_users == 3
    assert "example.com" not in str(record)


async def test_permission_sets_of_the_sample(collecting: World) -> None:
    await collecting.sync("permission_sets")
    rows = by(await collecting.rows("permission_sets"), "permission_set_name")
    sets = {name: body_of(record) for name, record in rows.items()}
    assert {name: found.session_minutes for name, found in sets.items()} == {
        "Auditors": 480,
        "Administrators": 720,
        "Break-Glass": 60,
        "Engineers": 90,
    }
    everything = {name for name, found in sets.items() if found.permits_everything}
    assert everything == {"Administrators", "Break-Glass"}
    assert {name for name, found in sets.items() if found.break_glass} == {"Break-Glass"}
    assert [each.rsplit("/")[-1] for each in sets["Auditors"].managed_policies] == [
        "ReadOnlyAccess",
        "SecurityAudit",
    ]
    engineers = sets["Engineers"]
    assert engineers.customer_policies == ["/teams/deploy"]
    assert engineers.permissions_boundary == "/teams/limits"
    assert "logs:GetLogEvents" in engineers.inline_policy
    assert engineers.provisioned_accounts == [MEMBER]
    assert [(each.account_id, each.principal_type) for each in engineers.assignments] == [
        (MEMBER, "GROUP"),
        (MEMBER, "USER"),
    ]
    assert not sets["Auditors"].HasField("inline_policy")
    assert not any(gaps(record) for record in rows.values())


async def test_rules_and_recorders_of_the_sample(collecting: World) -> None:
    await collecting.sync("config_rules", "config_recorders", regions=["us-east-1", "eu-west-1"])
    rows = by(await collecting.rows("config_rules"), "rule_name")
    rules = {name: body_of(record) for name, record in rows.items()}
    assert {name: found.compliance_type for name, found in rules.items()} == {
        "s3-versioning": "NON_COMPLIANT",
        "trail-enabled": "COMPLIANT",
        "volumes-encrypted": "INSUFFICIENT_DATA",
        "owner-tagged": "NON_COMPLIANT",
    }
    assert rules["s3-versioning"].noncompliant_count == 6
    assert rules["s3-versioning"].resource_types == ["AWS::S3::Bucket"]
    assert rules["owner-tagged"].noncompliant_count_capped
    assert rules["owner-tagged"].owner == "CUSTOM_LAMBDA"
    assert rules["trail-enabled"].created_by == "securityhub.amazonaws.com"
    (record,) = (await collecting.rows("config_recorders")).values()
    found = body_of(record)
    assert (found.recording, found.all_supported, found.last_status) == (True, True, "SUCCESS")
    assert found.global_types_recorded
    assert found.delivery_bucket == "acme-access-logs"
    assert (found.delivery_status, found.delivery_error) == ("FAILURE", "AccessDenied")
    assert found.retention_days == 1095
    assert record.region == "us-east-1"


async def test_conformance_packs_of_the_sample(collecting: World) -> None:
    await collecting.sync("config_conformance_packs")
    rows = by(await collecting.rows("config_conformance_packs"), "pack_name")
    nist, own = body_of(rows["nist-800-53-rev-5"]), body_of(rows["our-own"])
    assert (nist.framework, nist.status, nist.compliance_score) == (
        "NIST 800-53",
        "CREATE_COMPLETE",
        71.25,
    )
    assert nist.compliance_status == "NON_COMPLIANT"
    assert nist.input_parameters == {"AccessKeysRotatedParamMaxAccessKeyAge": "90"}
    assert [each.compliance_type for each in nist.rules] == [
        "NON_COMPLIANT",
        "COMPLIANT",
        "NON_COMPLIANT",
    ]
    assert own.status == "CREATE_FAILED"
    assert own.status_reason
    assert not own.HasField("framework")
    assert not own.HasField("compliance_score")


async def test_a_detector_of_the_sample(collecting: World) -> None:
    await collecting.sync("guardduty")
    (record,) = (await collecting.rows("guardduty")).values()
    found = body_of(record)
    assert record.arn == f"arn:aws:guardduty:us-east-1:{OWN}:detector/{found.detector_id}"
    assert found.status == "ENABLED"
    assert found.enabled_features == ["CLOUD_TRAIL", "FLOW_LOGS", "S3_DATA_EVENTS"]
    assert found.disabled_features == ["EKS_AUDIT_LOGS"]
    assert not found.HasField("administrator_account")
    assert {each.account_id: each.status for each in found.members} == {
        MEMBER: "Enabled",
        "111122223333": "Removed",
    }
    counts = (found.findings_low, found.findings_medium, found.findings_high)
    assert counts == (30, 7, 2)
    assert found.findings_critical == 0
    assert found.oldest_high_finding.ToJsonString() == "2026-01-15T03:04:05.678Z"
    assert (found.auto_enable_members, found.auto_enable_features) == ("NEW", ["S3_DATA_EVENTS"])
    assert found.filters == ["quiet-scanner"]
    assert found.tags == {"owner": "security"}
    assert "it@example.com" not in str(record)


async def test_the_hub_of_the_sample(collecting: World) -> None:
    await collecting.sync("security_hub", regions=["us-east-1", "eu-west-1"])
    (record,) = (await collecting.rows("security_hub")).values()
    found = body_of(record)
    assert record.region == "us-east-1"
    assert [(each.standard_arn.split("/")[1], each.status) for each in found.standards] == [
        ("nist-800-53", "READY"),
        ("pci-dss", "INCOMPLETE"),
    ]
    assert found.standards[1].reason == "MAXIMUM_NUMBER_OF_CONFIG_RULES_EXCEEDED"
    assert [each.control_id for each in found.disabled_controls] == ["IAM.6", "S3.7"]
    assert found.products == ["aws/guardduty", "aws/inspector"]
    assert found.finding_aggregator.endswith("/0000-1111")
    assert [each.account_id for each in found.members] == [MEMBER]
    assert (found.auto_enable_organization, found.configuration_type) == (True, "CENTRAL")
