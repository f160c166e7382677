"""Resource names as requests hold them, within resources too, where no contract bounds them."""

import re

from mesh.errors import ResourceNotFound

_TENANT = "tenants/([a-z][a-z0-9-]{2,62})"
_ID = "([A-Za-z0-9][A-Za-z0-9_-]{0,63})"
_TENANT_NAME = re.compile(_TENANT)
_QUOTAS_NAME = re.compile(f"{_TENANT}/quotas")


def tenant_in(name: str) -> str:
    """Give the id in the name of a tenant; ResourceNotFound for what is none."""
    return _parsed(_TENANT_NAME, name)[0]


def quotas_tenant_in(name: str) -> str:
    """Give the tenant whose quotas have a name; ResourceNotFound for what is none."""
    return _parsed(_QUOTAS_NAME, name)[0]


def ids_in(name: str, collection: str) -> tuple[str, str]:
    """Give tenant and id of a name such as ``tenants/acme/accounts/7f``.

    ResourceNotFound for what is no name of the collection.
    """
    tenant, identity = _parsed(re.compile(f"{_TENANT}/{collection}/{_ID}"), name)
    return tenant, identity


def id_within(tenant: str, name: str, collection: str) -> str:
    """Give the id in the name of a tenant's own; ResourceNotFound for another tenant's."""
    owner, identity = ids_in(name, collection)
    if owner != tenant:
        raise ResourceNotFound(name)
    return identity


def last_of(name: str) -> str:
    """Give the last id of a name."""
    return name.rpartition("/")[2]


def _parsed(pattern: re.Pattern[str], name: str) -> tuple[str, ...]:
    match = pattern.fullmatch(name)
    if match is None:
        raise ResourceNotFound(name)
    return match.groups()
