"""Lets moto's STS hold to the external id that a role's trust policy asks for, as STS does.

Moto lets anyone assume any role. A role that was made there is assumed only by who sends the
external id of its policy; what else a policy may ask is not looked at. One that was not made is
assumed as before: that is how tests reach accounts which nobody set up.

Sessions of federated users are of the account of whose keys they are asked with; moto gives the
same made-up key to all, which is of none.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

ASSUME = "sts:AssumeRole"
_KEY = "sts:externalid"
"""Condition keys are compared without regard to case."""


@cache
def teach_trust() -> None:
    """Change moto's ``assume_role``; once a process."""
    from moto.core.exceptions import AccessDeniedError
    from moto.iam.models import iam_backends
    from moto.sts.models import STSBackend

    written = STSBackend.assume_role

    def assume_role(backend: Any, **arguments: Any) -> Any:
        arn: str = arguments["role_arn"]
        made = iam_backends[arn.split(":")[4]][backend.partition].roles.values()
        policies = [each.assume_role_policy_document for each in made if each.arn == arn]
        external_id = arguments["external_id"]
        if policies and not is_trusted(json.loads(policies[0]), external_id):
            raise AccessDeniedError("embedded", f"{ASSUME} on {arn}")
        return written(backend, **arguments)

    setattr(STSBackend, written.__name__, assume_role)
    _teach_federation()


def _teach_federation() -> None:
    from moto.iam.models import iam_backends
    from moto.sts.responses import TokenResponse

    written = TokenResponse.get_federation_token

    def get_federation_token(response: Any) -> Any:
        answer: Any = written(response)
        key = iam_backends[response.current_account][response.partition].create_temp_access_key()
        given = {"AccessKeyId": key.access_key_id, "SecretAccessKey": key.secret_access_key}
        answer.result["Credentials"].update(given)
        return answer

    setattr(TokenResponse, written.__name__, get_federation_token)


def is_trusted(policy: Mapping[str, Any], external_id: str | None) -> bool:
    """Tell whether a statement of a trust policy lets a role be assumed with this external id."""
    statements = policy["Statement"]
    listed = [statements] if isinstance(statements, dict) else statements
    return any(_allows(each, external_id) for each in listed)


def _allows(statement: Mapping[str, Any], external_id: str | None) -> bool:
    if statement["Effect"] != "Allow" or ASSUME not in _texts(statement["Action"]):
        return False
    for operator, conditions in statement.get("Condition", {}).items():
        for key, wanted in conditions.items():
            if key.lower() == _KEY and not (
                operator == "StringEquals" and external_id in _texts(wanted)
            ):
                return False
    return True


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
