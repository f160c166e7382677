"""Analyzers of IAM Access Analyzer: whether they run, and what they found open.

What they looked at last is not kept: it changes all the time and says nothing of the account.
"""

from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.access_analyzer_pb2 import AccessAnalyzer
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

LIST = "accessanalyzer:ListAnalyzers"
STATISTICS = "accessanalyzer:GetFindingsStatistics"
FINDINGS = "accessanalyzer:ListFindings"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, STATISTICS, FINDINGS))
PAGE = 100
NAMED = 100
"""Public resources that are kept by name."""
EXTERNAL = frozenset({"ACCOUNT", "ORGANIZATION"})
"""Analyzers that look for access from outside."""
PUBLIC = {"isPublic": {"eq": ["true"]}, "status": {"eq": ["ACTIVE"]}}
COUNT_FIELDS = ("active_findings", "archived_findings")
PUBLIC_FIELDS = ("public_resources", "public_resource_count")
FIELDS = frozenset(AccessAnalyzer.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the analyzers of one region."""
    analyzers = reader.items(LIST, "analyzers", page_size=PAGE, listing=True)
    if isinstance(analyzers, Unread):
        return Collected([], analyzers)
    return Collected(reader.fan_out(lambda each: _read(reader, each), analyzers))


def _read(reader: Reader, analyzer: Response) -> Draft[AccessAnalyzer]:
    draft = analyzer_draft(analyzer)
    statistics = reader.call(STATISTICS, resource=draft.arn, analyzerArn=draft.arn)
    draft.take(statistics, COUNT_FIELDS, _fill_counts)
    if draft.body.analyzer_type in EXTERNAL:
        found = reader.picked(
            FINDINGS,
            "findings",
            lambda finding: str(finding.get("resource", "")),
            page_size=PAGE,
            resource=draft.arn,
            analyzerArn=draft.arn,
            filter=PUBLIC,
        )
        fill_public(draft, found)
    return draft


def analyzer_draft(analyzer: Any) -> Draft[AccessAnalyzer]:
    """Map one analyzer, as it is listed."""
    unused = analyzer.get("configuration", {}).get("unusedAccess", {})
    body = AccessAnalyzer(
        analyzer_name=analyzer["name"],
        analyzer_type=analyzer["type"],
        status=analyzer["status"],
        status_reason=analyzer.get("statusReason", {}).get("code"),
        unused_access_days=unused.get("unusedAccessAge"),
        tags=analyzer.get("tags") or {},
    )
    if created := analyzer.get("createdAt"):
        body.creation_date.CopyFrom(timestamp(created))
    return Draft(native_id=str(analyzer["arn"]), arn=str(analyzer["arn"]), body=body)


def _fill_counts(body: AccessAnalyzer, response: Response | None) -> None:
    # Each entry is a structure with one member, by what the analyzer looks for.
    told = (response or {}).get("findingsStatistics", ())
    found = [statistics for each in told for statistics in each.values()]
    body.active_findings = sum(each.get("totalActiveFindings", 0) for each in found)
    body.archived_findings = sum(each.get("totalArchivedFindings", 0) for each in found)


def fill_public(draft: Draft[AccessAnalyzer], found: list[str] | Unread) -> None:
    """Fill what anyone may reach; a resource may have several findings."""
    if isinstance(found, Unread):
        draft.miss(found, *PUBLIC_FIELDS)
        return
    resources = sorted(set(found))
    draft.body.public_resource_count = len(resources)
    draft.body.public_resources.extend(resources[:NAMED])


COLLECTOR = Collector(
    "access_analyzer",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
