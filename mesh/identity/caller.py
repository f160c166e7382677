"""The principal behind a call, as its token states it."""

from dataclasses import dataclass

from mesh.identity.permissions import permits


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified principal."""

    subject: str
    tenant: str
    permissions: frozenset[str]
    """Permission patterns, those of the roles included."""
    tenants: frozenset[str] = frozenset()
    """Other tenants that a platform principal may act for; empty for everyone else."""
    expires_at: float = 0.0
    """When the token ends, in seconds since the Unix epoch."""

    def permits(self, permission: str) -> bool:
        """Tell whether the caller holds a permission such as ``inventory.syncs.create``."""
        return permits(self.permissions, permission)

    def acts_for(self, tenant: str) -> bool:
        """Tell whether the resources of a tenant exist for this caller."""
        return bool(tenant) and (tenant == self.tenant or tenant in self.tenants)


NOBODY = Caller("", "", frozenset())
"""The caller of methods that need no token: no tenant, no permission."""
