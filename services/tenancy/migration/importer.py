"""Row by row from the old system into this one, as often interrupted as it may be.

The ledger says how far each row is. What it calls verified is not touched again; all else is
done once more, which changes nothing where it was done before.
"""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import grpc

from mesh.errors import Refusal
from services.tenancy import account_rules
from services.tenancy.migration import mapping
from services.tenancy.migration.current import Current
from services.tenancy.migration.ledger import Ledger, State
from services.tenancy.migration.mapping import ROLE, Unfit
from services.tenancy.migration.old_database import OldDatabase
from services.tenancy.migration.old_rows import (
    OldAccount,
    OldCredential,
    OldProvider,
    OldRow,
    OldSchedule,
    OldTenant,
    differences,
    key_of,
)
from services.tenancy.migration.target import Target
from services.tenancy.migration.vault import OldVault

_REQUESTS = uuid.UUID("6f1d2f2e-6f0c-5b8e-9d53-0f6f5f8e6f11")
"""Namespace of the ids of requests, so that a row has the same in each run."""
_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.value[0]


class RowDiffers(Exception):
    """What was written, or stood there before, is not what the row says; names the fields."""


@dataclass
class Shared:
    """External ids that several accounts have: such a one proves nothing, and is not kept."""

    seen: set[str] = field(default_factory=set)
    several: set[str] = field(default_factory=set)

    def note(self, external_id: str) -> None:
        """Count an account in."""
        (self.several if external_id in self.seen else self.seen).add(external_id)

    def own(self, external_id: str) -> str:
        """Give it back if it is of one account alone, else nothing."""
        return "" if external_id in self.several else external_id


