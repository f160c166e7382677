"""What operations of monitoring, events and delivery alone tell; see ``collect_losses``."""

from services.inventory.collect import codebuild, codepipeline, event_buses, sns_sqs
from services.inventory.collect.alarmed_events import FIELDS as ALARMED
from services.inventory.collect.cloudwatch import POLICY_FIELDS, WATCH_FIELDS

LOST: dict[str, dict[str, set[str]]] = {
    "logs:DescribeLogGroups": {},
    "logs:DescribeMetricFilters": {"cloudwatch": set(WATCH_FIELDS)},
    "logs:DescribeResourcePolicies": {"cloudwatch": set(POLICY_FIELDS)},
    "cloudwatch:DescribeAlarms": {"cloudwatch": set(WATCH_FIELDS)},
    "sns:ListSubscriptionsByTopic": {"cloudwatch": set(WATCH_FIELDS)},
    "events:ListEventBuses": {},
    "events:DescribeEventBus": {"event_buses": set(event_buses.DESCRIBED_FIELDS)},
    "events:ListArchives": {"event_buses": {"archives"}},
    "events:ListTagsForResource": {"event_buses": {"tags"}, "eventbridge_rules": {"tags"}},
    "events:ListRules": {},
    "events:ListTargetsByRule": {"eventbridge_rules": {"targets"}},
    "codebuild:ListProjects": {},
    "codebuild:BatchGetProjects": {"codebuild": set(codebuild.READ_FIELDS)},
    "codebuild:ListSourceCredentials": {"codebuild": {"source_credentials"}},
    "codepipeline:ListPipelines": {},
    # Without its stages nobody knows whether a pipeline that says so nowhere else is production.
    "codepipeline:GetPipeline": {"codepipeline": {*codepipeline.READ_FIELDS, "production"}},
    "codepipeline:ListTagsForResource": {"codepipeline": {"tags", "production"}},
    "codepipeline:ListWebhooks": {"codepipeline": {"open_webhook"}},
    "sns:ListTopics": {},
    "sns:GetTopicAttributes": {"sns_sqs": set(sns_sqs.TOPIC_FIELDS)},
    "sns:ListSubscriptions": {"sns_sqs": {"subscription_protocols"}},
    "sqs:ListQueues": {},
    "sqs:GetQueueAttributes": {"sns_sqs": set(sns_sqs.QUEUE_FIELDS)},
}
UNALARMED = set(ALARMED)
"""What is not known of a region whose trails are not."""
