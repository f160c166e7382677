"""Credentials while the store and Secrets Manager fail at random: whoever goes on gets it right."""

import random
import uuid
from collections.abc import Awaitable, Callable

import pytest

from mesh.errors import Refusal
from secmesh.tenancy.v1 import account_pb2
from secmesh.tenancy.v1.credential_service_pb2 import RotateCredentialRequest
from services.tenancy.credentials.access_chain import first_fault
from services.tenancy.credentials.access_log import ENTRY
from services.tenancy.credentials.accesses import Use
from services.tenancy.credentials.credential_store import ACCOUNT
from services.tenancy.credentials.parts import CredentialParts, Custody
from services.tenancy.credentials.secret_text import SecretText
from services.tenancy.credentials.secrets import Stage
from services.tenancy.gate import Gate
from services.tenancy.store.idempotency import Requests
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.memory_faults import Faults
from services.tenancy.store.port import Put
from services.tenancy.writing import NamedRequest
from tests.unit.fake_prober import FakeProber
from tests.unit.fake_secrets import FakeSecrets
from tests.unit.fake_sts import FakeSecurityTokens
from tests.unit.tenancy_clock import TurnedClock

TENANT, ACCOUNT_ID, CLOUD_ID = "acme", str(uuid.uuid4()), "111122223333"
SCOPE = TenantScope(TENANT)
PASSING = {"DEPENDENCY_UNAVAILABLE", "SECRET_STORE_THROTTLED", "WRITES_COLLIDED"}
TRIES = 200


class Failing:
    """A store, a Secrets Manager and an STS that fail as a seed has it."""

    def __init__(self, seed: int) -> None:
        self.clock, self.chance = TurnedClock(), random.Random(seed)
        self.faults = Faults(self.chance, unanswered=0.1, unsent=0.05, conflicting=0.05)
        self.store = MemoryStore(self.clock, faults=self.faults)
        self.secrets = FakeSecrets(self.clock.now, 100_000)
        self.secrets.chance, self.secrets.unsent, self.secrets.unanswered = self.chance, 0.05, 0.1
        self.tokens = FakeSecurityTokens(self.clock.now)

    def parts(self) -> CredentialParts:
        """Give a process: one that remembers nothing of those before."""
        custody = Custody(self.secrets, self.tokens, FakeProber())
        gate = Gate(self.store, self.clock)
        return CredentialParts(custody, self.store, self.clock, gate, self.chance, "threat-engine")

    def named(self, request_id: str) -> NamedRequest:
        requests = Requests(self.store, self.clock, b"k" * 32)
        asked = RotateCredentialRequest(request_id=request_id)
        return NamedRequest(requests, SCOPE, request_id, asked)

    def new_secret(self) -> SecretText:
        number = sum(self.tokens.calls.values())
        keys = self.tokens.add_user(f"arn:aws:iam::{CLOUD_ID}:user/u{number}")
        parts = {
            "access_key_id": keys.access_key_id,
            "secret_access_key": keys.secret_access_key,
        }
        return SecretText("aws_access_key", parts)

    def heal(self) -> None:
        self.faults.unanswered = self.faults.unsent = self.faults.conflicting = 0
        self.secrets.unsent = self.secrets.unanswered = 0

    async def until_done(self, call: Callable[[CredentialParts], Awaitable[object]]) -> str:
        """Call until it is done or refused for good, each time by a new process; "" if done."""
        for _ in range(TRIES):
            try:
                await call(self.parts())
            except Refusal as refusal:
                if refusal.reason.name not in PASSING:
                    return refusal.reason.name
            else:
                return ""
            self.clock.moment += 1_000_000
        raise AssertionError("never done")


async def opened(seed: int) -> Failing:
    made = Failing(seed)
    account = account_pb2.Account(
        name=f"tenants/{TENANT}/accounts/{ACCOUNT_ID}",
        cloud_account_id=CLOUD_ID,
        credential_type=account_pb2.CREDENTIAL_TYPE_AWS_ACCESS_KEY,
        status=account_pb2.ACCOUNT_STATUS_ACTIVE,
    )
    faults, made.faults.unanswered = made.faults.unanswered, 0
    for _ in range(TRIES):
        try:
            await made.store.write(Put(SCOPE.account(ACCOUNT_ID), ACCOUNT.item(account)))
            break
        except Refusal:
            continue
    made.faults.unanswered = faults
    return made


@pytest.mark.parametrize("seed", range(25))
async def test_what_is_repeated_is_done_once_and_what_is_told_holds(seed: int) -> None:
    world = await opened(seed)
    use, request_id = Use("ann", purpose="test"), str(uuid.UUID(int=world.chance.getrandbits(128)))
    current = world.new_secret()
    first = current

    def store(parts: CredentialParts) -> Awaitable[object]:
        return parts.keeper.store(TENANT, ACCOUNT_ID, first, world.named(request_id), use)

    assert await world.until_done(store) == ""
    for _ in range(12):
        step = world.chance.choice(["rotate", "rotate", "refused", "delete", "retrieve"])
        if step in ("rotate", "refused"):
            secret, named = world.new_secret(), str(uuid.UUID(int=world.chance.getrandbits(128)))
            if step == "refused":
                world.tokens.disable(secret.credentials["access_key_id"])

            def rotate(
                parts: CredentialParts, secret: SecretText = secret, named: str = named
            ) -> Awaitable[object]:
                request = world.named(named)
                return parts.rotation.rotate(TENANT, ACCOUNT_ID, secret, "", request, use)

            told = await world.until_done(rotate)
            assert told == ("CREDENTIAL_REFUSED" if step == "refused" else "")
            current = current if told else secret
        elif step == "delete":
            assert (
                await world.until_done(
                    lambda parts: parts.keeper.delete_credential(TENANT, ACCOUNT_ID, "", use)
                )
                == ""
            )
            told = await world.until_done(
                lambda parts: parts.keeper.undelete_credential(TENANT, ACCOUNT_ID, "", use)
            )
            # Done, and its answer lost.
            assert told in ("", "RESOURCE_NOT_DELETED")
        else:

            async def retrieve(parts: CredentialParts, wanted: SecretText = current) -> None:
                found = await parts.keeper.retrieve(TENANT, ACCOUNT_ID, 0, use)
                assert found.secret.credentials == wanted.credentials

            assert await world.until_done(retrieve) == ""
    world.heal()
    parts = world.parts()
    found = await parts.keeper.retrieve(TENANT, ACCOUNT_ID, 0, use)
    assert found.secret.credentials == current.credentials
    held = await world.secrets.get(f"threat-engine/account/{ACCOUNT_ID}", Stage.CURRENT)
    assert SecretText.read(held.value).credentials == current.credentials
    page = await world.store.query(SCOPE.credential_accesses())
    assert first_fault(ENTRY.message(item) for item in reversed(page.items)) is None
