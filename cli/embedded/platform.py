"""The accounts of the embedded AWS: the tenant's, and the platform's own beside it."""

from collections.abc import Mapping

import boto3

REGION = "us-east-1"
ACCOUNT = "123456789012"
"""The tenant's, which is sampled; the embedded endpoint takes unknown keys for those of it."""
PLATFORM_ACCOUNT = "999988887777"
"""Where the tenancy service keeps its tables and secrets."""
PRINCIPAL = f"arn:aws:iam::{PLATFORM_ACCOUNT}:role/secmesh-tenancy"
"""Who enters accounts of tenants: what their roles are made to trust."""
# The embedded endpoint takes any credentials; real ones must not reach it.
EMBEDDED_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "embedded",
    "AWS_SECRET_ACCESS_KEY": "embedded",
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def platform_credentials(endpoint: str) -> Mapping[str, str]:
    """Give the environment of a process that runs in the platform's account; blocks."""
    return session_of(endpoint, PRINCIPAL)


def session_of(endpoint: str, role: str) -> Mapping[str, str]:
    """Assume a role of the embedded AWS; give its session as environment variables; blocks."""
    sts = boto3.client(
        "sts",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id=EMBEDDED_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=EMBEDDED_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        given = sts.assume_role(RoleArn=role, RoleSessionName="embedded")["Credentials"]
    finally:
        sts.close()
    return EMBEDDED_CREDENTIALS | {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }
