"""Topics of SNS and queues of SQS: who may use them and what becomes of messages."""

import json
from datetime import timedelta
from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.messaging_pb2 import MessageChannel
from services.inventory.collect.access_policy import admits_everyone, foreign_accounts
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft

TOPICS = "sns:ListTopics"
TOPIC = "sns:GetTopicAttributes"
SUBSCRIPTIONS = "sns:ListSubscriptions"
QUEUES = "sqs:ListQueues"
QUEUE = "sqs:GetQueueAttributes"
LISTINGS = (TOPICS, QUEUES)
OPERATIONS = frozenset((TOPICS, TOPIC, SUBSCRIPTIONS, QUEUES, QUEUE))
PAGE = 1000
FIELDS = frozenset(MessageChannel.DESCRIPTOR.fields_by_name)
SHARED_FIELDS = ("kms_key_id", "encrypted", "policy", "policy_public", "policy_cross_account")
TOPIC_FIELDS = (*SHARED_FIELDS, "confirmed_subscriptions", "pending_subscriptions")
QUEUE_FIELDS = (*SHARED_FIELDS, "dead_letter_target", "retention")
SNS, SQS = "SNS", "SQS"
FIFO = ".fifo"

Subscriptions = list[Response] | Unread


def collect(reader: Reader) -> Collected:
    """Read the topics and queues of one region."""
    topics = reader.items(TOPICS, "Topics", listing=True)
    queues = reader.picked(QUEUES, "QueueUrls", str, page_size=PAGE)
    reader.ledger.is_listing(QUEUES)
    read: list[Draft[MessageChannel] | None] = []
    if not isinstance(topics, Unread):
        subscriptions = reader.items(SUBSCRIPTIONS, "Subscriptions") if topics else []
        read += reader.fan_out(
            lambda topic: _read_topic(reader, str(topic["TopicArn"]), subscriptions), topics
        )
    if not isinstance(queues, Unread):
        read += reader.fan_out(lambda url: _read_queue(reader, url), queues)
    unlisted = next((each for each in (topics, queues) if isinstance(each, Unread)), None)
    return Collected([draft for draft in read if draft is not None], unlisted)


def _read_topic(
    reader: Reader, arn: str, subscriptions: Subscriptions
) -> Draft[MessageChannel] | None:
    answer = reader.call(TOPIC, resource=arn, TopicArn=arn)
    if isinstance(answer, Absent):
        return None
    return topic_draft(arn, answer, subscriptions, reader.account.cloud_account_id)


def _read_queue(reader: Reader, url: str) -> Draft[MessageChannel] | None:
    name = url.rpartition("/")[2]
    account = reader.account
    arn = f"arn:{account.partition}:sqs:{reader.region}:{account.cloud_account_id}:{name}"
    answer = reader.call(QUEUE, resource=arn, QueueUrl=url, AttributeNames=["All"])
    if isinstance(answer, Absent):
        return None
    return queue_draft(arn, answer, account.cloud_account_id)


def topic_draft(
    arn: str, answer: Answer, subscriptions: Subscriptions, own_account: str
) -> Draft[MessageChannel]:
    """Map one topic."""
    draft = _channel(arn, SNS)
    draft.take(answer, TOPIC_FIELDS, lambda body, told: _fill_topic(body, told, own_account))
    if isinstance(subscriptions, Unread):
        draft.miss(subscriptions, "subscription_protocols")
    else:
        own = (each for each in subscriptions if each.get("TopicArn") == arn)
        draft.body.subscription_protocols.extend(sorted({str(each["Protocol"]) for each in own}))
    return draft


def queue_draft(arn: str, answer: Answer, own_account: str) -> Draft[MessageChannel]:
    """Map one queue."""
    draft = _channel(arn, SQS)
    draft.take(answer, QUEUE_FIELDS, lambda body, told: _fill_queue(body, told, own_account))
    return draft


def _channel(arn: str, service: str) -> Draft[MessageChannel]:
    name = arn.rpartition(":")[2]
    body = MessageChannel(channel_name=name, service=service, fifo=name.endswith(FIFO))
    return Draft(native_id=arn, arn=arn, body=body)


def _fill_topic(body: MessageChannel, response: Response | None, own_account: str) -> None:
    attributes: Any = (response or {}).get("Attributes", {})
    _fill_shared(body, attributes, own_account)
    body.encrypted = body.HasField("kms_key_id")
    body.confirmed_subscriptions = int(attributes.get("SubscriptionsConfirmed", 0))
    body.pending_subscriptions = int(attributes.get("SubscriptionsPending", 0))


def _fill_queue(body: MessageChannel, response: Response | None, own_account: str) -> None:
    attributes: Any = (response or {}).get("Attributes", {})
    _fill_shared(body, attributes, own_account)
    by_itself = str(attributes.get("SqsManagedSseEnabled", "")).lower() == "true"
    body.encrypted = by_itself or body.HasField("kms_key_id")
    if queue := _dead_letter_target(attributes.get("RedrivePolicy")):
        body.dead_letter_target = queue
    if seconds := attributes.get("MessageRetentionPeriod"):
        body.retention.FromTimedelta(timedelta(seconds=int(seconds)))


def _fill_shared(body: MessageChannel, attributes: Any, own_account: str) -> None:
    if key := attributes.get("KmsMasterKeyId"):
        body.kms_key_id = key
    policy = str(attributes.get("Policy") or "")
    body.policy = policy
    body.policy_public = admits_everyone(policy)
    body.policy_cross_account = bool(foreign_accounts(policy, own_account))


def _dead_letter_target(policy: object) -> str:
    try:
        told = json.loads(str(policy or "{}"))
    except ValueError:
        return ""
    return str(told.get("deadLetterTargetArn", "")) if isinstance(told, dict) else ""


COLLECTOR = Collector(
    "sns_sqs",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
