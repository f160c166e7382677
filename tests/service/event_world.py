"""Events as EventBridge delivers them, and an inventory service that takes them."""

import secrets
from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from secmesh.inventory.v1.event_service_pb2 import PostEventsRequest
from tests.service.collect_world import REGION, TENANT


def recorded(account: str, source: str, name: str, **more: Any) -> dict[str, Any]:
    """Give a call that CloudTrail recorded, in its envelope."""
    detail = {
        "eventVersion": "1.11",
        "eventSource": f"{source}.amazonaws.com",
        "eventName": name,
        "awsRegion": more.pop("region", REGION),
        "readOnly": False,
        "eventCategory": "Management",
        "recipientAccountId": account,
        **more,
    }
    return {
        "version": "0",
        "id": secrets.token_hex(16),
        "detail-type": "AWS API Call via CloudTrail",
        "source": f"aws.{source}",
        "account": account,
        "time": "2026-01-31T12:00:00Z",
        "region": REGION,
        "resources": [],
        "detail": detail,
    }


def on_bucket(account: str, name: str, bucket: str, **more: Any) -> dict[str, Any]:
    """Give a recorded call on a bucket."""
    return recorded(account, "s3", name, requestParameters={"bucketName": bucket}, **more)


def posting(*events: dict[str, Any], parent: str = TENANT, seconds: int = 20) -> PostEventsRequest:
    """Give a request that posts events and waits."""
    request = PostEventsRequest(parent=parent)
    request.events.extend(json_format.ParseDict(event, Struct()) for event in events)
    request.wait.FromSeconds(seconds)
    return request
