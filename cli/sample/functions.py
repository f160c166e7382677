"""Lambda functions of the sample account."""

import io
import zipfile
from typing import Any

from cli.sample.clients import ACCOUNT


def make_functions(functions: Any) -> None:
    """Make a function that is well kept, one with an old runtime, and two that anyone may call."""
    _function(
        functions,
        "etl",
        "python3.13",
        Environment={"Variables": {"TABLE": "orders", "API_TOKEN": "not-a-real-token"}},
        TracingConfig={"Mode": "Active"},
        Tags={"team": "data"},
    )
    functions.put_function_concurrency(FunctionName="etl", ReservedConcurrentExecutions=5)
    functions.add_permission(
        FunctionName="etl",
        StatementId="bucket",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::acme-data",
        SourceAccount=ACCOUNT,
    )
    _function(functions, "legacy", "python3.8")
    _function(functions, "open-policy", "nodejs22.x")
    functions.add_permission(
        FunctionName="open-policy",
        StatementId="anyone",
        Action="lambda:InvokeFunction",
        Principal="*",
    )
    _function(functions, "open-url", "nodejs22.x")
    functions.create_function_url_config(FunctionName="open-url", AuthType="NONE")


def _function(functions: Any, name: str, runtime: str, **more: Any) -> None:
    functions.create_function(
        FunctionName=name,
        Runtime=runtime,
        Role=f"arn:aws:iam::{ACCOUNT}:role/etl",
        Handler="main.handler",
        Code={"ZipFile": _archive()},
        **more,
    )


def _archive() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("main.py", "def handler(event, context):\n    return event\n")
    return archive.getvalue()
