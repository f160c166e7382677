"""AccountService: the cloud accounts of tenants."""

from mesh.errors import FieldInvalid
from secmesh.tenancy.v1 import account_pb2
from secmesh.tenancy.v1 import account_service_pb2 as pb
from secmesh.tenancy.v1.account_service_pb2_grpc import AccountServiceServicer
from services.tenancy.account_status import DELETED
from services.tenancy.accounts import ACCOUNT, COLLECTION
from services.tenancy.listing import Listing
from services.tenancy.names import id_within, ids_in
from services.tenancy.parts import Parts
from services.tenancy.providers import COLLECTION as PROVIDERS

_PARENT = "tenants/"


class AccountServicer(AccountServiceServicer):
    """Between messages and what is done with accounts."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._accounts = parts.accounts
        self._listing = Listing(parts.store, parts.clock, parts.pages)

    async def CreateAccount(
        self, request: pb.CreateAccountRequest, _context: object
    ) -> account_pb2.Account:
        """Store it; ResourceNotFound, ValueTaken, QuotaExceeded, TenantInactive, FieldInvalid."""
        tenant = request.parent.removeprefix(_PARENT)
        named = self._parts.named(tenant, request.request_id, request)
        return await named.once(
            lambda: self._accounts.create(tenant, request.account, named), self._again
        )

    async def GetAccount(
        self, request: pb.GetAccountRequest, _context: object
    ) -> account_pb2.Account:
        """Give it; ResourceNotFound."""
        return await self._again(request.name)

    async def ListAccounts(
        self, request: pb.ListAccountsRequest, _context: object
    ) -> pb.ListAccountsResponse:
        """Give a page of a tenant's, or of a provider's.

        Raises PageTokenInvalid, FieldInvalid, ResourceNotFound for another tenant's provider.
        """
        tenant = request.parent.removeprefix(_PARENT)
        if request.status and not request.provider:
            raise FieldInvalid.of("status", "is for accounts of a provider alone", "NEEDS_PROVIDER")
        provider = id_within(tenant, request.provider, PROVIDERS) if request.provider else ""
        deleted = request.show_deleted or request.status == DELETED
        found, token = await self._listing.page(
            tenant,
            self._accounts.listed(tenant, provider, request.status),
            ACCOUNT,
            request.page_size,
            request.page_token,
            lambda each: deleted or each.status != DELETED,
            str(deleted),
        )
        return pb.ListAccountsResponse(accounts=found, next_page_token=token)

    async def LookupAccount(
        self, request: pb.LookupAccountRequest, _context: object
    ) -> account_pb2.Account:
        """Give the one that the vendor knows by an id; ResourceNotFound."""
        tenant = request.parent.removeprefix(_PARENT)
        return await self._accounts.lookup(tenant, request.provider_type, request.cloud_account_id)

    async def UpdateAccount(
        self, request: pb.UpdateAccountRequest, _context: object
    ) -> account_pb2.Account:
        """Change it; ResourceDeleted, EtagMismatch, MaskInvalid, FieldInvalid."""
        tenant, _ = ids_in(request.account.name, COLLECTION)
        named = self._parts.named(tenant, request.request_id, request)
        paths = request.update_mask.paths
        return await named.once(
            lambda: self._accounts.update(request.account, paths, named), self._again
        )

    async def SuspendAccount(
        self, request: pb.SuspendAccountRequest, _context: object
    ) -> account_pb2.Account:
        """Stop it; AccountStatusUnfit, EtagMismatch."""
        tenant, account = ids_in(request.name, COLLECTION)
        named = self._parts.named(tenant, request.request_id, request)
        reason, etag = request.reason, request.etag
        return await named.once(
            lambda: self._accounts.suspend(tenant, account, reason, etag, named), self._again
        )

    async def ResumeAccount(
        self, request: pb.ResumeAccountRequest, _context: object
    ) -> account_pb2.Account:
        """Let it be verified again; AccountStatusUnfit, EtagMismatch."""
        tenant, account = ids_in(request.name, COLLECTION)
        named = self._parts.named(tenant, request.request_id, request)
        return await named.once(
            lambda: self._accounts.resume(tenant, account, request.etag, named), self._again
        )

    async def DeleteAccount(
        self, request: pb.DeleteAccountRequest, _context: object
    ) -> account_pb2.Account:
        """Delete it for 30 days; ResourceDeleted, EtagMismatch."""
        tenant, account = ids_in(request.name, COLLECTION)
        named = self._parts.named(tenant, request.request_id, request)
        return await self._accounts.delete(tenant, account, request.etag, named)

    async def UndeleteAccount(
        self, request: pb.UndeleteAccountRequest, _context: object
    ) -> account_pb2.Account:
        """Bring it back; ResourceNotDeleted, QuotaExceeded, EtagMismatch."""
        tenant, account = ids_in(request.name, COLLECTION)
        named = self._parts.named(tenant, request.request_id, request)
        return await self._accounts.undelete(tenant, account, request.etag, named)

    async def _again(self, name: str) -> account_pb2.Account:
        return await self._accounts.get(*ids_in(name, COLLECTION))
