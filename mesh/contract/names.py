"""Resource names (AIP-122): ``tenants/{tenant}/{collection}/{record}``."""

import re
from dataclasses import dataclass
from functools import cached_property

TENANT = re.compile(r"^tenants/([a-z][a-z0-9-]{2,62})(?:/|$)")

EVERY_COLLECTION = "-"
"""Stands for all collections, as AIP-159's wildcard does for all parents."""


def tenant_of(name: str) -> str | None:
    """Give the tenant that a resource name belongs to, or None if it names none."""
    match = TENANT.match(name)
    return match[1] if match else None


def collection_of(name: str) -> str | None:
    """Give the collection of a record's name or of its parent's, or None."""
    parts = name.split("/")
    return parts[2] if len(parts) in (3, 4) and parts[0] == "tenants" else None


@dataclass(frozen=True)
class NamePattern:
    """A pattern such as ``tenants/{tenant}/syncs/{sync}`` and the names that fit it."""

    text: str

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Variable names from left to right; the first is the tenant, the last the id."""
        return tuple(re.findall(r"\{([a-z_]+)\}", self.text))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Column of each variable: ``tenant_id``, ``{parent}_id`` ..., ``id``."""
        return (*(f"{variable}_id" for variable in self.variables[:-1]), "id")

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        pieces = re.split(r"\{[a-z_]+\}", self.text)
        return re.compile("^" + "([^/]+)".join(re.escape(piece) for piece in pieces) + "$")

    @cached_property
    def _template(self) -> str:
        return re.sub(r"\{[a-z_]+\}", "{}", self.text)

    def format(self, *ids: str) -> str:
        """Write the name of these ids, tenant first."""
        if len(ids) != len(self.variables):
            raise ValueError(f"{self.text} takes {len(self.variables)} ids, not {len(ids)}")
        return self._template.format(*ids)

    def parse(self, name: str) -> tuple[str, ...] | None:
        """Give the ids in a name, tenant first, or None if it does not fit."""
        match = self._regex.match(name)
        return match.groups() if match else None

    @cached_property
    def parent(self) -> "NamePattern":
        """The pattern without its last collection and id."""
        return NamePattern(self.text.rsplit("/", 2)[0])
