"""What to mend first: the failures of an assessment by their cause, with what mends each.

Deterministic: the same assessment and checks give the same recommendations in the same order.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, recommendation_pb2
from services.inventory.compliance.check_catalogue import BoundCheck, CheckCatalogue
from services.inventory.compliance.remedy_command import Command, command_line, commands
from services.inventory.compliance.remedy_declared import cloudformation, terraform
from services.inventory.compliance.remedy_template import CUT, Unfilled, asked

MAX_DOCUMENT = 65536
MAX_VALUES = 100
RECORDS = "records"
"""Value of an account's evidence that counts its records."""
_ACCOUNT = re.compile(r"[0-9]{12}")


@dataclass
class Failure:
    """One failing outcome of one check, by all claims that it speaks against."""

    check: BoundCheck
    evidence: pb.Evidence
    thresholds: dict[str, int] = field(default_factory=dict)
    """The strictest of the claims', so that what meets them meets all."""

    @property
    def id(self) -> str:
        """Names the finding, the same from one assessment to the next."""
        return finding_id(self.check.id, self.evidence.subject)

    @property
    def account(self) -> str:
        """Account that it is in; empty if nobody can tell."""
        if self.evidence.cloud_account_id:
            return self.evidence.cloud_account_id
        found = _ACCOUNT.search(self.evidence.subject)
        return found[0] if found else ""

    @property
    def cause(self) -> str:
        return self.check.message.remedy.cause or self.check.id

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What the templates may name."""
        known: dict[str, Any] = {}
        if self.evidence.values.get(RECORDS) == "0":
            known = dict.fromkeys(self.check.remedy_fields)
        for name, text in (*self.evidence.target.items(), *self.evidence.values.items()):
            known[name] = _value(text)
        arn = self.evidence.subject if self.evidence.subject.startswith("arn:") else ""
        inputs = {each.name: asked(each.name) for each in self.check.message.remedy.inputs}
        envelope = {"account": self.account, "region": self.evidence.region, "arn": arn}
        return {**known, **self.thresholds, **inputs, **envelope}


@dataclass
class _Cause:
    """The failures of one cause in one account."""

    account: str
    cause: str
    failures: list[Failure] = field(default_factory=list)
    controls: set[str] = field(default_factory=set)
    contradicted: set[str] = field(default_factory=set)
    more: bool = False

    @cached_property
    def checks(self) -> list[check_pb2.Check]:
        found = {each.check.id: each.check.message for each in self.failures}
        return [found[name] for name in sorted(found)]

    @property
    def rank(self) -> tuple[int, int, int, str, str]:
        """Orders causes, the first to mend first."""
        return -len(self.contradicted), -self.severity, self.effort or 99, self.cause, self.account

    @property
    def severity(self) -> check_pb2.Severity.ValueType:
        return max(check.severity for check in self.checks)

    @property
    def effort(self) -> check_pb2.Effort.ValueType:
        return max(check.remedy.effort for check in self.checks)


def finding_id(check_id: str, subject: str) -> str:
    """Name a check's finding on a subject."""
    digest = sha256("\0".join((check_id, subject)).encode()).hexdigest()
    return f"f-{digest[:16]}"


def recommendations(
    verdicts: Iterable[pb.ClaimVerdict], checks: CheckCatalogue
) -> list[recommendation_pb2.Recommendation]:
    """Give what to mend, the first to mend first; ``checks`` as they judged."""
    return [_recommendation(cause) for cause in _causes(verdicts, checks)]


def _causes(verdicts: Iterable[pb.ClaimVerdict], checks: CheckCatalogue) -> list[_Cause]:
    failures: dict[tuple[str, str], Failure] = {}
    causes: dict[tuple[str, str], _Cause] = {}
    for verdict, result, evidence in _failing(verdicts):
        check = checks.checks.get(result.check_id)
        if check is None:
            continue
        found = Failure(check, evidence)
        key = found.account, found.cause
        cause = causes.setdefault(key, _Cause(*key))
        failure = failures.setdefault((check.id, evidence.subject), found)
        if failure is found:
            cause.failures.append(found)
        _strictest(failure, result.thresholds)
        cause.controls.add(verdict.control_id)
        if verdict.verdict == pb.VERDICT_CONTRADICTED:
            cause.contradicted.add(verdict.control_id)
        cause.more |= result.failed > sum(map(_fails, result.evidence))
    return sorted(causes.values(), key=lambda each: each.rank)


