"""Texts that make roles: clean under cfn-lint, small enough, and with nothing left open."""

from pathlib import Path

import pytest
import yaml
from cfnlint.api import lint_file

from services.tenancy.onboarding.texts import (
    MAX_STACK_SET_ACCOUNTS,
    RoleText,
    cloudformation,
    role_text,
    stack_set,
    terraform,
)

PRINCIPAL = "arn:aws:iam::999999999999:role/secmesh"
ROLE = RoleText(PRINCIPAL, "0123456789abcdef0123456789abcdef")
MAX_BODY = 51_200
"""Bytes of a template that is sent as it is."""


def findings(text: str, tmp_path: Path) -> list[str]:
    file = tmp_path / "template.yaml"
    file.write_text(text)
    return [str(each) for each in lint_file(file)]


def test_the_template_of_an_account_is_clean(tmp_path: Path) -> None:
    assert findings(cloudformation(ROLE), tmp_path) == []


def ids(number: int) -> dict[str, str]:
    return {f"{each:012d}": f"{each:032x}" for each in range(number)}


def test_the_template_of_a_stack_set_is_clean(tmp_path: Path) -> None:
    text = stack_set(ROLE, ids(2), ["ou-ab12-cd34ef56"])
    assert findings(text, tmp_path) == []
    body = yaml.safe_load(text)["Resources"]["ScanRoles"]["Properties"]["TemplateBody"]
    assert findings(body, tmp_path) == []


def test_a_stack_set_of_many_accounts_is_small_enough_to_be_sent() -> None:
    text = stack_set(ROLE, ids(MAX_STACK_SET_ACCOUNTS), ["ou-ab12-cd34ef56"])
    assert len(text.encode()) < MAX_BODY


def test_a_configuration_of_terraform_names_all_that_matters() -> None:
    text = terraform(ROLE)
    for part in (ROLE.external_id, PRINCIPAL, "SecurityAudit", "sts:TagSession", '"/"'):
        assert part in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("arn", "name", "path"),
    [
        ("", "secmesh-scan", "/"),
        ("arn:aws:iam::111111111111:role/audit", "audit", "/"),
        ("arn:aws:iam::111111111111:role/teams/sec/audit", "audit", "/teams/sec/"),
    ],
)
def test_the_role_is_the_one_that_the_account_names(arn: str, name: str, path: str) -> None:
    role = role_text(PRINCIPAL, "id", arn)
    assert (role.role_name, role.path) == (name, path)


def test_policies_are_of_the_part_of_aws_that_we_are_in() -> None:
    role = role_text("arn:aws-cn:iam::999999999999:role/secmesh", "id", "")
    assert all(each.startswith("arn:aws-cn:iam::aws:policy/") for each in role.policies)
