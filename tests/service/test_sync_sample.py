"""What a sync shows of the sample account: for each check something good and something bad."""

from secmesh.inventory.v1.record_pb2 import Record
from tests.service.collect_world import World, body_of, by


def having(rows: dict[str, Record], field: str) -> set[str]:
    """Give the keys of the records whose field is true or filled."""
    return {name for name, record in rows.items() if getattr(body_of(record), field)}


async def test_keys_of_the_sample(collecting: World) -> None:
    await collecting.sync("kms_keys")
    listed = await collecting.rows("kms_keys")
    keys = {body_of(each).aliases[0].removeprefix("alias/"): each for each in listed.values()}
    assert having(keys, "rotatable") == {"data", "archive", "shared"}
    assert having(keys, "rotation_enabled") == {"data", "shared"}
    assert having(keys, "policy_public") == {"shared"}
    assert having(keys, "grants") == {"data"}
    assert not having(keys, "policy_cross_account")
    data, retired = body_of(keys["data"]), body_of(keys["retired"])
    assert data.rotation_period_days == 365
    assert data.tags == {"owner": "data"}
    assert keys["data"].arn.endswith(f":key/{data.key_id}")
    assert retired.state == "PendingDeletion"
    assert retired.HasField("deletion_date")
    assert not retired.HasField("rotation_enabled")
    assert by(listed, "usage")["SIGN_VERIFY"].kms_key.spec == "ECC_NIST_P256"
