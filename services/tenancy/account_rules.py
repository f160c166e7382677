"""What must fit together in an account: vendor, id, the way in (pure)."""

import re
import secrets
from collections.abc import Mapping
from types import MappingProxyType

from mesh.errors import FieldInvalid
from secmesh.tenancy.v1 import account_pb2 as pb
from secmesh.tenancy.v1 import provider_pb2 as providers

_EXTERNAL_ID_BYTES = 16
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FORMS: Mapping[providers.ProviderType.ValueType, tuple[re.Pattern[str], str]] = MappingProxyType(
    {
        providers.PROVIDER_TYPE_AWS: (re.compile(r"[0-9]{12}"), "12 digits"),
        providers.PROVIDER_TYPE_AZURE: (re.compile(_UUID), "the UUID of a subscription"),
        # docs.cloud.google.com: 6 to 30 letters, digits and hyphens, no hyphen at the end.
        providers.PROVIDER_TYPE_GCP: (
            re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"),
            "the id of a project",
        ),
    }
)
_WAYS: Mapping[pb.CredentialType.ValueType, providers.ProviderType.ValueType] = MappingProxyType(
    {
        pb.CREDENTIAL_TYPE_AWS_ACCESS_KEY: providers.PROVIDER_TYPE_AWS,
        pb.CREDENTIAL_TYPE_AWS_IAM_ROLE: providers.PROVIDER_TYPE_AWS,
        pb.CREDENTIAL_TYPE_AZURE_SERVICE_PRINCIPAL: providers.PROVIDER_TYPE_AZURE,
        pb.CREDENTIAL_TYPE_GCP_SERVICE_ACCOUNT: providers.PROVIDER_TYPE_GCP,
    }
)


def new_external_id() -> str:
    """Give 128 bits that nobody can guess, in 32 hexadecimal digits."""
    return secrets.token_hex(_EXTERNAL_ID_BYTES)


def check(account: pb.Account, field: str) -> None:
    """Refuse what does not fit together; FieldInvalid names the field."""
    form, described = _FORMS[account.provider_type]
    if not form.fullmatch(account.cloud_account_id):
        raise FieldInvalid.of(f"{field}.cloud_account_id", f"must be {described}", "FORM")
    if _WAYS.get(account.credential_type) != account.provider_type:
        problem = "is no way into an account of its provider"
        raise FieldInvalid.of(f"{field}.credential_type", problem, "CREDENTIAL_TYPE")
    _check_role(account, f"{field}.role_arn")


def way_in(account: pb.Account) -> tuple[int, str]:
    """Give what a change of has an account verified again."""
    return account.credential_type, account.role_arn


def _check_role(account: pb.Account, field: str) -> None:
    by_role = account.credential_type == pb.CREDENTIAL_TYPE_AWS_IAM_ROLE
    if by_role != bool(account.role_arn):
        problem = "must be set to assume a role" if by_role else "is for accounts with a role alone"
        raise FieldInvalid.of(field, problem, "REQUIRED" if by_role else "ROLE")
    # arn:partition:iam::ACCOUNT:role/NAME
    if by_role and account.role_arn.split(":")[4] != account.cloud_account_id:
        raise FieldInvalid.of(field, "must be a role of this account", "ROLE")
