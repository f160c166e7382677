"""Resource names survive a round trip and nothing else parses."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.contract.names import NamePattern, collection_of, tenant_of

IDS = st.text(string.ascii_letters + string.digits + "._~-", min_size=1, max_size=30)
VERDICT = NamePattern("tenants/{tenant}/assessments/{assessment}/verdicts/{claim_verdict}")


@given(IDS, IDS, IDS)
def test_round_trip(tenant: str, assessment: str, verdict: str) -> None:
    name = VERDICT.format(tenant, assessment, verdict)
    assert VERDICT.parse(name) == (tenant, assessment, verdict)
    assert VERDICT.parent.parse(name.rsplit("/", 2)[0]) == (tenant, assessment)


def test_columns() -> None:
    assert VERDICT.columns == ("tenant_id", "assessment_id", "id")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "tenants/a/assessments/b",
        "tenants/a/assessments/b/verdicts/",
        "x/tenants/a/assessments/b/verdicts/c",
    ],
)
def test_other_names_do_not_parse(name: str) -> None:
    assert VERDICT.parse(name) is None


def test_wrong_number_of_ids_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="3 ids"):
        VERDICT.format("a")


@pytest.mark.parametrize(
    ("name", "tenant", "collection"),
    [
        ("tenants/acme/iam_users/1", "acme", "iam_users"),
        ("tenants/acme/iam_users", "acme", "iam_users"),
        ("tenants/acme", "acme", None),
        ("tenants/Acme/iam_users/1", None, "iam_users"),
        ("tenants/acme-/x/y/z", "acme-", None),
        ("people/acme", None, None),
        ("", None, None),
    ],
)
def test_tenant_and_collection(name: str, tenant: str | None, collection: str | None) -> None:
    assert tenant_of(name) == tenant
    assert collection_of(name) == collection
