"""APIs of API Gateway: how they are reached, and which of their routes anyone may call."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.api_gateway_pb2 import ApiGatewayApi
from services.inventory.collect.access_policy import admits_everyone
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

REST_APIS = "apigateway:GetRestApis"
RESOURCES = "apigateway:GetResources"
REST_AUTHORIZERS = "apigateway:GetAuthorizers"
APIS = "apigatewayv2:GetApis"
ROUTES = "apigatewayv2:GetRoutes"
AUTHORIZERS = "apigatewayv2:GetAuthorizers"
LISTINGS = (REST_APIS, APIS)
OPERATIONS = frozenset((REST_APIS, RESOURCES, REST_AUTHORIZERS, APIS, ROUTES, AUTHORIZERS))
PAGE = 500
"""Most items of a page, in either version of the API."""
REST, WEBSOCKET = "REST", "WEBSOCKET"
PRIVATE = "PRIVATE"
CONNECT = "$connect"
FIELDS = frozenset(ApiGatewayApi.DESCRIPTOR.fields_by_name)
ROUTE_FIELDS = ("route_count", "open_routes", "key_route_count")
_OPTIONS = "OPTIONS"
_NONE = "NONE"


@dataclass(frozen=True)
class Route:
    """One method or route, and what it asks of callers."""

    key: str
    """Such as ``GET /orders`` or ``$default``."""
    authorization: str
    needs_key: bool


def collect(reader: Reader) -> Collected:
    """Read the APIs of one region."""
    rest = reader.items(REST_APIS, "items", page_size=PAGE, listing=True)
    others = reader.items(APIS, "Items", page_size=PAGE, listing=True)
    drafts: list[Draft[ApiGatewayApi]] = []
    if not isinstance(rest, Unread):
        drafts += reader.fan_out(lambda api: _read_rest(reader, api), rest)
    if not isinstance(others, Unread):
        drafts += reader.fan_out(lambda api: _read_other(reader, api), others)
    unlisted = next((each for each in (rest, others) if isinstance(each, Unread)), None)
    return Collected(drafts, unlisted)


def _read_rest(reader: Reader, api: Response) -> Draft[ApiGatewayApi]:
    draft = rest_draft(api, api_arn(reader, "restapis", str(api["id"])))
    asked: dict[str, Any] = {"resource": draft.arn, "restApiId": api["id"]}
    resources = reader.picked(
        RESOURCES,
        "items",
        lambda resource: list(methods(resource)),
        page_size=PAGE,
        embed=["methods"],
        **asked,
    )
    fill_routes(draft, resources)
    authorizers = reader.picked(
        REST_AUTHORIZERS, "items", _rest_authorizer, page_size=PAGE, **asked
    )
    _fill_authorizers(draft, authorizers)
    return draft


def _read_other(reader: Reader, api: Response) -> Draft[ApiGatewayApi]:
    draft = other_draft(api, api_arn(reader, "apis", str(api["ApiId"])))
    asked: dict[str, Any] = {"resource": draft.arn, "ApiId": api["ApiId"]}
    routes = reader.picked(ROUTES, "Items", lambda route: [_route(route)], page_size=PAGE, **asked)
    fill_routes(draft, routes)
    authorizers = reader.picked(AUTHORIZERS, "Items", _authorizer, page_size=PAGE, **asked)
    _fill_authorizers(draft, authorizers)
    return draft


def api_arn(reader: Reader, folder: str, api_id: str) -> str:
    """Give the ARN of an API, as the Service Authorization Reference writes it."""
    return f"arn:{reader.account.partition}:apigateway:{reader.region}::/{folder}/{api_id}"


def rest_draft(api: Any, arn: str) -> Draft[ApiGatewayApi]:
    """Map one REST API, as it is listed."""
    endpoint = api.get("endpointConfiguration", {})
    policy = plain_policy(api.get("policy", ""))
    body = ApiGatewayApi(
        api_id=api["id"],
        api_name=api.get("name", ""),
        protocol=REST,
        endpoint_type=next(iter(endpoint.get("types", ())), "EDGE"),
        vpc_endpoints=sorted(endpoint.get("vpcEndpointIds", ())),
        default_endpoint_disabled=api.get("disableExecuteApiEndpoint", False),
        security_policy=api.get("securityPolicy") or None,
        policy=policy or None,
        policy_public=admits_everyone(policy),
        tags=api.get("tags") or {},
    )
    if created := api.get("createdDate"):
        body.creation_date.CopyFrom(timestamp(created))
    return Draft(native_id=arn, arn=arn, body=body)


def plain_policy(told: str) -> str:
    """Give a policy as JSON: API Gateway writes it as the inside of a JSON string."""
    return told.replace('\\"', '"').replace("\\/", "/").replace("\\\\", "\\")


def other_draft(api: Any, arn: str) -> Draft[ApiGatewayApi]:
    """Map one HTTP or WebSocket API, as it is listed."""
    origins = api.get("CorsConfiguration", {}).get("AllowOrigins", ())
    body = ApiGatewayApi(
        api_id=api["ApiId"],
        api_name=api.get("Name", ""),
        protocol=api["ProtocolType"],
        endpoint_type="REGIONAL",
        default_endpoint_disabled=api.get("DisableExecuteApiEndpoint", False),
        # Only REST APIs have a resource policy.
        policy_public=False,
        cors_any_origin="*" in origins,
        tags=api.get("Tags") or {},
    )
    if created := api.get("CreatedDate"):
        body.creation_date.CopyFrom(timestamp(created))
    return Draft(native_id=arn, arn=arn, body=body)


def methods(resource: Any) -> Iterator[Route]:
    """Give the methods of one resource of a REST API."""
    for verb, method in (resource.get("resourceMethods") or {}).items():
        yield Route(
            f"{verb} {resource.get('path', '')}",
            method.get("authorizationType", _NONE),
            bool(method.get("apiKeyRequired", False)),
        )


def _route(route: Any) -> Route:
    return Route(
        route["RouteKey"],
        route.get("AuthorizationType", _NONE),
        bool(route.get("ApiKeyRequired", False)),
    )


def fill_routes(draft: Draft[ApiGatewayApi], found: list[list[Route]] | Unread) -> None:
    """Fill what an API's methods or routes ask of callers."""
    if isinstance(found, Unread):
        draft.miss(found, *ROUTE_FIELDS)
        return
    routes = [route for part in found for route in part]
    body = draft.body
    body.route_count = len(routes)
    body.key_route_count = sum(route.needs_key for route in routes)
    body.open_routes.extend(sorted(_open_routes(body, routes)))


