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
    methods: frozenset[str] = frozenset()
    """The only methods it may call, ``package.Service/Method`` or ``package.Service/*``; empty
    for all that it has the permissions for."""

    def permits(self, permission: str) -> bool:
        """Tell whether the caller holds a permission such as ``inventory.syncs.create``."""
        return permits(self.permissions, permission)

    def may_call(self, path: str) -> bool:
        """Tell whether a method, ``/package.Service/Method``, is among those it is limited to."""
        if not self.methods:
            return True
        service, _, _ = path.rpartition("/")
        return path[1:] in self.methods or f"{service[1:]}/*" in self.methods

    def acts_for(self, tenant: str) -> bool:
        """Tell whether the resources of a tenant exist for this caller."""
        return bool(tenant) and (tenant == self.tenant or tenant in self.tenants)


NOBODY = Caller("", "", frozenset())
"""The caller of methods that need no token: no tenant, no permission."""
