"""S3's block-public-access flags of a whole account."""

from typing import Protocol

from mesh.aws.reader import Answer, Reader, Response
from secmesh.inventory.v1.s3_pb2 import S3AccountSettings
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft

ACCOUNT_BLOCK = "s3control:GetPublicAccessBlock"
OPERATIONS = frozenset((ACCOUNT_BLOCK,))
BLOCK_FIELDS = (
    "public_access_block",
    "block_public_acls",
    "ignore_public_acls",
    "block_public_policy",
    "restrict_public_buckets",
)
FIELDS = frozenset(BLOCK_FIELDS)


class _Blocks(Protocol):
    public_access_block: bool
    block_public_acls: bool
    ignore_public_acls: bool
    block_public_policy: bool
    restrict_public_buckets: bool


def read_account_block(reader: Reader) -> Answer:
    """Read the flags of the account."""
    return reader.call(ACCOUNT_BLOCK, AccountId=reader.account.cloud_account_id)


def collect(reader: Reader) -> Collected:
    """Read the one row of the account."""
    return Collected([account_draft(reader.account.cloud_account_id, read_account_block(reader))])


def account_draft(cloud_account_id: str, block: Answer) -> Draft[S3AccountSettings]:
    """Map the answer."""
    draft = Draft(native_id=cloud_account_id, body=S3AccountSettings())
    draft.take(block, BLOCK_FIELDS, fill_block)
    return draft


def fill_block(body: _Blocks, response: Response | None) -> None:
    """Fill the four flags, of a bucket or an account; unconfigured means off."""
    flags = (response or {}).get("PublicAccessBlockConfiguration", {})
    body.block_public_acls = bool(flags.get("BlockPublicAcls", False))
    body.ignore_public_acls = bool(flags.get("IgnorePublicAcls", False))
    body.block_public_policy = bool(flags.get("BlockPublicPolicy", False))
    body.restrict_public_buckets = bool(flags.get("RestrictPublicBuckets", False))
    body.public_access_block = (
        body.block_public_acls
        and body.ignore_public_acls
        and body.block_public_policy
        and body.restrict_public_buckets
    )


COLLECTOR = Collector(
    "s3_account_settings",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
)
