"""`secmesh up`: the whole mesh on this machine, with embedded backends."""

from typing import Annotated

import typer

from cli.connection import UsageProblem


def up(
    story: Annotated[
        bool, typer.Option(envvar="SECMESH_STORY", help="Show the main job before serving.")
    ] = True,
) -> None:
    """Start the mesh here, show the main job, and serve until Ctrl-C.

    Ports come from SECMESH_GATEWAY_PORT, SECMESH_INVENTORY_PORT,
    SECMESH_SECURITY_PORT, SECMESH_CRYPTO_PORT and SECMESH_TENANCY_PORT (0 = any
    free one), the state's folder from SECMESH_HOME (default `.secmesh`).
    """
    try:
        # Here, so that the other commands start fast and run without the extra.
        from cli.embedded.run import run
    except ModuleNotFoundError as missing:
        raise UsageProblem(
            f"{missing.name} is not installed; `pip install secmesh[embedded]` brings it"
        ) from None
    raise typer.Exit(run(story=story))
