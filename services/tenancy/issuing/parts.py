"""What the issuer is made of."""

from dataclasses import dataclass
from functools import cached_property

from mesh.contract.image import image
from services.tenancy.clock import Clock
from services.tenancy.credentials.secrets import Secrets
from services.tenancy.gate import Gate
from services.tenancy.issuing.service_credentials import ServiceCredentials
from services.tenancy.issuing.signing_keys import SigningKeys
from services.tenancy.issuing.tokens import Tokens
from services.tenancy.store.port import Store


@dataclass(frozen=True)
class IssuingParts:
    """Given to the servicer of tokens."""

    store: Store
    clock: Clock
    gate: Gate
    secrets: Secrets
    prefix: str
    """First part of the names of secrets."""
    issuer: str
    audience: str
    period: int
    """Seconds for which a key signs."""

    @cached_property
    def credentials(self) -> ServiceCredentials:
        """What is done with service credentials."""
        return ServiceCredentials(self.store, self.clock, self.gate)

    @cached_property
    def keys(self) -> SigningKeys:
        """The signing keys."""
        return SigningKeys(self.store, self.secrets, self.clock, self.prefix, self.period)

    @cached_property
    def tokens(self) -> Tokens:
        """What makes tokens."""
        return Tokens(
            self.store,
            self.clock,
            self.gate,
            self.credentials,
            self.keys,
            issuer=self.issuer,
            audience=self.audience,
            services=service_names(),
        )


def service_names() -> frozenset[str]:
    """Give the services that the contracts describe, such as ``inventory``."""
    packages = (file.package.split(".") for file in image().file if file.service)
    return frozenset(parts[1] for parts in packages if parts[0] == "secmesh")
