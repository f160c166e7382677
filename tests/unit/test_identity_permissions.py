"""Permission patterns and roles."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.contract.catalogue import load_catalogue
from mesh.identity.permissions import is_pattern, permits
from mesh.identity.roles import ROLES, parse_roles

WORD = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
PERMISSION = st.tuples(WORD, WORD, WORD).map(".".join)
PATTERN = st.tuples(*[WORD | st.just("*")] * 3).map(".".join)


@given(PATTERN, PERMISSION)
def test_a_star_stands_for_one_whole_segment(pattern: str, permission: str) -> None:
    same = re.fullmatch(pattern.replace(".", r"\.").replace("*", "[^.]+"), permission) is not None
    assert permits(frozenset({pattern}), permission) == same


@given(st.frozensets(PATTERN), PERMISSION)
def test_more_patterns_never_take_a_permission_away(patterns: frozenset[str], needed: str) -> None:
    assert permits(patterns | {needed}, needed)
    assert not permits(frozenset(), needed)


@given(PATTERN)
def test_every_such_pattern_is_one(pattern: str) -> None:
    assert is_pattern(pattern)


@pytest.mark.parametrize(
    "text", ["", "*", "a.b", "a.b.c.d", "a..c", "A.b.c", "a.b*.c", "a.b.c\n", "a.**.c", "1.b.c"]
)
def test_what_is_no_pattern(text: str) -> None:
    assert not is_pattern(text)


def test_a_star_does_not_reach_over_a_dot() -> None:
    assert not permits(frozenset({"inventory.*"}), "inventory.syncs.get")
    assert not permits(frozenset({"*.*.*"}), "inventory.syncs")


INVENTORY, SECURITY = "secmesh.inventory.v1", "secmesh.security.v1"
CRYPTO = "secmesh.crypto.v1"
TENANCY = "secmesh.tenancy.v1"


def needed_by(package: str) -> set[str]:
    catalogue = load_catalogue(package)
    needed = set()
    for method in catalogue.methods.values():
        if method.per_kind:
            verb = method.permission.rpartition(".")[2]
            needed |= {kind.permission(verb) for kind in catalogue.record_kinds.values()}
        elif not method.without_token:
            needed.add(method.permission)
    return needed


def test_the_roles_fit_the_contract() -> None:
    needed = needed_by(INVENTORY)
    granted = {
        role: {each for each in needed if permits(patterns, each)}
        for role, patterns in ROLES.items()
    }
    whole_stores = {each for each in needed if each.startswith("platform.")}
    assert granted["platform"] == whole_stores
    needed -= whole_stores
    reading = {each for each in needed if each.rpartition(".")[2] in ("get", "list")}
    assert granted["viewer"] == reading
    assert granted["auditor"] == reading | {
        "inventory.ssps.create",
        "inventory.assessments.create",
    }
    assert granted["operator"] == granted["auditor"] | {
        "inventory.syncs.create",
        "inventory.syncs.cancel",
        "inventory.events.create",
        "inventory.organizations.discover",
        "inventory.assessments.file",
        "inventory.controls.create",
        "inventory.controls.update",
        "inventory.controls.import",
        "inventory.check_exceptions.create",
        "inventory.check_exceptions.revoke",
    }
    assert granted["admin"] == needed


SECOND_FACTORS = (".enroll", ".verify", ".revoke", ".issue", ".use")
"""Verbs of MfaService."""
GUARDED = (".accept", ".activate", ".arm", ".schedule", ".receive", *SECOND_FACTORS)
"""Verbs that operators have not: webhooks are received for systems that have nothing else to do."""


def test_operators_write_security_records_and_viewers_read_them() -> None:
    needed = needed_by(SECURITY)
    whole = {each for each in needed if each.startswith("platform.")}
    needed -= whole
    reading = {each for each in needed if each.rpartition(".")[2] in ("get", "list")}
    for role, granted in {
        "viewer": reading,
        "auditor": reading | {"security.compliance_frameworks.evaluate"},
        # Whether a risk may stay is the admin's to say, what a workflow may do by itself, and
        # what passes for a person.
        "operator": {each for each in needed if not each.endswith(GUARDED)},
        "admin": needed,
        "platform": whole,
    }.items():
        assert {each for each in needed | whole if permits(ROLES[role], each)} == granted, role


def test_auditors_see_what_was_done_to_people_and_nobody_else_does_but_the_admin() -> None:
    audit = {each for each in needed_by(CRYPTO) if each.startswith("crypto.audit_")}
    assert audit
    for role, patterns in ROLES.items():
        granted = {each for each in audit if permits(patterns, each)}
        assert granted == (audit if role in ("auditor", "admin") else set()), role


def test_operators_store_people_and_only_the_admin_reads_what_is_sealed() -> None:
    assert permits(ROLES["operator"], "crypto.users.create")
    for sealed in ("crypto.users.unmask", "crypto.ssn.unmask", "crypto.medical_record.unmask"):
        assert [role for role, granted in ROLES.items() if permits(granted, sealed)] == ["admin"]


def test_tenants_are_made_and_removed_by_the_platform_alone() -> None:
    needed = needed_by(TENANCY)
    whole = {each for each in needed if each.startswith("platform.")}
    assert {"platform.tenants.create", "platform.tenants.delete", "platform.quotas.update"} <= whole
    reading = {each for each in needed - whole if each.rpartition(".")[2] in ("get", "list")}
    for role, patterns in ROLES.items():
        granted = {each for each in needed if permits(patterns, each)}
        assert granted & whole == (whole if role == "platform" else set()), role
        if role in ("viewer", "auditor"):
            assert granted == reading, role
    admin = {each for each in needed if permits(ROLES["admin"], each)}
    assert admin == needed - whole


def test_every_pattern_of_a_role_grants_something() -> None:
    needed = needed_by(INVENTORY) | needed_by(SECURITY) | needed_by(CRYPTO) | needed_by(TENANCY)
    for role, patterns in ROLES.items():
        for pattern in patterns:
            assert any(permits(frozenset({pattern}), each) for each in needed), (role, pattern)


def test_an_ill_formed_role_is_named() -> None:
    with pytest.raises(ValueError, match=r"'viewer'.*'inventory\.\*'"):
        parse_roles("viewer: ['inventory.*']")
    with pytest.raises(ValueError, match="mapping"):
        parse_roles("- viewer")
