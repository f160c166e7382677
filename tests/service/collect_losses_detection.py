"""What operations of detection services alone tell; see ``collect_losses``."""

LOST: dict[str, dict[str, set[str]]] = {
    "detective:ListGraphs": {},
    "detective:ListInvitations": {},
    "detective:ListMembers": {"detective": {"members"}},
    "detective:ListDatasourcePackages": {"detective": {"started_packages"}},
    "detective:DescribeOrganizationConfiguration": {"detective": {"auto_enable_organization"}},
}
