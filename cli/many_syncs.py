"""`secmesh inventory sync --all-accounts`: a run for each account, followed together."""

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import grpc
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
)

from cli.connection import Connection
from cli.output import talk, visible
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import ListSyncsRequest, StartSyncRequest
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from secmesh.tenancy.v1.account_pb2 import ACCOUNT_STATUS_SUSPENDED, Account
from secmesh.tenancy.v1.account_service_pb2 import ListAccountsRequest
from secmesh.tenancy.v1.account_service_pb2_grpc import AccountServiceStub
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS
from secmesh_client import CallRefused, items

POLL_SECONDS = 1.0
"""Between two looks at the runs."""
RUNNING = "SYNC_RUNNING"
"""Reason of a refusal that names the run which reads the account already."""
PAGE = 1000
ATTEMPTS = 3
"""Of a start that is not answered, as while a server has many runs to begin."""
_UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def accounts_to_read(connection: Connection, channel: grpc.Channel) -> Iterator[Account]:
    """Give the tenant's AWS accounts but those that somebody stopped."""
    request = ListAccountsRequest(parent=connection.tenant, page_size=PAGE)
    listed = items(AccountServiceStub(channel).ListAccounts, request, lambda page: page.accounts)
    for account in listed:
        if account.provider_type != PROVIDER_TYPE_AWS:
            continue
        if account.status == ACCOUNT_STATUS_SUSPENDED:
            _say(account, "is suspended")
        else:
            yield account


def start_all(stub: SyncServiceStub, accounts: Iterable[Account], wanted: Sync) -> dict[str, Sync]:
    """Start a run like ``wanted`` for each account, and give those there are now by name.

    A run that reads an account already is one of them; of an account that is refused it is told
    why. Raises CallRefused if nothing answers.
    """
    started: dict[str, Sync] = {}
    for account in accounts:
        parent, _, _ = account.name.rpartition("/accounts/")
        sync = Sync(account=account.name, cloud_account_id=account.cloud_account_id)
        sync.MergeFrom(wanted)
        request = StartSyncRequest(parent=parent, sync=sync, sync_id=_new_id())
        try:
            run = _started(stub, request)
        except CallRefused as refused:
            if not refused.reason:
                raise
            _say(account, refused.message)
            name = refused.metadata.get("sync", "") if refused.reason == RUNNING else ""
            run = Sync(name=name, state=Sync.STATE_RUNNING)
        if run.name:
            started[run.name] = run
    return started


def _started(stub: SyncServiceStub, request: StartSyncRequest) -> Sync:
    """Start a run, asking again where no answer came: by its id there is one of it at most."""
    for _ in range(ATTEMPTS - 1):
        try:
            return stub.StartSync(request)
        except CallRefused as refused:
            if refused.code not in _UNANSWERED:
                raise
    return stub.StartSync(request)


def _new_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(4)}"


def _say(account: Account, why: str) -> None:
    told = visible(f"{account.cloud_account_id} {account.account_name}: {why}")
    talk.print(told, markup=False, soft_wrap=True)


def follow_all(
    stub: SyncServiceStub, parent: str, started: Mapping[str, Sync], patience: float
) -> list[Sync]:
    """Show the progress of runs until all ended; give their last states.

    Raises CallRefused if nothing answers for ``patience`` seconds.
    """
    runs = dict(started)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        console=talk,
        transient=True,
    )
    with bar:
        try:
            _follow(stub, parent, runs, patience, bar)
        except KeyboardInterrupt:
            told = "The runs go on (secmesh inventory syncs); secmesh inventory cancel RUN ends one"
            talk.print(told, markup=False, soft_wrap=True)
            raise
    return list(runs.values())


def _follow(
    stub: SyncServiceStub, parent: str, runs: dict[str, Sync], patience: float, bar: Progress
) -> None:
    answered = time.monotonic()
    task = bar.add_task("", total=None, counts="")
    while any(run.state == Sync.STATE_RUNNING for run in runs.values()):
        try:
            runs.update(_states(stub, parent, runs))
            answered = time.monotonic()
        except CallRefused as refused:
            # A server that ends leaves its runs to the next one.
            silent = refused.code is grpc.StatusCode.UNAVAILABLE
            if not silent or time.monotonic() - answered > patience:
                raise
        _show(bar, task, runs.values())
        time.sleep(POLL_SECONDS)


def _states(stub: SyncServiceStub, parent: str, runs: Mapping[str, Sync]) -> dict[str, Sync]:
    """Give how runs stand; they are among the newest, which are listed first."""
    found: dict[str, Sync] = {}
    request = ListSyncsRequest(parent=parent, page_size=PAGE)
    for run in items(stub.ListSyncs, request, lambda page: page.syncs):
        if run.name in runs:
            found[run.name] = run
            if len(found) == len(runs):
                break
    return found


def _show(bar: Progress, task: TaskID, runs: Iterable[Sync]) -> None:
    listed = list(runs)
    ended = sum(run.state != Sync.STATE_RUNNING for run in listed)
    progress = [run.progress for run in listed]
    calls = sum(each.calls for each in progress)
    resources = sum(each.resources for each in progress)
    bar.update(
        task,
        description=f"{ended} of {len(listed)} accounts",
        total=sum(each.units for each in progress) or None,
        completed=sum(each.units_done for each in progress),
        counts=f"{resources} resources, {calls} calls",
    )
