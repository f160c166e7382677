"""The texts by which the owner of an account makes the role that trusts us."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from services.tenancy.credentials.session_policy import READERS

DEFAULT_ROLE = "secmesh-scan"
MAX_STACK_SET_ACCOUNTS = 200
"""Entries that a mapping of CloudFormation takes."""
_SESSION_SECONDS = 3600
_ACTIONS = ("sts:AssumeRole", "sts:TagSession")
_DESCRIPTION = "Lets secmesh read how this account is set up, and no data in it."
_REGION = "us-east-1"
"""Where stacks that make a role are kept; roles themselves are of no Region."""


@dataclass(frozen=True)
class RoleText:
    """What a role is made of."""

    principal_arn: str
    """Who assumes it."""
    external_id: str
    role_name: str = DEFAULT_ROLE
    path: str = "/"

    @property
    def partition(self) -> str:
        """The part of AWS that the principal is in."""
        return self.principal_arn.split(":")[1]

    @property
    def policies(self) -> list[str]:
        """The managed policies of the role."""
        return [f"arn:{self.partition}:iam::aws:policy/{each}" for each in READERS]


def role_text(principal_arn: str, external_id: str, role_arn: str) -> RoleText:
    """Give the role of an account: that of its ARN, or one of our naming if it names none."""
    if not role_arn:
        return RoleText(principal_arn, external_id)
    path, _, name = role_arn.partition(":role")[2].rpartition("/")
    return RoleText(principal_arn, external_id, name, f"{path}/")


def cloudformation(role: RoleText) -> str:
    """Give a template for one account."""
    return _yaml(_template(role, role.external_id))


def stack_set(
    role: RoleText, external_ids: Mapping[str, str], organizational_units: Sequence[str]
) -> str:
    """Give a template that makes the role in accounts of an organization.

    Each account has an external id of its own, so the template knows them all (by account).
    """
    chosen = {"Fn::FindInMap": ["ExternalIds", {"Ref": "AWS::AccountId"}, "ExternalId"]}
    template = _template(role, chosen)
    template["Mappings"] = {
        "ExternalIds": {account: {"ExternalId": text} for account, text in external_ids.items()}
    }
    properties = {
        "StackSetName": role.role_name,
        "Description": _DESCRIPTION,
        "PermissionModel": "SERVICE_MANAGED",
        "AutoDeployment": {"Enabled": False},
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
        "StackInstancesGroup": [
            {
                "DeploymentTargets": {
                    "OrganizationalUnitIds": list(organizational_units),
                    "AccountFilterType": "INTERSECTION",
                    "Accounts": list(external_ids),
                },
                "Regions": [_REGION],
            }
        ],
        "TemplateBody": _yaml(template),
    }
    return _yaml(
        {
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": _DESCRIPTION,
            "Resources": {
                "ScanRoles": {"Type": "AWS::CloudFormation::StackSet", "Properties": properties}
            },
        }
    )


def terraform(role: RoleText) -> str:
    """Give a configuration for one account."""
    actions = ", ".join(f'"{each}"' for each in _ACTIONS)
    attached = "\n".join(f'    "{each}",' for each in role.policies)
    return f"""# {_DESCRIPTION}
resource "aws_iam_role" "secmesh_scan" {{
  name                 = "{role.role_name}"
  path                 = "{role.path}"
  max_session_duration = {_SESSION_SECONDS}

  assume_role_policy = jsonencode({{
    Version = "2012-10-17"
    Statement = [{{
      Effect    = "Allow"
      Principal = {{ AWS = "{role.principal_arn}" }}
      Action    = [{actions}]
      Condition = {{ StringEquals = {{ "sts:ExternalId" = "{role.external_id}" }} }}
    }}]
  }})
}}

resource "aws_iam_role_policy_attachment" "secmesh_scan" {{
  for_each = toset([
{attached}
  ])

  role       = aws_iam_role.secmesh_scan.name
  policy_arn = each.value
}}

output "role_arn" {{
  value = aws_iam_role.secmesh_scan.arn
}}
"""


def _template(role: RoleText, external_id: object) -> dict[str, Any]:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": role.principal_arn},
                "Action": list(_ACTIONS),
                "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
            }
        ],
    }
    properties = {
        "RoleName": role.role_name,
        "Path": role.path,
        "Description": _DESCRIPTION,
        "MaxSessionDuration": _SESSION_SECONDS,
        "AssumeRolePolicyDocument": trust,
        "ManagedPolicyArns": role.policies,
    }
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": _DESCRIPTION,
        "Resources": {"ScanRole": {"Type": "AWS::IAM::Role", "Properties": properties}},
        "Outputs": {"RoleArn": {"Value": {"Fn::GetAtt": ["ScanRole", "Arn"]}}},
    }


def _yaml(document: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=100)
    return text
