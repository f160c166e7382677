"""Puts the parts of the service together."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from services.tenancy.parts import Parts

Registration: TypeAlias = tuple[Any, Any]
"""A servicer, after the function that adds it to a server."""


def servicers(parts: Parts) -> Sequence[Registration]:
    """Give the servicers, each with the function that adds it to a server."""
    return [*tenant_servicers(parts)]


def tenant_servicers(_parts: Parts) -> Sequence[Registration]:
    """Give those of tenants, providers and accounts."""
    return []
