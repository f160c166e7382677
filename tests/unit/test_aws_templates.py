"""CloudFormation templates: clean under the linter, and as the runbook says."""

from pathlib import Path
from typing import Any

import pytest
from cfnlint import decode
from cfnlint.api import lint_file

FOLDER = Path(__file__).parents[2] / "deploy" / "aws"
TEMPLATES = sorted(FOLDER.glob("*.yaml"))


def resources(name: str) -> dict[str, Any]:
    template, problems = decode.decode(str(FOLDER / name))
    assert template is not None, problems
    return dict(template["Resources"])


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_the_linter_has_nothing_to_say(path: Path) -> None:
    assert [str(each) for each in lint_file(path)] == []


def test_the_database_is_private_encrypted_and_kept() -> None:
    found = resources("crypto.yaml")
    cluster, instance = found["Cluster"], found["Instance"]["Properties"]
    facts = cluster["Properties"]
    assert facts["StorageEncrypted"] is True
    assert facts["EnableIAMDatabaseAuthentication"] is True
    assert facts["EnableCloudwatchLogsExports"] == ["postgresql"]
    assert (facts["PreferredBackupWindow"], facts["PreferredMaintenanceWindow"]) == (
        "03:00-04:00",
        "sun:04:00-sun:05:00",
    )
    assert "MasterUserPassword" not in facts
    assert cluster["DeletionPolicy"] == "Snapshot"
    assert instance["PubliclyAccessible"] is False
    assert found["ClusterParameters"]["Properties"]["Parameters"]["rds.force_ssl"] == "1"
    (rule,) = found["DatabaseSecurityGroup"]["Properties"]["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["ToPort"]) == (5432, 5432)
    assert rule["SourceSecurityGroupId"] == {"Ref": "CallerSecurityGroupId"}


def test_each_metric_of_the_runbook_has_an_alarm() -> None:
    alarms = {
        each["Properties"]["MetricName"]
        for each in resources("crypto.yaml").values()
        if each["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert alarms == {
        "DatabaseConnections",
        "CPUUtilization",
        "FreeableMemory",
        "ReadLatency",
        "WriteLatency",
        "DatabaseErrors",
    }


def test_the_service_holds_no_key_of_the_sealer() -> None:
    """Whoever has one custodian's key does not have the other's."""
    statements = resources("crypto.yaml")["ServicePolicy"]["Properties"]["PolicyDocument"]
    allowed = [each["Action"] for each in statements["Statement"]]
    assert not [each for each in map(str, allowed) if "secretsmanager" in each or "*" in each]
    conditions = statements["Statement"][0]["Condition"]["StringEquals"]
    assert conditions["kms:EncryptionContext:service"] == "secmesh-crypto"
