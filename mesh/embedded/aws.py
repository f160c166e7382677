"""An AWS endpoint on this machine: moto behind a fault layer, ``python -m mesh.embedded.aws``.

A stand-in for trying out and for tests; it takes any credentials and forgets
everything when it ends. Where moto differs from AWS in what is collected:

- its credential report has no root user and no past, so it is written here: a
  user's tags named ``embedded:`` and a column of the report take that column's place;
- its roles were all made just now: a role's tag ``embedded:create_date`` says when it was;
- it lists no region of a bucket, as S3 does: it is added to the list here;
- its DynamoDB is not atomic: calls of it are let in one at a time (``aws_dynamodb.py``).
- it lets anyone assume any role: the external id of a trust policy is asked for (``aws_trust.py``).
"""

import argparse
import csv
import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from mesh.embedded.aws_canned import Canned, CannedLayer
from mesh.embedded.aws_canned_files import put_files
from mesh.embedded.aws_dynamodb import OneAtATime
from mesh.embedded.aws_faults import FaultLayer, Faults
from mesh.embedded.aws_models import read_quickly
from mesh.embedded.aws_trust import teach_trust

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from mesh.embedded.keep_alive import KeepAliveServer

HOST = "127.0.0.1"
TAG_PREFIX = "embedded:"
ROLE_AGE_TAG = f"{TAG_PREFIX}create_date"
_ROOT = {
    "user": "<root_account>",
    "user_creation_time": "2020-01-01T00:00:00+00:00",
    "password_enabled": "not_supported",
    "password_last_used": "no_information",
    "password_last_changed": "not_supported",
    "password_next_rotation": "not_supported",
}
_FLAGS = ("mfa_active", "access_key_1_active", "access_key_2_active")


class AwsEndpoint:
    """The endpoint in threads of this process; moto's state is the process's own."""

    def __init__(self, faults: Faults, port: int = 0) -> None:
        read_quickly()
        self.faults = faults
        self.canned = Canned()
        self._port = port
        self._server: KeepAliveServer | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self) -> str:
        """Serve on loopback and give the URL."""
        from mesh.embedded.keep_alive import KeepAliveServer

        self._server = KeepAliveServer(HOST, self._port, self.application())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://{HOST}:{self._server.server_port}"
        return self.url

    def application(self) -> "WSGIApplication":
        """Give what answers."""
        return FaultLayer(CannedLayer(moto_application(), self.canned), self.faults)

    def stop(self) -> None:
        """Serve no more."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


def moto_application() -> "WSGIApplication":
    """Give moto as one application for all services, quiet and empty."""
    # Moto would invent 1,301 snapshots and hundreds of images of its own.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    _teach_reports()
    _teach_regions()
    _teach_ages()
    teach_trust()
    application: WSGIApplication = DomainDispatcherApplication(create_backend_app)
    return OneAtATime(application)


@cache
def _teach_reports() -> None:
    """Let moto's credential reports pass through ``credential_report``; once a process."""
    from moto.iam.models import IAMBackend

    written = IAMBackend.get_credential_report
    name = written.__name__
    setattr(IAMBackend, name, lambda backend: credential_report(backend, written(backend)))


@cache
def _teach_regions() -> None:
    """Let moto's list of buckets say where each is; once a process."""
    from moto.s3.responses import S3Response

    written = S3Response.all_buckets

    def all_buckets(response: Any) -> Any:
        serialized = response.serialized

        def with_regions(listed: Any) -> Any:
            for bucket in listed.result["Buckets"]:
                bucket["BucketRegion"] = response.backend.get_bucket(bucket["Name"]).region_name
            return serialized(listed)

        response.serialized = with_regions
        return written(response)

    setattr(S3Response, written.__name__, all_buckets)


@cache
def _teach_ages() -> None:
    """Let moto's roles be as old as their tags say; once a process."""
    from moto.iam.models import IAMBackend

    made = IAMBackend.create_role

    def create_role(backend: Any, *given: Any, **more: Any) -> Any:
        role = made(backend, *given, **more)
        for tag in role.tags:
            if tag["Key"] == ROLE_AGE_TAG:
                # Moto's moments are in UTC and do not say so.
                told = datetime.fromisoformat(tag["Value"]).astimezone(UTC)
                role.create_date = told.replace(tzinfo=None)
        return role

    setattr(IAMBackend, made.__name__, create_role)


def credential_report(backend: Any, written: str) -> str:
    """Add the root user and the past of its users to a report of moto's IAM backend."""
    reader = csv.DictReader(io.StringIO(written))
    columns = list(reader.fieldnames or ())
    root = dict.fromkeys(columns, "N/A") | dict.fromkeys(_FLAGS, "false") | _ROOT
    root["arn"] = f"arn:aws:iam::{backend.account_id}:root"
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerow(root)
    for row in reader:
        tags = {tag["Key"]: tag["Value"] for tag in backend.list_user_tags(row["user"])}
        told = {name: tags[TAG_PREFIX + name] for name in columns if TAG_PREFIX + name in tags}
        writer.writerow(row | told)
    return text.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m mesh.embedded.aws", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    operation = "SERVICE:OPERATION"
    parser.add_argument("--deny", action="append", default=[], metavar=operation)
    parser.add_argument("--throttle", action="append", default=[], metavar=operation)
    parser.add_argument(
        "--answers", type=Path, metavar="FOLDER", help="files of answers to what moto does not know"
    )
    parser.add_argument("--limit", type=int, default=0, metavar="CALLS", help="most in a second")
    parser.add_argument(
        "--delay", type=float, default=0.0, metavar="SECONDS", help="added to each call"
    )
    arguments = parser.parse_args(argv)
    faults = Faults(arguments.deny, arguments.throttle)
    faults.limit(arguments.limit)
    faults.delay(arguments.delay)
    endpoint = AwsEndpoint(faults, arguments.port)
    if arguments.answers:
        put_files(endpoint.canned, arguments.answers)
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    line = "LISTENING " + json.dumps({"endpoint": endpoint.start()})
    print(line, flush=True)  # noqa: T201  # the start-up protocol
    ended.wait()
    endpoint.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