def _failing(
    verdicts: Iterable[pb.ClaimVerdict],
) -> Iterator[tuple[pb.ClaimVerdict, pb.CheckResult, pb.Evidence]]:
    for verdict in verdicts:
        for result in verdict.check_results:
            for evidence in result.evidence:
                if _fails(evidence):
                    yield verdict, result, evidence


def _fails(evidence: pb.Evidence) -> bool:
    return evidence.outcome == check_pb2.EVIDENCE_OUTCOME_FAIL


def _strictest(failure: Failure, thresholds: Mapping[str, int]) -> None:
    for parameter in failure.check.message.parameters:
        name = parameter.variable
        if name not in thresholds:
            continue
        at_most = parameter.direction == check_pb2.THRESHOLD_DIRECTION_AT_MOST
        former = failure.thresholds.get(name, thresholds[name])
        stricter = min if at_most else max
        failure.thresholds[name] = stricter(former, thresholds[name])


def _recommendation(cause: _Cause) -> recommendation_pb2.Recommendation:
    remedies = [check.remedy for check in cause.checks]
    inputs = {each.name: each for remedy in remedies for each in remedy.inputs}
    worst = max(cause.checks, key=lambda check: check.severity)
    return recommendation_pb2.Recommendation(
        recommendation_id="-".join(part for part in (cause.cause, cause.account) if part),
        title=worst.title,
        cloud_account_id=cause.account,
        cause=cause.cause,
        check_ids=[check.id for check in cause.checks],
        control_ids=sorted(cause.controls),
        contradicted_control_ids=sorted(cause.contradicted),
        severity=cause.severity,
        effort=cause.effort,
        advice=dict.fromkeys(check.remediation for check in cause.checks),
        manual_steps=dict.fromkeys(each.manual_step for each in remedies if each.manual_step),
        inputs=inputs.values(),
        mendings=_mendings(cause),
        more=cause.more,
    )


def _mendings(cause: _Cause) -> Iterator[recommendation_pb2.Mending]:
    by_subject: dict[str, list[Failure]] = {}
    for failure in sorted(cause.failures, key=lambda each: (each.evidence.subject, each.check.id)):
        by_subject.setdefault(failure.evidence.subject, []).append(failure)
    for subject, failures in by_subject.items():
        values = {
            name: text for failure in failures for name, text in failure.evidence.values.items()
        }
        yield recommendation_pb2.Mending(
            finding_ids=[failure.id for failure in failures],
            subject=subject,
            record=failures[0].evidence.record,
            region=failures[0].evidence.region,
            values=dict(sorted(values.items())[:MAX_VALUES]),
            commands=_lines(failures),
            terraform=_documents(failures, terraform),
            cloudformation=_documents(failures, cloudformation),
        )


def _lines(failures: Sequence[Failure]) -> list[str]:
    """Write the commands of several checks on one subject, those that are alike as one."""
    calls: list[Command] = []
    for failure in failures:
        for call in commands(failure.check.message.remedy, failure.facts):
            _add(calls, call)
    inputs = {
        each.name: each.description
        for failure in failures
        for each in failure.check.message.remedy.inputs
    }
    try:
        lines = [command_line(call, inputs) for call in calls]
    except Unfilled:
        return []
    return lines if all(len(line) <= MAX_DOCUMENT for line in lines) else []


def _add(calls: list[Command], call: Command) -> None:
    for position, former in enumerate(calls):
        together = former if former == call else former.with_more(call)
        if together is not None:
            calls[position] = together
            return
    calls.append(call)


def _documents(failures: Sequence[Failure], write: Any) -> str:
    """Write what the first check on a subject declares: one document mends one cause."""
    for failure in failures:
        text = str(write(failure.check.id, failure.check.message.remedy, failure.facts))
        if text and len(text) <= MAX_DOCUMENT:
            return text
    return ""


def _value(text: str) -> Any:
    """Read a value as evidence keeps it."""
    try:
        return json.loads(text)
    except ValueError:
        return CUT
