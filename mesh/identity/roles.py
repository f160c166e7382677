"""Roles: named sets of permission patterns, in roles.yaml."""

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

from mesh.identity.permissions import is_pattern


def parse_roles(text: str) -> Mapping[str, frozenset[str]]:
    """Read roles from YAML, ``role: [pattern, ...]``.

    Raises ValueError naming the role and the pattern that is ill-formed.
    """
    loaded: Any = yaml.load(text, yaml.CSafeLoader)
    if not isinstance(loaded, dict):
        raise ValueError("roles are a mapping from a role to its permission patterns")  # noqa: TRY004 - bad data, not a bad argument
    roles: dict[str, frozenset[str]] = {}
    for role, patterns in loaded.items():
        for pattern in patterns:
            if not is_pattern(pattern):
                raise ValueError(f"role {role!r}: {pattern!r} is no permission pattern")
        roles[role] = frozenset(patterns)
    return MappingProxyType(roles)


ROLES: Mapping[str, frozenset[str]] = parse_roles(
    (files("mesh.identity") / "roles.yaml").read_text(encoding="utf-8")
)
"""Permission patterns by role."""
