"""AuditService: what was done to people's data, and proofs of it."""

from collections.abc import AsyncIterator, Sequence

from google.protobuf.empty_pb2 import Empty
from google.rpc import code_pb2, status_pb2

from mesh.contract.names import NamePattern, tenant_of
from mesh.errors import FieldInvalid, ResourceNotFound
from mesh.server.call import current_call
from mesh.sql.paging import PageTokens, page_limit
from mesh.sql.transactions import Transactions
from secmesh.crypto.v1 import audit_service_pb2 as pb
from secmesh.crypto.v1.audit_pb2 import (
    AuditCheckpoint,
    AuditedField,
    AuditEntry,
    AuditOperation,
)
from secmesh.crypto.v1.audit_service_pb2_grpc import AuditServiceServicer
from services.crypto.audit.entry import Access, Audit, Operation, canonical
from services.crypto.audit.read_store import (
    Checkpoint,
    HoneytokenStore,
    Place,
    ReadStore,
    Selection,
)
from services.crypto.audit.sealing import Stored
from services.crypto.audit.segments import checkpoint_of
from services.crypto.audit.subjects import Subjects
from services.crypto.audit.tree import consistency_ranges, inclusion_ranges
from services.crypto.errors import EntryNotSealed
from services.crypto.persons.person import PATTERN as USERS

ENTRIES = NamePattern("tenants/{tenant}/audit_entries/{audit_entry}")
_AT_ONCE = 500
"""Entries of an export in memory."""
_PREFIX = "AUDIT_OPERATION_"
_OPERATIONS = {name.removeprefix(_PREFIX).lower(): value for name, value in AuditOperation.items()}
_NAMES = {value: name for name, value in _OPERATIONS.items()}


