"""`secmesh security`: keep the records of security work and look at them."""

import typer

from cli import (
    security_analytics,
    security_findings,
    security_gate,
    security_import,
    security_mfa,
    security_phishing,
    security_records,
    security_workflow,
)
from cli.record_service import SECURITY
from cli.records import record_commands

app = typer.Typer(help="Keep the records of security work and look at them.", no_args_is_help=True)
app.add_typer(record_commands(SECURITY))
app.add_typer(security_records.app)
app.add_typer(security_import.app)
security_findings.register(app)
security_gate.register(app)
security_analytics.register(app)
app.add_typer(security_workflow.app, name="workflow")
app.add_typer(security_mfa.app, name="mfa")
app.add_typer(security_phishing.app, name="phishing")
