"""Settings of the embedded services, as environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass

from cli.embedded.folder import TENANT, Folder
from cli.embedded.platform import ACCOUNT, EMBEDDED_CREDENTIALS, PRINCIPAL
from cli.embedded.service_credentials import EXECUTOR, INVENTORY, ISSUER, REMOVAL, Service
from mesh.embedded.postgres import Access
from mesh.sealing.keyring import create_keys

PII_SERVICE_ROLES = ("pii_write", "pii_audit", "pii_audit_append")
"""Roles of the crypto service's database that the service joins."""
PII_ROLES = ("pii_read", *PII_SERVICE_ROLES)
API_KEYS_FILE = "api_keys.json"
"""In the folder of the keys."""
_LEASE_SECONDS = 10
"""Of an execution: who kills an executor to try it out does not wait long."""


@dataclass(frozen=True)
class Settings:
    """Gives each process what no other has."""

    folder: Folder
    addresses: Mapping[str, str]
    """Of the services and the gateway, by name."""

    def served(self, name: str) -> dict[str, str]:
        """Give what every service is told."""
        prefix = f"SECMESH_{name.upper()}"
        return {
            f"{prefix}_LISTEN": self.addresses[name],
            f"{prefix}_JWKS": str(self.folder.key_set),
            f"{prefix}_ADMIN": "127.0.0.1:0",
            f"{prefix}_CHANNELZ": "127.0.0.1:0",
            f"{prefix}_ISSUERS": self.issuers,
        }

    @property
    def issuers(self) -> str:
        """Who is believed beside the one that signs here: the mesh's own issuer."""
        return f"{ISSUER}=grpc://{self.addresses['tenancy']}"

    def inventory(self, aws_endpoint: str) -> dict[str, str]:
        """Give those of the inventory service, whose sealing keys are made."""
        sealing = self.folder.keys / "inventory_sealing.keys"
        create_keys(sealing)
        return self.served("inventory") | {
            "SECMESH_INVENTORY_SEALING_KEYS": str(sealing),
            **EMBEDDED_CREDENTIALS,
            "AWS_ENDPOINT_URL": aws_endpoint,
            "DATABASE_URL": f"sqlite:///{self.folder.path / 'inventory.db'}",
            "SECMESH_INVENTORY_ACCOUNTS": f"{TENANT}={ACCOUNT}",
            "SECMESH_INVENTORY_SECURITY_ADDRESS": self.addresses["security"],
            "SECMESH_INVENTORY_TENANCY_ADDRESS": self.addresses["tenancy"],
            "SECMESH_INVENTORY_TENANCY_CLIENT_ID": INVENTORY.client_id,
            "SECMESH_INVENTORY_TENANCY_CLIENT_SECRET_FILE": str(INVENTORY.secret(self.folder)),
        }

    def security(self, access: Access) -> dict[str, str]:
        """Give those of the security service, whose sealing keys are made."""
        sealing = self.folder.keys / "sealing.keys"
        create_keys(sealing)
        return self.served("security") | {
            "DATABASE_URL": access.application,
            "DATABASE_MIGRATE_URL": access.owner,
            "SECMESH_SECURITY_SEALING_KEYS": str(sealing),
        }

    def crypto(self, access: Access) -> dict[str, str]:
        """Give those of the crypto service; it makes its keys itself."""
        return self.served("crypto") | {
            "DATABASE_URL": access.application,
            "DATABASE_MIGRATE_URL": access.owner,
        }

    def tenancy(self, aws_endpoint: str, credentials: Mapping[str, str]) -> dict[str, str]:
        """Give those of the tenancy service; it makes its keys and tables itself."""
        return {
            **self.served("tenancy"),
            **self._tenancy_store(aws_endpoint, credentials),
            "SECMESH_TENANCY_SET_UP": "true",
            "SECMESH_TENANCY_PRINCIPAL_ARN": PRINCIPAL,
            "SECMESH_TENANCY_INVENTORY_ADDRESS": self.addresses["inventory"],
            "SECMESH_TENANCY_CRYPTO_ADDRESS": self.addresses["crypto"],
            "SECMESH_TENANCY_SECURITY_ADDRESS": self.addresses["security"],
            **self._issued(REMOVAL),
        }

    def scheduler(self, aws_endpoint: str, credentials: Mapping[str, str]) -> dict[str, str]:
        """Give those of the scheduler."""
        return self._tenancy_store(aws_endpoint, credentials)

    def executor(self, aws_endpoint: str, credentials: Mapping[str, str]) -> dict[str, str]:
        """Give those of the executor."""
        return self._tenancy_store(aws_endpoint, credentials) | {
            "SECMESH_TENANCY_LEASE_SECONDS": str(_LEASE_SECONDS),
            "SECMESH_TENANCY_INVENTORY_ADDRESS": self.addresses["inventory"],
            **self._issued(EXECUTOR),
        }

    def edge(self) -> dict[str, str]:
        """Give those of the edge."""
        return {
            "SECMESH_GATEWAY_SERVICES": ",".join(self.named_services()),
            "SECMESH_GATEWAY_JWKS": str(self.folder.key_set),
            "SECMESH_GATEWAY_ISSUERS": self.issuers,
            "SECMESH_GATEWAY_SIGNING_KEYS": str(self.folder.keys),
            "SECMESH_GATEWAY_API_KEYS": str(self.folder.keys / API_KEYS_FILE),
            "SECMESH_GATEWAY_API_KEY_SERVICE": self.addresses["tenancy"],
        }

    def named_services(self) -> list[str]:
        """Give the services behind the gateway as the gateway is told of them."""
        return [f"{name}={each}" for name, each in self.services().items()]

    def services(self) -> dict[str, str]:
        """Give the address of each service by its name."""
        return {name: each for name, each in self.addresses.items() if name != "gateway"}

    def _issued(self, service: Service) -> dict[str, str]:
        """Give those by which a process of the tenancy service gets its tokens."""
        return {
            "SECMESH_TENANCY_TOKENS_ADDRESS": self.addresses["tenancy"],
            "SECMESH_TENANCY_CLIENT_ID": service.client_id,
            "SECMESH_TENANCY_CLIENT_SECRET_FILE": str(service.secret(self.folder)),
        }

    def _tenancy_store(self, aws_endpoint: str, credentials: Mapping[str, str]) -> dict[str, str]:
        return {
            **credentials,
            "AWS_ENDPOINT_URL": aws_endpoint,
            "SECMESH_TENANCY_ADMIN": "127.0.0.1:0",
            "SECMESH_TENANCY_PAGE_KEY_FILE": str(self.folder.page_key),
        }
