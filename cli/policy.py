"""`secmesh inventory policy`: the permissions that collecting needs."""

import json
from typing import Annotated

import typer

from cli.connection import UsageProblem, connection_of
from cli.output import OutputFormat, talk, write_message
from secmesh.inventory.v1 import policy_pb2, sync_service_pb2_grpc

app = typer.Typer(help="The permissions that collecting needs.")


@app.command()
def policy(
    context: typer.Context,
    collection: Annotated[
        list[str] | None, typer.Option(help="Collection, any number of times; else all.")
    ] = None,
    run: Annotated[
        str, typer.Option(help="Suggest only what this run lacked; its name or its id.")
    ] = "",
    organization: Annotated[
        bool,
        typer.Option(
            "--organization", help="Only what `inventory accounts discover` needs, of one account."
        ),
    ] = False,
) -> None:
    """Write the least IAM policy that collecting needs, as JSON."""
    if organization and (collection or run):
        raise UsageProblem("--organization is for no collection and no run")
    connection = connection_of(context)
    name = f"{connection.tenant}/syncs/{run}" if run and "/" not in run else run
    with connection.channel() as channel:
        stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        answer = stub.SuggestPolicy(
            policy_pb2.SuggestPolicyRequest(
                parent=connection.tenant, collections=collection, sync=name
            )
        )
    if connection.output is not OutputFormat.TABLE:
        write_message(answer, connection.output)
        return
    if organization:
        typer.echo(json.dumps(json.loads(answer.discovery_document), indent=2))
        return
    for document in answer.documents:
        typer.echo(json.dumps(json.loads(document), indent=2))
    if not answer.documents:
        talk.print("Nothing is missing.")
    if len(answer.documents) > 1:
        talk.print(f"{len(answer.documents)} policies, for AWS limits the length of one.")
