"""Secrets of Secrets Manager: how they are rotated and whom they let in, never what they hold."""

from mesh.aws.reader import Answer, Reader, Response, Unread
from secmesh.inventory.v1.secretsmanager_pb2 import Secret
from services.inventory.collect.access_policy import admits_everyone, foreign_accounts
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp

LIST = "secretsmanager:ListSecrets"
POLICY = "secretsmanager:GetResourcePolicy"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, POLICY))
PAGE = 100
MOMENTS = {
    "last_rotated": "LastRotatedDate",
    "next_rotation": "NextRotationDate",
    "last_changed": "LastChangedDate",
    "last_accessed": "LastAccessedDate",
    "creation_date": "CreatedDate",
    "deletion_date": "DeletedDate",
}
POLICY_FIELDS = ("policy", "policy_public", "policy_cross_account")
FIELDS = frozenset(Secret.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the secrets of one region."""
    secrets = reader.items(
        LIST, "SecretList", page_size=PAGE, listing=True, IncludePlannedDeletion=True
    )
    if isinstance(secrets, Unread):
        return Collected([], secrets)
    return Collected(reader.fan_out(lambda secret: _read_secret(reader, secret), secrets))


def _read_secret(reader: Reader, secret: Response) -> Draft[Secret]:
    draft = secret_draft(secret, reader.region)
    # Of a secret that waits for its deletion the policy is not told.
    if not draft.body.HasField("deletion_date"):
        policy = reader.call(POLICY, resource=draft.arn, SecretId=draft.arn)
        fill_policy(draft, policy, reader.account.cloud_account_id)
    return draft


def secret_draft(secret: Response, region: str) -> Draft[Secret]:
    """Map one secret by its place in the list."""
    rules = secret.get("RotationRules") or {}
    primary = secret.get("PrimaryRegion") or region
    body = Secret(
        secret_name=secret["Name"],
        kms_key_id=secret.get("KmsKeyId") or None,
        rotation_enabled=secret.get("RotationEnabled", False),
        rotation_function=secret.get("RotationLambdaARN") or None,
        rotation_days=rules.get("AutomaticallyAfterDays"),
        rotation_schedule=rules.get("ScheduleExpression") or None,
        owning_service=secret.get("OwningService") or None,
        primary_region=primary if primary != region else None,
        rotatable=primary == region and not secret.get("DeletedDate"),
        tags=tag_map(secret.get("Tags", ())),
    )
    for name, member in MOMENTS.items():
        if moment := secret.get(member):
            getattr(body, name).CopyFrom(timestamp(moment))
    arn = str(secret["ARN"])
    return Draft(native_id=arn, arn=arn, body=body)


def fill_policy(draft: Draft[Secret], answer: Answer, cloud_account_id: str) -> None:
    """Fill a secret's policy and whom it lets in."""

    def fill(body: Secret, response: Response | None) -> None:
        if policy := (response or {}).get("ResourcePolicy"):
            body.policy = policy
        body.policy_public = admits_everyone(body.policy)
        body.policy_cross_account = bool(foreign_accounts(body.policy, cloud_account_id))

    draft.take(answer, POLICY_FIELDS, fill)


COLLECTOR = Collector(
    "secretsmanager",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
    heartbeats=frozenset({"last_accessed"}),
)