class Importer:
    """One run. Raises psycopg.Error, and refusals that another run may not meet."""

    def __init__(
        self,
        old: OldDatabase,
        vault: OldVault,
        target: Target,
        current: Current,
        ledger: Ledger,
    ) -> None:
        self._old = old
        self._current = current
        self._vault = vault
        self._target = target
        self._ledger = ledger
        self._shared = Shared()

    async def run(self, *, dry: bool = False) -> None:
        """Bring all rows as far as they get; ``dry`` reads, decrypts and judges them alone."""
        self._ledger.forget_refused()
        async for credential in self._old.rows(OldCredential):
            self._shared.note(mapping.external_id(self._parts(credential)))
        for rows, bring in self._steps(dry=dry):
            async for row in rows:
                await self._one(row, bring)

    async def activate(self) -> int:
        """Have the schedules fire that the old system had; give how many did not yet."""
        number = 0
        async for row in self._old.rows(OldSchedule):
            if self._ledger.state(OldSchedule.TABLE, row.schedule_id) is State.VERIFIED:
                number += await self._target.activate(row)
        return number

    def _steps(
        self, *, dry: bool
    ) -> list[tuple[AsyncIterator[OldRow], Callable[[OldRow], Awaitable[None]]]]:
        steps: Mapping[type[OldRow], Callable[..., Awaitable[None]]] = {
            OldTenant: self._tenant,
            OldProvider: self._provider,
            OldAccount: self._account,
            OldCredential: self._credential,
            OldSchedule: self._schedule,
        }
        return [
            (self._old.rows(kind), self._judge if dry else step) for kind, step in steps.items()
        ]

    async def _one(self, row: OldRow, bring: Callable[[OldRow], Awaitable[None]]) -> None:
        kind, identity = row.TABLE, key_of(row)
        state = self._ledger.state(kind, identity)
        if state is State.VERIFIED:
            return
        if state is None:
            self._ledger.put(kind, identity, State.EXPORTED)
        try:
            mapping.require_moments(row)
            await bring(row)
        except (Unfit, RowDiffers) as unfit:
            self._ledger.put(kind, identity, State.REFUSED, problem=str(unfit))
        except Refusal as refusal:
            if refusal.reason.code == _UNAVAILABLE:
                raise
            problem = f"{refusal.reason.name}: {refusal.message}"
            self._ledger.put(kind, identity, State.REFUSED, problem=problem)

    async def _judge(self, row: OldRow) -> None:
        """Find out whether a row can be brought, and write nothing but the ledger."""
        match row:
            case OldTenant():
                mapping.tenant_id(row.tenant_id)
                mapping.tenant(row)
            case OldProvider():
                mapping.provider(row)
            case OldAccount():
                made = mapping.account(row, await self._role(row))
                owner = await self._old.one(OldProvider, row.provider_id)
                if owner is None:
                    raise Unfit("its provider does not exist")
                made.provider_type = mapping.provider(owner).provider_type
                account_rules.check(made, "account")
            case OldCredential():
                account = await self._account_of(row)
                secret = mapping.secret(account.credential_type, self._open(row))
                self._note(row, State.DECRYPTED, self._vault.digest(secret))
            case OldSchedule():
                self._target.judge(mapping.schedule(row))

    async def _tenant(self, row: OldTenant) -> None:
        made = await self._target.tenant(row)
        self._note(row, State.WRITTEN)
        self._hold(row, mapping.old_tenant(made))

    async def _provider(self, row: OldProvider) -> None:
        made = await self._target.provider(row)
        self._note(row, State.WRITTEN)
        self._hold(row, mapping.old_provider(made))

    async def _account(self, row: OldAccount) -> None:
        role = await self._role(row)
        external_id = self._shared.own(mapping.external_id(role))
        made = await self._target.account(row, role, external_id)
        self._note(row, State.WRITTEN)
        if made.role_arn != role.get("role_arn", ""):
            raise RowDiffers("role_arn")
        self._hold(row, mapping.old_account(made))

    async def _credential(self, row: OldCredential) -> None:
        account = await self._account_of(row)
        if self._ledger.state(OldAccount.TABLE, row.account_id) is not State.VERIFIED:
            raise Unfit("its account was not brought over")
        secret = mapping.secret(account.credential_type, self._open(row))
        digest = self._vault.digest(secret)
        self._note(row, State.DECRYPTED, digest)
        if account.credential_type == ROLE:
            # Nothing of it is secret: it stands in the account.
            self._note(row, State.VERIFIED)
            return
        request_id = str(uuid.uuid5(_REQUESTS, f"{row.account_id}\n{digest}"))
        await self._target.credential(account, secret, request_id)
        self._note(row, State.WRITTEN)
        tenant = mapping.tenant_id(account.tenant_id)
        found = await self._current.secret(tenant, account.account_id)
        if found is None or self._vault.digest(found) != digest:
            raise RowDiffers("credentials_encrypted")
        self._note(row, State.VERIFIED)

    async def _schedule(self, row: OldSchedule) -> None:
        made = await self._target.schedule(row)
        self._note(row, State.WRITTEN)
        self._hold(row, mapping.old_schedule(made))

    async def _role(self, row: OldAccount) -> Mapping[str, str]:
        """Give what led into an account by a role; nothing for others and what cannot be read."""
        if row.credential_type != ROLE:
            return {}
        found = await self._old.one(OldCredential, row.account_id)
        return {} if found is None else self._parts(found)

    def _parts(self, row: OldCredential) -> Mapping[str, str]:
        try:
            return mapping.secret(ROLE, self._open(row)).credentials
        except Unfit:
            return {}

    async def _account_of(self, row: OldCredential) -> OldAccount:
        found = await self._old.one(OldAccount, row.account_id)
        if found is None:
            raise Unfit("its account does not exist")
        return found

    def _open(self, row: OldCredential) -> str:
        return self._vault.open(row.credentials_encrypted)

    def _hold(self, wanted: OldRow, found: OldRow) -> None:
        """Note that a row is there as it was; RowDiffers."""
        differing = differences(wanted, found)
        if differing:
            raise RowDiffers(", ".join(differing))
        self._note(wanted, State.VERIFIED)

    def _note(self, row: OldRow, state: State, digest: str = "") -> None:
        self._ledger.put(row.TABLE, key_of(row), state, digest=digest)
