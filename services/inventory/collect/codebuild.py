"""Build projects of CodeBuild: what they build from, with which rights, and what they log.

Values of the environment and settings of the build are dropped as soon as they are read: of what
looks like a credential stay its name, what it looks like and a keyed hash.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.codebuild_pb2 import CodebuildProject
from services.inventory.collect.build_secrets import (
    builds_images,
    has_credentials,
    without_credentials,
)
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.credential_shapes import Fingerprint, looks_like
from services.inventory.collect.draft import Collected, Draft, timestamp
from services.inventory.collect.fingerprints import no_fingerprint

LIST = "codebuild:ListProjects"
GET = "codebuild:BatchGetProjects"
CREDENTIALS = "codebuild:ListSourceCredentials"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, GET, CREDENTIALS))
BATCH = 100
"""Projects that one BatchGetProjects call takes."""
FIELDS = frozenset(CodebuildProject.DESCRIPTOR.fields_by_name)
READ_FIELDS = tuple(sorted(FIELDS - {"project_name", "source_credentials"}))
PLAINTEXT, ENABLED, NO_ARTIFACTS = "PLAINTEXT", "ENABLED", "NO_ARTIFACTS"

Project = Draft[CodebuildProject]


def collect(reader: Reader) -> Collected:
    """Read the projects of one region."""
    names = reader.picked(LIST, "projects", str)
    reader.ledger.is_listing(LIST)
    if isinstance(names, Unread):
        return Collected([], names)
    batches = [names[first : first + BATCH] for first in range(0, len(names), BATCH)]
    drafts = [
        draft
        for batch in reader.fan_out(lambda batch: _read_batch(reader, batch), batches)
        for draft in batch
    ]
    if drafts:
        _fill_credentials(reader, drafts)
    return Collected(drafts)


def _read_batch(reader: Reader, names: Sequence[str]) -> list[Project]:
    account = reader.account
    place = f"arn:{account.partition}:codebuild:{reader.region}:{account.cloud_account_id}:project/"
    drafted = partial(project_draft, fingerprint=reader.fingerprint)
    found = reader.picked(GET, "projects", drafted, names=list(names))
    if not isinstance(found, Unread):
        return found
    drafts = []
    for name in names:
        arn = f"{place}{name}"
        draft = Draft(native_id=arn, arn=arn, body=CodebuildProject(project_name=name))
        draft.miss(found, *READ_FIELDS)
        drafts.append(draft)
    return drafts


def _fill_credentials(reader: Reader, drafts: list[Project]) -> None:
    kept = reader.items(CREDENTIALS, "sourceCredentialsInfos")
    for draft in drafts:
        if isinstance(kept, Unread):
            draft.miss(kept, "source_credentials")
        else:
            draft.body.source_credentials.extend(
                sorted({f"{each['serverType']} {each['authType']}" for each in kept})
            )


def project_draft(project: Response, fingerprint: Fingerprint = no_fingerprint) -> Project:
    """Map one project."""
    body = CodebuildProject(
        project_name=project["name"],
        description=project.get("description") or None,
        service_role=project.get("serviceRole") or None,
        kms_key_id=project.get("encryptionKey") or None,
        vpc_id=project.get("vpcConfig", {}).get("vpcId") or None,
        visibility=project.get("projectVisibility", "PRIVATE"),
        tags={str(each["key"]): str(each.get("value", "")) for each in project.get("tags") or ()},
    )
    _fill_sources(body, [project.get("source", {}), *project.get("secondarySources", ())])
    _fill_environment(body, project.get("environment", {}), fingerprint)
    artifacts = [project.get("artifacts", {}), *project.get("secondaryArtifacts", ())]
    body.artifacts_encrypted = not any(
        each.get("encryptionDisabled", False)
        for each in artifacts
        if each.get("type", NO_ARTIFACTS) != NO_ARTIFACTS
    )
    _fill_logs(body, project.get("logsConfig", {}))
    if created := project.get("created"):
        body.creation_date.CopyFrom(timestamp(created))
    if modified := project.get("lastModified"):
        body.last_modified.CopyFrom(timestamp(modified))
    arn = str(project["arn"])
    return Draft(native_id=arn, arn=arn, body=body)


def _fill_sources(body: CodebuildProject, sources: list[Any]) -> None:
    body.source_has_credentials = any(
        has_credentials(str(source.get("location", ""))) for source in sources
    )
    body.builds_images = any(builds_images(str(source.get("buildspec", ""))) for source in sources)
    body.sources.extend(
        CodebuildProject.Source(
            source_type=source.get("type", ""),
            location=without_credentials(str(source.get("location", ""))),
            auth_type=source.get("auth", {}).get("type", ""),
            insecure_tls=source.get("insecureSsl", False),
        )
        for source in sources
    )


def _fill_environment(body: CodebuildProject, environment: Any, fingerprint: Fingerprint) -> None:
    body.image = environment.get("image", "")
    body.environment_type = environment.get("type", "")
    body.privileged = environment.get("privilegedMode", False)
    variables = sorted(
        environment.get("environmentVariables", ()), key=lambda variable: str(variable["name"])
    )
    for variable in variables:
        kind = variable.get("type", PLAINTEXT)
        name = str(variable["name"])
        body.variables.add(variable_name=name, variable_type=kind)
        value = str(variable.get("value", ""))
        if kind == PLAINTEXT and (form := looks_like(name, value)):
            body.plaintext_credentials.append(name)
            body.credential_variables.add(
                variable_name=name, looks_like=form, value_hash=fingerprint(value)
            )


def _fill_logs(body: CodebuildProject, logs: Any) -> None:
    # A project that says nothing of logs writes them to CloudWatch.
    body.cloudwatch_logs = logs.get("cloudWatchLogs", {}).get("status", ENABLED) == ENABLED
    kept = logs.get("s3Logs", {})
    body.s3_logs = kept.get("status") == ENABLED
    if body.s3_logs:
        body.s3_logs_encrypted = not kept.get("encryptionDisabled", False)


COLLECTOR = Collector(
    "codebuild",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
