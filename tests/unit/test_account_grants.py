"""A tenant collects what the operator gave it, and nothing else."""

import pytest

from services.inventory.account_grants import AccountGrants

ACCOUNT, OTHER = "123456789012", "210987654321"


def test_nothing_is_given_by_default() -> None:
    assert not AccountGrants.parse("").allow("acme", ACCOUNT)


def test_a_grant_is_for_one_tenant_and_one_account() -> None:
    grants = AccountGrants.parse(f"acme={ACCOUNT}, beta={OTHER},")
    assert grants.allow("acme", ACCOUNT)
    assert not grants.allow("acme", OTHER)
    assert not grants.allow("beta", ACCOUNT)
    assert grants.allow("beta", OTHER)
    assert not grants.allow("", ACCOUNT)


def test_a_star_is_every_account_of_that_tenant() -> None:
    grants = AccountGrants.parse(f"acme=*,beta={OTHER}")
    assert grants.allow("acme", OTHER)
    assert not grants.allow("beta", ACCOUNT)


@pytest.mark.parametrize("text", ["acme", "acme=12", "Acme=123456789012", "=*", "*=*", "acme=**"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="tenant=account"):
        AccountGrants.parse(text)
