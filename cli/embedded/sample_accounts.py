"""What the owners of the sample accounts do in them, so that the mesh may enter."""

import boto3

from cli.embedded.platform import REGION, session_of
from cli.sample.clients import Clients

ROLE = "secmesh-scan"
KEY_ACCOUNT = "210987654321"
"""An account that has no role for the mesh, but a user with an access key."""
_STACK = "secmesh"
_USER = "secmesh-reader"


def apply_template(endpoint: str, template: str) -> None:
    """Make a stack of the sampled account from a text of CloudFormation; blocks."""
    client = Clients(endpoint, REGION).client("cloudformation")
    client.create_stack(
        StackName=_STACK, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    client.close()


def access_key_of_user(endpoint: str) -> tuple[str, str]:
    """Make a user with an access key in the other account; give the key's id and its secret."""
    owner = session_of(endpoint, f"arn:aws:iam::{KEY_ACCOUNT}:role/owner")
    client = boto3.client(
        "iam",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id=owner["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=owner["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=owner["AWS_SESSION_TOKEN"],
    )
    client.create_user(UserName=_USER)
    made = client.create_access_key(UserName=_USER)["AccessKey"]
    client.close()
    return made["AccessKeyId"], made["SecretAccessKey"]
