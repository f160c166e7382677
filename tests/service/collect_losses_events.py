"""What operations of monitoring, events and delivery alone tell; see ``collect_losses``."""

from services.inventory.collect.alarmed_events import FIELDS as ALARMED
from services.inventory.collect.cloudwatch import POLICY_FIELDS, WATCH_FIELDS

LOST: dict[str, dict[str, set[str]]] = {
    "logs:DescribeLogGroups": {},
    "logs:DescribeMetricFilters": {"cloudwatch": set(WATCH_FIELDS)},
    "logs:DescribeResourcePolicies": {"cloudwatch": set(POLICY_FIELDS)},
    "cloudwatch:DescribeAlarms": {"cloudwatch": set(WATCH_FIELDS)},
    "sns:ListSubscriptionsByTopic": {"cloudwatch": set(WATCH_FIELDS)},
}
UNALARMED = set(ALARMED)
"""What is not known of a region whose trails are not."""
