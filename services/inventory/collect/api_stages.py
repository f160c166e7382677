"""Stages of API Gateway's APIs: what is logged, cached and guarded.

Values of stage variables are dropped as soon as they are read: only names are kept.
"""

from collections.abc import Iterable
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.api_gateway_pb2 import ApiStage
from services.inventory.collect.api_gateway import APIS, PAGE, REST, REST_APIS, api_arn
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

REST_STAGES = "apigateway:GetStages"
STAGES = "apigatewayv2:GetStages"
LISTINGS = (REST_APIS, REST_STAGES, APIS, STAGES)
OPERATIONS = frozenset(LISTINGS)
FIELDS = frozenset(ApiStage.DESCRIPTOR.fields_by_name)
EVERY_METHOD = "*/*"
OFF = "OFF"
LEVELS = (OFF, "ERROR", "INFO")
"""From the least that is logged to the most."""
_HTTP = "HTTP"

Found = list[Draft[ApiStage]] | Unread


def collect(reader: Reader) -> Collected:
    """Read the stages of all APIs of one region."""
    rest = reader.items(REST_APIS, "items", page_size=PAGE, listing=True)
    others = reader.items(APIS, "Items", page_size=PAGE, listing=True)
    found: list[Found] = [each for each in (rest, others) if isinstance(each, Unread)]
    if not isinstance(rest, Unread):
        found += reader.fan_out(lambda api: _read_rest(reader, api), rest)
    if not isinstance(others, Unread):
        found += reader.fan_out(lambda api: _read_others(reader, api), others)
    drafts = [draft for part in found if not isinstance(part, Unread) for draft in part]
    return Collected(drafts, next((each for each in found if isinstance(each, Unread)), None))


def _read_rest(reader: Reader, api: Response) -> Found:
    arn = api_arn(reader, "restapis", str(api["id"]))
    stages = reader.picked(REST_STAGES, "item", without_values, resource=arn, restApiId=api["id"])
    reader.ledger.is_listing(REST_STAGES)
    if isinstance(stages, Unread):
        return stages
    return [rest_draft(stage, str(api["id"]), arn) for stage in stages]


def _read_others(reader: Reader, api: Response) -> Found:
    arn = api_arn(reader, "apis", str(api["ApiId"]))
    stages = reader.picked(
        STAGES, "Items", without_values, page_size=PAGE, resource=arn, ApiId=api["ApiId"]
    )
    reader.ledger.is_listing(STAGES)
    if isinstance(stages, Unread):
        return stages
    return [other_draft(stage, api, arn) for stage in stages]


def without_values(stage: Response) -> Response:
    """Keep of a stage's variables the names alone, in either version of the API."""
    kept = dict(stage)
    for key in ("variables", "StageVariables"):
        if key in kept:
            kept[key] = sorted(kept[key] or ())
    return kept


def rest_draft(stage: Any, api_id: str, api: str) -> Draft[ApiStage]:
    """Map one stage of a REST API."""
    settings = stage.get("methodSettings") or {}
    default = settings.get(EVERY_METHOD, {})
    destination = stage.get("accessLogSettings", {}).get("destinationArn") or None
    level = least_level(default.get("loggingLevel"), _levels(settings, "loggingLevel"))
    body = ApiStage(
        stage_name=stage["stageName"],
        api_id=api_id,
        protocol=REST,
        deployment_id=stage.get("deploymentId") or None,
        access_log_destination=destination,
        execution_log_level=level,
        logged=destination is not None or level != OFF,
        data_trace=any(each.get("dataTraceEnabled", False) for each in settings.values()),
        tracing=stage.get("tracingEnabled", False),
        cache_enabled=stage.get("cacheClusterEnabled", False),
        web_acl=stage.get("webAclArn") or None,
        client_certificate=stage.get("clientCertificateId") or None,
        throttling_rate=default.get("throttlingRateLimit"),
        throttling_burst=default.get("throttlingBurstLimit"),
        variable_names=stage.get("variables") or (),
        tags=stage.get("tags") or {},
    )
    if body.cache_enabled:
        body.cache_encrypted = _is_cache_encrypted(settings)
    return _draft(body, api, stage.get("createdDate"), stage.get("lastUpdatedDate"))


def _is_cache_encrypted(settings: Any) -> bool:
    cached = [each for each in settings.values() if each.get("cachingEnabled", False)]
    return bool(cached) and all(each.get("cacheDataEncrypted", False) for each in cached)


def other_draft(stage: Any, api: Any, arn: str) -> Draft[ApiStage]:
    """Map one stage of an HTTP or WebSocket API."""
    default, settings = stage.get("DefaultRouteSettings") or {}, stage.get("RouteSettings") or {}
    destination = stage.get("AccessLogSettings", {}).get("DestinationArn") or None
    level = least_level(default.get("LoggingLevel"), _levels(settings, "LoggingLevel"))
    # HTTP APIs log no executions, whatever is set.
    level = OFF if api["ProtocolType"] == _HTTP else level
    traced = (default, *settings.values())
    body = ApiStage(
        stage_name=stage["StageName"],
        api_id=api["ApiId"],
        protocol=api["ProtocolType"],
        deployment_id=stage.get("DeploymentId") or None,
        access_log_destination=destination,
        execution_log_level=level,
        logged=destination is not None or level != OFF,
        data_trace=any(each.get("DataTraceEnabled", False) for each in traced),
        client_certificate=stage.get("ClientCertificateId") or None,
        throttling_rate=default.get("ThrottlingRateLimit"),
        throttling_burst=default.get("ThrottlingBurstLimit"),
        variable_names=stage.get("StageVariables") or (),
        tags=stage.get("Tags") or {},
    )
    return _draft(body, arn, stage.get("CreatedDate"), stage.get("LastUpdatedDate"))


def _levels(settings: Any, key: str) -> list[str]:
    return [each[key] for each in settings.values() if each.get(key)]


def least_level(default: str | None, levels: Iterable[str]) -> str:
    """Give the least that is logged on any route, the default's included."""
    return min((default or OFF, *levels), key=lambda each: LEVELS.index(each))


def _draft(body: ApiStage, api: str, created: Any, changed: Any) -> Draft[ApiStage]:
    if created:
        body.creation_date.CopyFrom(timestamp(created))
    if changed:
        body.last_modified.CopyFrom(timestamp(changed))
    arn = f"{api}/stages/{body.stage_name}"
    return Draft(native_id=arn, arn=arn, body=body)


COLLECTOR = Collector(
    "api_stages",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
