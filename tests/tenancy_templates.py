"""Templates of the tenancy service as data, with this test's names in place of an account's."""

import json
import re
from pathlib import Path
from typing import Any

from cfnlint import decode

from services.tenancy.policy.document import Policy, read_policy

FOLDER = Path(__file__).parents[1] / "deploy" / "aws"
POLICIES = {
    path.stem.removeprefix("tenancy-"): path
    for path in sorted((FOLDER / "policies").glob("tenancy-*.json"))
}
"""Files of policies by name, such as ``serve``."""
_PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "*", "AWS::AccountId": "*"}


def template(name: str) -> dict[str, Any]:
    read, problems = decode.decode(str(FOLDER / name))
    assert read is not None, problems
    return dict(read)


def resolved(name: str, **given: str) -> dict[str, Any]:
    """The resources of a template with its parameters put in; what refers to another stays."""
    read = template(name)
    parameters = {key: str(each.get("Default", "")) for key, each in read["Parameters"].items()}
    found: dict[str, Any] = _resolve(read["Resources"], {**_PSEUDO, **parameters, **given})
    return found


def policy(name: str) -> Policy:
    return read_policy(POLICIES[name].read_text())


def _resolve(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_resolve(each, known) for each in value]
    if not isinstance(value, dict):
        return json.loads(json.dumps(value))
    if set(value) == {"Ref"}:
        return known.get(value["Ref"], value["Ref"])
    if set(value) == {"Fn::Sub"}:
        text = re.sub(
            r"\$\{([\w:]+)\}", lambda found: known.get(found[1], found[0]), value["Fn::Sub"]
        )
        return text.replace("${!", "${")
    if set(value) == {"Fn::GetAtt"}:
        return ".".join(value["Fn::GetAtt"])
    return {str(key): _resolve(each, known) for key, each in value.items()}
