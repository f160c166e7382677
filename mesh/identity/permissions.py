"""Permissions ``module.collection.verb``, the patterns that grant them, and the roles."""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

_PATTERN = re.compile(r"(\*|[a-z][a-z0-9_]{0,62})(\.(\*|[a-z][a-z0-9_]{0,62})){2}")


def is_pattern(text: str) -> bool:
    """Tell whether a text is three dotted segments, each a word or ``*``."""
    return _PATTERN.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def permits(patterns: frozenset[str], needed: str) -> bool:
    """Tell whether one of the patterns grants a permission; ``*`` matches one whole segment."""
    wanted = needed.split(".")
    return any(_grants(pattern.split("."), wanted) for pattern in patterns)


def _grants(pattern: list[str], wanted: list[str]) -> bool:
    return len(pattern) == len(wanted) and all(
        given in ("*", asked) for given, asked in zip(pattern, wanted, strict=True)
    )


def parse_roles(text: str) -> Mapping[str, frozenset[str]]:
    """Read roles from YAML, ``role: [pattern, ...]``.

    Raises ValueError naming the role and the pattern that is ill-formed.
    """
    loaded: Any = yaml.safe_load(text)
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
