"""What Amazon Inspector scans in a region, and how much it found."""

from typing import Any

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.inspector2_pb2 import InspectorAccount
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft

STATUS = "inspector2:BatchGetAccountStatus"
SEVERITIES = "inspector2:ListFindingAggregations"
COVERAGE = "inspector2:ListCoverageStatistics"
OPERATIONS = frozenset((STATUS, SEVERITIES, COVERAGE))
OFF = "DISABLED"
DENIED = "ACCESS_DENIED"
SCANS = {
    "ec2_status": "ec2",
    "ecr_status": "ecr",
    "lambda_status": "lambda",
    "lambda_code_status": "lambdaCode",
    "code_repository_status": "codeRepository",
}
STATUS_FIELDS = ("status", *SCANS)
COVERAGE_FIELDS = {"covered_resources": "ACTIVE", "uncovered_resources": "INACTIVE"}
"""State of a scan by field."""
FINDING_FIELDS = ("critical_findings", "high_findings", "medium_findings", "low_findings")
FIELDS = frozenset(InspectorAccount.DESCRIPTOR.fields_by_name)
_ALWAYS_TOLD = frozenset(SCANS) - {"code_repository_status"}


def collect(reader: Reader) -> Collected:
    """Read the one row of the region."""
    account = reader.account.cloud_account_id
    draft = Draft(native_id=account, body=InspectorAccount())
    status = account_status(reader)
    draft.take(status, STATUS_FIELDS, _fill_status)
    if isinstance(status, Unread):
        draft.miss(status, *COVERAGE_FIELDS, *FINDING_FIELDS)
        return Collected([draft])
    if draft.body.status == OFF:
        # It refuses to tell of its findings.
        return Collected([draft])
    for name, state in COVERAGE_FIELDS.items():
        wanted = {"scanStatusCode": equals(state), "accountId": equals(account)}
        _fill_coverage(draft, name, reader.call(COVERAGE, filterCriteria=wanted))
    severities = reader.items(
        SEVERITIES, "responses", aggregationType="ACCOUNT", accountIds=equals(account)
    )
    fill_findings(draft, severities)
    return Collected([draft])


def equals(value: str) -> list[Response]:
    """Give a filter of Inspector's; without one an administrator is told of its members too."""
    return [{"comparison": "EQUALS", "value": value}]


def account_status(reader: Reader) -> Answer:
    """Read whether Inspector is on in the region."""
    answer = reader.call(STATUS, accountIds=[reader.account.cloud_account_id])
    if not isinstance(answer, (Absent, Unread)) and answer.get("failedAccounts"):
        # A success that tells of a failure.
        code = str(answer["failedAccounts"][0].get("errorCode", ""))
        return Unread.of(STATUS, Outcome.DENIED if code == DENIED else Outcome.FAILED, code)
    return answer


def status_of(answer: Answer) -> Any:
    """Give the state of the one account that was asked for; none if it is not told."""
    told: Any = {} if isinstance(answer, (Absent, Unread)) else answer
    return next(iter(told.get("accounts", ())), {})


def is_off(answer: Answer) -> bool:
    """Tell whether Inspector is known to be off."""
    if isinstance(answer, Unread):
        return False
    return bool(status_of(answer).get("state", {}).get("status", OFF) == OFF)


def _fill_status(body: InspectorAccount, response: Response | None) -> None:
    account = status_of(response or {})
    body.status = account.get("state", {}).get("status", OFF)
    scans = account.get("resourceState", {})
    for name, key in SCANS.items():
        told = scans.get(key, {}).get("status")
        if told or name in _ALWAYS_TOLD:
            setattr(body, name, told or OFF)


def _fill_coverage(draft: Draft[InspectorAccount], name: str, answer: Answer) -> None:
    def fill(body: InspectorAccount, response: Response | None) -> None:
        setattr(body, name, (response or {}).get("totalCounts", 0))

    draft.take(answer, (name,), fill)


def fill_findings(draft: Draft[InspectorAccount], found: list[Response] | Unread) -> None:
    """Fill how many findings are open; where there are none nothing is told."""
    if isinstance(found, Unread):
        draft.miss(found, *FINDING_FIELDS)
        return
    told: Any = next(iter(found), {})
    counts = told.get("accountAggregation", {}).get("severityCounts", {})
    for name in FINDING_FIELDS:
        setattr(draft.body, name, counts.get(name.partition("_")[0], 0))


COLLECTOR = Collector(
    "inspector2",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
)
