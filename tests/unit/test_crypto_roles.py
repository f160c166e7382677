"""The roles of the crypto service's database, where they are named outside of it."""

from cli.embedded.settings import PII_ROLES, PII_SERVICE_ROLES
from services.crypto.migrations.roles import ROLES, SERVICE


def test_the_embedded_mesh_makes_the_roles_that_the_service_needs() -> None:
    assert set(PII_ROLES) == set(ROLES)
    assert set(PII_SERVICE_ROLES) == set(SERVICE)
