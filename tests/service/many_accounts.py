"""An AWS of many accounts and regions: canned answers, latency, quotas, and production beside.

Nothing of it is moto but the writers of wire formats: what has no answer here is refused.
Each account and region holds other things, by a number drawn from its place alone.
"""

import importlib
import json
import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mesh.aws.pace import HOLD_SECONDS
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_canned import Answer, Asked, Canned, CannedLayer
from mesh.embedded.aws_faults import (
    Fault,
    FaultLayer,
    Faults,
    denied,
    error_body,
    key_of,
    operation_of,
    protocol_of,
    region_of,
    throttled,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

COLLECTIONS = (
    "ebs_settings",
    "ebs_volumes",
    "iam_password_policy",
    "kms_keys",
    "log_groups",
    "s3_account_settings",
    "security_groups",
)
REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "us-east-2", "us-west-2")
HOME = "999999999999"
"""Account that the collector's own credentials lead to."""
PRODUCTION = 2
"""Calls a second that others make there."""
BUSY = 5
"""Which call of the collector meets production at its busiest."""
MADE = datetime(2026, 1, 1, tzinfo=UTC)
KEYS, GROUPS, VOLUMES, LOGS = 2, 6, 8, 12

Place = tuple[str, str, str]
"""Account, region and service: what AWS counts calls of."""


def account_ids(count: int) -> list[str]:
    """Give the ids of so many accounts."""
    return [f"{200_000_000_000 + number}" for number in range(count)]


def drawn(asked: Asked, *more: object) -> int:
    """Draw a number for a thing of an account and region, always the same."""
    place = f"{account_of(asked.access_key_id)}/{asked.region}/{more}"
    return int(sha256(place.encode()).hexdigest()[:8], 16)


def account_of(access_key_id: str) -> str:
    """Tell the account that an access key leads to."""
    return access_key_id[4:16] if access_key_id.startswith("ASIA") else HOME


def _identity(asked: Asked) -> Answer:
    account = account_of(asked.access_key_id)
    arn = f"arn:aws:sts::{account}:assumed-role/audit/secmesh"
    return {"Account": account, "Arn": arn, "UserId": f"AROA:{account}"}


def _assumed(asked: Asked) -> Answer:
    account = str(asked.parameters["RoleArn"]).split(":")[4]
    credentials = {
        "AccessKeyId": f"ASIA{account}",
        "SecretAccessKey": "made-for-a-test",
        "SessionToken": "made-for-a-test",
        "Expiration": datetime.now(UTC) + timedelta(hours=1),
    }
    arn = f"arn:aws:sts::{account}:assumed-role/audit/secmesh"
    user = {"AssumedRoleId": "AROA:secmesh", "Arn": arn}
    return {"Credentials": credentials, "AssumedRoleUser": user}


def _groups(asked: Asked) -> Answer:
    def group(number: int) -> dict[str, Any]:
        port = (22, 443, 3306, 8080)[drawn(asked, "port", number) % 4]
        source = ("0.0.0.0/0", "10.0.0.0/8")[drawn(asked, "source", number) % 2]
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port}
        return {
            "GroupId": f"sg-{drawn(asked, 'group', number):08x}{number:02x}",
            "GroupName": f"group-{number}",
            "Description": "made for a test",
            "VpcId": "vpc-1",
            "OwnerId": account_of(asked.access_key_id),
            "IpPermissions": [{**rule, "IpRanges": [{"CidrIp": source}]}],
            "IpPermissionsEgress": [],
        }

    return {"SecurityGroups": [group(number) for number in range(GROUPS)]}


def _volumes(asked: Asked) -> Answer:
    def volume(number: int) -> dict[str, Any]:
        return {
            "VolumeId": f"vol-{drawn(asked, 'volume', number):08x}{number:02x}",
            "Encrypted": drawn(asked, "encrypted", number) % 3 > 0,
            "State": "available",
            "Size": 8,
            "VolumeType": "gp3",
            "AvailabilityZone": f"{asked.region}a",
            "CreateTime": MADE,
            "Attachments": [],
        }

    return {"Volumes": [volume(number) for number in range(VOLUMES)]}


