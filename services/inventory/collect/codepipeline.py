"""Pipelines of CodePipeline: what they deploy, who must approve, and who can start them."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.codepipeline_pb2 import Codepipeline
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, Truth, any_of, timestamp

LIST = "codepipeline:ListPipelines"
GET = "codepipeline:GetPipeline"
WEBHOOKS = "codepipeline:ListWebhooks"
TAGS = "codepipeline:ListTagsForResource"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, GET, WEBHOOKS, TAGS))
PAGE = 1000
WEBHOOK_PAGE = 100
FIELDS = frozenset(Codepipeline.DESCRIPTOR.fields_by_name)
LISTED_FIELDS = frozenset(
    {"pipeline_name", "pipeline_version", "pipeline_type", "creation_date", "last_modified"}
)
READ_FIELDS = tuple(sorted(FIELDS - LISTED_FIELDS - {"tags", "production", "open_webhook"}))
AWS_KEY = "alias/aws/s3"
UNAUTHENTICATED = "UNAUTHENTICATED"
SOURCE, DEPLOY, APPROVAL = "Source", "Deploy", "Approval"
TOKEN_PROVIDERS = frozenset({("ThirdParty", "GitHub")})
ENVIRONMENT_TAGS = frozenset({"environment", "env", "stage"})
_PRODUCTION = re.compile(r"(?:^|[^a-z])(?:prod|production|prd)(?:[^a-z]|$)", re.IGNORECASE)
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

Webhooks = list[Response] | Unread


def collect(reader: Reader) -> Collected:
    """Read the pipelines of one region."""
    pipelines = reader.items(LIST, "pipelines", page_size=PAGE, listing=True)
    if isinstance(pipelines, Unread):
        return Collected([], pipelines)
    webhooks: Webhooks = []
    if pipelines:
        webhooks = reader.items(WEBHOOKS, "webhooks", page_size=WEBHOOK_PAGE)
    read = reader.fan_out(lambda pipeline: _read(reader, pipeline, webhooks), pipelines)
    return Collected([draft for draft in read if draft is not None])


def _read(reader: Reader, listed: Response, webhooks: Webhooks) -> Draft[Codepipeline] | None:
    account = reader.account
    place = f"arn:{account.partition}:codepipeline:{reader.region}:{account.cloud_account_id}:"
    arn = f"{place}{listed['name']}"
    answer = reader.call(GET, resource=arn, name=str(listed["name"]))
    if isinstance(answer, Absent):
        return None
    draft = pipeline_draft(listed, arn, answer)
    tags = reader.picked(TAGS, "tags", _tag, resource=arn, resourceArn=arn)
    fill_tags(draft, tags)
    fill_webhooks(draft, webhooks)
    return draft


def pipeline_draft(listed: Response, arn: str, answer: Answer) -> Draft[Codepipeline]:
    """Map one pipeline: its place in the list, and its form."""
    body = Codepipeline(
        pipeline_name=listed["name"],
        pipeline_version=listed.get("version", 1),
        pipeline_type=listed.get("pipelineType", "V1"),
    )
    if created := listed.get("created"):
        body.creation_date.CopyFrom(timestamp(created))
    if changed := listed.get("updated"):
        body.last_modified.CopyFrom(timestamp(changed))
    draft = Draft(native_id=arn, arn=arn, body=body)
    draft.take(answer, READ_FIELDS, _fill_form)
    return draft


def _fill_form(body: Codepipeline, response: Response | None) -> None:
    pipeline: Any = (response or {}).get("pipeline", {})
    body.role = pipeline.get("roleArn", "")
    _fill_stores(body, pipeline)
    for stage in pipeline.get("stages", ()):
        ordered = sorted(stage.get("actions", ()), key=lambda action: action.get("runOrder", 1))
        body.stages.add(stage_name=stage["name"], actions=[_action(each) for each in ordered])
    sources = {
        (str(action["actionTypeId"].get("owner")), str(action["actionTypeId"].get("provider")))
        for stage in pipeline.get("stages", ())
        for action in stage.get("actions", ())
        if action["actionTypeId"].get("category") == SOURCE
    }
    body.source_providers.extend(sorted({provider for _, provider in sources}))
    body.oauth_source = not TOKEN_PROVIDERS.isdisjoint(sources)
    steps = [
        (place, action.run_order, action)
        for place, stage in enumerate(body.stages)
        for action in stage.actions
    ]
    deployments = [step[:2] for step in steps if step[2].category == DEPLOY]
    body.deploys = bool(deployments)
    if deployments:
        body.approved_before_deployment = any(
            step[2].category == APPROVAL and step[:2] < max(deployments) for step in steps
        )


def _fill_stores(body: Codepipeline, pipeline: Any) -> None:
    # A pipeline that works in several regions has a store in each.
    stores = [*pipeline.get("artifactStores", {}).values()]
    if one := pipeline.get("artifactStore"):
        stores.append(one)
    body.artifact_buckets.extend(sorted({str(store.get("location", "")) for store in stores}))
    keys = [str(store.get("encryptionKey", {}).get("id", "")) for store in stores]
    body.customer_key = bool(keys) and all(key and not key.endswith(AWS_KEY) for key in keys)


def _action(action: Any) -> Codepipeline.Action:
    return Codepipeline.Action(
        action_name=action["name"],
        category=action["actionTypeId"].get("category", ""),
        provider=action["actionTypeId"].get("provider", ""),
        run_order=action.get("runOrder", 1),
    )


def fill_tags(draft: Draft[Codepipeline], tags: Sequence[tuple[str, str]] | Unread) -> None:
    """Fill the tags, and whether they or a name say production."""
    body = draft.body
    says: Truth
    if isinstance(tags, Unread):
        draft.miss(tags, "tags")
        says = tags
    else:
        body.tags.update(dict(tags))
        says = any(key.lower() in ENVIRONMENT_TAGS and _is_production(tag) for key, tag in tags)
    stages: Truth = draft.unread.get("stages") or any(
        _is_production(stage.stage_name) for stage in body.stages
    )
    draft.decide("production", any_of((_is_production(body.pipeline_name), stages, says)))


def _is_production(name: str) -> bool:
    return _PRODUCTION.search(_WORDS.sub("-", name)) is not None


def _tag(tag: Response) -> tuple[str, str]:
    return str(tag["key"]), str(tag.get("value", ""))


def fill_webhooks(draft: Draft[Codepipeline], webhooks: Webhooks) -> None:
    """Fill whether a webhook that asks nobody who he is starts the pipeline."""
    if isinstance(webhooks, Unread):
        draft.miss(webhooks, "open_webhook")
    else:
        draft.body.open_webhook = any(_opens(draft.body.pipeline_name, webhooks))


def _opens(pipeline: str, webhooks: Iterable[Response]) -> Iterable[bool]:
    for webhook in webhooks:
        definition: Any = webhook.get("definition", {})
        own = definition.get("targetPipeline") == pipeline
        yield own and definition.get("authentication") == UNAUTHENTICATED


COLLECTOR = Collector(
    "codepipeline",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