def _open_routes(body: ApiGatewayApi, routes: Iterable[Route]) -> Iterator[str]:
    if body.protocol == WEBSOCKET:
        # Who is connected may send what he likes; without the route anyone connects.
        doors = {route.key: route.authorization for route in routes}
        if doors and doors.get(CONNECT, _NONE) == _NONE:
            yield CONNECT
        return
    for route in routes:
        is_kept = route.needs_key and body.endpoint_type == PRIVATE
        asks_nothing = route.authorization == _NONE and not is_kept
        if asks_nothing and route.key.partition(" ")[0] != _OPTIONS:
            yield route.key


def _rest_authorizer(told: Response) -> ApiGatewayApi.Authorizer:
    return ApiGatewayApi.Authorizer(
        authorizer_id=told["id"], authorizer_name=told.get("name", ""), sort=told.get("type", "")
    )


def _authorizer(told: Response) -> ApiGatewayApi.Authorizer:
    return ApiGatewayApi.Authorizer(
        authorizer_id=told["AuthorizerId"],
        authorizer_name=told.get("Name", ""),
        sort=told.get("AuthorizerType", ""),
    )


def _fill_authorizers(
    draft: Draft[ApiGatewayApi], found: list[ApiGatewayApi.Authorizer] | Unread
) -> None:
    if isinstance(found, Unread):
        draft.miss(found, "authorizers")
    else:
        draft.body.authorizers.extend(sorted(found, key=lambda each: each.authorizer_id))


COLLECTOR = Collector(
    "api_gateway",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
