"""What Amazon Macie does in a region: whether it is on, and what it found.

Where it is off Macie refuses every call with 403, as if a permission were missing; the message
tells which it is (``mesh.aws.operations``).
"""

from mesh.aws.reader import Absent, Reader, Response, Unread
from secmesh.inventory.v1.macie_pb2 import MacieSession
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp
from services.inventory.collect.macie_jobs import LIST as JOBS
from services.inventory.collect.macie_jobs import PAGE

SESSION = "macie2:GetMacieSession"
DISCOVERY = "macie2:GetAutomatedDiscoveryConfiguration"
ADMINISTRATOR = "macie2:GetAdministratorAccount"
STATISTICS = "macie2:GetFindingStatistics"
OPERATIONS = frozenset((SESSION, DISCOVERY, ADMINISTRATOR, STATISTICS, JOBS))
OFF = "DISABLED"
SCHEDULED = "SCHEDULED"
AT_WORK = frozenset({"IDLE", "RUNNING"})
"""States of a job on a schedule whose next run comes."""
SEVERITIES = {"high_findings": "High", "medium_findings": "Medium", "low_findings": "Low"}
SESSION_FIELDS = ("status", "creation_date", "publishing_frequency")
FIELDS = frozenset(MacieSession.DESCRIPTOR.fields_by_name)
NOT_ARCHIVED = {"criterion": {"archived": {"eq": ["false"]}}}


def collect(reader: Reader) -> Collected:
    """Read the one row of the region."""
    draft = Draft(native_id=reader.account.cloud_account_id, body=MacieSession())
    session = reader.call(SESSION)
    draft.take(session, SESSION_FIELDS, _fill_session)
    if isinstance(session, Absent):
        draft.body.automated_discovery = OFF
        draft.body.scheduled_jobs = 0
        return Collected([draft])
    draft.take(reader.call(DISCOVERY), ("automated_discovery",), _fill_discovery)
    draft.take(reader.call(ADMINISTRATOR), ("administrator_account",), _fill_administrator)
    fill_jobs(draft, reader.items(JOBS, "items", page_size=PAGE))
    fill_findings(draft, _statistics(reader))
    return Collected([draft])


def _statistics(reader: Reader) -> list[Response] | Unread:
    return reader.items(
        STATISTICS,
        "countsByGroup",
        groupBy="severity.description",
        findingCriteria=NOT_ARCHIVED,
    )


def _fill_session(body: MacieSession, response: Response | None) -> None:
    session = response or {}
    body.status = session.get("status", OFF)
    if created := session.get("createdAt"):
        body.creation_date.CopyFrom(timestamp(created))
    if frequency := session.get("findingPublishingFrequency"):
        body.publishing_frequency = frequency


def _fill_discovery(body: MacieSession, response: Response | None) -> None:
    body.automated_discovery = (response or {}).get("status", OFF)


def _fill_administrator(body: MacieSession, response: Response | None) -> None:
    if account := (response or {}).get("administrator", {}).get("accountId"):
        body.administrator_account = account


def fill_jobs(draft: Draft[MacieSession], jobs: list[Response] | Unread) -> None:
    """Fill how many jobs will run again."""
    if isinstance(jobs, Unread):
        draft.miss(jobs, "scheduled_jobs")
        return
    draft.body.scheduled_jobs = sum(
        job.get("jobType") == SCHEDULED and job.get("jobStatus") in AT_WORK for job in jobs
    )


def fill_findings(draft: Draft[MacieSession], counts: list[Response] | Unread) -> None:
    """Fill how many findings there are of each severity."""
    if isinstance(counts, Unread):
        draft.miss(counts, *SEVERITIES)
        return
    told = {each.get("groupKey"): each.get("count", 0) for each in counts}
    for name, severity in SEVERITIES.items():
        setattr(draft.body, name, told.get(severity, 0))


COLLECTOR = Collector(
    "macie_sessions",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
)
