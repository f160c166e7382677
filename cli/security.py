"""`secmesh security`: keep the records of security work and look at them."""

import typer

from cli import security_findings, security_gate, security_import, security_records
from cli.record_service import SECURITY
from cli.records import record_commands

app = typer.Typer(help="Keep the records of security work and look at them.", no_args_is_help=True)
app.add_typer(record_commands(SECURITY))
app.add_typer(security_records.app)
app.add_typer(security_import.app)
security_findings.register(app)
security_gate.register(app)
