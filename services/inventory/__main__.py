"""The inventory service: ``python -m services.inventory serve|migrate|move``."""

import secrets
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from mesh.server.garbage import uncollected

# Of 1,400 modules nothing is garbage: a fifth of their import was the search for it.
with uncollected():
    import grpc

    from mesh.aws.accounts import Accounts
    from mesh.client import open_channel
    from mesh.client.passing import callers_token
    from mesh.contract.catalogue import Catalogue, load_catalogue
    from mesh.contract.digest import contract_digest
    from mesh.records.servicer import RecordServicer
    from mesh.records.watch_servicer import WatchServicer
    from mesh.server.deployable import Command, Deployable, Probe, end_process, open_store
    from mesh.server.serve import Server
    from mesh.server.trust import verifier_of
    from mesh.sql.answers import Answers
    from mesh.sql.backup.backups import Backups
    from mesh.sql.backup.folder import BackupFolder
    from mesh.sql.backup.schedule import BackupSchedule
    from mesh.sql.changes import ChangeFeed
    from mesh.sql.forgetting import Forgetting
    from mesh.sql.store import Store
    from mesh.sql.tenant_removal import TenantRemoval
    from secmesh.inventory.v1.backup_service_pb2_grpc import add_BackupServiceServicer_to_server
    from secmesh.inventory.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
    from secmesh.inventory.v1.compliance_service_pb2_grpc import (
        add_ComplianceServiceServicer_to_server,
    )
    from secmesh.inventory.v1.contradiction_service_pb2_grpc import (
        add_ContradictionServiceServicer_to_server,
    )
    from secmesh.inventory.v1.control_service_pb2_grpc import add_ControlServiceServicer_to_server
    from secmesh.inventory.v1.event_service_pb2_grpc import add_EventServiceServicer_to_server
    from secmesh.inventory.v1.exception_service_pb2_grpc import (
        add_ExceptionServiceServicer_to_server,
    )
    from secmesh.inventory.v1.history_service_pb2_grpc import add_HistoryServiceServicer_to_server
    from secmesh.inventory.v1.organization_service_pb2_grpc import (
        add_OrganizationServiceServicer_to_server,
    )
    from secmesh.inventory.v1.store_service_pb2_grpc import add_StoreServiceServicer_to_server
    from secmesh.inventory.v1.sync_service_pb2_grpc import add_SyncServiceServicer_to_server
    from secmesh.inventory.v1.tenant_removal_service_pb2_grpc import (
        add_TenantRemovalServiceServicer_to_server,
    )
    from secmesh.inventory.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server
    from secmesh_client import ServiceCredential, ServiceTokens, TokenFile, connect
    from services.inventory.access.account_access import AccountAccess
    from services.inventory.account_store import AccountStore
    from services.inventory.alerts.contradiction_store import ContradictionStore
    from services.inventory.backup_servicer import BackupServicer
    from services.inventory.catalog_servicer import CatalogServicer
    from services.inventory.catalogs.catalog_store import CatalogStore
    from services.inventory.collect.event_map import event_map
    from services.inventory.collect.execution import Limits
    from services.inventory.collect.registry import REGISTRY
    from services.inventory.collect.run import Stores
    from services.inventory.collect.runner import SyncRunner
    from services.inventory.compliance.check_catalogue import load_checks
    from services.inventory.compliance_servicer import ComplianceServicer
    from services.inventory.contradiction_servicer import ContradictionServicer
    from services.inventory.control_servicer import ControlServicer
    from services.inventory.controls.control_store import ControlStore
    from services.inventory.controls.tenant_checks import TenantChecks
    from services.inventory.discovery.discovery import Discovery
    from services.inventory.discovery.listing import OPERATIONS as OF_DISCOVERY
    from services.inventory.discovery.organization_store import OrganizationStore
    from services.inventory.event_servicer import EventServicer
    from services.inventory.exception_servicer import ExceptionServicer
    from services.inventory.exceptions.exception_store import ExceptionStore
    from services.inventory.history_servicer import HistoryServicer
    from services.inventory.live.live_accounts import LiveAccounts
    from services.inventory.live.old_run_store import OldRunStore
    from services.inventory.live.old_runs import OldRuns
    from services.inventory.live.readings import Means
    from services.inventory.live.turns import Turns
    from services.inventory.load_store import LoadStore
    from services.inventory.loader import Loader
    from services.inventory.move_command import add_move_arguments, move
    from services.inventory.organization_servicer import OrganizationServicer
    from services.inventory.settings import InventorySettings
    from services.inventory.store import InventoryStore
    from services.inventory.store_servicer import StoreServicer
    from services.inventory.sync_servicer import SyncServicer
    from services.inventory.sync_store import SyncStore
    from services.inventory.tenant_removal_servicer import TenantRemovalServicer
    from services.inventory.unit_store import UnitStore
    from services.inventory.webhook_servicer import WebhookServicer
    from services.inventory.webhooks.dispatcher import Dispatcher
    from services.inventory.webhooks.outbox_store import Outbox
    from services.inventory.webhooks.sending import Sender
    from services.inventory.webhooks.target import Networks
    from services.inventory.webhooks.webhook_store import WebhookStore

