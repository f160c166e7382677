"""Lambda functions: what they run on and who may call them.

Values of environment variables are dropped as soon as they are read: names are kept, and of what
looks like a credential also what it looks like and a keyed hash.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from mesh.aws.reader import Answer, Reader, Response, Unread
from secmesh.inventory.v1.lambda_pb2 import LambdaFunction
from services.inventory.collect.access_policy import admits_everyone
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.credential_shapes import Fingerprint, looks_like
from services.inventory.collect.draft import Collected, Draft, Truth, any_of, timestamp
from services.inventory.collect.fingerprints import no_fingerprint
from services.inventory.collect.lambda_runtimes import deprecation_of

LIST = "lambda:ListFunctions"
LISTINGS = (LIST,)
PAGE = 50
Credential = LambdaFunction.CredentialVariable
OPEN_URL = "NONE"

LISTED_FIELDS = (
    "function_name",
    "runtime",
    "runtime_deprecation_date",
    "package_type",
    "role",
    "vpc_id",
    "kms_key_id",
    "environment_names",
    "credential_variables",
    "dead_letter_target",
    "tracing",
    "layers",
    "architectures",
    "last_modified",
)


def _policy(body: LambdaFunction, response: Response | None) -> None:
    if response is not None:
        body.policy = response["Policy"]
    body.policy_public = admits_everyone(body.policy)


def _url(body: LambdaFunction, response: Response | None) -> None:
    if response is not None:
        body.function_url_auth = response["AuthType"]


def _signing(body: LambdaFunction, response: Response | None) -> None:
    if arn := (response or {}).get("CodeSigningConfigArn"):
        body.code_signing_config = arn


def _concurrency(body: LambdaFunction, response: Response | None) -> None:
    reserved = (response or {}).get("ReservedConcurrentExecutions")
    if reserved is not None:
        body.reserved_concurrency = reserved


def _tags(body: LambdaFunction, response: Response | None) -> None:
    body.tags.update((response or {}).get("Tags") or {})


@dataclass(frozen=True)
class Part:
    """One read of a function and the fields it fills."""

    operation: str
    fields: tuple[str, ...]
    fill: Callable[[LambdaFunction, Response | None], None]
    parameter: str = "FunctionName"


PARTS = (
    Part("lambda:GetPolicy", ("policy", "policy_public"), _policy),
    Part("lambda:GetFunctionUrlConfig", ("function_url_auth",), _url),
    Part("lambda:GetFunctionCodeSigningConfig", ("code_signing_config",), _signing),
    Part("lambda:GetFunctionConcurrency", ("reserved_concurrency",), _concurrency),
    Part("lambda:ListTags", ("tags",), _tags, "Resource"),
)
OPERATIONS = frozenset((LIST, *(part.operation for part in PARTS)))
FIELDS = frozenset((*LISTED_FIELDS, "public", *(name for part in PARTS for name in part.fields)))


def collect(reader: Reader) -> Collected:
    """Read the functions of one region."""
    kept = partial(without_values, fingerprint=reader.fingerprint)
    functions = reader.picked(LIST, "Functions", kept, page_size=PAGE)
    reader.ledger.is_listing(LIST)
    if isinstance(functions, Unread):
        return Collected([], functions)
    return Collected(reader.fan_out(lambda function: _read(reader, function), functions))


def without_values(function: Response, fingerprint: Fingerprint = no_fingerprint) -> Response:
    """Keep of the environment the names of its variables, and of credentials what may be kept."""
    variables = function.get("Environment", {}).get("Variables", {})
    return {
        **function,
        "Environment": {
            name: _credential(name, variables[name], fingerprint) for name in sorted(variables)
        },
    }


def _credential(name: str, value: str, fingerprint: Fingerprint) -> Credential | None:
    form = looks_like(name, value)
    if not form:
        return None
    return Credential(variable_name=name, looks_like=form, value_hash=fingerprint(value))


def _read(reader: Reader, function: Response) -> Draft[LambdaFunction]:
    arn, name = str(function["FunctionArn"]), str(function["FunctionName"])
    answers: dict[str, Answer] = {}
    for part in PARTS:
        place = arn if part.parameter == "Resource" else name
        answers[part.operation] = reader.call(
            part.operation, resource=arn, **{part.parameter: place}
        )
    return function_draft(function, answers)


def function_draft(function: Response, answers: dict[str, Answer]) -> Draft[LambdaFunction]:
    """Map one function: its place in the list, and the answer of each part."""
    arn = str(function["FunctionArn"])
    draft = Draft(native_id=arn, arn=arn, body=_listed(function))
    for part in PARTS:
        draft.take(answers[part.operation], part.fields, part.fill)
    open_url: Truth = (
        draft.unread.get("function_url_auth") or draft.body.function_url_auth == OPEN_URL
    )
    draft.decide("public", any_of((draft.truth("policy_public"), open_url)))
    return draft


def _listed(function: Any) -> LambdaFunction:
    body = LambdaFunction(
        function_name=function["FunctionName"],
        runtime=function.get("Runtime") or None,
        package_type=function.get("PackageType", "Zip"),
        role=function.get("Role", ""),
        vpc_id=function.get("VpcConfig", {}).get("VpcId") or None,
        kms_key_id=function.get("KMSKeyArn") or None,
        environment_names=function["Environment"],
        credential_variables=filter(None, function["Environment"].values()),
        dead_letter_target=function.get("DeadLetterConfig", {}).get("TargetArn") or None,
        tracing=function.get("TracingConfig", {}).get("Mode", "PassThrough"),
        layers=[layer["Arn"] for layer in function.get("Layers", ())],
        architectures=sorted(function.get("Architectures", ("x86_64",))),
    )
    if modified := function.get("LastModified"):
        body.last_modified.CopyFrom(timestamp(datetime.fromisoformat(modified)))
    if deprecated := deprecation_of(body.runtime):
        body.runtime_deprecation_date.CopyFrom(timestamp(deprecated))
    return body


COLLECTOR = Collector(
    "lambda",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
