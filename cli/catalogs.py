"""`secmesh compliance catalog`: the words of controls, from a tenant's own OSCAL catalog."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated

import typer
from google.api.httpbody_pb2 import HttpBody

from cli.connection import Connection, UsageProblem, connection_of
from cli.output import OutputFormat, talk, visible, write_bytes, write_message, write_messages
from cli.plan_upload import PART_BYTES, UPLOAD_BYTES
from cli.tenants import Etag
from secmesh.inventory.v1 import catalog_pb2
from secmesh.inventory.v1 import catalog_service_pb2 as api
from secmesh.inventory.v1.catalog_service_pb2_grpc import CatalogServiceStub
from secmesh_client import items

app = typer.Typer(help="The words of controls, from an OSCAL catalog.", no_args_is_help=True)
SP_800_53 = "nist-sp-800-53-rev5"
_GUIDANCE = catalog_pb2.CatalogPart.KIND_GUIDANCE


@app.command("import")
def import_catalog(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be loaded, and write nothing.")
    ] = False,
    etag: Etag = "",
) -> None:
    """Load NIST SP 800-53 rev 5, or a profile resolved into a catalog: OSCAL in JSON or YAML."""
    if file.stat().st_size > UPLOAD_BYTES:
        raise UsageProblem(f"{file} is larger than a catalog may be, {UPLOAD_BYTES} bytes")
    connection = connection_of(context)
    first = api.UploadCatalogRequest(
        parent=connection.tenant, catalog_id=SP_800_53, etag=etag, validate_only=dry_run
    )
    with file.open("rb") as opened, connection.channel() as channel:
        made = CatalogServiceStub(channel).UploadCatalog(_parts(first, opened))
    for issue in made.issues:
        talk.print(visible(f"{issue.pointer}: {issue.problem}"), markup=False)
    for what, found in (
        ("Unknown to this release", made.unknown_control_ids),
        ("Not in the document", made.missing_control_ids),
        ("Parameters without a label", made.unlabelled_parameter_ids),
    ):
        if found:
            talk.print(visible(f"{what}: {len(found)}, such as {', '.join(found[:10])}"))
    _show(made, connection.output)


@app.command()
def show(
    context: typer.Context,
    control: Annotated[
        str | None, typer.Argument(help="Such as ac-2.3 or AC-2(3); else the catalog itself.")
    ] = None,
) -> None:
    """Show the words of a control, or what was loaded."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = CatalogServiceStub(channel)
        if control is None:
            found = stub.GetCatalog(api.GetCatalogRequest(name=_name(connection)))
            _show(found, connection.output)
            return
        name = f"{_name(connection)}/controls/{_id(control)}"
        text = stub.GetCatalogControl(api.GetCatalogControlRequest(name=name))
    if connection.output is OutputFormat.TABLE:
        write_bytes("".join(f"{visible(line)}\n" for line in _printed(text)).encode())
    else:
        write_message(text, connection.output)


@app.command("ls")
def ls(
    context: typer.Context,
    condition: Annotated[
        str, typer.Option("--filter", help='CEL, such as title.contains("Account").')
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most controls; 0 means all.")] = 0,
) -> None:
    """List the controls of the catalog."""
    connection = connection_of(context)
    request = api.ListCatalogControlsRequest(parent=_name(connection), filter=condition)
    columns = ["label", "title", "family", "withdrawn", "incorporated_into"]
    with connection.channel() as channel:
        listed = CatalogServiceStub(channel).ListCatalogControls
        found = items(listed, request, lambda page: page.controls, limit)
        write_messages(found, connection.output, columns)


@app.command("rm")
def rm(context: typer.Context, etag: Etag = "") -> None:
    """Delete the catalog with all its words."""
    connection = connection_of(context)
    request = api.DeleteCatalogRequest(name=_name(connection), etag=etag)
    with connection.channel() as channel:
        write_message(CatalogServiceStub(channel).DeleteCatalog(request), connection.output)


def _parts(first: api.UploadCatalogRequest, file: IO[bytes]) -> Iterator[api.UploadCatalogRequest]:
    first.file.CopyFrom(HttpBody(data=file.read(PART_BYTES)))
    yield first
    while part := file.read(PART_BYTES):
        yield api.UploadCatalogRequest(file=HttpBody(data=part))


def _show(catalog: catalog_pb2.Catalog, output: OutputFormat) -> None:
    if output is OutputFormat.TABLE:
        # What is missing of a resolved profile would fill the screen; JSON has it.
        shown = catalog_pb2.Catalog()
        shown.CopyFrom(catalog)
        for long in ("missing_control_ids", "issues"):
            shown.ClearField(long)
        catalog = shown
    write_message(catalog, output)


def _printed(text: catalog_pb2.CatalogControl) -> Iterator[str]:
    yield f"{text.label or text.name.rpartition('/')[2]} {text.title}"
    if text.withdrawn:
        yield f"Withdrawn: see {', '.join(text.incorporated_into)}"
    guidance = False
    for part in text.parts:
        if part.kind == _GUIDANCE and not guidance:
            guidance = True
            yield ""
            yield "Guidance"
        words = " ".join(each for each in (part.label, part.title, part.text) if each)
        if words:
            yield f"{'  ' * part.depth}{words}"
    yield ""
    for name, listed in (
        ("Enhancements", text.enhancement_ids),
        ("Related", text.related_control_ids),
        ("Parameters", [f"{each.id} ({each.label})" for each in text.parameters if each.label]),
        ("References", text.publications),
    ):
        if listed:
            yield f"{name}: {', '.join(listed)}"


def _id(control: str) -> str:
    """Give a control's id as OSCAL writes it: ``AC-02 (03)`` is ``ac-2.3``."""
    dotted = re.sub(r"[\s().]+", ".", control.strip().lower()).strip(".")
    return re.sub(r"(?<=[-.])0+(?=[0-9])", "", dotted)


def _name(connection: Connection) -> str:
    return f"{connection.tenant}/catalogs/{SP_800_53}"