def _log_groups(asked: Asked) -> Answer:
    account = account_of(asked.access_key_id)

    def group(number: int) -> dict[str, Any]:
        name = f"/service/{number}"
        made = {
            "logGroupName": name,
            "logGroupArn": f"arn:aws:logs:{asked.region}:{account}:log-group:{name}",
            "creationTime": int(MADE.timestamp() * 1000),
        }
        if drawn(asked, "kept", number) % 2:
            made["retentionInDays"] = (7, 400)[drawn(asked, "days", number) % 2]
        if drawn(asked, "sealed", number) % 2:
            made["kmsKeyId"] = f"arn:aws:kms:{asked.region}:{account}:key/logs"
        return made

    return {"logGroups": [group(number) for number in range(LOGS)]}


def _key_arn(asked: Asked, number: int) -> str:
    account = account_of(asked.access_key_id)
    return f"arn:aws:kms:{asked.region}:{account}:key/{number:012d}"


def _keys(asked: Asked) -> Answer:
    arns = [_key_arn(asked, number) for number in range(KEYS)]
    return {"Keys": [{"KeyId": arn.rpartition("/")[2], "KeyArn": arn} for arn in arns]}


def _key(asked: Asked) -> Answer:
    arn = str(asked.parameters["KeyId"])
    pending = drawn(asked, "pending", arn) % 5 == 0
    return {
        "KeyMetadata": {
            "AWSAccountId": account_of(asked.access_key_id),
            "KeyId": arn.rpartition("/")[2],
            "Arn": arn,
            "CreationDate": MADE,
            "Enabled": not pending,
            "KeyUsage": "ENCRYPT_DECRYPT",
            "KeyState": "PendingDeletion" if pending else "Enabled",
            "Origin": "AWS_KMS",
            "KeyManager": "CUSTOMER",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "MultiRegion": False,
        }
    }


def _key_policy(asked: Asked) -> Answer:
    open_to_all = drawn(asked, "policy", asked.parameters["KeyId"]) % 4 == 0
    own = f"arn:aws:iam::{account_of(asked.access_key_id)}:root"
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "*" if open_to_all else own},
        "Action": "kms:*",
        "Resource": "*",
    }
    return {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})}


def _password_policy(asked: Asked) -> Answer:
    classes = ("Uppercase", "Lowercase")
    return {
        "PasswordPolicy": {
            "MinimumPasswordLength": 8 + drawn(asked, "length") % 12,
            "RequireSymbols": True,
            "RequireNumbers": drawn(asked, "numbers") % 2 == 0,
            **{f"Require{each}Characters": True for each in classes},
            "AllowUsersToChangePassword": True,
            "ExpirePasswords": True,
            "MaxPasswordAge": 30 + drawn(asked, "age") % 90,
            "PasswordReusePrevention": 1 + drawn(asked, "reuse") % 24,
        }
    }


def _block(asked: Asked) -> Answer:
    blocked = drawn(asked, "block") % 2 == 0
    flags = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    return {"PublicAccessBlockConfiguration": dict.fromkeys(flags, blocked)}


def fill(canned: Canned) -> None:
    """Give an answer to every operation that the collections read."""
    canned.page = 5
    for operation, answering in {
        "sts:GetCallerIdentity": _identity,
        "sts:AssumeRole": _assumed,
        "ec2:DescribeSecurityGroups": _groups,
        "ec2:DescribeVolumes": _volumes,
        "ec2:GetEbsEncryptionByDefault": lambda asked: {
            "EbsEncryptionByDefault": drawn(asked, "default") % 2 == 0
        },
        "logs:DescribeLogGroups": _log_groups,
        "kms:ListKeys": _keys,
        "kms:DescribeKey": _key,
        "kms:GetKeyPolicy": _key_policy,
        "kms:GetKeyRotationStatus": lambda asked: {
            "KeyRotationEnabled": drawn(asked, "rotated", asked.parameters["KeyId"]) % 2 == 0
        },
        "iam:GetAccountPasswordPolicy": _password_policy,
        "iam:GetAccountSummary": lambda asked: {
            "SummaryMap": {"AccountMFAEnabled": drawn(asked, "mfa") % 2}
        },
        "s3control:GetPublicAccessBlock": _block,
    }.items():
        canned.put_by(operation, answering)
    for operation, items in {
        "ec2:DescribeNetworkInterfaces": "NetworkInterfaces",
        "iam:ListAccountAliases": "AccountAliases",
        "kms:ListAliases": "Aliases",
        "kms:ListGrants": "Grants",
        "kms:ListResourceTags": "Tags",
    }.items():
        canned.put(operation, {items: []})
    canned.put("ec2:GetEbsDefaultKmsKeyId", {"KmsKeyId": "alias/aws/ebs"})
    canned.put("ec2:GetSnapshotBlockPublicAccessState", {"State": "block-all-sharing"})


