"""A security service as processes on one database, with workflows that tests write as words."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from mesh.identity.keys import create_signing_key
from mesh.sealing.keyring import create_keys
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh.security.v1 import workflow_service_pb2 as pb
from secmesh.security.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest
from secmesh.security.v1.vocabulary_operation_pb2 import ExecutionStatus
from secmesh.security.v1.workflow_run_pb2 import WorkflowStepRun
from secmesh.security.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.service.callers import Callers

TENANT = "tenants/acme"
SECONDS = 20.0
"""Longest that a test waits for what other processes do."""
_TYPES = {
    "action": "ACTION",
    "http": "HTTP",
    "notification": "NOTIFICATION",
    "wait": "WAIT",
    "approval": "APPROVAL",
    "subworkflow": "SUBWORKFLOW",
}


@dataclass
class Process:
    """One process of the service."""

    popen: "subprocess.Popen[str]"
    address: str

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.terminate()
        self.popen.wait()
        if self.popen.stdout is not None:
            self.popen.stdout.close()


S = TypeVar("S", bound="Shop")


@dataclass
class Shop:
    """Processes that serve one database, and stubs of the first that lives."""

    access: Access
    home: Path
    hosts: str = ""
    processes: list[Process] = field(default_factory=list)
    _callers: dict[str, Callers] = field(default_factory=dict)
    """By the address that they call."""

    def begin(self) -> Process:
        """Start one more process, as operators do."""
        create_signing_key(self.home / "keys")
        create_keys(self.home / "sealing.keys")
        environment = {
            **os.environ,
            "DATABASE_URL": self.access.application,
            "DATABASE_MIGRATE_URL": self.access.owner,
            "SECMESH_HOME": str(self.home),
            "SECMESH_SECURITY_SEALING_KEYS": str(self.home / "sealing.keys"),
            "SECMESH_SECURITY_WORKFLOW_LEASE_SECONDS": "1",
            "SECMESH_SECURITY_WORKFLOW_HOSTS": self.hosts,
        }
        with (self.home / "log").open("a") as log:
            popen = subprocess.Popen(
                [sys.executable, "-m", "services.security", "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        assert popen.stdout is not None
        word, _, rest = popen.stdout.readline().partition(" ")
        assert word == "LISTENING", (self.home / "log").read_text()
        process = Process(popen, json.loads(rest)["address"])
        self.processes.append(process)
        return process

    def close(self) -> None:
        for callers in self._callers.values():
            callers.close()
        for process in self.processes:
            process.stop()

    def stub_of(self, tenant: str, service: Any, *roles: str, **claims: Any) -> Any:
        """Give a service of the first process that lives; see ``Callers.stub_of``."""
        living = next(each for each in self.processes if each.popen.poll() is None).address
        if living not in self._callers:
            self._callers[living] = Callers(living, self.home / "keys")
        return self._callers[living].stub_of(tenant, service, *roles, **claims)

    def stub(self, subject: str = "ann", tenant: str = "acme", role: str = "admin") -> Any:
        return self.stub_of(tenant, WorkflowServiceStub, role, subject=subject)

    @property
    def records(self) -> Any:
        return self.stub_of("acme", RecordServiceStub, "admin")

    def create(self, collection: str, body: str, record_id: str = "", /, **values: Any) -> str:
        request = CreateRecordRequest(parent=f"{TENANT}/{collection}", record_id=record_id)
        ParseDict(values, getattr(request.record, body))
        return str(self.records.CreateRecord(request).name)

    def user(self, subject: str, **values: Any) -> str:
        """Create the user whose tokens have this subject."""
        return self.create(
            "users",
            "user",
            subject,
            **{
                "username": subject,
                "email": f"{subject}@acme.example",
                "role": "USER_ROLE_ANALYST",
                "status": "USER_STATUS_ACTIVE",
                "identity_provider": "IDENTITY_PROVIDER_LOCAL",
                **values,
            },
        )

    def get(self, name: str) -> Any:
        return self.records.GetRecord(GetRecordRequest(name=name))

    def found(self, collection: str, condition: str = "") -> list[Any]:
        request = ListRecordsRequest(
            parent=f"{TENANT}/{collection}", filter=condition, page_size=1000
        )
        return list(self.records.ListRecords(request).records)

    def workflow(self, *steps: Mapping[str, Any], **values: Any) -> str:
        """Write a workflow and its steps; each step has ``key`` and its part of ``config``."""
        name = self.create(
            "workflows",
            "workflow",
            **{
                "name": new_uuid(),
                "version": 1,
                "trigger_type": "WORKFLOW_TRIGGER_MANUAL",
                "status": "DEFINITION_STATUS_DRAFT",
                **values,
            },
        )
        for place, step in enumerate(steps):
            rest = dict(step)
            [part] = [each for each in (*_TYPES, "branch") if each in rest]
            kind = rest.pop("type", _TYPES.get(part))
            self.create(
                "workflow_steps",
                "workflow_step",
                **{
                    "workflow_id": name,
                    "name": step["key"],
                    "sort_order": place,
                    "step_type": f"WORKFLOW_STEP_TYPE_{kind}",
                    "config": {part: rest.pop(part)},
                    "on_failure": f"FAILURE_POLICY_{rest.pop('on_failure', 'FAIL')}",
                    **rest,
                },
            )
        return name

    def active(self, *steps: Mapping[str, Any], **values: Any) -> str:
        name = self.workflow(*steps, **values)
        self.stub().ActivateWorkflow(pb.ActivateWorkflowRequest(name=name))
        return name

    def run(self, workflow: str, given: Mapping[str, Any] | None = None, **fields: Any) -> str:
        request = pb.RunWorkflowRequest(name=workflow, **fields)
        ParseDict(dict(given or {}), request.input)
        return str(self.stub().RunWorkflow(request).name)

    def body(self, execution: str) -> Any:
        return self.get(execution).workflow_execution

    def status(self, execution: str) -> str:
        name = ExecutionStatus.Name(self.body(execution).status)
        return str(name.removeprefix("EXECUTION_STATUS_"))

    def reach(self, execution: str, *statuses: str) -> Any:
        """Wait until a run has one of these statuses; give its body."""
        until(lambda: self.status(execution) in statuses, lambda: self.story(execution))
        return self.body(execution)

    def ended(self, execution: str) -> Any:
        return self.reach(execution, "SUCCEEDED", "FAILED", "CANCELED", "TIMED_OUT")

    def steps(self, execution: str) -> dict[str, WorkflowStepRun]:
        request = pb.ListStepRunsRequest(parent=execution, page_size=1000)
        return {each.path: each for each in self.stub().ListStepRuns(request).step_runs}

    def states(self, execution: str) -> dict[str, str]:
        return {
            path: WorkflowStepRun.State.Name(step.state).removeprefix("STATE_")
            for path, step in self.steps(execution).items()
        }

    def story(self, execution: str) -> str:
        log = (self.home / "log").read_text()[-3000:]
        return f"{self.body(execution)} {self.steps(execution)} {log}"

    def runs_of(self, workflow: str) -> list[Any]:
        condition = f'workflow_id == "{workflow}"'
        return [each.workflow_execution for each in self.found("workflow_executions", condition)]


def until(holds: Callable[[], object], story: Callable[[], object] = lambda: "") -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, story()
        time.sleep(0.05)


def noting(key: str, title: str, **rest: Any) -> dict[str, Any]:
    """Give a step that leaves an incident of this title."""
    arguments = {
        "collection": "'incidents'",
        "record": (
            f"{{'title': {title}, 'source': 'workflow', 'severity': 'SEVERITY_LOW',"
            " 'status': 'INCIDENT_STATUS_NEW', 'detect_time': '2026-01-01T00:00:00Z'}"
        ),
    }
    return {
        "key": key,
        "action": {"operation": "record.create", "arguments": arguments},
        **rest,
    }


@contextmanager
def shop(made: S) -> Iterator[S]:
    """Serve a database by one process, more of which can be begun and killed."""
    try:
        made.begin()
        yield made
    finally:
        made.close()
