"""Old rows as messages of the contract, and messages as old rows: pure.

What the old system said otherwise: an interval is ``rate()``, a single run ``at()``, a role's
ARN and external id stood in the secret, and a tenant's id could begin with a digit.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from google.protobuf.message import Message

from mesh.server.interceptors.validation import violations_of
from secmesh.tenancy.v1.account_pb2 import Account, CredentialType
from secmesh.tenancy.v1.provider_pb2 import Provider, ProviderType
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from services.tenancy.credentials.secret_text import SecretText, type_of_word, type_word
from services.tenancy.migration.old_rows import (
    OldAccount,
    OldProvider,
    OldRow,
    OldSchedule,
    OldTenant,
)
from services.tenancy.schedules import PAUSED

IMPORTED = "imported, and not active yet"
"""Why a schedule is paused that the old system still runs."""
DISABLED = "it was not enabled when it was imported"
ROLE = "aws_iam_role"
_TENANT = re.compile(r"[a-z][a-z0-9-]{2,62}")
_RESOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PREFIX = "t-"
"""Before tenants' ids that begin with a digit, as UUIDs do."""
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,64}")
_RATE = re.compile(r"rate\((\d+) minutes?\)")
_AT = re.compile(r"at\(([0-9T:-]+)\)")


M = TypeVar("M", bound=Message)


class Unfit(Exception):
    """A row that cannot be migrated as it is; the message says why, without its values."""


def require_moments(row: OldRow) -> None:
    """Hold a row's moments against what they have to be; Unfit."""
    for name in ("created_at", "run_at"):
        found = getattr(row, name, None)
        if found is None and (name == "run_at" or not hasattr(row, name)):
            continue
        # Without a zone it would be taken for one of this machine's own.
        if not isinstance(found, datetime) or found.tzinfo is None:
            raise Unfit(f"{name} is no moment with a time zone")


def tenant_id(old: str) -> str:
    """Give the id of a tenant here; Unfit."""
    for made in (old, _PREFIX + old):
        if _TENANT.fullmatch(made) and (made == old or not old.startswith(_PREFIX)):
            return made
    raise Unfit("tenant_id fits no id of a tenant")


def old_tenant_id(new: str) -> str:
    """Give the id that a tenant had."""
    bare = new.removeprefix(_PREFIX)
    return bare if bare[:1].isdigit() else new


def resource_id(old: str) -> str:
    """Give an id that is kept; Unfit."""
    if not _RESOURCE.fullmatch(old):
        raise Unfit("an id fits no id of a resource")
    return old


def tenant(row: OldTenant) -> Tenant:
    """Give a tenant; Unfit."""
    return _checked(Tenant(tenant_name=row.tenant_name, description=row.description))


def provider(row: OldProvider) -> Provider:
    """Give a provider; Unfit."""
    word = f"PROVIDER_TYPE_{row.provider_type.upper()}"
    if word not in ProviderType.keys():  # noqa: SIM118 - a wrapper of the enum, not a dict
        raise Unfit("provider_type is none that there is")
    made = Provider(provider_type=ProviderType.Value(word), provider_name=row.provider_name)
    return _checked(made)


def account(row: OldAccount, role: Mapping[str, str]) -> Account:
    """Give an account; Unfit. ``role`` is what stood in the secret where a role leads into it."""
    word = f"CREDENTIAL_TYPE_{row.credential_type.upper()}"
    if word not in CredentialType.keys():  # noqa: SIM118 - as above
        raise Unfit("credential_type is none that there is")
    tenant, owner = tenant_id(row.tenant_id), resource_id(row.provider_id)
    made = Account(
        provider=f"tenants/{tenant}/providers/{owner}",
        cloud_account_id=row.account_number,
        account_name=row.account_name,
        credential_type=type_of_word(row.credential_type),
    )
    if row.credential_type == ROLE:
        if "role_arn" not in role:
            raise Unfit("its credential has no role_arn")
        made.role_arn = role["role_arn"]
    return _checked(made)


def external_id(role: Mapping[str, str]) -> str:
    """Give the external id that a customer's role asks for; empty if there is none of use."""
    found = role.get("external_id", "")
    return found if _EXTERNAL_ID.fullmatch(found) else ""


def secret(credential_type: str, text: str) -> SecretText:
    """Read what was decrypted; Unfit."""
    try:
        found = json.loads(text)
    except ValueError:
        raise Unfit("its credential is no JSON") from None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise Unfit("its credential is no object of texts")
    return SecretText(credential_type, found)


def schedule(row: OldSchedule) -> Schedule:
    """Give a schedule; Unfit."""
    made = Schedule(
        account_id=resource_id(row.account_id),
        schedule_name=row.name,
        expression=_expression(row),
        time_zone=row.timezone,
    )
    return _checked(made)


def old_tenant(made: Tenant) -> OldTenant:
    """Give the row of a tenant."""
    identity = old_tenant_id(made.name.split("/")[1])
    return OldTenant(identity, made.tenant_name, made.description, _moment(made))


def old_provider(made: Provider) -> OldProvider:
    """Give the row of a provider."""
    word = ProviderType.Name(made.provider_type).removeprefix("PROVIDER_TYPE_").lower()
    tenant, identity = made.name.split("/")[1::2]
    return OldProvider(identity, old_tenant_id(tenant), word, made.provider_name, _moment(made))


def old_account(made: Account) -> OldAccount:
    """Give the row of an account."""
    tenant, identity = made.name.split("/")[1::2]
    return OldAccount(
        account_id=identity,
        tenant_id=old_tenant_id(tenant),
        provider_id=made.provider.split("/")[3],
        account_name=made.account_name,
        account_number=made.cloud_account_id,
        credential_type=type_word(made.credential_type),
        created_at=_moment(made),
    )


def old_schedule(made: Schedule) -> OldSchedule:
    """Give the row of a schedule; one that waits to be activated was enabled."""
    tenant, identity = made.name.split("/")[1::2]
    rate, once = _RATE.fullmatch(made.expression), _AT.fullmatch(made.expression)
    cron = made.expression if rate is None and once is None else None
    return OldSchedule(
        schedule_id=identity,
        tenant_id=old_tenant_id(tenant),
        account_id=made.account_id,
        name=made.schedule_name,
        schedule_type="cron" if cron else "interval" if rate else "once",
        cron_expression=cron,
        interval_minutes=int(rate[1]) if rate else None,
        run_at=_instant(once[1], made.time_zone) if once else None,
        timezone=made.time_zone,
        enabled=made.state != PAUSED or made.pause_reason == IMPORTED,
        created_at=_moment(made),
    )


def _expression(row: OldSchedule) -> str:
    if row.schedule_type == "cron" and row.cron_expression:
        return row.cron_expression
    if row.schedule_type == "interval" and row.interval_minutes:
        return f"rate({row.interval_minutes} minute{'s' if row.interval_minutes > 1 else ''})"
    if row.schedule_type == "once" and row.run_at:
        return f"at({row.run_at.astimezone(_zone(row.timezone)):%Y-%m-%dT%H:%M:%S})"
    raise Unfit("it says no time to run at")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError):
        raise Unfit("timezone is none that there is") from None


def _instant(local: str, zone: str) -> datetime:
    return datetime.fromisoformat(local).replace(tzinfo=_zone(zone)).astimezone(UTC)


def _moment(made: Any) -> datetime:
    found: datetime = made.create_time.ToDatetime(tzinfo=UTC)
    return found


def _checked(made: M) -> M:
    """Hold a message against the bounds of its contract, as a call would be. Unfit."""
    for found in violations_of(made):
        raise Unfit(f"{found.field}: {found.description}")
    return made