class AuditServicer(AuditServiceServicer):
    """Between messages and the stored audit."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(
        self, transactions: Transactions, subjects: Subjects, audit: Audit, tokens: PageTokens
    ) -> None:
        self._transactions = transactions
        self._subjects = subjects
        self._audit = audit
        self._tokens = tokens
        self._store = ReadStore()
        self._honeytokens = HoneytokenStore()

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, _context: object
    ) -> pb.ListAuditEntriesResponse:
        """Give a page of entries; PageTokenInvalid, FieldInvalid."""
        tenant = _tenant(request.parent)
        limit = page_limit(request.page_size)
        selection = self._selection(tenant, request.selection, descending=True)
        asked = (
            "audit_entries",
            tenant,
            request.selection.SerializeToString(deterministic=True).hex(),
        )
        after = Place(*self._tokens.read(asked, request.page_token)) if request.page_token else None
        async with self._transactions.connection(tenant) as connection:
            found = await self._store.page(connection, tenant, selection, after, limit + 1)
        shown = found[:limit]
        await self._record(tenant, f"list {len(shown)}")
        response = pb.ListAuditEntriesResponse(
            audit_entries=[_message(stored) for stored, _ in shown]
        )
        if len(found) > limit:
            response.next_page_token = self._tokens.write(asked, [*_place(shown[-1][0])])
        return response

    async def ExportAuditEntries(
        self, request: pb.ExportAuditEntriesRequest, _context: object
    ) -> AsyncIterator[pb.ExportAuditEntriesResponse]:
        """Give all entries of a selection, the checkpoint over them and the end."""
        tenant = _tenant(request.parent)
        selection = self._selection(tenant, request.selection)
        await self._record(tenant, "export")
        after: Place | None = None
        async with self._transactions.connection(tenant) as connection:
            while True:
                found = await self._store.page(connection, tenant, selection, after, _AT_ONCE)
                for stored, index in found:
                    exported = pb.ExportedAuditEntry(entry=_message(stored), index=index)
                    yield pb.ExportAuditEntriesResponse(entry=exported)
                if len(found) < _AT_ONCE:
                    break
                after = _place(found[-1][0])
            newest = await self._store.checkpoint(connection, 0)
        if newest is not None:
            yield pb.ExportAuditEntriesResponse(checkpoint=_checkpoint_message(newest))
        yield pb.ExportAuditEntriesResponse(ended=status_pb2.Status(code=code_pb2.OK))

    async def GetCheckpoint(
        self, request: pb.GetCheckpointRequest, _context: object
    ) -> AuditCheckpoint:
        """Give a checkpoint; ResourceNotFound."""
        tenant = _tenant(request.parent)
        async with self._transactions.connection(tenant) as connection:
            found = await self._store.checkpoint(connection, request.size)
        return _checkpoint_message(_required(found, tenant, request.size))

    async def ProveInclusion(
        self, request: pb.ProveInclusionRequest, _context: object
    ) -> pb.ProveInclusionResponse:
        """Give the proof of an entry; ResourceNotFound, EntryNotSealed."""
        ids = ENTRIES.parse(request.name)
        if ids is None:
            raise ResourceNotFound(request.name)
        tenant, entry_id = ids
        writer, _, seq = entry_id.partition("-")
        async with self._transactions.connection(tenant) as connection:
            found = await self._store.entry(connection, tenant, bytes.fromhex(writer), int(seq))
            if found is None:
                raise ResourceNotFound(request.name)
            stored, index = found
            checkpoint = await self._store.checkpoint(connection, request.size)
            if request.size and checkpoint is None:
                raise ResourceNotFound(_checkpoint_name(tenant, request.size))
            if index is None or checkpoint is None or index >= checkpoint.size:
                raise EntryNotSealed(checkpoint.size if checkpoint else 0)
            before = await self._store.hash_before(connection, stored.entry.writer_id, int(seq))
            ranges = inclusion_ranges(index, checkpoint.size)
            hashes = await self._store.hashes(connection, ranges)
        return pb.ProveInclusionResponse(
            index=index,
            leaf_data=canonical(stored.entry) + before,
            hashes=hashes,
            checkpoint=_checkpoint_message(checkpoint),
        )

    async def ProveConsistency(
        self, request: pb.ProveConsistencyRequest, _context: object
    ) -> pb.ProveConsistencyResponse:
        """Give the proof that the tree only grew; ResourceNotFound, FieldInvalid."""
        tenant = _tenant(request.parent)
        async with self._transactions.connection(tenant) as connection:
            found = await self._store.checkpoint(connection, request.new_size)
            checkpoint = _required(found, tenant, request.new_size)
            if request.old_size > checkpoint.size:
                raise FieldInvalid.of("old_size", f"is beyond the size {checkpoint.size}")
            ranges = consistency_ranges(request.old_size, checkpoint.size)
            hashes = await self._store.hashes(connection, ranges)
        return pb.ProveConsistencyResponse(
            hashes=hashes, checkpoint=_checkpoint_message(checkpoint)
        )

    async def MarkHoneytoken(self, request: pb.MarkHoneytokenRequest, _context: object) -> Empty:
        """Raise alerts for a person from now on; ResourceNotFound for what is no name of one."""
        tenant, user = _user(request.name)
        await self._record(tenant, "mark honeytoken", Operation.CONFIGURE, user)
        async with self._transactions.transaction(tenant) as connection:
            await self._honeytokens.mark(connection, tenant, self._subjects.of(tenant, user))
        return Empty()

    async def UnmarkHoneytoken(
        self, request: pb.UnmarkHoneytokenRequest, _context: object
    ) -> Empty:
        """Raise none any more; ResourceNotFound for what is no name of a person."""
        tenant, user = _user(request.name)
        await self._record(tenant, "unmark honeytoken", Operation.CONFIGURE, user)
        async with self._transactions.transaction(tenant) as connection:
            subjects = self._subjects.all_of(tenant, user)
            await self._honeytokens.unmark(connection, tenant, subjects)
        return Empty()

    def _selection(
        self, tenant: str, asked: pb.AuditSelection, *, descending: bool = False
    ) -> Selection:
        subjects: Sequence[bytes] | None = None
        if asked.user:
            ids = USERS.parse(asked.user)
            # Nobody of another tenant has a pseudonym here.
            known = ids is not None and ids[0] == tenant
            subjects = self._subjects.all_of(tenant, _user_bytes(ids[1])) if ids and known else []
        return Selection(
            subjects,
            _NAMES[asked.operation] if asked.operation else "",
            asked.principal,
            asked.failed,
            asked.start_time.ToMicroseconds() if asked.HasField("start_time") else None,
            asked.end_time.ToMicroseconds() if asked.HasField("end_time") else None,
            descending=descending,
        )

    async def _record(
        self,
        tenant: str,
        details: str,
        operation: Operation = Operation.READ_AUDIT,
        user: bytes = b"",
    ) -> None:
        call = current_call()
        principal = call.caller.subject
        access = Access(tenant, operation, principal, call.request_id, user, details=details)
        await self._audit.record([access])


def _tenant(parent: str) -> str:
    tenant = tenant_of(parent)
    if tenant is None:
        raise FieldInvalid.of("parent", "is no name under tenants/{tenant}", "NAME_INVALID")
    return tenant


def _user(name: str) -> tuple[str, bytes]:
    ids = USERS.parse(name)
    if ids is None:
        raise ResourceNotFound(name)
    return ids[0], _user_bytes(ids[1])


def _user_bytes(user_id: str) -> bytes:
    return bytes.fromhex(user_id.replace("-", ""))


def _place(stored: Stored) -> Place:
    entry = stored.entry
    return Place(entry.accessed_at, entry.writer_id.hex(), entry.seq)


def _checkpoint_name(tenant: str, size: int) -> str:
    return f"tenants/{tenant}/audit_checkpoint" + (f" of size {size}" if size else "")


def _required(found: Checkpoint | None, tenant: str, size: int) -> Checkpoint:
    if found is None:
        raise ResourceNotFound(_checkpoint_name(tenant, size))
    return found


def _checkpoint_message(found: Checkpoint) -> AuditCheckpoint:
    message = AuditCheckpoint(size=found.size, root=checkpoint_of(found.note).root, note=found.note)
    message.seal_time.FromDatetime(found.sealed_at)
    return message


def _message(stored: Stored) -> AuditEntry:
    entry = stored.entry
    message = AuditEntry(
        name=ENTRIES.format(entry.tenant_id, f"{entry.writer_id.hex()}-{entry.seq}"),
        # What no process of the service writes is shown as it is not known; verification names it.
        operation=_OPERATIONS.get(entry.operation, AuditOperation.AUDIT_OPERATION_UNSPECIFIED),
        subject=entry.subject.hex(),
        fields=[
            AuditedField(field=name, tier=tier)
            for name, tier in zip(entry.fields, entry.tiers, strict=False)
        ],
        principal=entry.principal,
        purpose=entry.purpose,
        request_id=entry.request_id,
        success=entry.success,
        error_code=entry.error_code,
        retention_class=entry.retention_class,
        details=entry.details,
        leaf_hash=stored.hash,
    )
    message.access_time.FromMicroseconds(entry.accessed_at)
    message.duration.FromMicroseconds(entry.duration_us)
    return message
