"""OnboardingService: how an account comes to trust us, and the proof that it does."""

from dataclasses import replace

from mesh.contract.names import NamePattern
from mesh.errors import FieldInvalid, ResourceNotFound
from secmesh.tenancy.v1 import account_pb2
from secmesh.tenancy.v1 import onboarding_service_pb2 as pb
from secmesh.tenancy.v1.onboarding_service_pb2_grpc import OnboardingServiceServicer
from services.tenancy.account_status import DELETED
from services.tenancy.accounts import ACCOUNT, Accounts
from services.tenancy.credentials.accesses import use_of_call
from services.tenancy.credentials.errors import (
    CredentialTypeUnfit,
    PrincipalUnknown,
    ProviderUnsupported,
)
from services.tenancy.credentials.secret_text import type_word
from services.tenancy.errors import ResourceDeleted
from services.tenancy.onboarding.texts import (
    MAX_STACK_SET_ACCOUNTS,
    RoleText,
    cloudformation,
    role_text,
    stack_set,
    terraform,
)
from services.tenancy.onboarding.verification import Verifier
from services.tenancy.store.port import Store

_ACCOUNT = NamePattern("tenants/{tenant}/accounts/{account}")
_ROLE = account_pb2.CREDENTIAL_TYPE_AWS_IAM_ROLE
_KEY = account_pb2.CREDENTIAL_TYPE_AWS_ACCESS_KEY
_UNITS = "organizational_units"


class OnboardingServicer(OnboardingServiceServicer):
    """Between messages and what leads an account to where it may be entered."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(
        self, verifier: Verifier, accounts: Accounts, store: Store, principal_arn: str
    ) -> None:
        """Texts let ``principal_arn`` in; without one none are given."""
        self._verifier = verifier
        self._accounts = accounts
        self._store = store
        self._principal_arn = principal_arn

    async def GetOnboarding(
        self, request: pb.GetOnboardingRequest, _context: object
    ) -> pb.GetOnboardingResponse:
        """Give the text; ProviderUnsupported, CredentialTypeUnfit, PrincipalUnknown."""
        tenant, account_id = _ids(request.name)
        account = await self._accounts.get(tenant, account_id)
        if account.status == DELETED:
            raise ResourceDeleted(account.name)
        if account.credential_type not in (_ROLE, _KEY):
            raise ProviderUnsupported(type_word(account.credential_type).partition("_")[0])
        if account.credential_type != _ROLE:
            raise CredentialTypeUnfit(type_word(account.credential_type))
        if not self._principal_arn:
            raise PrincipalUnknown
        role = role_text(self._principal_arn, account.external_id, account.role_arn)
        text, file_name = await self._text(request, tenant, account, role)
        return pb.GetOnboardingResponse(
            text=text,
            file_name=file_name,
            external_id=account.external_id,
            principal_arn=self._principal_arn,
            role_name=role.role_name,
        )

    async def VerifyAccount(
        self, request: pb.VerifyAccountRequest, _context: object
    ) -> pb.VerifyAccountResponse:
        """Verify it; AccountStatusUnfit, ProviderUnsupported, DependencyUnavailable."""
        tenant, account_id = _ids(request.name)
        verified = await self._verifier.verify(tenant, account_id, use_of_call("verification"))
        return pb.VerifyAccountResponse(
            account=verified.account,
            entered=not verified.report.entry_problem,
            checks=verified.report.checks,
            verify_time=verified.account.verify_time,
        )

    async def _text(
        self,
        request: pb.GetOnboardingRequest,
        tenant: str,
        account: account_pb2.Account,
        role: RoleText,
    ) -> tuple[str, str]:
        match request.format:
            case pb.ONBOARDING_FORMAT_CLOUDFORMATION:
                return cloudformation(role), f"{role.role_name}.yaml"
            case pb.ONBOARDING_FORMAT_TERRAFORM:
                return terraform(role), f"{role.role_name}.tf"
            case _:
                if not request.organizational_units:
                    raise FieldInvalid.of(_UNITS, "must be set for a stack set", "REQUIRED")
                ids = await self._external_ids(tenant, account)
                units = request.organizational_units
                return stack_set(role, ids, units), f"{role.role_name}-stack-set.yaml"

    async def _external_ids(self, tenant: str, account: account_pb2.Account) -> dict[str, str]:
        """Give the external ids of an account's provider by the accounts' ids at AWS."""
        provider = account.provider.rpartition("/")[2]
        # The index may not know the account itself yet.
        ids = {account.cloud_account_id: account.external_id}
        query = replace(self._accounts.listed(tenant, provider), limit=MAX_STACK_SET_ACCOUNTS)
        while True:
            page = await self._store.query(query)
            for item in page.items:
                each = ACCOUNT.message(item)
                if each.status != DELETED and each.credential_type == _ROLE:
                    ids[each.cloud_account_id] = each.external_id
            if len(ids) > MAX_STACK_SET_ACCOUNTS:
                raise FieldInvalid.of(
                    "format", f"a stack set is for {MAX_STACK_SET_ACCOUNTS} accounts at most"
                )
            if page.next is None:
                return dict(sorted(ids.items()))
            query = replace(query, start=page.next)


def _ids(name: str) -> tuple[str, str]:
    ids = _ACCOUNT.parse(name)
    if ids is None:
        raise ResourceNotFound(name)
    return ids[0], ids[1]
