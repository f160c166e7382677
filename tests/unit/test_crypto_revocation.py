"""A KMS key that is disabled is forgotten at the next look; two keys are in two hands."""

import pytest

from services.crypto.custody.kms import KmsDisabled, KmsKeyState
from services.crypto.custody.revocation import RevocationWatch
from services.crypto.custody.two_parties import OnePartyHoldsBoth, require_two_parties
from tests.unit.fake_kms import FakeKms


class Custodian:
    """A custodian of the app key, as far as its principal goes."""

    def __init__(self, principal: str) -> None:
        self._principal = principal

    async def principal(self) -> str:
        return self._principal

    async def seal(self, _tenant: str, _values: object) -> list[bytes]:
        return []

    async def open(self, _tenant: str, _values: object) -> list[bytes | None]:
        return []

    async def seal_again(self, _tenant: str, _values: object, _version: int) -> list[bytes | None]:
        return []

    async def close(self) -> None:
        pass


async def test_what_may_not_be_used_is_revoked_and_nothing_else() -> None:
    fake, revoked = FakeKms("one", "two", "three"), list[str]()
    watch = RevocationWatch(fake, lambda: ["one", "two", "three", "gone"], revoked.append)
    fake.set_state("two", KmsKeyState.DISABLED)
    fake.set_state("three", KmsKeyState.PENDING_DELETION)
    await watch.look()
    assert revoked == ["gone", "three", "two"]


async def test_an_outage_revokes_nothing() -> None:
    fake, revoked = FakeKms("one"), list[str]()
    watch = RevocationWatch(fake, lambda: ["one"], revoked.append)
    fake.down = True
    await watch.look()
    fake.down, fake.throttled = False, 1
    await watch.look()
    assert revoked == []


async def test_one_principal_for_both_keys_is_refused() -> None:
    kms = FakeKms("one", account="111122223333")
    await require_two_parties(kms, "one", Custodian("aws:444455556666"))
    with pytest.raises(OnePartyHoldsBoth, match="aws:111122223333"):
        await require_two_parties(kms, "one", Custodian("aws:111122223333"))
    with pytest.raises(KmsDisabled):
        await require_two_parties(kms, "none", Custodian("uid:1000"))
