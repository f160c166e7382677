"""Whether a session may read what scans read: one harmless call for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from services.tenancy.credentials.sts import AwsKeys


class Outcome(Enum):
    """What came of a call."""

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"
    """No answer that says either."""


@dataclass(frozen=True)
class Probe:
    """A call that is allowed or not."""

    action: str
    """As policies name it."""
    service: str
    """As boto3 names it."""
    operation: str
    """Method of its client."""


PROBES: Sequence[Probe] = (
    Probe("iam:GetAccountSummary", "iam", "get_account_summary"),
    Probe("s3:ListAllMyBuckets", "s3", "list_buckets"),
    Probe("ec2:DescribeInstances", "ec2", "describe_instances"),
    Probe("rds:DescribeDBInstances", "rds", "describe_db_instances"),
    Probe("kms:ListKeys", "kms", "list_keys"),
    Probe("cloudtrail:DescribeTrails", "cloudtrail", "describe_trails"),
    Probe("config:DescribeConfigurationRecorders", "config", "describe_configuration_recorders"),
    Probe("guardduty:ListDetectors", "guardduty", "list_detectors"),
    Probe("lambda:ListFunctions", "lambda", "list_functions"),
    Probe("logs:DescribeLogGroups", "logs", "describe_log_groups"),
)
"""What the readers' policies allow, one read of each service that scans begin with."""


@dataclass(frozen=True)
class Probed:
    """What came of a probe."""

    action: str
    outcome: Outcome
    reason: str = ""
    """Code of AWS, where it did not grant."""


class Prober(Protocol):
    """Tries what a session may do."""

    async def probe(self, keys: AwsKeys) -> Sequence[Probed]:
        """Make each call once; never raises for what AWS answers."""

    async def close(self) -> None:
        """Let go of threads."""
