"""What callers may write of a resource, what fits in an account, and when things are gone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import FieldInvalid, MaskInvalid, ResourceNotFound
from secmesh.tenancy.v1 import account_pb2, provider_pb2
from services.tenancy.account_rules import check, new_external_id
from services.tenancy.account_status import DELETED, FOLLOWING, OUTCOMES, PENDING, SUSPENDED
from services.tenancy.names import ids_in, tenant_in
from services.tenancy.resources import updated
from services.tenancy.retention import expiry, is_gone, purge_time
from services.tenancy.store.tables import EXPIRES_AT

OLD = provider_pb2.Provider(
    name="tenants/acme/providers/aws",
    provider_type=provider_pb2.PROVIDER_TYPE_AWS,
    provider_name="Cloud",
    description="Live",
    status=provider_pb2.PROVIDER_STATUS_ACTIVE,
    account_count=3,
)


def test_everything_replaces_all_but_what_the_service_says() -> None:
    said = provider_pb2.Provider(
        provider_type=provider_pb2.PROVIDER_TYPE_AWS, provider_name="New", account_count=9
    )
    made = updated(OLD, said, ["*"], "provider")
    assert (made.name, made.provider_name, made.account_count) == (OLD.name, "New", 3)
    assert not made.HasField("description")
    with pytest.raises(MaskInvalid):
        updated(OLD, said, ["*", "description"], "provider")
    with pytest.raises(FieldInvalid, match="provider_name: must be set"):
        updated(OLD, provider_pb2.Provider(), ["*"], "provider")


@given(st.lists(st.sampled_from(["provider_name", "description", "name", "etag"]), unique=True))
def test_a_mask_changes_what_it_names_and_nothing_else(paths: list[str]) -> None:
    said = provider_pb2.Provider(
        name="tenants/beta/providers/x", provider_name="New", description="Old", etag="v9"
    )
    made = updated(OLD, said, paths, "provider")
    wanted = paths or ["provider_name", "description"]
    assert made.name == OLD.name
    for name in ("provider_name", "description"):
        source = said if name in wanted else OLD
        assert getattr(made, name) == getattr(source, name)


@pytest.mark.parametrize(
    ("vendor", "way", "cloud_id"),
    [
        ("AZURE", "AZURE_SERVICE_PRINCIPAL", "0f7c1d1e-6a55-4c5a-9b56-0d4b8f6a9a11"),
        ("GCP", "GCP_SERVICE_ACCOUNT", "my-project-1"),
        ("AWS", "AWS_ACCESS_KEY", "123456789012"),
    ],
)
def test_accounts_of_each_vendor_have_its_ids_and_ways(
    vendor: str, way: str, cloud_id: str
) -> None:
    account = account_pb2.Account(
        provider_type=provider_pb2.ProviderType.Value(f"PROVIDER_TYPE_{vendor}"),
        credential_type=account_pb2.CredentialType.Value(f"CREDENTIAL_TYPE_{way}"),
        cloud_account_id=cloud_id,
    )
    check(account, "account")
    account.cloud_account_id = "-1"
    with pytest.raises(FieldInvalid, match="cloud_account_id"):
        check(account, "account")
    account.cloud_account_id = cloud_id
    account.role_arn = f"arn:aws:iam::{cloud_id}:role/audit"
    with pytest.raises(FieldInvalid, match="role_arn"):
        check(account, "account")


def test_what_was_stopped_or_is_gone_comes_back_unproved() -> None:
    for status in (SUSPENDED, DELETED):
        assert not FOLLOWING[status] & OUTCOMES
        assert PENDING in FOLLOWING[status]


def test_external_ids_are_128_bits_that_do_not_come_twice() -> None:
    made = {new_external_id() for _ in range(100)}
    assert len(made) == 100
    assert {len(bytes.fromhex(each)) for each in made} == {16}


@given(st.integers(0, 10**16))
def test_a_resource_is_never_gone_before_its_purge_time(now: int) -> None:
    ends = purge_time(now)
    item = {EXPIRES_AT: expiry(ends)}
    assert not is_gone(item, ends - 1)
    assert is_gone(item, ends + 1_000_000)
    assert is_gone(None, now)
    assert not is_gone({"pk": "acme"}, now)


@pytest.mark.parametrize("name", ["", "tenants/acme/accounts/a#b", "tenants/acme/accounts/a\n"])
def test_what_is_no_name_is_not_found(name: str) -> None:
    with pytest.raises(ResourceNotFound):
        ids_in(name, "accounts")
    with pytest.raises(ResourceNotFound):
        tenant_in(name)
