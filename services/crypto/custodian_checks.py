"""Whether the custodians of keys serve, as the operator asks."""

from mesh.errors import Refusal
from services.crypto.assembly import Custody
from services.crypto.custody.app_key import AppKeyCustodian
from services.crypto.custody.kms import Kms, KmsError, KmsKeyState
from services.crypto.installation_store import Check

KMS_KEY, APP_KEY = "KMS key", "app key"


async def custodian_checks(custody: Custody, kms_key_id: str) -> list[Check]:
    """Look at the KMS key and at who keeps the app key."""
    return [await _kms_key(custody.kms, kms_key_id), await _app_key(custody.app_key)]


async def _kms_key(kms: Kms, key_id: str) -> Check:
    try:
        key = await kms.describe(key_id)
    except KmsError as error:
        return Check(KMS_KEY, str(error), "")
    problem = "" if key.state is KmsKeyState.ENABLED else f"is {key.state.value}"
    return Check(KMS_KEY, problem, f"{key.key_id}, {key.state.value}")


async def _app_key(custodian: AppKeyCustodian) -> Check:
    try:
        return Check(APP_KEY, "", f"in the hands of {await custodian.principal()}")
    except Refusal as error:
        return Check(APP_KEY, str(error), "")
