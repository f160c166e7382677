"""IAM policy documents: read strictly, then asked."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from services.tenancy.policy.conditions import Condition, PolicyInvalid, conditions, texts
from services.tenancy.policy.patterns import Context, VariableAbsent, matches, matches_arn

_VERSION = "2012-10-17"
"""Older ones know no variables."""
_ELEMENTS = {
    "Sid",
    "Effect",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
}


@dataclass(frozen=True)
class Request:
    """One question to IAM."""

    action: str
    """Such as ``dynamodb:GetItem``."""
    resource: str
    """ARN, or ``*`` for an action that names none."""
    context: Context = field(default_factory=dict)
    """Condition keys in lower case."""

    def also(self, facts: Context) -> "Request":
        """Give the same request with more keys, such as the tags of who asks."""
        return Request(self.action, self.resource, {**self.context, **facts})


class Effect(Enum):
    """What a statement does for what it covers."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True)
class Statement:
    """One statement of an identity or a session policy."""

    sid: str
    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    but_actions: bool = False
    """Whether it covers all actions but these (``NotAction``)."""
    but_resources: bool = False

    def covers(self, request: Request) -> bool:
        """Tell whether it says anything about a request."""
        named = any(matches(each, request.action, {}, cased=False) for each in self.actions)
        if named is self.but_actions:
            return False
        if self._names(request) is self.but_resources:
            return False
        return all(each.holds(request.context) for each in self.conditions)

    def _names(self, request: Request) -> bool:
        for pattern in self.resources:
            try:
                if matches_arn(pattern, request.resource, request.context):
                    return True
            except VariableAbsent:
                continue
        return False


@dataclass(frozen=True)
class Decision:
    """What a policy says to a request, and by which statements."""

    allowed: bool
    statements: tuple[str, ...]
    """Sids of the statements that covered it: the denying ones if there are any."""


@dataclass(frozen=True)
class Policy:
    """The statements of one document or of several together."""

    statements: tuple[Statement, ...]

    def decide(self, request: Request) -> Decision:
        """Deny what any statement denies, allow what any allows, deny all else."""
        covering = [each for each in self.statements if each.covers(request)]
        denying = tuple(each.sid for each in covering if each.effect is Effect.DENY)
        if denying:
            return Decision(allowed=False, statements=denying)
        return Decision(bool(covering), tuple(each.sid for each in covering))

    def allows(self, request: Request) -> bool:
        """Tell whether it allows a request."""
        return self.decide(request).allowed

    def unused(self, requests: Iterable[Request]) -> set[str]:
        """Give the Sids of allowing statements that none of the requests needs."""
        asked = list(requests)
        allowing = [each for each in self.statements if each.effect is Effect.ALLOW]
        return {each.sid for each in allowing if not any(map(each.covers, asked))}


def read_policy(text: str) -> Policy:
    """Read a policy document. PolicyInvalid names what it has that IAM or this does not take."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise PolicyInvalid(f"not JSON: {error}") from error
    if not isinstance(document, dict) or set(document) - {"Version", "Id", "Statement"}:
        raise PolicyInvalid("a policy is Version and Statement")
    if document.get("Version") != _VERSION:
        raise PolicyInvalid(f"Version is not {_VERSION}")
    written = document.get("Statement")
    listed = written if isinstance(written, list) else [written]
    made = tuple(_statement(each, at) for at, each in enumerate(listed, start=1))
    sids = [each.sid for each in made]
    if len(set(sids)) != len(sids):
        raise PolicyInvalid("two statements have one Sid")
    return Policy(made)


def _statement(written: object, number: int) -> Statement:
    if not isinstance(written, dict):
        raise PolicyInvalid(f"statement {number} is no object")
    sid = str(written.get("Sid") or f"statement {number}")
    unknown = set(written) - _ELEMENTS
    if unknown:
        raise PolicyInvalid(f"{sid}: {sorted(unknown)[0]}")
    effects = {each.value: each for each in Effect}
    if written.get("Effect") not in effects:
        raise PolicyInvalid(f"{sid}: Effect")
    actions, but_actions = _either(written, "Action", sid)
    resources, but_resources = _either(written, "Resource", sid)
    return Statement(
        sid,
        effects[written["Effect"]],
        actions,
        resources,
        conditions(written.get("Condition", {}), sid),
        but_actions,
        but_resources,
    )


def _either(written: dict[str, object], name: str, sid: str) -> tuple[tuple[str, ...], bool]:
    """Read an element or its negation, of which there is one."""
    negated = f"Not{name}"
    if (name in written) is (negated in written):
        raise PolicyInvalid(f"{sid}: {name} or {negated}")
    return texts(written.get(name, written.get(negated)), sid), negated in written
