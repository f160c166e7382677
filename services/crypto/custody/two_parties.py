"""Whether the two keys of tier 3 are in two hands."""

from services.crypto.custody.app_key import AppKeyCustodian
from services.crypto.custody.kms import Kms


class OnePartyHoldsBoth(Exception):
    """The KMS key and the app key have one principal: two layers would protect like one."""


async def require_two_parties(kms: Kms, key_id: str, custodian: AppKeyCustodian) -> None:
    """Raise OnePartyHoldsBoth if who can use the KMS key can use the app key, too.

    Raises what the KMS and the custodian raise as well: what cannot be asked is not taken for
    granted.
    """
    key, app = await kms.describe(key_id), await custodian.principal()
    if key.principal == app:
        raise OnePartyHoldsBoth(
            f"the KMS key and the app key are both in the hands of {app}: tier 3 needs two "
            "parties in production; keep the app key in another account, or in a sealer process "
            "of another user"
        )
