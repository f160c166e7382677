"""Accounts with credentials, for tests of what is done with them."""

from dataclasses import dataclass
from typing import Any

from secmesh.tenancy.v1 import account_pb2, credential_pb2
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest
from secmesh.tenancy.v1.credential_pb2 import AwsAccessKey
from secmesh.tenancy.v1.credential_service_pb2 import (
    ListCredentialAccessesRequest,
    RetrieveCredentialRequest,
    RotateCredentialRequest,
    StoreCredentialRequest,
)
from secmesh.tenancy.v1.onboarding_service_pb2 import VerifyAccountRequest
from services.tenancy.credentials.sts import AwsKeys
from tests.service.tenancy_world import World, role_account
from tests.unit.fake_sts import Role

PURPOSE = "scan"


@dataclass
class Story:
    """An account of a tenant of its own, and whoever calls for it."""

    world: World
    tenant: str
    account: account_pb2.Account

    @property
    def account_id(self) -> str:
        return self.account.name.rpartition("/")[2]

    @property
    def name(self) -> str:
        return f"{self.account.name}/credential"

    @property
    def calls(self) -> Any:
        return self.world.credentials(self.tenant)

    @property
    def secret_name(self) -> str:
        return f"threat-engine/account/{self.account_id}"

    def new_key(self, cloud_account_id: str = "") -> AwsAccessKey:
        """Give the access key of a user of the account, or of another."""
        number = len(self.world.tokens.made) + sum(self.world.tokens.calls.values())
        where = cloud_account_id or self.account.cloud_account_id
        return as_key(self.world.tokens.add_user(f"arn:aws:iam::{where}:user/scanner-{number}"))

    async def store(self, key: AwsAccessKey, **more: Any) -> credential_pb2.Credential:
        made: credential_pb2.Credential = await self.calls.StoreCredential(
            StoreCredentialRequest(name=self.name, aws_access_key=key, **more)
        )
        return made

    async def verify(self) -> Any:
        return await self.world.onboarding(self.tenant).VerifyAccount(
            VerifyAccountRequest(name=self.account.name)
        )

    async def accesses(self) -> list[Any]:
        """Give all entries of the log, the oldest first."""
        listed = await self.calls.ListCredentialAccesses(
            ListCredentialAccessesRequest(parent=f"tenants/{self.tenant}", page_size=1000)
        )
        return list(reversed(listed.accesses))


def as_key(keys: AwsKeys) -> AwsAccessKey:
    return AwsAccessKey(access_key_id=keys.access_key_id, secret_access_key=keys.secret_access_key)


async def key_story(world: World) -> Story:
    """Make an account that is entered by an access key."""
    tenant = await world.tenant()
    await world.provider(tenant)
    given = role_account(tenant)
    given.credential_type = account_pb2.CREDENTIAL_TYPE_AWS_ACCESS_KEY
    given.ClearField("role_arn")
    made = await world.accounts(tenant).CreateAccount(
        CreateAccountRequest(parent=f"tenants/{tenant}", account=given)
    )
    return Story(world, tenant, made)


async def role_story(world: World, **role: Any) -> Story:
    """Make an account that is entered by a role, which is there and asks for the external id."""
    tenant = await world.tenant()
    await world.provider(tenant)
    account = await world.account(tenant)
    asked = {"external_id": account.external_id, **role}
    world.tokens.add_role(Role(account.role_arn, **asked))
    return Story(world, tenant, account)


async def retrieved(story: Story, version: int = 0) -> Any:
    """Give the secret, of the current version unless another is named."""
    return await story.calls.RetrieveCredential(
        RetrieveCredentialRequest(name=story.name, purpose=PURPOSE, version=version)
    )


async def rotated(story: Story, key: AwsAccessKey, **more: Any) -> Any:
    """Replace the secret by an access key."""
    return await story.calls.RotateCredential(
        RotateCredentialRequest(name=story.name, aws_access_key=key, **more)
    )


def states(credential: Any) -> dict[int, int]:
    """Give the states of the versions."""
    return {each.version: each.state for each in credential.versions}
