"""What one set of permission patterns allows, held against another."""

from collections.abc import Collection, Iterable, Mapping

from mesh.identity.permissions import is_pattern

_ALL = "*"


def exceeding(wanted: Iterable[str], held: Iterable[str]) -> str:
    """Give the first pattern that grants what none of those held does; empty if there is none."""
    given = [each.split(".") for each in held]
    return next((each for each in sorted(wanted) if not _is_covered(each.split("."), given)), "")


def methods_exceeding(wanted: Iterable[str], held: Collection[str]) -> str:
    """Give the first method that is none of those held, ``methods`` if all are wanted.

    No methods stand for all of them; empty if nothing exceeds.
    """
    if not held:
        return ""
    named = sorted(wanted)
    beyond = (each for each in named if not {each, f"{each.rpartition('/')[0]}/*"} & set(held))
    return next(beyond, "") if named else "methods"


def patterns_of(
    roles: Iterable[str], permissions: Iterable[str], known: Mapping[str, frozenset[str]]
) -> frozenset[str]:
    """Give the patterns of roles and permissions together. KeyError for a role there is none of."""
    return frozenset(permissions).union(*(known[role] for role in roles))


def parse_scope(scope: str) -> frozenset[str] | None:
    """Give the patterns of a scope (RFC 6749, 3.3); None if it holds what is no pattern."""
    patterns = frozenset(scope.split())
    return patterns if all(is_pattern(each) for each in patterns) else None


def _is_covered(wanted: list[str], held: Iterable[list[str]]) -> bool:
    return any(
        all(given in (_ALL, asked) for given, asked in zip(each, wanted, strict=True))
        for each in held
    )
