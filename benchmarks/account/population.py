"""The account that collectors are compared on: numbers of a middle-sized company, all invented."""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cli.sample.account import PASSWORD
from cli.sample.clients import ACCOUNT, Clients

USERS, CONSOLE_USERS, MFA_USERS, KEY_USERS = 200, 100, 50, 67
ROLES, GROUPS = 20, 10
BUCKETS, KEYS, TABLES = 300, 50, 30
SECURITY_GROUPS, ATTACHED_GROUPS = 100, 80
PUBLIC_BUCKETS = 10
_THREADS = 8


def populate(endpoint_url: str, region: str) -> None:
    """Make the account; takes some seconds."""
    clients = Clients(endpoint_url, region)
    with ThreadPoolExecutor(_THREADS) as pool:
        _each(pool, _users(clients.client("iam")), USERS)
        _each(pool, _roles(clients.client("iam")), ROLES)
        _each(pool, _buckets(clients.client("s3")), BUCKETS)
        _each(pool, _keys(clients.client("kms")), KEYS)
        _each(pool, _tables(clients.client("dynamodb")), TABLES)
        _each(pool, _groups(clients.client("ec2")), SECURITY_GROUPS)


def _each(pool: ThreadPoolExecutor, make: Callable[[int], None], count: int) -> None:
    done: Iterable[None] = pool.map(make, range(count))
    for _ in done:
        pass


def _users(iam: Any) -> Callable[[int], None]:
    for number in range(GROUPS):
        iam.create_group(GroupName=f"group-{number:02}")

    def make(number: int) -> None:
        name = f"user-{number:03}"
        iam.create_user(UserName=name, Tags=[{"Key": "team", "Value": f"team-{number % 7}"}])
        iam.add_user_to_group(UserName=name, GroupName=f"group-{number % GROUPS:02}")
        if number < CONSOLE_USERS:
            iam.create_login_profile(UserName=name, Password=PASSWORD)
        if number < MFA_USERS:
            device = iam.create_virtual_mfa_device(VirtualMFADeviceName=name)["VirtualMFADevice"]
            iam.enable_mfa_device(
                UserName=name,
                SerialNumber=device["SerialNumber"],
                AuthenticationCode1="123456",
                AuthenticationCode2="654321",
            )
        if number >= USERS - KEY_USERS:
            iam.create_access_key(UserName=name)

    return make


def _roles(iam: Any) -> Callable[[int], None]:
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    text = json.dumps({"Version": "2012-10-17", "Statement": trust})

    def make(number: int) -> None:
        iam.create_role(RoleName=f"role-{number:02}", AssumeRolePolicyDocument=text)

    return make


def _buckets(s3: Any) -> Callable[[int], None]:
    def make(number: int) -> None:
        name = f"bench-{number:03}"
        # As S3 does for new buckets since April 2023; ACLs count only where someone wanted them.
        owner = "ObjectWriter" if number < PUBLIC_BUCKETS else "BucketOwnerEnforced"
        s3.create_bucket(Bucket=name, ObjectOwnership=owner)
        if number % 5 < 3:
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
            s3.put_bucket_encryption(
                Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]}
            )
        if number % 3 == 0:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        if number < PUBLIC_BUCKETS:
            s3.put_bucket_acl(Bucket=name, ACL="public-read")
        s3.put_bucket_tagging(
            Bucket=name, Tagging={"TagSet": [{"Key": "stage", "Value": str(number % 3)}]}
        )

    return make


def _keys(kms: Any) -> Callable[[int], None]:
    def make(number: int) -> None:
        key = kms.create_key(Description=f"key {number}")["KeyMetadata"]["KeyId"]
        if number % 2:
            kms.enable_key_rotation(KeyId=key)

    return make


def _tables(dynamodb: Any) -> Callable[[int], None]:
    def make(number: int) -> None:
        name = f"table-{number:02}"
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )
        if number % 2:
            dynamodb.update_continuous_backups(
                TableName=name,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            )

    return make


def _groups(ec2: Any) -> Callable[[int], None]:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/20")["Subnet"]["SubnetId"]

    def make(number: int) -> None:
        name = f"group-{number:03}"
        group = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
        port = (22, 443, 3389, 5432, 8080)[number % 5]
        peers = "0.0.0.0/0" if number % 4 == 0 else "10.0.0.0/8"
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port}
        ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=[{**rule, "IpRanges": [{"CidrIp": peers}]}]
        )
        if number < ATTACHED_GROUPS:
            ec2.create_network_interface(SubnetId=subnet, Groups=[group])

    return make
