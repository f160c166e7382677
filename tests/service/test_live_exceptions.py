"""What events turned is told by the exceptions in force: an accepted failure is no new one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mesh.client import open_channel
from mesh.embedded.aws import AwsEndpoint
from mesh.identity.keys import sign_token
from secmesh.inventory.v1.check_exception_pb2 import CheckException
from secmesh.inventory.v1.exception_service_pb2 import (
    ApproveCheckExceptionRequest,
    CreateCheckExceptionRequest,
)
from secmesh.inventory.v1.exception_service_pb2_grpc import ExceptionServiceStub
from tests.service.collect_world import CATALOGUE, TENANT, client
from tests.service.event_world import Live, on_bucket, recorded, turned
from tests.service.test_live_events import live

__all__ = ["live"]

BUCKET_CHECK, ACCOUNT_CHECK = "s3.versioning", "iam.pwd_min_length"


async def accept(live: Live, home: Path, check: str, resources: str = "") -> None:
    """Have a failure accepted: one person asks, another approves."""
    made = CheckException(check_id=check, reason="It is known.", resources=resources)
    made.cloud_account_ids.append(live.account)
    made.expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=30))
    exception_id = check.replace(".", "-").replace("_", "-")
    request = CreateCheckExceptionRequest(
        parent=TENANT, check_exception_id=exception_id, check_exception=made
    )
    name = ""
    for subject in ("ann", "bob"):
        token = sign_token(home / "keys", subject=subject, tenant="acme", roles=["admin"])
        async with open_channel(live.address, package=CATALOGUE.package, token=token) as channel:
            stub = ExceptionServiceStub(channel)
            if name:
                await stub.ApproveCheckException(ApproveCheckExceptionRequest(name=name))
            else:
                name = (await stub.CreateCheckException(request)).name


async def test_an_accepted_failure_of_a_bucket_turns_to_excepted(
    live: Live, tmp_path: Path
) -> None:
    known, other = (f"live-{name}-{live.account}" for name in ("known", "other"))
    for bucket in (known, other):
        live.s3.create_bucket(Bucket=bucket)
        live.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    await live.collect("s3_buckets")
    await accept(live, tmp_path, BUCKET_CHECK, f'bucket_name == "{known}"')

    async def set_to(bucket: str, status: str) -> tuple[str, str]:
        live.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        answer = await live.post(on_bucket(live.account, "PutBucketVersioning", bucket))
        return turned(answer)[BUCKET_CHECK]

    assert await set_to(known, "Suspended") == ("PASS", "EXCEPTED")
    assert await set_to(other, "Suspended") == ("PASS", "FAIL")
    assert await set_to(known, "Enabled") == ("EXCEPTED", "PASS")


async def test_an_accepted_failure_of_an_account_turns_to_excepted(
    live: Live, aws: AwsEndpoint, tmp_path: Path
) -> None:
    iam = client(aws, "iam", live.account)
    iam.update_account_password_policy(MinimumPasswordLength=20)
    await live.collect("iam_password_policy")
    await accept(live, tmp_path, ACCOUNT_CHECK)
    iam.update_account_password_policy(MinimumPasswordLength=6)
    event = recorded(live.account, "iam", "UpdateAccountPasswordPolicy", region="us-east-1")
    assert turned(await live.post(event))[ACCOUNT_CHECK] == ("PASS", "EXCEPTED")