if TYPE_CHECKING:
    from services.inventory.access.tenancy import Tenancy
    from services.inventory.discovery.registered import RegisteredAccounts
    from services.inventory.filing.security import Security

__all__ = ["INVENTORY", "PACKAGE", "build_runner", "build_server", "main", "open_store"]

PACKAGE = "secmesh.inventory.v1"
SECURITY_PACKAGE = "secmesh.security.v1"
TENANCY_PACKAGE = "secmesh.tenancy.v1"


def open_security(settings: InventorySettings) -> "Security | None":
    """Open the calls of the security service, in the name of each caller; None if it is unknown."""
    if not settings.security_address:
        return None
    # Only who files assessments pays for the contracts of the other service.
    from services.inventory.filing.security import Security

    return Security(
        open_channel(
            settings.security_address,
            package=SECURITY_PACKAGE,
            token=callers_token,
            credentials=settings.security_credentials(),
            allow_plaintext=settings.allow_plaintext,
        )
    )


def open_tenancy(settings: InventorySettings) -> "Tenancy | None":
    """Open the calls of the tenancy service, in the name of this one; None if it is unknown."""
    if not settings.tenancy_address:
        return None
    # As for the security service.
    from services.inventory.access.tenancy import Tenancy

    to_tenancy = partial(
        connect,
        settings.tenancy_address,
        tls=settings.tenancy_tls(),
        allow_plaintext=settings.allow_plaintext,
    )
    secret = settings.tenancy_client_secret_file
    if secret is not None:
        issuing = to_tenancy()
        tokens = ServiceTokens(issuing, ServiceCredential(settings.tenancy_client_id, secret))
        return Tenancy(to_tenancy(token=tokens), issuing, tokens.acting_for)
    file = settings.tenancy_token_file
    return None if file is None else Tenancy(to_tenancy(token=TokenFile(file)))


def open_registered(settings: InventorySettings) -> "RegisteredAccounts | None":
    """Open what the tenancy service is asked in the name of each caller; None if it is unknown."""
    if not settings.tenancy_address:
        return None
    # As for the security service.
    from services.inventory.discovery.registered import RegisteredAccounts

    return RegisteredAccounts(
        open_channel(
            settings.tenancy_address,
            package=TENANCY_PACKAGE,
            token=callers_token,
            credentials=settings.tenancy_credentials(),
            allow_plaintext=settings.allow_plaintext,
        )
    )


def build_runner(
    settings: InventorySettings,
    catalogue: Catalogue,
    store: Store,
    turns: Turns | None = None,
) -> SyncRunner:
    """Put together what collects accounts, and keeps what ``turns`` by events."""
    leases = UnitStore(store, secrets.token_hex(8), settings.lease)
    accounts = Accounts(replace(settings.access(), operations=REGISTRY.operations | OF_DISCOVERY))
    tenancy = open_tenancy(settings)
    return SyncRunner(
        catalogue,
        REGISTRY,
        AccountAccess(accounts, settings.grants, tenancy, settings.tenancy_wait),
        Stores(InventoryStore(store), SyncStore(store), leases, turns),
        Limits(settings.units, settings.reads, settings.unit_limit, settings.runs),
        settings.fingerprint_keys(),
    )


