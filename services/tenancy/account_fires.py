"""How often the schedules of one account fire: counted, so that no account is scanned all day."""

from services.tenancy.store.conditions import Any, AtMost, Missing
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Action, Add, Update
from services.tenancy.timing.expressions import parse_expression
from services.tenancy.timing.pace import HOURLY_FIRES_OF_ACCOUNT, hourly_fires

_COUNTER = "hourly_fires"


def fires_of(expression: str) -> int:
    """Give how often an expression fires in an hour at most; TimingInvalid."""
    return hourly_fires(parse_expression(expression))


def count(scope: TenantScope, account: str, number: int) -> tuple[Action, ...]:
    """Give the action that counts so many fires an hour more, or fewer; none for 0.

    It fails if the account would have more than it may.
    """
    if not number:
        return ()
    room = Any(Missing(_COUNTER), AtMost(_COUNTER, HOURLY_FIRES_OF_ACCOUNT - number))
    return (
        Update(
            scope.account_fires(account),
            [Add(_COUNTER, number)],
            room if number > 0 else None,
            upsert=True,
        ),
    )