@dataclass
class Meter:
    """What was asked of one place, by whom."""

    quota: int
    recent: deque[float] = field(default_factory=deque)
    """When calls of anybody were answered, of the last second."""
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    produced: int = 0
    starved: int = 0
    """Calls of production, and how many of them were throttled."""
    production: float = 0.0
    """When production calls next."""
    chance: random.Random = field(default_factory=random.Random)

    def takes(self, now: float) -> bool:
        """Count a call that AWS has room for, or not."""
        while self.recent and self.recent[0] <= now - 1:
            self.recent.popleft()
        if len(self.recent) >= self.quota:
            return False
        self.recent.append(now)
        return True

    def produce(self, now: float) -> None:
        """Let production make the calls that it made until now."""
        self.production = self.production or now - 1
        while self.production <= now:
            self.produced += 1
            self.starved += not self.takes(self.production)
            self.production += self.chance.expovariate(PRODUCTION)

    def spans(self) -> Iterator[tuple[float, int]]:
        """Give how long the collector had to rest after each throttle, and its calls then."""
        for throttle, following in pairwise([*self.refused, float("inf")]):
            until = min(following, throttle + HOLD_SECONDS, max([throttle, *self.answered]))
            yield until - throttle, sum(throttle < each < until for each in self.answered)


class QuotaLayer:
    """WSGI application that counts calls as AWS does and throttles those beyond a quota."""

    def __init__(
        self, application: "WSGIApplication", quota: int, meters: dict[Place, Meter]
    ) -> None:
        self._application = application
        self._quota = quota
        self._meters = meters
        self._lock = threading.Lock()

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        service = operation_of(environ).partition(":")[0]
        place = account_of(key_of(environ)), region_of(environ), service
        if service in ("", "sts") or not self._quota or self._takes(place):
            return self._application(environ, start_response)
        return refused(service, throttled(protocol_of(service)), start_response)

    def _takes(self, place: Place) -> bool:
        with self._lock:
            meter, now = self._meters.setdefault(place, Meter(self._quota)), time.monotonic()
            meter.produce(now)
            busy = len(meter.answered) + len(meter.refused) + 1 == BUSY
            taken = not busy and meter.takes(now)
            (meter.answered if taken else meter.refused).append(now)
            return taken


def refused(service: str, fault: Fault, start_response: "StartResponse") -> Iterable[bytes]:
    """Answer with an error."""
    content_type, body = error_body(service, fault)
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    start_response(f"{fault.status} Refused", headers)
    return [body]


def refuse_all(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Refuse what no answer was written for."""
    service = operation_of(environ).partition(":")[0] or "sts"
    return refused(service, denied(protocol_of(service)), start_response)


class ManyAccounts(AwsEndpoint):
    """The endpoint; each call takes ``latency`` seconds, and ``quota`` are answered a second.

    Without a quota nothing is throttled.
    """

    def __init__(self, *, latency: float = 0, quota: int = 0) -> None:
        super().__init__(Faults())
        self.faults.delay(latency)
        fill(self.canned)
        self._quota = quota
        self.meters: dict[Place, Meter] = {}

    def application(self) -> "WSGIApplication":
        """Give what answers: no moto."""
        # Two threads that import it at once would each find half of it.
        importlib.import_module("moto.core.parse")
        importlib.import_module("moto.core.serialize")
        answering = FaultLayer(CannedLayer(refuse_all, self.canned), self.faults)
        return QuotaLayer(answering, self._quota, self.meters)

    @property
    def throttles(self) -> int:
        """How often the collector was asked to slow down."""
        return sum(len(meter.refused) for meter in self.meters.values())

    @property
    def calls(self) -> int:
        """How many calls of the collector were answered or throttled."""
        return self.throttles + sum(len(meter.answered) for meter in self.meters.values())


@contextmanager
def many_accounts(*, latency: float = 0, quota: int = 0) -> Iterator[ManyAccounts]:
    """Serve the accounts."""
    made = ManyAccounts(latency=latency, quota=quota)
    made.start()
    try:
        yield made
    finally:
        made.stop()