async def build_server(settings: InventorySettings) -> Server:
    """Put the service together, ready to start."""
    catalogue = load_catalogue(PACKAGE)
    verifier = verifier_of(settings)
    store = await open_store(settings, catalogue)
    checks = TenantChecks(store, catalogue, load_checks(catalogue))
    turns = Turns(store, checks)
    runner = build_runner(settings, catalogue, store, turns)
    events = LiveAccounts(Means(runner, turns, REGISTRY, event_map()))
    security = open_security(settings)
    organizations = OrganizationStore(store)
    discovery = Discovery(
        runner.access, open_registered(settings), organizations, settings.unit_limit
    )
    folder = BackupFolder(settings.backups)
    digest, keys = contract_digest(catalogue), settings.backup_key_ring()
    backups = Backups(store, folder, digest, settings.pg_programs, keys)
    schedule = BackupSchedule(backups, timedelta(hours=settings.backup_hours), settings.backup_keep)
    await runner.recover()
    schedule.start()
    forgetting = Forgetting(ChangeFeed(store), timedelta(days=settings.change_days))
    forgetting.start()
    old_runs = OldRuns(OldRunStore(store), turns.kept, timedelta(days=settings.event_days))
    old_runs.start()
    webhooks = WebhookStore(store)
    sender = Sender(Networks.parse(settings.webhook_networks), settings.webhook_ca)
    dispatcher = Dispatcher(Outbox(store, secrets.token_hex(8)), webhooks, sender)
    dispatcher.start()

    def register(target: grpc.aio.Server) -> None:
        RecordServicer(catalogue, store).add_to(target)
        WatchServicer(catalogue, store, server.draining).add_to(target)
        syncs = SyncServicer(runner, SyncStore(store), server.draining)
        add_SyncServiceServicer_to_server(syncs, target)
        add_EventServiceServicer_to_server(EventServicer(events, server.draining), target)
        found = OrganizationServicer(discovery, organizations)
        add_OrganizationServiceServicer_to_server(found, target)
        histories = HistoryServicer(catalogue, store, SyncStore(store))
        add_HistoryServiceServicer_to_server(histories, target)
        compliance = ComplianceServicer(store, checks, security=security, model=settings.narrator())
        add_ComplianceServiceServicer_to_server(compliance, target)
        alerts = ContradictionServicer(ContradictionStore(store), server.draining)
        add_ContradictionServiceServicer_to_server(alerts, target)
        add_WebhookServiceServicer_to_server(WebhookServicer(webhooks, sender), target)
        controls = ControlServicer(ControlStore(store), checks)
        add_ControlServiceServicer_to_server(controls, target)
        catalogs = CatalogServicer(CatalogStore(store))
        add_CatalogServiceServicer_to_server(catalogs, target)
        exceptions = ExceptionServicer(ExceptionStore(store), checks)
        add_ExceptionServiceServicer_to_server(exceptions, target)
        loader = Loader(catalogue, settings.grants, LoadStore(SyncStore(store)))
        accounts = AccountStore(SyncStore(store))
        upkeep = StoreServicer(catalogue, accounts, runner, schedule, loader)
        add_StoreServiceServicer_to_server(upkeep, target)
        add_BackupServiceServicer_to_server(BackupServicer(backups, SyncStore(store)), target)
        leaving = TenantRemovalServicer(TenantRemoval(store), folder, runner)
        add_TenantRemovalServiceServicer_to_server(leaving, target)

    probe = Probe(settings)

    async def dispose() -> None:
        await events.close()
        await discovery.close()
        await runner.close()
        await schedule.close()
        await forgetting.close()
        await old_runs.close()
        await dispatcher.close()
        await probe.close()
        if security is not None:
            await security.close()
        await store.engine.dispose()

    server = Server(
        settings, catalogue, verifier, register, probe.is_answering, dispose, Answers(store), store
    )
    return server


INVENTORY = Deployable(
    module="services.inventory",
    package=PACKAGE,
    purpose="Collects AWS accounts and compares them with a System Security Plan.",
    settings=InventorySettings,
    build_server=build_server,
    commands=(
        Command(
            "move",
            "move the whole store from SQLite into an empty PostgreSQL database",
            add_move_arguments,
            move,
        ),
    ),
)
main = INVENTORY.main

if __name__ == "__main__":
    end_process(main())
