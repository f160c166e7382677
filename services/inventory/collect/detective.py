"""Behavior graphs of Detective: those of the account, and those of others that it feeds."""

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.detective_pb2 import DetectiveGraph
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

GRAPHS = "detective:ListGraphs"
INVITATIONS = "detective:ListInvitations"
MEMBERS = "detective:ListMembers"
PACKAGES = "detective:ListDatasourcePackages"
ORGANIZATION = "detective:DescribeOrganizationConfiguration"
LISTINGS = (GRAPHS, INVITATIONS)
OPERATIONS = frozenset((GRAPHS, INVITATIONS, MEMBERS, PACKAGES, ORGANIZATION))
PAGE = 200
ENABLED = "ENABLED"
STARTED = "STARTED"
FIELDS = frozenset(DetectiveGraph.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the graphs of one region."""
    graphs = reader.items(GRAPHS, "GraphList", page_size=PAGE, listing=True)
    invitations = reader.items(INVITATIONS, "Invitations", page_size=PAGE, listing=True)
    drafts: list[Draft[DetectiveGraph]] = []
    if not isinstance(graphs, Unread):
        drafts += reader.fan_out(lambda graph: _read_graph(reader, graph), graphs)
    if not isinstance(invitations, Unread):
        drafts += map(membership_draft, invitations)
    unlisted = next((each for each in (graphs, invitations) if isinstance(each, Unread)), None)
    return Collected(drafts, unlisted)


def _read_graph(reader: Reader, graph: Response) -> Draft[DetectiveGraph]:
    arn = str(graph["Arn"])
    draft = graph_draft(graph, reader.account.cloud_account_id)
    members = reader.picked(
        MEMBERS, "MemberDetails", _member, page_size=PAGE, resource=arn, GraphArn=arn
    )
    if isinstance(members, Unread):
        draft.miss(members, "members")
    else:
        draft.body.members.extend(sorted(members, key=lambda member: member.account_id))
    packages = reader.call(PACKAGES, resource=arn, GraphArn=arn)
    draft.take(packages, ("started_packages",), _fill_packages)
    # Who does not administer the organization's graph is told that the request is not valid.
    organization = reader.call(ORGANIZATION, resource=arn, GraphArn=arn)
    draft.take(organization, ("auto_enable_organization",), _fill_organization)
    return draft


def graph_draft(graph: Response, cloud_account_id: str) -> Draft[DetectiveGraph]:
    """Map a graph that the account administers."""
    body = DetectiveGraph(
        graph_arn=graph["Arn"],
        administered=True,
        administrator_account=cloud_account_id,
        status=ENABLED,
    )
    if "CreatedTime" in graph:
        body.creation_date.CopyFrom(timestamp(graph["CreatedTime"]))
    return Draft(native_id=body.graph_arn, arn=body.graph_arn, body=body)


def membership_draft(invitation: Response) -> Draft[DetectiveGraph]:
    """Map a graph of another account, which this one feeds or is asked to feed."""
    body = DetectiveGraph(
        graph_arn=invitation["GraphArn"],
        administered=False,
        administrator_account=invitation.get("AdministratorId") or invitation.get("MasterId", ""),
        status=invitation.get("Status", ""),
    )
    return Draft(native_id=body.graph_arn, arn=body.graph_arn, body=body)


def _member(member: Response) -> DetectiveGraph.Member:
    return DetectiveGraph.Member(account_id=member["AccountId"], status=member.get("Status", ""))


def _fill_packages(body: DetectiveGraph, response: Response | None) -> None:
    packages = (response or {}).get("DatasourcePackages", {})
    body.started_packages.extend(
        sorted(
            name
            for name, package in packages.items()
            if package.get("DatasourcePackageIngestState") == STARTED
        )
    )


def _fill_organization(body: DetectiveGraph, response: Response | None) -> None:
    if response is not None:
        body.auto_enable_organization = response.get("AutoEnable", False)


COLLECTOR = Collector(
    "detective",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
