"""The fields of persons: the contract's tiers, and what a tenant makes of them."""

import pytest

from mesh.contract.catalogue import field_option
from mesh.errors import FieldInvalid
from secmesh.crypto.v1.user_pb2 import User
from secmesh.options.v1 import field_pb2
from services.crypto.persons.fields import (
    CONTRACT,
    FIRST_OWN_NUMBER,
    Decision,
    PersonFields,
    form_number,
    form_of,
)
from services.crypto.suite.header import Tier
from services.crypto.suite.normal_form import Form
from services.crypto.tables import USERS

TIERS = {
    Tier.CLEAR: {"email", "first_name", "last_name", "phone"},
    Tier.SEALED: {"address", "date_of_birth", "ip_address"},
    Tier.DOUBLE: {"ssn", "bank_account", "credit_card"},
}


def test_tiers_are_those_of_the_contract() -> None:
    fields = PersonFields([])
    assert {tier: {each.name for each in fields if each.tier is tier} for tier in Tier} == TIERS


def test_each_field_has_the_column_that_its_tier_asks_for() -> None:
    for each in CONTRACT.values():
        assert (f"{each.name}_encrypted" if each.sealed else each.name) in USERS.c


def test_numbers_of_the_contract_are_apart_from_those_of_tenants() -> None:
    assert all(each.number < FIRST_OWN_NUMBER for each in CONTRACT.values())


def test_all_that_says_something_of_a_person_is_kept_out_of_logs() -> None:
    for each in User.DESCRIPTOR.fields:
        option = field_option(each)
        assert bool(option.tier or each.name == "fields") == (
            option.sensitivity == field_pb2.SENSITIVITY_PII
        )


@pytest.mark.parametrize("form", Form)
def test_every_form_is_one_of_the_contract(form: Form) -> None:
    assert form_of(form_number(form)) is form


def test_a_tier_is_raised_and_never_lowered() -> None:
    fields = PersonFields([Decision("email", Tier.DOUBLE), Decision("ssn", Tier.CLEAR)])
    assert fields["email"].tier is Tier.DOUBLE
    assert fields["ssn"].tier is Tier.DOUBLE


def test_what_was_sealed_before_the_tier_was_raised_still_opens() -> None:
    field = PersonFields([Decision("address", Tier.DOUBLE)])["address"]
    assert (field.rule.tier, field.rule.least_tier) == (Tier.DOUBLE, Tier.SEALED)
    assert PersonFields([])["ssn"].rule.least_tier is Tier.DOUBLE


def test_a_field_of_the_tenant_stands_beside_those_of_the_contract() -> None:
    fields = PersonFields([Decision("medical_record", Tier.DOUBLE, number=40_000)])
    own = fields["medical_record"]
    assert (own.own, own.tier, own.rule.number) == (True, Tier.DOUBLE, 40_000)
    assert own.unmask_permission == "crypto.medical_record.unmask"
    assert PersonFields([]).find("medical_record") is None
    with pytest.raises(FieldInvalid):
        PersonFields([]).named("medical_record", "unmask[0]")


def test_fields_that_could_be_counted_through_are_not_searched() -> None:
    fields = PersonFields([Decision("email", Tier.SEALED), Decision("phone", Tier.CLEAR)])
    searchable = {each.name for each in fields if each.searchable}
    assert searchable == {"email", "ssn", "bank_account", "credit_card"}
    assert fields["email"].has_blind_index
    assert not PersonFields([])["email"].has_blind_index
