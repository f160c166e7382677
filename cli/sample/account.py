"""A sample AWS account on the embedded endpoint: for each check something good and something bad.

All of it is invented. The endpoint keeps no past, so ages (an old key, a login
long ago) are told by tags that its credential report heeds; see mesh.embedded.aws.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli.sample.clients import ACCOUNT, Clients
from cli.sample.clusters import make_containers, make_kubernetes, make_repositories
from cli.sample.databases import make_databases
from cli.sample.delivery import make_pipelines, make_projects
from cli.sample.events import make_channels, make_events
from cli.sample.functions import make_functions
from cli.sample.keys import make_keys
from cli.sample.machines import make_machines
from cli.sample.monitoring import TRAIL_GROUP, make_monitoring
from cli.sample.network import make_networks
from cli.sample.organization import make_organization
from cli.sample.roles import make_roles
from cli.sample.tables import make_tables
from mesh.embedded.aws import TAG_PREFIX
from mesh.loopback import is_loopback

ANSWERS = Path(__file__).parent / "answers"
"""What is told of services that the endpoint does not know; see mesh.embedded.aws_canned_files."""
OTHER_REGION = "eu-west-1"
PASSWORD = "Correct-Horse-7-Battery"  # noqa: S105  # of users that exist in memory only
DATA, TRAIL_LOGS, ACCESS_LOGS = "acme-data", "acme-cloudtrail", "acme-access-logs"
WEBSITE, UPLOADS, SHIELDED, ARCHIVE = (
    "acme-website",
    "acme-uploads",
    "acme-shielded",
    "acme-archive",
)
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
ALL_BLOCKED = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


def populate(endpoint_url: str, region: str) -> None:
    """Fill the account behind an endpoint of this machine.

    Raises ValueError for an endpoint elsewhere: nothing is ever made in a real account.
    """
    if not is_loopback(urlsplit(endpoint_url).hostname or ""):
        raise ValueError(f"{endpoint_url} is not on this machine")
    clients = Clients(endpoint_url, region)
    _iam(clients.client("iam"))
    _buckets(clients)
    _security_groups(clients.client("ec2"))
    _trails(clients.client("cloudtrail"))
    key = make_keys(clients.client("kms"))
    make_tables(clients.client("dynamodb"), key)
    make_functions(clients.client("lambda"))
    make_kubernetes(clients.client("eks"), key)
    make_containers(clients.client("ecs"), clients.client("ec2"), key)
    make_repositories(clients.client("ecr"), key)
    make_machines(clients.client("ec2"), key)
    make_networks(clients.client("ec2"), ACCESS_LOGS)
    make_databases(clients.client("rds"), clients.client("ec2"), key)
    make_monitoring(clients.client("logs"), clients.client("cloudwatch"), key)
    make_channels(clients.client("sns"), clients.client("sqs"), key)
    make_events(clients.client("events"))
    make_projects(clients.client("codebuild"))
    make_pipelines(clients.client("codepipeline"), clients.client("iam"))
    make_organization(clients.client("organizations"), clients.client("account"))


def _days_ago(days: int) -> str:
    moment = datetime.now(UTC) - timedelta(days=days)
    return moment.isoformat(timespec="seconds")


def _past(**columns: int) -> list[dict[str, str]]:
    """Give tags that set columns of the credential report to so many days ago."""
    return [
        {"Key": f"{TAG_PREFIX}{name}", "Value": _days_ago(days)} for name, days in columns.items()
    ]


def _iam(iam: Any) -> None:
    iam.create_account_alias(AccountAlias="acme-sample")
    iam.update_account_password_policy(
        MinimumPasswordLength=10,
        RequireSymbols=False,
        RequireNumbers=True,
        RequireUppercaseCharacters=True,
        RequireLowercaseCharacters=True,
        AllowUsersToChangePassword=True,
        PasswordReusePrevention=5,
    )
    iam.create_group(GroupName="administrators")
    iam.create_group(GroupName="developers")
    _people(iam)
    _machines(iam)
    make_roles(iam)


def _people(iam: Any) -> None:
    _user(iam, "alice", "administrators", _past(password_last_used=1))
    iam.create_login_profile(UserName="alice", Password=PASSWORD)
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="alice")["VirtualMFADevice"]
    _assign(iam, "alice", device["SerialNumber"])
    # A console password without MFA, and no login for 200 days.
    _user(iam, "bob", "developers", _past(password_last_used=200, password_last_changed=380))
    iam.create_login_profile(UserName="bob", Password=PASSWORD)
    _user(iam, "carol", "developers", _past(password_last_used=12))
    iam.create_login_profile(UserName="carol", Password=PASSWORD)
    _assign(iam, "carol", "GAHT12345678")
    # Permissions on the user itself, where a group should hold them.
    _user(iam, "dave", "", [{"Key": "team", "Value": "data"}])
    policy = iam.create_policy(PolicyName="read-reports", PolicyDocument=_allow("s3:GetObject"))
    iam.attach_user_policy(UserName="dave", PolicyArn=policy["Policy"]["Arn"])
    iam.put_user_policy(
        UserName="dave", PolicyName="list-all", PolicyDocument=_allow("s3:ListAllMyBuckets")
    )


def _machines(iam: Any) -> None:
    # A key that was made 400 days ago and is in use.
    old = _past(access_key_1_last_rotated=400, access_key_1_last_used_date=1)
    _user(iam, "ci-deploy", "", old)
    iam.create_access_key(UserName="ci-deploy")
    # A fresh key beside one that is switched off.
    _user(iam, "reporting", "", _past(access_key_1_last_used_date=2))
    iam.create_access_key(UserName="reporting")
    spare = iam.create_access_key(UserName="reporting")["AccessKey"]
    iam.update_access_key(UserName="reporting", AccessKeyId=spare["AccessKeyId"], Status="Inactive")


def _user(iam: Any, name: str, group: str, tags: list[dict[str, str]]) -> None:
    iam.create_user(UserName=name, Tags=tags)
    if group:
        iam.add_user_to_group(GroupName=group, UserName=name)


def _assign(iam: Any, user: str, serial: str) -> None:
    iam.enable_mfa_device(
        UserName=user,
        SerialNumber=serial,
        AuthenticationCode1="123456",
        AuthenticationCode2="654321",
    )


def _allow(action: str) -> str:
    return _policy({"Effect": "Allow", "Action": action, "Resource": "*"})


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _tls_only(bucket: str) -> dict[str, Any]:
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def _logs_arrive(bucket: str) -> dict[str, Any]:
    return {
        "Sid": "LogsArrive",
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": ["s3:PutObject"],
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }


def _anyone_reads(bucket: str) -> dict[str, Any]:
    return {
        "Sid": "AnyoneReads",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }


def _buckets(clients: Clients) -> None:
    # Nothing of the account's own block is on, so each bucket is on its own.
    clients.client("s3control").put_public_access_block(
        AccountId=ACCOUNT, PublicAccessBlockConfiguration=dict.fromkeys(ALL_BLOCKED, False)
    )
    s3 = clients.client("s3", "us-east-1")
    s3.create_bucket(Bucket=ACCESS_LOGS)
    s3.create_bucket(Bucket=TRAIL_LOGS, ObjectLockEnabledForBucket=True)
    for bucket in (DATA, SHIELDED, WEBSITE, UPLOADS):
        s3.create_bucket(Bucket=bucket)
    for bucket in (ACCESS_LOGS, TRAIL_LOGS, DATA):
        _protect(s3, bucket)
    s3.put_bucket_policy(
        Bucket=ACCESS_LOGS, Policy=_policy(_logs_arrive(ACCESS_LOGS), _tls_only(ACCESS_LOGS))
    )
    _data(s3)
    _logs(s3)
    _exposed(s3)
    abroad = clients.client("s3", OTHER_REGION)
    abroad.create_bucket(
        Bucket=ARCHIVE, CreateBucketConfiguration={"LocationConstraint": OTHER_REGION}
    )
    _protect(abroad, ARCHIVE)


def _protect(s3: Any, bucket: str) -> None:
    """Encrypt a bucket, block the public, demand TLS and switch ACLs off."""
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=ALL_BLOCKED)
    s3.put_bucket_policy(Bucket=bucket, Policy=_policy(_tls_only(bucket)))
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    _encrypt(s3, bucket, {"SSEAlgorithm": "AES256"})


def _encrypt(s3: Any, bucket: str, default: dict[str, str]) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})


def _data(s3: Any) -> None:
    _encrypt(s3, DATA, {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY})
    s3.put_bucket_versioning(Bucket=DATA, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(
        Bucket=DATA, Tagging={"TagSet": [{"Key": "classification", "Value": "restricted"}]}
    )
    _log_access(s3, DATA)


def _log_access(s3: Any, bucket: str) -> None:
    target = {"TargetBucket": ACCESS_LOGS, "TargetPrefix": f"{bucket}/"}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": target})


def _logs(s3: Any) -> None:
    s3.put_object_lock_configuration(
        Bucket=TRAIL_LOGS,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 365}},
        },
    )
    _log_access(s3, TRAIL_LOGS)
    rule = {"ID": "expire", "Status": "Enabled", "Filter": {"Prefix": ""}}
    s3.put_bucket_lifecycle_configuration(
        Bucket=ACCESS_LOGS,
        LifecycleConfiguration={"Rules": [{**rule, "Expiration": {"Days": 400}}]},
    )


def _exposed(s3: Any) -> None:
    s3.put_bucket_policy(Bucket=WEBSITE, Policy=_policy(_anyone_reads(WEBSITE)))
    s3.put_bucket_acl(Bucket=UPLOADS, ACL="public-read")
    # The same policy as the website's, taken back by the bucket's block.
    s3.put_bucket_policy(Bucket=SHIELDED, Policy=_policy(_anyone_reads(SHIELDED)))
    s3.put_public_access_block(Bucket=SHIELDED, PublicAccessBlockConfiguration=ALL_BLOCKED)
    _encrypt(s3, SHIELDED, {"SSEAlgorithm": "AES256"})


def _security_groups(ec2: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.1.0/24")["Subnet"]["SubnetId"]

    def group(name: str, description: str, *ingress: dict[str, Any]) -> str:
        made = ec2.create_security_group(GroupName=name, Description=description, VpcId=vpc)
        if ingress:
            ec2.authorize_security_group_ingress(
                GroupId=made["GroupId"], IpPermissions=list(ingress)
            )
        return str(made["GroupId"])

    world = {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    web = group("web", "HTTPS from everywhere", _tcp(443, 443, world))
    ssh = group("ssh-open", "SSH from everywhere", _tcp(22, 22, world))
    group("remote-desktop", "A range that holds 3389", _tcp(3000, 4000, world))
    group("everything", "All traffic from everywhere", {"IpProtocol": "-1", **world})
    group("database-open", "PostgreSQL from everywhere", _tcp(5432, 5432, world))
    six = {"Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    group("ssh-open-ipv6", "SSH from everywhere over IPv6", _tcp(22, 22, six))
    peers = {"UserIdGroupPairs": [{"GroupId": web}]}
    database = group("database", "PostgreSQL from the web tier", _tcp(5432, 5432, peers))
    for name, cidr in (("partners", "203.0.113.0/24"), ("anyone", "0.0.0.0/0")):
        listed = {"PrefixListIds": [{"PrefixListId": _prefix_list(ec2, name, cidr)}]}
        group(f"ssh-{name}", f"SSH from the prefix list {name}", _tcp(22, 22, listed))
    for groups in ([web], [ssh], [database]):
        ec2.create_network_interface(SubnetId=subnet, Groups=groups)


def _tcp(first: int, last: int, peers: dict[str, Any]) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, **peers}


def _prefix_list(ec2: Any, name: str, cidr: str) -> str:
    made = ec2.create_managed_prefix_list(
        PrefixListName=name, MaxEntries=4, AddressFamily="IPv4", Entries=[{"Cidr": cidr}]
    )
    return str(made["PrefixList"]["PrefixListId"])


def _trails(cloudtrail: Any) -> None:
    main = cloudtrail.create_trail(
        Name="acme-main",
        S3BucketName=TRAIL_LOGS,
        IsMultiRegionTrail=True,
        EnableLogFileValidation=True,
        KmsKeyId=KEY,
        CloudWatchLogsLogGroupArn=f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{TRAIL_GROUP}:*",
        CloudWatchLogsRoleArn=f"arn:aws:iam::{ACCOUNT}:role/write-trail",
        TagsList=[{"Key": "owner", "Value": "security"}],
    )["TrailARN"]
    data = {"Type": "AWS::S3::Object", "Values": [f"arn:aws:s3:::{DATA}/"]}
    cloudtrail.put_event_selectors(
        TrailName=main,
        EventSelectors=[
            {"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": [data]}
        ],
    )
    cloudtrail.put_insight_selectors(
        TrailName=main, InsightSelectors=[{"InsightType": "ApiCallRateInsight"}]
    )
    cloudtrail.start_logging(Name=main)
    # One region, no validation, into a bucket that the world reads, and switched off.
    forgotten = cloudtrail.create_trail(Name="acme-forgotten", S3BucketName=UPLOADS)["TrailARN"]
    cloudtrail.put_event_selectors(
        TrailName=forgotten,
        EventSelectors=[{"ReadWriteType": "WriteOnly", "IncludeManagementEvents": True}],
    )
