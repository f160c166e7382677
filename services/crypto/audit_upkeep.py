"""Puts together what keeps the audit, and what it does by itself, as the owner of the tables."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.server.deployable import CommandFailed
from mesh.sql.recurring import Recurring
from services.crypto.audit.anchoring import Anchoring
from services.crypto.audit.anchors import Anchors, FileAnchors, S3Anchors
from services.crypto.audit.append_store import AppendStore
from services.crypto.audit.checkpointer import Checkpointer
from services.crypto.audit.retention import Retention
from services.crypto.audit.seal_store import SealStore
from services.crypto.audit.writer import AuditWriter
from services.crypto.audit_keys import AuditKeys, create_audit_keys, read_audit_keys
from services.crypto.custody.key_file import KeyFileError
from services.crypto.settings import CryptoSettings

_LOG = logging.getLogger(__name__)


def open_audit_keys(settings: CryptoSettings) -> AuditKeys:
    """Read the audit's keys; a file that is not named is made. CommandFailed."""
    path = settings.audit_key_file
    try:
        if settings.audit_keys is None:
            create_audit_keys(path)
        return read_audit_keys(path, settings.environment)
    except KeyFileError as error:
        raise CommandFailed(str(error)) from error


def open_writer(keys: AuditKeys, engine: AsyncEngine) -> AuditWriter:
    """Give this process's chain of the audit."""
    return AuditWriter(AppendStore(engine), keys.subjects, keys.writer, keys.origin)


def open_anchors(settings: CryptoSettings) -> Anchors | None:
    """Give the second place for checkpoints that the settings name."""
    if settings.audit_anchor_bucket:
        import boto3  # takes a tenth of a second to load

        bucket, _, prefix = settings.audit_anchor_bucket.partition("/")
        client = boto3.client("s3", endpoint_url=settings.aws_endpoint or None)
        retention = timedelta(days=settings.audit_anchor_days)
        return S3Anchors(client, bucket, f"{prefix}/" if prefix else "", retention)
    folder = settings.audit_anchor_folder
    return None if folder is None else FileAnchors(folder)


def upkeep_of(
    settings: CryptoSettings, keys: AuditKeys, owner: AsyncEngine | None
) -> Sequence[Recurring]:
    """Give what looks after the audit; nothing where no owner of the tables is known."""
    if owner is None:
        _LOG.warning("DATABASE_MIGRATE_URL is not set: another process must seal the audit")
        return ()
    anchors = open_anchors(settings)
    store = SealStore(owner)
    works: list[Recurring] = [
        Checkpointer(store, keys.origin, keys.sealer, keys.public, keys.subjects),
        Retention(store, keys.origin, keys.sealer, anchors),
    ]
    if anchors is None:
        _LOG.warning("checkpoints of the audit are kept in its own database alone")
    else:
        works.append(Anchoring(owner, anchors))
    return works
