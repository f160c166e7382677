"""What operations of the edge, and of what looks for weak points, alone tell; see
``collect_losses``."""

from services.inventory.collect import (
    access_analyzer,
    api_gateway,
    cloudfront,
    inspector2,
    macie_jobs,
    macie_sessions,
    waf,
)

DELIVERED = {"logs_delivered", "access_logged"}
LOST: dict[str, dict[str, set[str]]] = {
    "cloudfront:ListDistributions": {"waf": {"associated_resources"}},
    "cloudfront:GetDistribution": {"cloudfront": {*cloudfront.DETAIL_FIELDS, "access_logged"}},
    "cloudfront:ListOriginAccessControls": {"cloudfront": {"unsigned_origins"}},
    "cloudfront:ListTagsForResource": {"cloudfront": {"tags"}},
    "logs:DescribeDeliverySources": {"cloudfront": DELIVERED},
    "logs:DescribeDeliveries": {"cloudfront": DELIVERED},
    "apigateway:GetRestApis": {},
    "apigateway:GetResources": {"api_gateway": set(api_gateway.ROUTE_FIELDS)},
    "apigateway:GetAuthorizers": {"api_gateway": {"authorizers"}},
    "apigateway:GetStages": {},
    "apigatewayv2:GetApis": {},
    "apigatewayv2:GetRoutes": {"api_gateway": set(api_gateway.ROUTE_FIELDS)},
    "apigatewayv2:GetAuthorizers": {"api_gateway": {"authorizers"}},
    "apigatewayv2:GetStages": {},
    "wafv2:ListWebACLs": {},
    "wafv2:GetWebACL": {"waf": set(waf.ACL_FIELDS)},
    "wafv2:ListLoggingConfigurations": {"waf": set(waf.LOG_FIELDS)},
    "wafv2:ListResourcesForWebACL": {"waf": {"associated_resources"}},
    "wafv2:ListTagsForResource": {"waf": {"tags"}},
    "accessanalyzer:ListAnalyzers": {},
    "accessanalyzer:GetFindingsStatistics": {"access_analyzer": set(access_analyzer.COUNT_FIELDS)},
    "accessanalyzer:ListFindings": {"access_analyzer": set(access_analyzer.PUBLIC_FIELDS)},
    # Findings are asked for whether or not it is known that there are any.
    "inspector2:BatchGetAccountStatus": {"inspector2": set(inspector2.FIELDS)},
    "inspector2:ListFindingAggregations": {"inspector2": set(inspector2.FINDING_FIELDS)},
    "inspector2:ListCoverageStatistics": {"inspector2": set(inspector2.COVERAGE_FIELDS)},
    "inspector2:ListFindings": {},
    "macie2:ListClassificationJobs": {"macie_sessions": {"scheduled_jobs"}},
    "macie2:DescribeClassificationJob": {"macie_jobs": set(macie_jobs.DETAIL_FIELDS)},
    "macie2:GetMacieSession": {"macie_sessions": set(macie_sessions.SESSION_FIELDS)},
    "macie2:GetAutomatedDiscoveryConfiguration": {"macie_sessions": {"automated_discovery"}},
    "macie2:GetAdministratorAccount": {"macie_sessions": {"administrator_account"}},
    "macie2:GetFindingStatistics": {"macie_sessions": set(macie_sessions.SEVERITIES)},
}
