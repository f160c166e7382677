"""When a key is due: never after its period, always at the same moment, not all at once."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.crypto.rotation.rotation import KeyType
from services.crypto.rotation.schedule import due_moment
from services.crypto.rotation.schedule_store import DueKey

MADE = datetime(2026, 1, 1, tzinfo=UTC)


@given(
    tenant=st.from_regex("[a-z][a-z0-9-]{2,20}", fullmatch=True),
    key_type=st.sampled_from(KeyType),
    days=st.integers(1, 3650),
)
def test_a_key_is_due_in_the_last_twentieth_of_its_period(
    tenant: str, key_type: KeyType, days: int
) -> None:
    key, period = DueKey(tenant, key_type), timedelta(days=days)
    moment = due_moment(key, MADE, days)
    assert MADE + period * 0.95 <= moment <= MADE + period
    assert due_moment(key, MADE, days) == moment


def test_keys_that_were_made_together_are_spread() -> None:
    moments = {due_moment(DueKey(f"t{n}", KeyType.TENANT_KEK), MADE, 90) for n in range(200)}
    assert len(moments) == 200
    assert max(moments) - min(moments) > timedelta(days=4)
