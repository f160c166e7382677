"""Who calls and what they may do: tokens, keys, roles and permissions."""

from mesh.identity.caller import NOBODY, Caller
from mesh.identity.permissions import ROLES, is_pattern, permits
from mesh.identity.token import TokenVerifier

__all__ = ["NOBODY", "ROLES", "Caller", "TokenVerifier", "is_pattern", "permits"]
