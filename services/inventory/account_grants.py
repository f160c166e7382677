"""Which tenant may collect which AWS accounts, unless tenancy keeps it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

EVERY_ACCOUNT = "*"
_GRANT = re.compile(r"^([a-z][a-z0-9-]{2,62})=([0-9]{12}|\*)$")


@dataclass(frozen=True)
class AccountGrants:
    """The operator's word: the server's credentials may reach more than one tenant should see."""

    accounts: Mapping[str, frozenset[str]]
    """Account ids by tenant; ``*`` stands for every account."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``tenant=account`` pairs separated by commas. Raises ValueError."""
        found: dict[str, set[str]] = {}
        for grant in filter(None, (each.strip() for each in text.split(","))):
            match = _GRANT.match(grant)
            if match is None:
                raise ValueError("is pairs of tenant=account, such as acme=123456789012")
            found.setdefault(match[1], set()).add(match[2])
        return cls({tenant: frozenset(accounts) for tenant, accounts in found.items()})

    def allow(self, tenant: str, cloud_account_id: str) -> bool:
        """Tell whether a tenant may collect an account."""
        return not self.accounts.get(tenant, frozenset()).isdisjoint(
            {cloud_account_id, EVERY_ACCOUNT}
        )
