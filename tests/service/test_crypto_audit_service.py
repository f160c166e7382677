"""AuditService over gRPC: lists, exports, and proofs that hold without any code of the service."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from mesh.contract.catalogue import load_catalogue
from mesh.embedded.postgres import Access
from mesh.identity.keys import AUDIENCE, ISSUER, JWKS_FILE, create_signing_key, sign_token
from mesh.identity.token import TokenVerifier
from mesh.server.serve import Server
from mesh.sql.paging import PageTokens
from mesh.sql.transactions import Transactions
from secmesh.crypto.v1 import audit_service_pb2 as pb
from secmesh.crypto.v1.audit_pb2 import AuditOperation
from secmesh.crypto.v1.audit_service_pb2_grpc import (
    AuditServiceStub,
    add_AuditServiceServicer_to_server,
)
from secmesh_client import CallRefused
from secmesh_client.aio import connect
from services.crypto.audit.checkpointer import Checkpointer
from services.crypto.audit.entry import Operation
from services.crypto.audit.note import Checkpoint, opened
from services.crypto.audit.tree import is_consistent, is_included
from services.crypto.audit.writer import AuditWriter
from services.crypto.audit_servicer import AuditServicer
from services.crypto.settings import PACKAGE, CryptoSettings
from tests.databases import crypto_database
from tests.service.crypto_audit_store import KEYS, SUBJECTS, USER, AuditDatabase, told

_USER = str(UUID(bytes=UUID("01999999-0000-7000-8000-000000000001").bytes))


@dataclass
class Site:
    """A served audit; each test has a tenant of its own."""

    address: str
    home: Path
    writer: AuditWriter
    checkpointer: Checkpointer
    tenant: str
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    @property
    def parent(self) -> str:
        return f"tenants/{self.tenant}"

    async def record(self, count: int = 1, **changed: Any) -> None:
        await self.writer.record([told(self.tenant, **changed) for _ in range(count)])

    def stub(self, tenant: str = "", **claims: Any) -> Any:
        given = claims or {"roles": ["auditor"]}
        token = sign_token(self.home, subject="eve", tenant=tenant or self.tenant, **given)
        self.channels.append(connect(self.address, token=token))
        return AuditServiceStub(self.channels[-1])


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def site(access: Access, tmp_path: Path) -> AsyncIterator[Site]:
    create_signing_key(tmp_path)
    audit = AuditDatabase(access)
    engine = audit.application()
    transactions = Transactions(engine, None, isolated=True)
    async with audit.writer() as writer:
        servicer = AuditServicer(transactions, SUBJECTS, writer, PageTokens(b"k" * 32))

        def register(target: grpc.aio.Server) -> None:
            add_AuditServiceServicer_to_server(servicer, target)

        server = Server(
            CryptoSettings(),
            load_catalogue(PACKAGE),
            TokenVerifier(tmp_path / JWKS_FILE, ISSUER, AUDIENCE),
            register,
            transactions.ready,
            engine.dispose,
        )
        await server.start()
        tenant = f"audit-{uuid4().hex[:12]}"
        made = Site(server.address, tmp_path, writer, audit.checkpointer(), tenant)
        yield made
        for channel in made.channels:
            await channel.close()
        await server.stop(0)
    for each in audit.engines:
        await each.dispose()


async def test_entries_are_shown_as_they_were_told(site: Site) -> None:
    await site.record(success=False, error_code="KEY_DISABLED", duration_us=1500)
    answer = await site.stub().ListAuditEntries(pb.ListAuditEntriesRequest(parent=site.parent))
    (entry,) = answer.audit_entries
    assert entry.name.startswith(f"{site.parent}/audit_entries/")
    assert entry.operation == AuditOperation.AUDIT_OPERATION_DECRYPT
    assert [(each.field, each.tier) for each in entry.fields] == [("address", 2), ("ssn", 3)]
    assert (entry.principal, entry.purpose, entry.request_id) == ("ann", "support", "r1")
    assert (entry.success, entry.error_code) == (False, "KEY_DISABLED")
    assert entry.duration.ToMicroseconds() == 1500
    assert entry.subject == SUBJECTS.of(site.tenant, USER).hex()
    assert USER.hex() not in str(answer)


async def test_reading_the_audit_is_in_the_audit(site: Site) -> None:
    stub = site.stub()
    await stub.ListAuditEntries(pb.ListAuditEntriesRequest(parent=site.parent))
    answer = await stub.ListAuditEntries(pb.ListAuditEntriesRequest(parent=site.parent))
    (entry,) = answer.audit_entries
    assert entry.operation == AuditOperation.AUDIT_OPERATION_READ_AUDIT
    assert (entry.principal, entry.details) == ("eve", "list 0")


async def test_pages_hold_each_entry_once_newest_first(site: Site) -> None:
    for number in range(7):
        await site.record(3, request_id=str(number))
    stub = site.stub()
    request = pb.ListAuditEntriesRequest(parent=site.parent, page_size=4)
    request.selection.operation = AuditOperation.AUDIT_OPERATION_DECRYPT
    names, times = [], []
    while True:
        page = await stub.ListAuditEntries(request)
        names += [each.name for each in page.audit_entries]
        times += [each.access_time.ToMicroseconds() for each in page.audit_entries]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert len(names) == len(set(names)) == 21
    assert times == sorted(times, reverse=True)
    request.page_token = "A" * 60
    with pytest.raises(CallRefused, match="page_token"):
        await stub.ListAuditEntries(request)


async def test_selections_meet_all_that_is_set(site: Site) -> None:
    user = UUID(_USER).bytes
    await site.record(user_id=user, request_id="a")
    await site.record(user_id=user, request_id="b", principal="bob", success=False)
    await site.record(operation=Operation.ENCRYPT, request_id="c")
    stub = site.stub()

    async def found(**selection: Any) -> list[str]:
        request = pb.ListAuditEntriesRequest(
            parent=site.parent, selection=pb.AuditSelection(**selection)
        )
        answer = await stub.ListAuditEntries(request)
        return [each.request_id for each in answer.audit_entries if each.request_id in "abc"]

    name = f"{site.parent}/users/{_USER}"
    assert await found(user=name) == ["b", "a"]
    assert await found(user=name, principal="ann") == ["a"]
    assert await found(failed=True) == ["b"]
    assert await found(operation=AuditOperation.AUDIT_OPERATION_ENCRYPT) == ["c"]
    assert await found(user=f"tenants/other/users/{_USER}") == []
    everything = await stub.ListAuditEntries(pb.ListAuditEntriesRequest(parent=site.parent))
    middle = next(each for each in everything.audit_entries if each.request_id == "b").access_time
    assert await found(end_time=middle) == ["a"]
    assert await found(start_time=middle) == ["c", "b"]


async def test_an_export_is_whole_and_says_where_entries_stand(site: Site) -> None:
    await site.record(1203)
    await site.checkpointer.look()
    await site.record(2)
    events = [
        each
        async for each in site.stub().ExportAuditEntries(
            pb.ExportAuditEntriesRequest(parent=site.parent)
        )
    ]
    entries = [each.entry for each in events if each.HasField("entry")]
    assert len(entries) == 1206
    indexes = [each.index for each in entries if each.HasField("index")]
    assert len(set(indexes)) == 1203
    assert [each.HasField("index") for each in entries[-3:]] == [False] * 3
    assert events[-2].checkpoint.size > max(indexes)
    assert events[-1].ended.code == 0


async def test_inclusion_is_proved_with_the_leaf_that_the_entry_is(site: Site) -> None:
    await site.record(5)
    await site.checkpointer.look()
    stub = site.stub()
    listed = await stub.ListAuditEntries(pb.ListAuditEntriesRequest(parent=site.parent))
    for entry in listed.audit_entries:
        proof = await stub.ProveInclusion(pb.ProveInclusionRequest(name=entry.name))
        leaf = sha256(b"\0" + proof.leaf_data).digest()
        assert leaf == entry.leaf_hash
        told_root = Checkpoint.parsed(opened(proof.checkpoint.note, KEYS))
        assert told_root.root == proof.checkpoint.root
        size = told_root.size
        assert is_included(leaf, proof.index, size, proof.hashes, told_root.root)
        assert b"ann" in proof.leaf_data
    with pytest.raises(CallRefused) as refused:
        await stub.ProveInclusion(pb.ProveInclusionRequest(name=entry.name, size=2**40))
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


async def test_an_entry_that_waits_has_no_proof_yet(site: Site) -> None:
    await site.record()
    stub = site.stub()
    listed = await stub.ListAuditEntries(pb.ListAuditEntriesRequest(parent=site.parent))
    with pytest.raises(CallRefused) as refused:
        await stub.ProveInclusion(pb.ProveInclusionRequest(name=listed.audit_entries[0].name))
    assert refused.value.reason == "ENTRY_NOT_SEALED"


async def test_consistency_is_proved_between_checkpoints(site: Site) -> None:
    stub = site.stub()
    checkpoints = []
    for count in (1, 3, 300):
        await site.record(count)
        await site.checkpointer.look()
        checkpoints.append(await stub.GetCheckpoint(pb.GetCheckpointRequest(parent=site.parent)))
    assert len({each.size for each in checkpoints}) == 3
    for old in checkpoints:
        request = pb.ProveConsistencyRequest(parent=site.parent, old_size=old.size)
        proof = await stub.ProveConsistency(request)
        new = proof.checkpoint
        assert is_consistent(old.size, new.size, old.root, new.root, proof.hashes)
        again = await stub.GetCheckpoint(pb.GetCheckpointRequest(parent=site.parent, size=old.size))
        assert again == old
    with pytest.raises(CallRefused) as refused:
        await stub.ProveConsistency(pb.ProveConsistencyRequest(parent=site.parent, old_size=2**40))
    assert refused.value.reason == "FIELD_INVALID"


async def test_entries_of_others_do_not_exist(site: Site) -> None:
    await site.record()
    await site.checkpointer.look()
    listed = await site.stub().ListAuditEntries(pb.ListAuditEntriesRequest(parent=site.parent))
    name = listed.audit_entries[0].name
    stranger = site.stub("stranger")
    theirs = name.replace(site.parent, "tenants/stranger")
    absent = theirs.rpartition("-")[0] + "-999999"
    words = []
    for asked in (name, theirs, absent):
        with pytest.raises(CallRefused) as refused:
            await stranger.ProveInclusion(pb.ProveInclusionRequest(name=asked))
        assert refused.value.reason == "RESOURCE_NOT_FOUND"
        words.append(refused.value.message.replace(asked, "NAME"))
    assert len(set(words)) == 1


async def test_whoever_touches_a_honeytoken_is_in_the_audit(site: Site) -> None:
    admin, name = site.stub(roles=["admin"]), f"{site.parent}/users/{_USER}"

    async def alerts() -> list[str]:
        await site.checkpointer.look()
        request = pb.ListAuditEntriesRequest(parent=site.parent)
        request.selection.operation = AuditOperation.AUDIT_OPERATION_RAISE_ALERT
        answer = await admin.ListAuditEntries(request)
        return [f"{each.principal} {each.error_code}" for each in answer.audit_entries]

    for _ in range(2):
        await admin.MarkHoneytoken(pb.MarkHoneytokenRequest(name=name))
    await site.record(principal="bob")
    assert await alerts() == []
    await site.record(user_id=UUID(_USER).bytes, principal="bob")
    assert await alerts() == ["bob HONEYTOKEN_TOUCHED"]
    for _ in range(2):
        await admin.UnmarkHoneytoken(pb.UnmarkHoneytokenRequest(name=name))
    await site.record(user_id=UUID(_USER).bytes, principal="mallory")
    assert await alerts() == ["bob HONEYTOKEN_TOUCHED"]
    with pytest.raises(CallRefused) as refused:
        await site.stub().MarkHoneytoken(pb.MarkHoneytokenRequest(name=name))
    assert refused.value.reason == "PERMISSION_MISSING"
    with pytest.raises(CallRefused) as refused:
        await site.stub("stranger", roles=["admin"]).MarkHoneytoken(
            pb.MarkHoneytokenRequest(name=name)
        )
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


async def test_reading_needs_its_permission(site: Site) -> None:
    with pytest.raises(CallRefused) as refused:
        await site.stub(roles=["operator"]).ListAuditEntries(
            pb.ListAuditEntriesRequest(parent=site.parent)
        )
    assert refused.value.reason == "PERMISSION_MISSING"
