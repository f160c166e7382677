"""`secmesh crypto`: people's data kept in tiers, and the audit of what is done to it."""

import typer

from cli import (
    crypto_audit,
    crypto_blob,
    crypto_erasure,
    crypto_persons,
    crypto_proof,
    crypto_purposes,
    crypto_rotation,
    crypto_statistics,
)

app = typer.Typer(
    help="Look after people's data and the audit of what is done to it.", no_args_is_help=True
)
crypto_persons.register(app)
crypto_purposes.register(app)
crypto_erasure.register(app)
crypto_audit.register(app)
crypto_blob.register(app)
crypto_proof.register(app)
crypto_rotation.register(app)
crypto_statistics.register(app)
