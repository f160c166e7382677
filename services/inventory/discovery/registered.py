"""The accounts that the tenancy service knows, asked in the name of the caller."""

import grpc

from mesh.client.passing import passed_on
from secmesh.tenancy.v1.account_pb2 import Account
from secmesh.tenancy.v1.account_service_pb2 import GetAccountRequest, ListAccountsRequest
from secmesh.tenancy.v1.account_service_pb2_grpc import AccountServiceStub
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS
from secmesh_client import CallRefused
from secmesh_client.aio import items

_NAME = "tenancy"
_PAGE = 1000


class RegisteredAccounts:
    """Typed calls of the tenancy service; each raises what it refused, or that it is away."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._accounts = AccountServiceStub(channel)
        self._channel = channel

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def cloud_account_id(self, name: str) -> str:
        """Give the id of an account at AWS; empty if it is of another cloud."""
        try:
            account: Account = await self._accounts.GetAccount(GetAccountRequest(name=name))
        except CallRefused as refused:
            raise passed_on(refused, _NAME) from refused
        return account.cloud_account_id if account.provider_type == PROVIDER_TYPE_AWS else ""

    async def names(self, parent: str) -> dict[str, str]:
        """Give the names of a tenant's accounts of AWS, by their ids there."""
        request = ListAccountsRequest(parent=parent, page_size=_PAGE)
        try:
            listed = items(self._accounts.ListAccounts, request, lambda page: page.accounts)
            return {
                account.cloud_account_id: account.name
                async for account in listed
                if account.provider_type == PROVIDER_TYPE_AWS
            }
        except CallRefused as refused:
            raise passed_on(refused, _NAME) from refused
